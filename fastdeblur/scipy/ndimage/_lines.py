"""Filters along one axis after another: as few passes over memory as their order allows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastdeblur._dropin.replaces import core
from fastdeblur.scipy.ndimage._arguments import Array


class Line(NamedTuple):
    """out[i] = sum_k kernel[k] * extended(input)[i + start + k] along an axis; an integer kernel: the mean of as many."""

    axis: int
    kernel: Any
    start: int
    mode: int


# Longer kernels and means are the original's: ours works on several lines at once, each extended by the kernel's length.
MOST_TAPS = 1 << 17
LONGEST_MEAN = 1 << 15

# Taps up to which a kernel goes down the columns of an array as it lies, and up to which the last two axes are
# filtered in one pass: what such a pass keeps in cache grows with both kernels, and begins anew with every strip.
_LONG = 80


def filter_lines(
    array: Array,
    out: Array,
    lines: Sequence[Line],
    cval: float,
    limit: float = math.inf,
    accumulate: bool = False,
) -> bool:
    """Apply `lines` one after the other, the results between them in out's dtype.

    accumulate: the result is added to what out holds; for at most two lines, whose results do not pass through out.
    False, and out unspecified, where a magnitude beyond `limit` was met.
    """
    last = array.ndim - 1
    steps: list[Sequence[Line]] = []
    for line in lines:
        # The last two axes are filtered in one pass.
        if steps and len(steps[-1]) == 1 and _pass_together(steps[-1][0], line, last):
            steps[-1] = (steps[-1][0], line)
        else:
            steps.append((line,))
    if len(steps) == 1:
        return _step(array, out, steps[0], cval, limit, accumulate)
    spare = np.empty(out.shape, out.dtype)
    for left in range(len(steps) - 1, -1, -1):
        to = spare if left % 2 else out
        if not _step(array, to, steps[len(steps) - 1 - left], cval, limit, accumulate and left == 0):
            return False
        array = to
    return True


def _pass_together(one: Line, other: Line, last: int) -> bool:
    return (
        one.axis + other.axis == 2 * last - 1
        and abs(one.axis - other.axis) == 1
        and taps_of(one) <= _LONG
        and taps_of(other) <= _LONG
    )


def taps_of(line: Line) -> int:
    return line.kernel if type(line.kernel) is int else len(line.kernel)


def _step(array: Array, out: Array, step: Sequence[Line], cval: float, limit: float, add: bool) -> bool:
    functions = core()
    assert functions is not None
    if len(step) == 1:
        axis, kernel, start, mode = step[0]
        if axis < array.ndim - 1 and type(kernel) is not int and len(kernel) > _LONG:
            return _turned(array, out, step[0], cval, limit, add)
        done = functions.ndimage_correlate_axis(array, out, axis, kernel, start, mode, cval, limit, add)
    else:
        rows_first = step[0].axis > step[1].axis
        y, x = (step[1], step[0]) if rows_first else step
        done = functions.ndimage_correlate_pair(
            array, out, y.kernel, y.start, y.mode, x.kernel, x.start, x.mode, rows_first, cval, limit, add
        )
    return bool(done)


def _turned(array: Array, out: Array, line: Line, cval: float, limit: float, add: bool) -> bool:
    """A long kernel along another axis than the last, with the arrays turned so that it is the last."""
    rows = np.ascontiguousarray(np.moveaxis(array, line.axis, -1))
    filtered = np.empty(rows.shape, out.dtype)
    if not _step(rows, filtered, (line._replace(axis=rows.ndim - 1),), cval, limit, False):
        return False
    result = np.moveaxis(filtered, -1, line.axis)
    if add:
        out += result
    else:
        np.copyto(out, result)
    return True
