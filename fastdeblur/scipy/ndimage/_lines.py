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
    functions = core()
    assert functions is not None
    last = array.ndim - 1
    steps: list[tuple[Line, ...]] = []
    for line in lines:
        # The last two axes are filtered in one pass.
        if steps and len(steps[-1]) == 1 and {steps[-1][0].axis, line.axis} == {last - 1, last}:
            steps[-1] = (steps[-1][0], line)
        else:
            steps.append((line,))
    spare = np.empty(out.shape, out.dtype) if len(steps) > 1 else out
    for left in range(len(steps) - 1, -1, -1):
        step = steps[len(steps) - 1 - left]
        to = spare if left % 2 else out
        add = accumulate and left == 0
        if len(step) == 2:
            y, x = step if step[1].axis == last else step[::-1]
            done = functions.ndimage_correlate_pair(
                array,
                to,
                y.kernel,
                y.start,
                y.mode,
                x.kernel,
                x.start,
                x.mode,
                step[0] is x,
                cval,
                limit,
                add,
            )
        else:
            (one,) = step
            done = functions.ndimage_correlate_axis(
                array, to, one.axis, one.kernel, one.start, one.mode, cval, limit, add
            )
        if not done:
            return False
        array = to
    return True
