"""What every PSF generator shares: checks of its arguments, its frame, its memory and its backend."""

from __future__ import annotations

import math
import reprlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import as_choice, as_count, require_memory
from fastdeblur.errors import InvalidArgument, OutOfMemory, Unsupported

Float64Array = npt.NDArray[np.float64]

#: The share of a kernel that an explicit ``shape`` may cut off; the rest is scaled back to sum 1.
MAX_LOST_MASS = 0.01

# Asking for more threads than the system can start would end the process.
_MAX_THREADS = 1024

# Pixels from the origin, on one axis; more than any memory holds.
_LARGEST_REACH = 1e15

# Rounding in cos, sin and products must not add a rim of pixels that hold no more than rounding errors.
_EXTENT_TOLERANCE = 1e-12


def parameter(name: str, value: npt.ArrayLike, *, non_negative: bool = False) -> Float64Array:
    """Return a kernel parameter as a float64 array: real, finite, not empty, and not negative where asked."""
    if isinstance(value, np.ma.MaskedArray):
        raise InvalidArgument(f"{name}: expected numbers, got a masked array, whose mask would be lost")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InvalidArgument(
            f"{name}: expected a number or an array of numbers, got {reprlib.repr(value)}"
        ) from error
    if array.dtype.kind not in "iuf":
        shown = reprlib.repr(value) if array.size < 10 else f"dtype {array.dtype}"
        raise InvalidArgument(f"{name}: expected a real number or an array of them, got {shown}")
    if array.size == 0:
        raise InvalidArgument(f"{name}: expected at least one value, got shape {array.shape}")
    with np.errstate(over="ignore"):  # a long double may be infinite as a double
        result = array.astype(np.float64)
    bad = ~np.isfinite(result)
    rule = "finite"
    if non_negative:
        bad |= result < 0
        rule = "finite and at least 0"
    if bad.any():
        first = result[bad].flat[0]
        raise InvalidArgument(f"{name}: expected values that are {rule}, got {first}{_where(bad)}")
    return result


def _where(bad: npt.NDArray[np.bool_]) -> str:
    if bad.ndim == 0:
        return ""
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    return f" at index {index[0] if len(index) == 1 else index}"


def broadcast(**parameters: Float64Array) -> tuple[tuple[int, ...], list[Float64Array]]:
    """Return the batch shape, and each parameter broadcast to it as a contiguous 1-D array."""
    try:
        arrays = np.broadcast_arrays(*parameters.values())
    except ValueError as error:
        names = ", ".join(parameters)
        shapes = ", ".join(str(p.shape) for p in parameters.values())
        raise InvalidArgument(f"{names}: expected shapes that broadcast, got {shapes}") from error
    return arrays[0].shape, [np.ascontiguousarray(a).reshape(-1) for a in arrays]


def check_ndim(ndim: Any) -> int:
    count = as_count(ndim, "ndim", minimum=1)
    if count > 3:
        raise InvalidArgument(f"ndim: expected 1, 2 or 3, got {ndim!r}")
    return count


def check_shape(shape: Any, ndim: int | None) -> tuple[int, ...]:
    """Return ``shape`` as a tuple of positive ints, one for each of ``ndim`` axes (None: 1 to 3 axes)."""
    is_tuple = isinstance(shape, Sequence) and not isinstance(shape, (str, bytes))
    if not is_tuple and not (isinstance(shape, np.ndarray) and shape.ndim == 1):
        raise InvalidArgument(f"shape: expected a tuple of ints, got {shape!r}")
    sizes = tuple(as_count(size, f"shape[{axis}]", minimum=1) for axis, size in enumerate(shape))
    if (ndim is not None and len(sizes) != ndim) or not 1 <= len(sizes) <= 3:
        count = "1 to 3 axes" if ndim is None else f"{ndim} axes"
        raise InvalidArgument(f"shape: expected {count}, got {shape!r}")
    if max(sizes) > sys.maxsize:
        raise InvalidArgument(f"shape: expected at most {sys.maxsize} pixels on each axis, got {shape!r}")
    return sizes


def check_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    try:
        result = np.dtype(dtype)
    except TypeError as error:
        raise InvalidArgument(f"dtype: expected float32 or float64, got {dtype!r}") from error
    if dtype is None or result not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InvalidArgument(f"dtype: expected float32 or float64, got {dtype!r}")
    return result.newbyteorder("=")


def odd_size(extent: Float64Array) -> int:
    """Return the smallest odd number of pixels that holds ``[-extent, extent]`` around a pixel's centre."""
    largest = min(float(extent.max()), _LARGEST_REACH)
    return 2 * max(0, math.ceil(largest * (1 - _EXTENT_TOLERANCE) - 0.5)) + 1


def require_reach(extent: Float64Array, **parameter: Float64Array) -> None:
    """Refuse a kernel so large that its size in pixels is no exact number any more, by the parameter that makes it so."""
    if float(extent.max()) > _LARGEST_REACH:
        ((name, values),) = parameter.items()
        raise OutOfMemory(
            f"{name}: a kernel for {values.flat[int(extent.argmax())]:g} pixels cannot be allocated"
        )


def window(size: int) -> tuple[float, float]:
    """Return the first and last pixel's outer border on an axis, measured from the origin ``size // 2``."""
    return -(size // 2) - 0.5, size - size // 2 - 0.5


def corner(shape: tuple[int, ...]) -> float:
    """The distance in pixels from the origin to the farthest corner of a frame's last two axes, mirrored around it."""
    return math.hypot(shape[-2] // 2 + 0.5, shape[-1] // 2 + 0.5)


def check_lost(
    name: str,
    values: npt.NDArray[Any],
    lost: Float64Array,
    shape: tuple[int, ...],
    limit: float = MAX_LOST_MASS,
) -> None:
    """Refuse a frame that cuts off more than ``limit`` of any kernel."""
    worst = int(np.argmax(lost))  # NaN counts as the largest
    if not lost[worst] <= limit:
        value = np.array2string(values[worst], separator=", ")
        raise InvalidArgument(
            f"shape: expected to cut off at most {100 * limit:g}% of the kernel, got {shape}, "
            f"which cuts off {lost[worst]:.3g} of 1 at {name} = {value}"
        )


def scale_to_one(
    name: str,
    values: npt.NDArray[Any],
    kernels: Float64Array,
    shape: tuple[int, ...],
    limit: float = MAX_LOST_MASS,
) -> None:
    """Scale (n, *shape) kernels to sum 1 in place, or refuse a frame in which they miss more than ``limit`` of it."""
    axes = tuple(range(1, kernels.ndim))
    sums = kernels.sum(axis=axes, keepdims=True)
    check_lost(name, values, 1 - sums.reshape(-1), shape, limit)
    kernels /= sums


def choose_native(backend: Any, n_threads: Any) -> tuple[Any, int]:
    """Return the compiled module, or None where NumPy computes, and the checked number of threads."""
    threads = as_count(n_threads, "n_threads")
    as_choice(backend, "backend", ("auto", "native", "numpy"))
    if backend == "numpy":
        return None, threads
    try:
        from fastdeblur._isa import load_core

        return load_core(), min(threads, _MAX_THREADS)
    except ImportError as error:
        if backend == "native":
            raise Unsupported(f"backend: 'native' cannot be used: {error}") from error
        return None, threads


def allocate(batch: tuple[int, ...], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Float64Array:
    """Return an uninitialised float64 array (n, *shape), or raise OutOfMemory before any work."""
    count = math.prod(batch)
    what = f"psf: {count} kernel(s) of shape {shape}"
    bytes_per_pixel = 8 if dtype == np.float64 else 8 + dtype.itemsize
    require_memory(count * math.prod(shape) * bytes_per_pixel, what)
    try:
        return np.empty((count, *shape))
    except (MemoryError, ValueError) as error:
        raise OutOfMemory(f"{what} cannot be allocated") from error


def finish(kernels: Float64Array, batch: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return (n, *shape) float64 kernels of sum 1 as (*batch, *shape) in ``dtype``."""
    result: npt.NDArray[Any] = kernels
    if dtype != np.float64:
        result = kernels.astype(dtype)
        # The casts' errors can add up: take their sum out again.
        axes = tuple(range(1, kernels.ndim))
        result /= result.sum(axis=axes, keepdims=True, dtype=np.float64).astype(dtype)
    return result.reshape(batch + kernels.shape[1:])
