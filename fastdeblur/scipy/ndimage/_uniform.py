"""Means over a window."""

# ruff: noqa: A002 - the parameters' names are the original's

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.ndimage as _original

from fastdeblur._dropin.replaces import replaces
from fastdeblur.scipy.ndimage._arguments import (
    CONSTANT,
    Array,
    Output,
    Unsuited,
    axes_of,
    axis_of,
    every_axis,
    image,
    mode_number,
    real,
    start_of,
    whole,
)
from fastdeblur.scipy.ndimage._lines import LONGEST_MEAN, Line, filter_lines

# By a float's size in bytes.
LARGEST = {4: float(np.finfo(np.float32).max), 8: float(np.finfo(np.float64).max)}


@replaces(_original.uniform_filter1d)
def uniform_filter1d(
    input: Any,
    size: Any,
    axis: Any = -1,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
) -> Any:
    """Mean over ``size`` elements along one axis, ``scipy.ndimage.uniform_filter1d``; see `uniform_filter`."""
    try:
        array = image(input)
        result = Output(output, input)
        line = _mean_line(axis_of(axis, array.ndim), size, mode, origin)
        limit = _limit(array, result.array, line.kernel, line.mode == CONSTANT, cval)
    except Unsuited:
        return NotImplemented
    if not filter_lines(array, result.array, (line,), float(cval), limit):
        return NotImplemented
    return result.deliver()


@replaces(_original.uniform_filter)
def uniform_filter(
    input: Any,
    size: Any = 3,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Any:
    """Multidimensional mean filter, ``scipy.ndimage.uniform_filter``.

    input : array of any real dtype and any number of axes; size, mode, origin : one for all axes or one for each
    Returns an array of input's shape, of its dtype or ``output``'s; integers equal SciPy's (cut towards 0 after each axis), floats
    to rounding: SciPy's running sum gathers errors along a line, ours starts anew. Arrays with NaN, infinities or integers too
    large for an exact sum go to SciPy, whose running sum carries them to the line's end. Raises what SciPy raises.
    """
    try:
        array = image(input)
        result = Output(output, input)
        where = axes_of(axes, array.ndim)
        each = [every_axis(value, len(where)) for value in (size, mode, origin)]
        lines = [
            _mean_line(axis, s, m, o) for axis, s, m, o in zip(where, *each, strict=True) if whole(s) > 1
        ]
        longest = max((line.kernel for line in lines), default=1)
        limit = _limit(array, result.array, longest, CONSTANT in [line.mode for line in lines], cval)
    except Unsuited:
        return NotImplemented
    if not lines:
        np.copyto(result.array, array, casting="unsafe")
    elif not filter_lines(array, result.array, lines, float(cval), limit):
        return NotImplemented
    return result.deliver()


def _mean_line(axis: int, size: Any, mode: Any, origin: Any) -> Line:
    size = whole(size)
    if not 0 < size <= LONGEST_MEAN:
        raise Unsuited
    return Line(axis, size, start_of(size, origin), mode_number(mode))


def _limit(array: Array, out: Array, size: int, meets_constant: bool, cval: Any) -> float:
    """The magnitude up to which sums of elements stay exact (integers) or finite (floats)."""
    constant = real(cval)
    integers = out.dtype.kind in "bui"
    if array.dtype.kind == "f":
        if integers:
            raise Unsuited  # a sum's last bit decides where it is cut
        limit = LARGEST[min(out.dtype.itemsize, array.dtype.itemsize)] / size
    else:
        limit = 2.0**53 / size if array.dtype.itemsize == 8 else math.inf
        # Means below 0 are near 2**64 to the next axis, whose sums then depend on their order.
        if out.dtype == np.uint64 and (
            (array.dtype.kind == "i" and array.min() < 0) or (meets_constant and constant < 0)
        ):
            raise Unsuited
    if meets_constant:
        exact = math.isfinite(constant) and (not integers or constant == math.floor(constant))
        if not exact or abs(constant) > min(limit, 2.0**53 / size):
            raise Unsuited
    return limit
