"""The recipes on CuPy: every pointwise step one fused kernel, transforms by cuFFT with CuPy's cache of plans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur._arrays import DeviceArray
from fastdeblur._geometry import AxisMap, Frame
from fastdeblur._libraries import cupy_on
from fastdeblur.backends import Plane, Spec
from fastdeblur.backends._gpu import explain, must_wait, out_of_memory
from fastdeblur.backends._recipes import recipe_memory
from fastdeblur.backends.numpy_ import NumpyOps, removed_power
from fastdeblur.errors import DeviceError
from fastdeblur.ops import CHECKS, LOWEST, RECIPES

Array = Any  # cupy.ndarray

# (inputs, outputs, body) of each kernel, in CUDA C++: T is real, C the complex type of its precision. Comparisons are written so
# that NaN behaves as in the reference; "n > sigma ? ... : x" must not divide by n <= sigma.
KERNELS = {
    "multiply": ("C a, C b", "C out", "out = a * b"),
    "multiply_conj": ("C a, C b", "C out", "out = a * conj(b)"),
    "power": ("C a", "T out", "out = a.real() * a.real() + a.imag() * a.imag()"),
    "wiener": (
        "C spectrum, C otf, T power, T balance, T tiny",
        "C out",
        """
        T denominator = otf.real() * otf.real() + otf.imag() * otf.imag() + balance * power;
        T gain = denominator > tiny ? T(1) / denominator : T(0);
        out = spectrum * (conj(otf) * gain);
        """,
    ),
    "ratio": (
        "T data, T model, T background, T floor",
        "T out",
        """
        T light = model + background;
        out = data / (light < floor ? floor : light);
        """,
    ),
    "scaled": (
        "T image, T factor, T norm, T sigma",
        "T out",
        """
        if (norm > sigma) {
            T value = image * (factor / norm);
            out = value < T(0) ? T(0) : value;
        } else {
            out = image;
        }
        """,
    ),
    "extrapolate": (
        "T image, T previous, T step",
        "T out",
        """
        T value = image + step * (image - previous);
        out = value < T(0) ? T(0) : value;
        """,
    ),
    "momentum": (
        "T x, T x_before, T z, T a, T b, T floor",
        "T out",
        """
        T value = x + a * (x - x_before) + b * (x - z);
        T least = floor * x;
        out = value < least ? least : value;
        """,
    ),
    # A pixel that has no weight counts as dark, whatever it holds.
    "weighted": ("S image, W weights", "T out", "out = weights > W(0) ? T(image) * T(weights) : T(0)"),
    # One axis of a grid: before `reach` the image itself, beyond it two of its pixels blended.
    "extend": (
        """raw T image, raw int64 first, raw int64 second, raw T first_weight, raw T second_weight,
        int64 reach, int64 length, int64 inner""",
        "T out",
        """
        long long below = i % inner;
        long long at = (i / inner) % length;
        long long line = i / inner / length * reach * inner + below;
        if (at < reach) {
            out = image[line + at * inner];
        } else {
            long long e = at - reach;
            out = first_weight[e] * image[line + first[e] * inner] + second_weight[e] * image[line + second[e] * inner];
        }
        """,
    ),
}

# (input, map, name) of sums in double precision.
SUMS = {
    "dot": ("T a, T b", "double(a) * double(b)"),
    "total": ("T a", "double(a)"),
}


@lru_cache(maxsize=1)
def why_not_cupy() -> str:
    """Whether it finds a device shows only when it looks for one."""
    if find_spec("cupy") is None:
        return "CuPy is not installed"
    try:
        import cupy

        if cupy.cuda.runtime.getDeviceCount() < 1:
            return "CuPy finds no CUDA device"
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        return f"CuPy is installed but cannot compute ({type(error).__name__}: {reason})"
    return ""


@lru_cache(maxsize=2)
def kernels(dtype: np.dtype[Any]) -> Any:
    """The kernels for one precision; CuPy compiles each when it is first used, and keeps it on disk."""
    import cupy

    real, complex_ = (str(t) for t in (dtype, np.result_type(dtype, np.complex64)))
    names = {"T": real, "C": complex_}

    def typed(parameters: str) -> str:
        words = (parameter.split() for parameter in parameters.split(","))
        return ", ".join(" ".join(names.get(word, word) for word in parameter) for parameter in words)

    c_type = "float" if dtype == np.float32 else "double"
    precision = f"fastdeblur_{{}}_{real}".format
    made = {
        name: cupy.ElementwiseKernel(
            typed(inputs),
            typed(outputs),
            body,
            precision(name),
            preamble=f"typedef {c_type} T; typedef complex<T> C;",
        )
        for name, (inputs, outputs, body) in KERNELS.items()
    }
    for name, (inputs, mapped) in SUMS.items():
        made[name] = cupy.ReductionKernel(
            typed(inputs), "float64 y", mapped, "a + b", "y = a", "0", precision(name)
        )
    return SimpleNamespace(**made)


class CupyOps:
    """The operation list on CuPy arrays of the current device; see fastdeblur.ops for what each does."""

    def __init__(self, dtype: np.dtype[Any]):
        import cupy

        self.dtype = np.dtype(dtype)
        self.complex_dtype = np.result_type(self.dtype, np.complex64)
        self._cp = cupy
        self._host = NumpyOps(self.dtype)
        self._kernels = kernels(self.dtype)
        self._maps: dict[tuple[Frame, str | None], list[tuple[Array, ...]]] = {}
        self._laplacians: dict[tuple[int, ...], Array] = {}

    # between the frame and the grid

    def extend(self, image: Array, frame: Frame, boundary: str | None = None) -> Array:
        grid = self._cp.ascontiguousarray(self._cp.asarray(image, self.dtype))
        for axis, arrays in enumerate(self._device_maps(frame, boundary)):
            reach, length = grid.shape[axis], frame.grid[axis]
            if length == reach:
                continue
            shape = (*grid.shape[:axis], length, *grid.shape[axis + 1 :])
            inner = int(np.prod(grid.shape[axis + 1 :], dtype=np.int64))
            out = self._cp.empty(shape, self.dtype)
            grid = self._kernels.extend(grid, *arrays, reach, length, inner, out)
        return grid

    def _device_maps(self, frame: Frame, boundary: str | None) -> list[tuple[Array, ...]]:
        key = frame, boundary
        if key not in self._maps:

            def uploaded(m: AxisMap) -> tuple[Array, ...]:
                weights = (w.astype(self.dtype) for w in (m.first_weight, m.second_weight))
                return tuple(self._cp.asarray(a) for a in (m.first, m.second, *weights))

            self._maps[key] = [uploaded(m) for m in frame.maps(boundary)]
        return self._maps[key]

    def crop(self, image: Array, frame: Frame) -> Array:
        return image[tuple(slice(n) for n in frame.shape)]

    def flat(self, value: float, frame: Frame) -> Array:
        return self._cp.full(frame.shape, value, self.dtype)

    def constant(self, value: float, frame: Frame) -> Array:
        return self._cp.full(frame.grid, value, self.dtype)

    # frame images as they were given

    def weighted(self, image: Array, weights: Array) -> Array:
        return self._kernels.weighted(image, weights)

    def copied(self, image: Array, like: Any) -> Any:
        if not isinstance(like, DeviceArray):
            return self._cp.asnumpy(image)
        made = like.new(like.shape, self.dtype)
        self._cp.asarray(made)[...] = image
        return made.result()

    # between image and spectrum

    def rfft(self, image: Array) -> Array:
        return self._cp.fft.rfftn(image)

    def irfft(self, spectrum: Array, frame: Frame) -> Array:
        return self._cp.fft.irfftn(spectrum, frame.grid, tuple(range(len(frame.grid))))

    def otf(self, kernel: Array, frame: Frame) -> Array:
        folded = np.zeros([min(k, n) for k, n in zip(kernel.shape, frame.grid, strict=True)], self.dtype)
        at = np.ix_(*[np.arange(k) % n for k, n in zip(kernel.shape, folded.shape, strict=True)])
        np.add.at(folded, at, kernel)
        grid = self._cp.zeros(frame.grid, self.dtype)
        grid[tuple(slice(n) for n in folded.shape)] = self._cp.asarray(folded)
        return self.rfft(
            self._cp.roll(grid, tuple(-(k // 2) for k in kernel.shape), tuple(range(kernel.ndim)))
        )

    # pointwise, spectrum

    def multiply(self, a: Array, b: Array) -> Array:
        return self._kernels.multiply(a, b)

    def multiply_conj(self, a: Array, b: Array) -> Array:
        return self._kernels.multiply_conj(a, b)

    def power(self, spectrum: Array) -> Array:
        return self._kernels.power(spectrum)

    def laplacian_power(self, frame: Frame) -> Array:
        if frame.grid not in self._laplacians:
            self._laplacians[frame.grid] = self._cp.asarray(self._host.laplacian_power(frame))
        return self._laplacians[frame.grid]

    def transfer_power(self, transfer: Callable[..., Any], frame: Frame) -> Array:
        return self._cp.asarray(self._host.transfer_power(transfer, frame))

    def wiener(self, spectrum: Array, otf: Array, reg_power: Array, balance: float) -> Array:
        power = self._cp.asarray(reg_power, self.dtype)
        return self._kernels.wiener(spectrum, otf, power, balance, removed_power(self.dtype))

    # pointwise, image

    def ratio(self, data: Array, model: Array, background: float, floor: float) -> Array:
        return self._kernels.ratio(data, model, background, floor)

    def scaled(self, image: Array, factor: Array, norm: Array | None, sigma: float) -> Array:
        return self._kernels.scaled(image, factor, 1.0 if norm is None else norm, sigma)

    def extrapolate(self, image: Array, previous: Array, step: float) -> Array:
        return self._kernels.extrapolate(image, previous, step)

    def momentum(self, x: Array, x_before: Array, z: Array, a: float, b: float, floor: float) -> Array:
        return self._kernels.momentum(x, x_before, z, a, b, floor)

    def subtract(self, a: Array, b: Array) -> Array:
        return a - b

    # reductions

    def dot(self, a: Array, b: Array) -> float:
        return float(self._kernels.dot(a, b))

    def total(self, image: Array) -> float:
        return float(self._kernels.total(self._cp.asarray(image, self.dtype)))


class CupyPlan:
    """Runs the recipes on one device, one plane after another; planes in host memory are copied there and back."""

    def __init__(self, frame: Frame, psfs: NDArray[Any], device: int):
        self._frame, self._dtype, self._device, self._psfs = frame, psfs.dtype, device, len(psfs)
        self._stream = 0  # of the last run
        with _guarded(device, 0, self._bytes("wiener")):
            self._ops = CupyOps(psfs.dtype)
            self._otfs = [self._ops.otf(psf, frame) for psf in psfs]
            self._wait()  # a run may be on another stream

    def run(self, method: str, params: Any, planes: Sequence[Plane]) -> None:
        first = planes[0].image
        stream = first.stream if isinstance(first, DeviceArray) else 0
        with _guarded(self._device, stream, self._bytes(method, params, planes)):
            if max(stream, 1) != max(self._stream, 1):
                # What the ops keep was made on another one.
                self._device_wide_wait()
            self._stream = stream
            for index in range(len(planes)):
                self._check(method, planes, index)
            for plane in planes:
                self._restore(method, params, plane)
            if must_wait(planes):
                self._wait()

    def _device_wide_wait(self) -> None:
        import cupy

        cupy.cuda.Device().synchronize()

    def _wait(self) -> None:
        import cupy

        cupy.cuda.get_current_stream().synchronize()

    def _check(self, method: str, planes: Sequence[Plane], index: int) -> None:
        plane = planes[index]
        if not isinstance(plane.image, DeviceArray):
            CHECKS[method](plane, self._frame, self._dtype)
            return
        import cupy

        image = cupy.asarray(plane.image)
        if plane.weights is not None:
            image = cupy.where(cupy.asarray(plane.weights) > 0, image, 0)
        limit = float(np.finfo(self._dtype).max) / self._frame.pixels
        lowest, highest = float(image.min()), float(image.max())
        if not (max(LOWEST[method], -limit) <= lowest and highest <= limit):  # true for NaN
            explain(method, planes, index, self._frame, self._dtype)

    def _restore(self, method: str, params: Any, plane: Plane) -> None:
        import cupy

        image, weights, init = (
            None if a is None else cupy.asarray(_known(a)) for a in (plane.image, plane.weights, plane.init)
        )
        moved = plane._replace(image=image, weights=weights, init=init)
        result = RECIPES[method](params, moved, self._otfs[plane.psf], self._frame, self._ops)
        if isinstance(plane.out, DeviceArray):
            cupy.asarray(plane.out)[...] = result
        else:
            plane.out[...] = cupy.asnumpy(result)

    def _bytes(self, method: str, params: Any = None, planes: Sequence[Plane] = ()) -> int:
        options = {
            "acceleration": getattr(params, "acceleration", ""),
            "weights": any(p.weights is not None for p in planes),
            "psfs": self._psfs,
        }
        return CupyBackend().memory(method, self._frame, self._dtype, options)


def _known(array: Any) -> Any:
    """CuPy knows no long double."""
    long = isinstance(array, np.ndarray) and array.dtype.itemsize > 8
    return array.astype(np.float64) if long else array


@contextmanager
def _guarded(device: int, stream: int, needed: int) -> Iterator[None]:
    """On that device and stream, with CuPy's errors turned into ours."""
    import cupy

    with cupy_on(device, stream):
        try:
            yield
        except cupy.cuda.memory.OutOfMemoryError as error:
            cupy.get_default_memory_pool().free_all_blocks()
            free = int(cupy.cuda.runtime.memGetInfo()[0])
            raise out_of_memory(device, needed, _asked(error, needed), free) from error
        except RuntimeError as error:
            if type(error).__module__.partition(".")[0] in ("cupy", "cupy_backends"):
                raise DeviceError(f"device: cuda:{device} failed: {error}") from error
            raise


def _asked(error: BaseException, needed: int) -> int:
    """CuPy says it in the text only: "Out of memory allocating 1,024 bytes (...)"."""
    words = str(error).partition("allocating ")[2].split(" ")
    number = words[0].replace(",", "")
    return int(number) if number.isdigit() else needed


class CupyBackend:
    """The recipes on a GPU, where CuPy is installed and the compiled module is not."""

    name = "cupy"
    computes_on = "cuda"
    keeps_scratch = False

    def why_not(self, spec: Spec | None = None) -> str:
        reason = why_not_cupy()
        return reason if reason or spec is None else self.why_not_device(spec.device or 0)

    def why_not_device(self, ordinal: int) -> str:
        if reason := why_not_cupy():
            return reason
        import cupy

        count = int(cupy.cuda.runtime.getDeviceCount())
        return (
            "" if ordinal < count else f"there is no cuda:{ordinal}, only {count} device{'s' * (count > 1)}"
        )

    def plan(
        self, frame: Frame, psfs: NDArray[Any], n_threads: int, keep: bool, device: int | None = None
    ) -> CupyPlan:
        return CupyPlan(frame, psfs, device or 0)

    def memory(self, method: str, frame: Frame, dtype: np.dtype[Any], options: dict[str, Any]) -> int:
        """By the arrays that are alive at once: a transform takes a work area, and copies the spectrum that it would destroy."""
        return recipe_memory(method, frame, dtype, options, 2.0)
