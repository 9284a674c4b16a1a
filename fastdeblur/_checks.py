"""Argument checks: each raises before any work and names the argument, the rule and the value."""

from __future__ import annotations

import math
import operator
import os
import reprlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from fastdeblur._arrays import DeviceArray, on_device, read, where
from fastdeblur.errors import InvalidArgument, OutOfMemory, PSFWarning

MAX_NDIM = 3
# Of a PSF's absolute values' sum over its sum: beyond it too few digits of the sum are left.
MOST_CANCELLED = 1e6
# Pixels, and share of the axis, from which a PSF counts as off its origin; the frame's cut may move a centroid by the tolerance.
OFF_CENTRE, OFF_CENTRE_SHARE, _CENTRE_TOLERANCE = 1.0, 0.05, 0.01
# Of the peak: what counts as bright as it.
_AS_BRIGHT = 0.99
# How near to 1 the sums of a batch of kernels are.
_KERNEL_SUM_TOLERANCE = 1e-6
_AXES = {1: "(w,)", 2: "(h, w)", 3: "(d, h, w)"}

AnyArray = NDArray[Any] | DeviceArray

P = ParamSpec("P")
R = TypeVar("R")


def names_memory_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Turn NumPy's MemoryError into OutOfMemory: converting or checking an argument may be what does not fit."""

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except OutOfMemory:
            raise
        except MemoryError as error:
            raise OutOfMemory(
                f"{function.__qualname__}: {error or 'the memory for an argument cannot be allocated'}"
            ) from error

    return guarded


def as_real_array(value: Any, name: str, *, native: bool = True) -> NDArray[Any]:
    """The argument as a NumPy array of a real dtype, without a copy where none is needed; native: in this machine's byte order."""
    if isinstance(value, np.ma.MaskedArray):
        raise InvalidArgument(
            f"{name}: a masked array's mask would be lost; pass its data, missing pixels filled or, with weights, weighed 0"
        )
    if on_device(value):
        raise InvalidArgument(
            f"{name}: expected an array in host memory, got {type(value).__name__} on a CUDA device"
        )
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"{name}: expected an array, got {type(value).__name__} ({error})") from error
    if array.dtype.kind not in "buif":
        raise InvalidArgument(f"{name}: expected a real numeric dtype, got {array.dtype}")
    return in_native_order(array) if native else array


def in_native_order(array: NDArray[Any]) -> NDArray[Any]:
    """The array, or a copy of one in a foreign byte order."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def as_image(value: Any) -> AnyArray:
    """An image, also one in a foreign byte order, of which Problem.run copies no more at once than it works on."""
    return read(value, "image") if on_device(value) else as_real_array(value, "image", native=False)


def as_array(value: Any, name: str, image: AnyArray | None = None) -> AnyArray:
    """As as_real_array, and an array on a CUDA device as a view of it; with the image given, where the image is."""
    array = read(value, name) if on_device(value) else as_real_array(value, name)
    if image is not None and where(array) != where(image):
        raise InvalidArgument(
            f"{name}: expected an array {where(image)}, as the image is, got one {where(array)}"
        )
    return array


def as_host_array(value: Any, name: str) -> NDArray[Any]:
    """As as_real_array; what is on a CUDA device is copied, for small arrays that are needed here."""
    if not on_device(value):
        return as_real_array(value, name)
    array = read(value, name)
    return array.library.to_host(array, name)


def result_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """float64 stays; float16 and all integers are computed in, and returned as, float32."""
    return np.dtype(np.float64 if dtype.kind == "f" and dtype.itemsize >= 8 else np.float32)


def as_psf(value: Any, image_ndim: int = 0) -> NDArray[np.float64]:
    """A PSF, or one per channel of an image with that many axes, checked but not yet normalised."""
    given = as_host_array(value, "psf")
    # Its copy in float64, the normalised one and their parts are alive at once.
    require_memory(3 * 8 * given.size, f"psf: shape {given.shape}")
    psf = given.astype(np.float64, order="C")
    if not 1 <= psf.ndim <= max(MAX_NDIM + 1, image_ndim):
        raise InvalidArgument(
            f"psf: expected 1 to 3 spatial axes (and at most a channel axis), got shape {psf.shape}"
        )
    if psf.size == 0:
        raise InvalidArgument(f"psf: expected at least one pixel, got shape {psf.shape}")
    require_finite(psf, "psf")
    return psf


def normalised(psf: NDArray[np.float64]) -> NDArray[np.float64]:
    """A purely spatial PSF divided by its sum; warns about what is legal but probably meant otherwise."""
    with np.errstate(over="ignore"):
        total = float(psf.sum())
    if not total > 0.0 or not math.isfinite(total):
        raise InvalidArgument(f"psf: expected a positive, finite sum, got {total:g}")
    if _is_batch(psf):
        warnings.warn(
            f"psf: each of its {len(psf)} planes sums to 1, where a volume's PSF does altogether; a batch of kernels? It is taken "
            "as one 3-D PSF (psf.gaussian makes one of a tuple, a batch of a list)",
            PSFWarning,
            stacklevel=user_level(),
        )
    psf = psf / total
    mass = float(np.abs(psf).sum())
    if not mass < MOST_CANCELLED:
        raise InvalidArgument(f"psf: expected a sum that its values do not cancel in, got {total:g}")
    negative = -float(psf[psf < 0].sum())
    if negative > 0:
        warnings.warn(
            f"psf: has negative values ({100 * negative:.2g} % of its sum); light cannot be negative",
            PSFWarning,
            stacklevel=user_level(),
        )
    mean = centroid(psf)
    for axis in off_centre(psf, mean):
        warnings.warn(
            f"psf: its centroid lies {mean[axis]:+.1f} pixels from its origin (index {psf.shape[axis] // 2}) on axis {axis}; "
            f"the result moves by as much",
            PSFWarning,
            stacklevel=user_level(),
        )
    return psf


def _is_batch(psf: NDArray[np.float64]) -> bool:
    """Whether a volume has planes that are kernels themselves; one of a pixel is a line along the volume."""
    if psf.ndim != MAX_NDIM or len(psf) == 1 or psf[0].size == 1:
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        sums = psf.sum(axis=(1, 2))
    return bool((np.abs(sums - 1) <= _KERNEL_SUM_TOLERANCE).all())


def centroid(psf: NDArray[np.float64]) -> tuple[float, ...]:
    """The centroid from the origin ``shape // 2`` on each axis, in pixels; the sum must not be 0."""
    total = float(psf.sum())
    profiles = (psf.sum(axis=tuple(a for a in range(psf.ndim) if a != axis)) for axis in range(psf.ndim))
    return tuple(float(p @ (np.arange(p.size) - p.size // 2.0)) / total for p in profiles)


def off_centre(psf: NDArray[np.float64], mean: tuple[float, ...]) -> tuple[int, ...]:
    """The axes on which a PSF with this centroid lies off its origin, by a pixel and by 0.05 of the axis.

    Both its centroid and the middle of its brightest pixels must. The light of an aberrated PSF is lopsided around its focus, which
    is where a restored point belongs; the peak of a shaken camera's path lies anywhere around the centroid.
    """
    limits = [max(OFF_CENTRE, OFF_CENTRE_SHARE * n) - _CENTRE_TOLERANCE for n in psf.shape]
    if all(abs(offset) < limit for offset, limit in zip(mean, limits, strict=True)):
        return ()
    brightest = np.nonzero(psf >= _AS_BRIGHT * float(psf.max()))
    middle = (float(b.mean()) - n // 2 for b, n in zip(brightest, psf.shape, strict=True))
    # A pixel's light may lie half a pixel beside its middle.
    nearer = (min(abs(a), abs(b) + 0.5) for a, b in zip(mean, middle, strict=True))
    return tuple(axis for axis, (d, limit) in enumerate(zip(nearer, limits, strict=True)) if d >= limit)


def user_level() -> int:
    """The stack level of the first caller outside this package, so that a warning points at the user's line."""
    import sys

    package = __name__.partition(".")[0]
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    return level


def require_finite(
    array: NDArray[Any], name: str, where: NDArray[Any] | None = None, *, limit: float = math.inf
) -> None:
    """Refuse NaN, infinity and values beyond a limit, except where a mask says that the pixel is not used."""
    if array.dtype.kind != "f":
        return
    limit = min(limit, float(np.finfo(np.float64).max))
    if where is None and array.size:
        with np.errstate(invalid="ignore"):
            # Without a temporary; false for NaN.
            if -limit <= float(array.min()) and float(array.max()) <= limit:
                return
    if float(np.finfo(array.dtype).max) <= limit:
        bad = ~np.isfinite(array)
    else:
        bad = ~((array <= limit) & (array >= -limit))  # also true for NaN
    if where is not None:
        bad &= where
    if bad.any():
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
        rule = (
            "finite values"
            if not np.isfinite(array[index])
            else f"values within +-{limit:.3g} (their sum must not overflow)"
        )
        raise InvalidArgument(f"{name}: expected {rule}, got {array[index]} at index {index}")


def require_squarable(transfer: NDArray[Any], name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """|R|^2 of a transfer function, in a dtype that must hold it: infinity would turn a frequency into NaN."""
    limit = math.sqrt(float(np.finfo(dtype).max) / 2)
    with np.errstate(over="ignore"):  # long double may be infinite as a double
        size = np.abs(transfer.astype(np.complex128 if transfer.dtype.kind == "c" else np.float64))
    if not np.isfinite(size).all():
        raise InvalidArgument(f"{name}: expected finite values, got NaN or infinity")
    if size.size and float(size.max()) > limit:
        raise InvalidArgument(
            f"{name}: expected |R| <= {limit:.3g} (its square must not overflow), got {float(size.max()):.3g}"
        )
    return (size * size).astype(dtype)


def require_nonnegative(array: NDArray[Any], name: str, where: NDArray[Any] | None = None) -> None:
    """Refuse values below zero where they are used."""
    if array.dtype.kind in "bu" or (where is None and array.size and array.min() >= 0):
        return
    bad = array < 0
    if where is not None:
        bad &= where
    if bad.any():
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
        hint = "; Richardson-Lucy counts light: add the offset back and pass it as background=, or clip" * (
            name == "image"
        )
        raise InvalidArgument(f"{name}: expected values >= 0, got {array[index]} at index {index}{hint}")


def shown(value: Any) -> str:
    """A refused value in a few words: an array's shape and dtype, and of anything long its beginning and end."""
    shape, dtype = getattr(value, "shape", ()), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and shape and dtype is not None:
        return f"array of shape {shape} and dtype {dtype}"
    try:
        return reprlib.repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return f"{type(value).__name__} with too many digits to print"


def as_number(
    value: Any, name: str, *, minimum: float = 0.0, above: bool = False, dtype: Any = np.float64
) -> float:
    """A finite real scalar not below the minimum (or above it), and finite in the dtype to compute in too."""
    try:
        scalar = np.ndim(value) == 0 and not isinstance(value, (str, bytes)) and not np.iscomplexobj(value)
        number = float(value) if scalar else math.nan
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < minimum or (above and number == minimum):
        raise InvalidArgument(
            f"{name}: expected a finite number {'>' if above else '>='} {minimum:g}, got {shown(value)}"
        )
    if number > float(np.finfo(dtype).max):
        raise InvalidArgument(
            f"{name}: expected a number that {np.dtype(dtype)} can hold, got {shown(value)}"
        )
    return number


def as_count(value: Any, name: str, *, minimum: int = 0) -> int:
    """An integer not below the minimum; a float is not an integer, not even 3.0."""
    try:
        count = operator.index(value) if not isinstance(value, (bool, np.bool_)) else None
    except TypeError:
        count = None
    if count is None or count < minimum:
        raise InvalidArgument(f"{name}: expected an integer >= {minimum}, got {shown(value)}")
    return count


def as_thread_count(value: Any) -> int:
    """n_threads; the core cuts what no machine has, but must be able to read it."""
    return min(as_count(value, "n_threads"), 1 << 20)


def as_choice(value: Any, name: str, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise InvalidArgument(f"{name}: expected one of {', '.join(map(repr, choices))}, got {shown(value)}")
    return value


@dataclass(frozen=True)
class Layout:
    """How an image's axes read: leading batch axes and a channel axis make planes, the rest is space."""

    shape: tuple[int, ...]
    channel_axis: int | None  # non-negative
    spatial: tuple[int, ...]
    planes: tuple[int, ...]  # batch axes, then the channel axis if there is one
    psf_per_channel: bool
    psf_spatial: tuple[int, ...]

    @staticmethod
    def of(shape: tuple[int, ...], psf_shape: tuple[int, ...], channel_axis: Any) -> Layout:
        ndim = len(shape)
        if ndim == 0:
            raise InvalidArgument("image: expected at least one axis, got a scalar")
        axis = None if channel_axis is None else as_axis(channel_axis, ndim) % ndim
        others = tuple(n for a, n in enumerate(shape) if a != axis)
        per_channel = axis is not None and len(psf_shape) == ndim
        psf_spatial = psf_shape
        if axis is not None:
            channels = shape[axis]
            if per_channel:
                if psf_shape[axis] != channels:
                    raise InvalidArgument(
                        f"psf: expected {channels} PSFs along channel_axis={channel_axis}, as many as the image of shape "
                        f"{shape} has channels, got shape {psf_shape}"
                    )
                # All axes but the channels' are space, as far as there are so many; those before them are a batch's.
                psf_spatial = tuple(k for a, k in enumerate(psf_shape) if a != axis)
                if all(k == 1 for k in psf_spatial[:-MAX_NDIM]):
                    psf_spatial = psf_spatial[-MAX_NDIM:]
            # Without the image's first axis, a batch axis say, a PSF's channel axis would be one earlier.
            if axis and ndim == 4 and len(psf_shape) == 3 and psf_shape[axis - 1] == channels:
                raise InvalidArgument(
                    f"psf: shape {psf_shape} reads as one 3-D PSF and as {channels} 2-D ones for an image of shape {shape}; for "
                    f"the former pass np.stack([psf] * {channels}, {axis}), for the latter restore one image after the other"
                )
        space = len(psf_spatial)
        if space > MAX_NDIM:
            rule = f"1 to {MAX_NDIM} spatial axes"
            if per_channel:
                rule += " and length 1 on the batch axes before them"
            elif axis is not None:
                rule += f", or all {ndim} axes of the image with {channels} PSFs on axis {axis} and length 1 on batch axes,"
            raise InvalidArgument(
                f"psf: expected {rule} for an image of shape {shape}, got shape {psf_shape}"
            )
        if len(others) < space:
            raise InvalidArgument(
                f"psf: expected at most {len(others)} axes {_AXES.get(len(others), '')} for an image of shape {shape}"
                + (f" with channel_axis={channel_axis}" if axis is not None else "")
                + f", got shape {psf_shape}"
            )
        if 0 in shape:
            raise InvalidArgument(f"image: expected at least one pixel, got shape {shape}")
        colour = ndim == space + 1 or (ndim > space and shape[-1] >= 3 and shape[-2] > 4)
        if axis is None and space > 1 and shape[-1] <= 4 and colour:
            raise InvalidArgument(
                f"image: shape {shape} with a PSF of {space} axes looks like channels in the last axis; pass channel_axis=-1 "
                f"(or channel_axis=0 for a stack of images {shape[-1]} pixels wide)"
            )
        batch = others[: len(others) - space]
        planes = batch + ((shape[axis],) if axis is not None else ())
        return Layout(shape, axis, others[len(others) - space :], planes, per_channel, psf_spatial)

    @overload
    def view(self, array: NDArray[Any]) -> NDArray[Any]: ...

    @overload
    def view(self, array: DeviceArray) -> DeviceArray: ...

    @overload
    def view(self, array: AnyArray) -> AnyArray: ...

    def view(self, array: AnyArray) -> AnyArray:
        """An array of the image's shape as (*planes, *spatial), without a copy."""
        if self.channel_axis is None:
            return array
        if isinstance(array, DeviceArray):
            order = [axis for axis in range(array.ndim) if axis != self.channel_axis]
            order.insert(len(self.planes) - 1, self.channel_axis)
            return array.transpose(order)
        return np.moveaxis(array, self.channel_axis, len(self.planes) - 1)

    def psfs(self, psf: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, *psf spatial shape), each normalised: one for all planes, or one per channel."""
        if not self.psf_per_channel:
            return normalised(psf)[np.newaxis]
        assert self.channel_axis is not None
        channels = np.moveaxis(psf, self.channel_axis, 0)
        return np.stack([normalised(p.reshape(self.psf_spatial)) for p in channels])


def as_axis(value: Any, ndim: int) -> int:
    try:
        axis = operator.index(value) if not isinstance(value, (bool, np.bool_)) else None
    except TypeError:
        axis = None
    if axis is None:
        raise InvalidArgument(f"channel_axis: expected an integer or None, got {shown(value)}")
    if not -ndim <= axis < ndim:
        raise InvalidArgument(
            f"channel_axis: expected {-ndim} to {ndim - 1} for {ndim} image axes, got {axis}"
        )
    return axis


def as_out(
    out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], image: AnyArray, **inputs: AnyArray | None
) -> AnyArray:
    """The output array: a new one where the image is, or the caller's if it fits and shares no memory with an input."""
    if out is None:
        if isinstance(image, DeviceArray):
            return image.new(shape, dtype)
        require_memory(math.prod(shape) * dtype.itemsize, "out")
        try:
            return np.empty(shape, dtype)
        except (MemoryError, ValueError) as error:
            raise OutOfMemory(
                f"out: an array of shape {shape} and dtype {dtype} cannot be allocated"
            ) from error
    if isinstance(image, DeviceArray):
        if not on_device(out):
            raise InvalidArgument(
                f"out: expected an array {where(image)}, as the image is, got {type(out).__name__}"
            )
        out = as_array(out, "out", image)
    elif on_device(out):
        out = as_array(out, "out", image)  # raises
    elif not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise InvalidArgument(f"out: expected a NumPy array, got {type(out).__name__}")
    if out.shape != shape:
        raise InvalidArgument(f"out: expected shape {shape}, got {out.shape}")
    if out.dtype != dtype or not out.dtype.isnative:
        raise InvalidArgument(f"out: expected dtype {dtype}, got {out.dtype}")
    if not (out.aligned if isinstance(out, DeviceArray) else out.flags.aligned):
        raise InvalidArgument("out: expected aligned elements, got an unaligned array")
    if not (out.writeable if isinstance(out, DeviceArray) else out.flags.writeable):
        raise InvalidArgument("out: expected a writable array, got a read-only one")
    if out.size and any(s == 0 and n > 1 for s, n in zip(out.strides, out.shape, strict=True)):
        raise InvalidArgument(f"out: expected distinct elements, got strides {out.strides}")
    for name, array in {"image": image, **inputs}.items():
        if array is not None and _overlap(out, array):
            raise InvalidArgument(f"out: expected memory of its own, got an array that overlaps {name}")
    checked: AnyArray = out
    return checked


def answer(result: AnyArray, out: Any) -> Any:
    """What a method returns: the caller's out itself, or a new array of the image's library."""
    if out is not None:
        return out
    return result.result() if isinstance(result, DeviceArray) else result


def _overlap(a: AnyArray, b: AnyArray) -> bool:
    if isinstance(a, DeviceArray) or isinstance(b, DeviceArray):
        return isinstance(a, DeviceArray) and isinstance(b, DeviceArray) and a.overlaps(b)
    if not np.may_share_memory(a, b):
        return False
    most: Any = 10_000  # steps; NumPy's types admit only its two symbolic values
    try:
        return np.shares_memory(a, b, max_work=most)
    except Exception:
        # NumPy's TooHardError, which moved between namespaces: undecided counts as overlapping.
        return True


def require_memory(needed: int, what: str, kept: int = 0) -> None:
    """Refuse a request that the machine cannot hold: the system would grant it first and kill the process later.

    kept : of the bytes needed, those that are held already.
    """
    if needed < 1 << 28:
        return
    available = _available_memory()
    if available is not None and needed - kept > available:
        raise OutOfMemory(
            f"{what}: needs {needed / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB are available"
        )


def _available_memory() -> int | None:
    """Bytes that this process may still take, as far as the system tells: of the machine, and of its container."""
    known = [bytes_ for bytes_ in (_left_on_machine(), *_left_in_cgroups()) if bytes_ is not None]
    return min(known, default=None)


def _left_on_machine() -> int | None:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return int(os.sysconf("SC_PHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return None


# (limit, usage, statistics, the statistics' line of pages that can be dropped) of control groups, versions 2 and 1, as a
# container sees its own.
_CGROUPS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)


def _left_in_cgroups(root: str = "/sys/fs/cgroup") -> list[int]:
    left = (_left_in_cgroup(Path(root), *names) for names in _CGROUPS)
    return [bytes_ for bytes_ in left if bytes_ is not None]


def _left_in_cgroup(root: Path, limit: str, usage: str, statistics: str, droppable: str) -> int | None:
    try:
        most, used = (int((root / name).read_text(encoding="ascii")) for name in (limit, usage))
        fields = dict(line.split() for line in (root / statistics).read_text(encoding="ascii").splitlines())
        return most - used + int(fields.get(droppable, 0))
    except (OSError, ValueError):  # no such version here, or no limit ("max")
        return None
