"""The compiled CUDA core: the fused passes on a GPU, for arrays that are there and for arrays in host memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur._arrays import DeviceArray
from fastdeblur._geometry import Frame
from fastdeblur.backends import Plane, Spec
from fastdeblur.backends import _pool as pool
from fastdeblur.backends._gpu import explain, must_wait, out_of_memory
from fastdeblur.backends.native import _SUFFIX, _as_tuples, _geometry, _readable
from fastdeblur.errors import DeviceError, InvalidArgument


def core() -> ModuleType:
    """The compiled module; raises ImportError where it was not built."""
    return import_module("fastdeblur._cuda")


@lru_cache(maxsize=1)
def why_not_cuda() -> str:
    try:
        return str(core().why_not())
    except ImportError as error:
        if getattr(error, "name", None) == "fastdeblur._cuda":
            return "this installation has no CUDA core: it was built without nvcc"
        return f"the CUDA core cannot be loaded ({error})"


class CudaPlan:
    """A plan on one device, with its images checked and its answers turned into errors."""

    def __init__(self, frame: Frame, psfs: NDArray[Any], device: int, keep: bool):
        around = "edge" if frame.boundary == "unknown" else frame.boundary
        self._frame, self._dtype, self._device, self._psfs = frame, psfs.dtype, device, len(psfs)
        self._keep = keep
        with self._guarded("wiener"):
            self._plan = getattr(core(), f"Deconvolver{_SUFFIX[psfs.dtype]}")(
                device=device,
                psfs=psfs,
                data_maps=_as_tuples(frame.maps()),
                init_maps=_as_tuples(frame.maps(around)),
                keep=keep,
                **_geometry(frame),
            )

    def run(self, method: str, params: Any, planes: Sequence[Plane]) -> None:
        first = planes[0].image
        stream = 0
        if isinstance(first, DeviceArray):
            stream = first.stream
            pool.take_from(first.library.name, core())
        # What the arguments point to is kept here for as long as the call takes.
        arrays = [
            (
                _in_reach(p.image),
                p.out,
                p.psf,
                *(a if a is None else _in_reach(a) for a in (p.weights, p.init)),
            )
            for p in planes
        ]
        arguments = [
            (located(a), located(out), psf, *(x if x is None else located(x) for x in more))
            for a, out, psf, *more in arrays
        ]
        # Copies that were made on another stream are there before they are read, and until then.
        others = {
            new.stream
            for p, (image, _, _, weights, init) in zip(planes, arrays, strict=True)
            for old, new in ((p.image, image), (p.weights, weights), (p.init, init))
            if isinstance(new, DeviceArray) and new is not old and new.stream != stream
        }
        with self._guarded(method, params, planes):
            for other in others:
                core().synchronize(self._device, other)
            bad = getattr(self, f"_{method}")(params, planes, arguments, stream)
            if others or must_wait(planes):
                core().synchronize(self._device, stream)
        if bad is not None:
            explain(method, planes, int(bad[0]), self._frame, self._dtype)
            raise AssertionError(
                f"the core refused image {bad[0]} for a reason ({bad[1]}) that does not show"
            )

    def _wiener(self, params: Any, planes: Sequence[Plane], arguments: list[Any], stream: int) -> Any:
        from fastdeblur.backends.numpy_ import NumpyOps
        from fastdeblur.methods.wiener import reg_power

        if isinstance(params.reg, str) and params.power is None:
            return self._plan.wiener(arguments, params.balance, params.reg, None, stream)
        with _callers_own():  # a regularizer may be a function
            given = reg_power(params, self._frame, NumpyOps(self._dtype))
        power = np.ascontiguousarray(given, self._dtype)
        return self._plan.wiener(arguments, params.balance, "power", power, stream)

    def _richardson_lucy(
        self, params: Any, planes: Sequence[Plane], arguments: list[Any], stream: int
    ) -> Any:
        on_iteration = None
        if params.watched:

            def on_iteration(index: int, iteration: int, change: float, estimate: Any) -> bool:
                copied = self._copier(planes[index].out, estimate)
                with _callers_own():
                    return bool(params.goes_on(planes[index], iteration, change, copied))

        return self._plan.richardson_lucy(
            arguments,
            params.num_iter,
            params.acceleration,
            params.background,
            planes[0].sigma,
            on_iteration is not None,
            on_iteration,
            stream,
        )

    def _copier(self, like: Any, estimate: Callable[[Any], None]) -> Callable[[], Any]:
        def copied() -> Any:
            if isinstance(like, DeviceArray):
                made = like.new(self._frame.shape, self._dtype)
                estimate(located(made))
                return made.result()
            out = np.empty(self._frame.shape, self._dtype)
            estimate(located(out))
            return out

        return copied

    @contextmanager
    def _guarded(self, method: str, params: Any = None, planes: Sequence[Plane] = ()) -> Iterator[None]:
        """Turn the core's errors into ours; what a callback raises is its own."""
        try:
            yield
        except _CallersOwn as own:
            raise own.error from own.error.__cause__
        except core().OutOfDeviceMemory as error:
            options = {
                "acceleration": getattr(params, "acceleration", ""),
                "weights": any(p.weights is not None for p in planes),
                "psfs": self._psfs,
                "planes": max(len(planes), 1),
                "keep": self._keep,
            }
            needed = CudaBackend().memory(method, self._frame, self._dtype, options)
            raise out_of_memory(self._device, needed, int(error.asked), int(error.free)) from error
        except ValueError as error:
            if isinstance(error, InvalidArgument):
                raise
            raise InvalidArgument(str(error)) from error
        except RuntimeError as error:
            if isinstance(error, DeviceError):
                raise
            raise DeviceError(f"device: cuda:{self._device} failed: {error}") from error


class _CallersOwn(BaseException):
    """Carries an exception of a callback past what turns the core's errors into ours."""

    def __init__(self, error: BaseException):
        super().__init__()
        self.error = error


@contextmanager
def _callers_own() -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        raise _CallersOwn(error) from None


class CudaBackend:
    """CUDA kernels and cuFFT."""

    name = "cuda"
    computes_on = "cuda"
    keeps_scratch = True

    def why_not(self, spec: Spec | None = None) -> str:
        reason = why_not_cuda()
        return reason if reason or spec is None else self.why_not_device(spec.device or 0)

    def why_not_device(self, ordinal: int) -> str:
        if reason := why_not_cuda():
            return reason
        count = device_count()
        return (
            "" if ordinal < count else f"there is no cuda:{ordinal}, only {count} device{'s' * (count > 1)}"
        )

    def plan(
        self, frame: Frame, psfs: NDArray[Any], n_threads: int, keep: bool, device: int | None = None
    ) -> CudaPlan:
        return CudaPlan(frame, psfs, device or 0, keep)

    def memory(self, method: str, frame: Frame, dtype: np.dtype[Any], options: dict[str, Any]) -> int:
        if frame.pixels > 1 << 40:  # no device's
            return 4 * frame.pixels * dtype.itemsize
        count = getattr(core(), f"bytes{_SUFFIX[dtype]}")
        return int(
            count(
                psf_shape=frame.psf_shape,
                psf_count=options.get("psfs", 1),
                keep=options.get("keep", False),
                richardson_lucy=method == "richardson_lucy",
                acceleration=options.get("acceleration") or "",
                weights=options.get("weights", False),
                many_planes=options.get("planes", 1) > 1,
                **_geometry(frame),
            )
        )


@lru_cache(maxsize=1)
def device_count() -> int:
    return int(core().device_count())


def located(array: NDArray[Any] | DeviceArray) -> tuple[int, str, tuple[int, ...], bool]:
    """As the core takes an array: (address, dtype as in the array interface, strides in bytes, whether on the device)."""
    if isinstance(array, DeviceArray):
        return array.pointer, array.dtype.str, array.strides, True
    return int(array.__array_interface__["data"][0]), array.dtype.str, array.strides, False


def _in_reach(array: NDArray[Any] | DeviceArray) -> NDArray[Any] | DeviceArray:
    """The array, or a copy where the core cannot read it as it lies."""
    if not isinstance(array, DeviceArray):
        return _readable(array)
    if array.aligned and array.dtype != np.float16 and array.dtype.itemsize <= 8:
        return array
    copy = array.new(array.shape, np.dtype(np.float32))
    array.library.divide(array, np.ones((1,) * array.ndim), copy, "image")
    return copy
