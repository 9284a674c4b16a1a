"""How ndimage's arguments read, for the calls that are ours; None (or Unsuited) for all others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastdeblur._dropin.replaces import PLAIN

# The core's numbers of the boundary modes.
NEAREST, WRAP, REFLECT, MIRROR, CONSTANT = range(5)
MODES = {
    "nearest": NEAREST,
    "wrap": WRAP,
    "reflect": REFLECT,
    "grid-mirror": REFLECT,
    "mirror": MIRROR,
    "constant": CONSTANT,
    "grid-wrap": WRAP,
    "grid-constant": CONSTANT,
}

REAL = frozenset("?bBhHiIlLqQfd")
Array = np.ndarray[Any, Any]


class Unsuited(Exception):
    """The call is not one that we accelerate: the original answers it, or says what is wrong."""


def image(value: Any) -> Array:
    """A real array with elements and axes, C-contiguous in its own type."""
    if type(value) not in PLAIN:
        raise Unsuited
    dtype = value.dtype
    if dtype.char not in REAL or value.size == 0 or value.ndim == 0:
        raise Unsuited
    if not dtype.isnative:
        value = value.astype(dtype.newbyteorder("="))
    return value if value.flags.c_contiguous else np.ascontiguousarray(value)


def window_image(value: Any) -> Array:
    """The same for filters with n-D windows: SciPy takes some elements of broadcast arrays for the constant, and is left to it."""
    array = image(value)
    if 0 in value.strides:
        raise Unsuited
    return array


class Output:
    """The array that a result is computed into (`array`), and the one that the caller gets (from `deliver`)."""

    __slots__ = ("_given", "array")

    def __init__(self, output: Any, given_input: Array) -> None:
        shape = given_input.shape
        self._given = None
        if output is None:
            dtype = given_input.dtype
            self.array = np.empty(shape, dtype if dtype.isnative else dtype.newbyteorder("="))
            return
        if type(output) is np.ndarray:
            if output.shape != shape or output.dtype.char not in REAL or not output.flags.writeable:
                raise Unsuited
            shared = np.may_share_memory(output, given_input)
            # SciPy reads on in what it has written there.
            if 0 in output.strides or (shared and not _same_place(output, given_input)):
                raise Unsuited
            if output.flags.c_contiguous and output.dtype.isnative and not shared:
                self.array = output
                return
            self._given = output
            self.array = np.empty(shape, output.dtype.newbyteorder("="))
            return
        if not isinstance(output, type | np.dtype | str):
            raise Unsuited
        try:
            dtype = np.dtype(output)
        except TypeError:
            raise Unsuited from None
        if dtype.char not in REAL or not dtype.isnative:
            raise Unsuited
        if isinstance(output, str) and dtype.kind == "b":
            raise Unsuited
        self.array = np.empty(shape, dtype)

    def deliver(self) -> Array:
        if self._given is None:
            return self.array
        self._given[...] = self.array
        return self._given


def _same_place(a: Array, b: Array) -> bool:
    return a.ctypes.data == b.ctypes.data and a.strides == b.strides and a.dtype == b.dtype


def apart(output: Any, given_input: Array) -> None:
    """For sums of filters: SciPy's first one overwrites the input of the others where that is the output."""
    if type(output) is np.ndarray and np.may_share_memory(output, given_input):
        raise Unsuited


def exact_in_double(array: Array) -> bool:
    """Whether SciPy, which orders numbers in float64, keeps all digits of these."""
    if array.dtype.itemsize < 8 or array.dtype.kind == "f":
        return True
    return bool(array.min() >= -(2**53) and array.max() <= 2**53)


def mode_number(mode: Any) -> int:
    if type(mode) is not str or mode not in MODES:
        raise Unsuited
    return MODES[mode]


def real(value: Any) -> float:
    if type(value) is float:
        return value
    if isinstance(value, int | float | np.floating | np.integer):
        try:
            return float(value)
        except OverflowError:
            pass
    raise Unsuited


def whole(value: Any) -> int:
    if type(value) is int:
        return value
    # A truth value is an int to Python, and to SciPy mostly not.
    if isinstance(value, int | np.integer) and type(value) is not bool:
        return int(value)
    raise Unsuited


def every_axis(value: Any, count: int) -> list[Any]:
    """One value per axis from a scalar or a sequence of the right length."""
    kind = type(value)
    if kind is int or kind is float or kind is str or value is None or not isinstance(value, Iterable):
        return [value] * count
    if isinstance(value, np.ndarray) and value.ndim != 1:
        if value.ndim > 0:
            raise Unsuited
        return [value[()]] * count
    if not isinstance(value, tuple | list | np.ndarray) or len(value) != count:
        raise Unsuited
    return list(value)


def axes_of(axes: Any, ndim: int) -> tuple[int, ...]:
    if axes is None:
        return tuple(range(ndim))
    if isinstance(axes, int | np.integer):
        axes = (axes,)
    if not isinstance(axes, tuple | list):
        raise Unsuited
    result = tuple(axis_of(axis, ndim) for axis in axes)
    if len(set(result)) != len(result):
        raise Unsuited
    return result


def axis_of(axis: Any, ndim: int) -> int:
    index = whole(axis)
    if not -ndim <= index < ndim:
        raise Unsuited
    return index % ndim


def real_weights(weights: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    kind = type(weights)
    if kind is not np.ndarray:
        if kind is not list and kind is not tuple:
            raise Unsuited
        try:
            weights = np.array(weights)
        except (ValueError, TypeError):
            raise Unsuited from None
    dtype = weights.dtype
    if dtype.kind not in "biuf" or weights.size == 0:
        raise Unsuited
    array: np.ndarray[Any, np.dtype[np.float64]] = weights
    if dtype.char != "d" or not dtype.isnative or not weights.flags.c_contiguous:
        array = weights.astype(np.float64, "C")
    return array


def start_of(size: int, origin: Any) -> int:
    """Where a window of `size` elements begins, relative to the element that it is for."""
    shift = whole(origin)
    if not -(size // 2) <= shift <= (size - 1) // 2:
        raise Unsuited
    return -(size // 2) - shift
