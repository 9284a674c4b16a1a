"""The recipes with numba's fused, parallel pointwise loops, for machines where the extension is not built.

The transforms are SciPy's with its worker threads where SciPy is installed, else NumPy's.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur._geometry import Frame
from fastdeblur.backends import Spec
from fastdeblur.backends._recipes import RecipePlan, recipe_memory
from fastdeblur.backends.numpy_ import NumpyOps, removed_power

Array = NDArray[Any]

# Elements for which waking the other threads costs more than they save.
_SERIAL_BELOW = 1 << 15


class _Pool:
    """What one must know of numba's thread pool: it is one per process, some of its layers abort the process when two threads
    enter at once, and GNU OpenMP's does in a child that forked after using it."""

    def __init__(self, forked: bool = False):
        self.turn = threading.Lock()
        self.forked = forked  # a forked child runs the serial kernels


_pool = _Pool()


def _after_fork() -> None:
    global _pool
    _pool = _Pool(forked=True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@lru_cache(maxsize=1)
def _why_not_numba() -> str:
    """Whether it can be imported shows only when it is: a NumPy that is too new for it, say."""
    if find_spec("numba") is None:
        return "numba is not installed"
    try:
        import numba  # noqa: F401
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        return f"numba is installed but cannot be imported ({type(error).__name__}: {reason})"
    return ""


@lru_cache(maxsize=2)
def _kernels(parallel: bool) -> Any:
    """Compile on first use, and keep it on disk: importing numba, and compiling all the more, takes longer than a restoration.

    No fastmath: contraction differs between vectorised and scalar code, so that results would depend on the number of threads.
    """
    import numba

    def jit(function: Callable[..., Any]) -> Any:
        # Part of the cache's key, which knows nothing of parallel.
        function.__qualname__ += "_parallel" if parallel else "_serial"
        compiled: Callable[..., Any] = numba.njit(parallel=parallel, error_model="numpy", nogil=True)(
            function
        )
        with suppress(RuntimeError):  # there is nowhere to keep it
            compiled.enable_caching()  # type: ignore[attr-defined]
        return compiled

    @jit
    def multiply(a, b, out):  # type: ignore[no-untyped-def]
        for i in numba.prange(a.size):
            out[i] = a[i] * b[i]

    @jit
    def multiply_conj(a, b, out):  # type: ignore[no-untyped-def]
        for i in numba.prange(a.size):
            out[i] = a[i] * np.conj(b[i])

    @jit
    def wiener(spectrum, otf, power, balance, tiny, out):  # type: ignore[no-untyped-def]
        for i in numba.prange(spectrum.size):
            h = otf[i]
            denominator = h.real * h.real + h.imag * h.imag + balance * power[i % power.size]
            gain = 1 / denominator if denominator > tiny else 0 * denominator
            out[i] = spectrum[i] * np.conj(h) * gain

    @jit
    def ratio(data, model, background, floor, out):  # type: ignore[no-untyped-def]
        for i in numba.prange(data.size):
            out[i] = data[i] / max(model[i] + background, floor)

    @jit
    def scaled(image, factor, norm, sigma, out):  # type: ignore[no-untyped-def]
        for i in numba.prange(image.size):
            n = norm[i % norm.size]
            out[i] = max(image[i] * (factor[i] / n), 0 * n) if n > sigma else image[i]

    @jit
    def extrapolate(image, previous, step, out):  # type: ignore[no-untyped-def]
        for i in numba.prange(image.size):
            out[i] = max(image[i] + step * (image[i] - previous[i]), 0 * step)

    @jit
    def momentum(x, x_before, z, a, b, floor, out):  # type: ignore[no-untyped-def]
        for i in numba.prange(x.size):
            out[i] = max(x[i] + a * (x[i] - x_before[i]) + b * (x[i] - z[i]), floor * x[i])

    return SimpleNamespace(
        momentum=momentum,
        multiply=multiply,
        multiply_conj=multiply_conj,
        wiener=wiener,
        ratio=ratio,
        scaled=scaled,
        extrapolate=extrapolate,
    )


@lru_cache(maxsize=1)
def _fft() -> tuple[Any, bool]:
    """(module with rfftn and irfftn, whether it takes workers=)."""
    try:
        import scipy.fft

        return scipy.fft, True
    except ImportError:
        return np.fft, False


def in_turn(call: Callable[[bool], None], n_threads: int) -> None:
    """Call with whether to run the parallel kernels, which get so many threads (0: all)."""
    if n_threads == 1 or _pool.forked:
        call(False)
        return
    import numba

    with _pool.turn:
        before = numba.get_num_threads()  # this thread's setting
        config: Any = numba.config
        numba.set_num_threads(min(n_threads, config.NUMBA_NUM_THREADS) or before)
        try:
            call(True)
        finally:
            numba.set_num_threads(before)


class NumbaOps(NumpyOps):
    """NumpyOps with compiled pointwise passes."""

    def __init__(self, dtype: np.dtype[Any], n_threads: int):
        super().__init__(dtype)
        self.n_threads = n_threads
        self._fft, threaded = _fft()
        processors = os.cpu_count() or 1
        self._workers = {"workers": min(n_threads or processors, processors)} if threaded else {}

    def rfft(self, image: Array) -> Array:
        result: Array = self._fft.rfftn(image, **self._sharing(image)).astype(self.complex_dtype, copy=False)
        return result

    def irfft(self, spectrum: Array, frame: Frame) -> Array:
        axes = tuple(range(len(frame.grid)))
        result: Array = self._fft.irfftn(spectrum, frame.grid, axes, **self._sharing(spectrum)).astype(
            self.dtype, copy=False
        )
        return result

    def _sharing(self, array: Array) -> dict[str, int]:
        return self._workers if array.size >= _SERIAL_BELOW else {}

    def multiply(self, a: Array, b: Array) -> Array:
        return self._filled("multiply", a, b)

    def multiply_conj(self, a: Array, b: Array) -> Array:
        return self._filled("multiply_conj", a, b)

    def wiener(self, spectrum: Array, otf: Array, reg_power: Array, balance: float) -> Array:
        power = np.ascontiguousarray(reg_power, self.dtype).ravel()
        scalars = self.dtype.type(balance), self.dtype.type(removed_power(self.dtype))
        return self._filled("wiener", spectrum, otf, power, *scalars)

    def ratio(self, data: Array, model: Array, background: float, floor: float) -> Array:
        return self._filled("ratio", data, model, self.dtype.type(background), self.dtype.type(floor))

    def scaled(self, image: Array, factor: Array, norm: Array | None, sigma: float) -> Array:
        weight = np.ones(1, self.dtype) if norm is None else norm
        return self._filled("scaled", image, factor, weight, self.dtype.type(sigma))

    def extrapolate(self, image: Array, previous: Array, step: float) -> Array:
        return self._filled("extrapolate", image, previous, self.dtype.type(step))

    def momentum(self, x: Array, x_before: Array, z: Array, a: float, b: float, floor: float) -> Array:
        t = self.dtype.type
        return self._filled("momentum", x, x_before, z, t(a), t(b), t(floor))

    def _filled(self, name: str, first: Array, *others: Any) -> Array:
        """Run the named kernel over the flattened arrays; the result has the first one's shape and dtype."""
        out = np.empty(first.shape, first.dtype)
        flat = [np.ascontiguousarray(a).ravel() if isinstance(a, np.ndarray) else a for a in (first, *others)]
        n_threads = 1 if out.size < _SERIAL_BELOW else self.n_threads
        in_turn(lambda parallel: getattr(_kernels(parallel), name)(*flat, out.ravel()), n_threads)
        return out


class NumbaBackend:
    """Compiled loops without a compiler."""

    name = "numba"
    computes_on = "cpu"
    keeps_scratch = False

    def why_not(self, spec: Spec | None = None) -> str:
        return _why_not_numba()

    def why_not_device(self, ordinal: int) -> str:
        return "it computes on the CPU"

    def plan(
        self, frame: Frame, psfs: Array, n_threads: int, keep: bool, device: int | None = None
    ) -> RecipePlan:
        return RecipePlan(NumbaOps(psfs.dtype, n_threads), frame, list(psfs))

    def memory(self, method: str, frame: Frame, dtype: np.dtype[Any], options: dict[str, Any]) -> int:
        return recipe_memory(method, frame, dtype, options)
