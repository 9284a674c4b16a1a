"""Clipped highlights: pixels that tell nothing of the blur, because the sensor stopped counting."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Clipping covers so many pixels at least, and no larger share of the frame: a page of white paper is not clipped.
_FEWEST = 12
_LARGEST_SHARE = 0.3
# Share of pixels in the topmost hundredth of a channel's range, and their number over that of the next hundredths, from which on
# they count as clipped.
_SHARE = 5e-4
_SPIKE = 4.0


def clipped(channels: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a channel of (channels, h, w) stands at its upper limit, (h, w); nowhere if that is no clipping.

    Two signs of it: patches of equal pixels at the largest value; and, where what was clipped was compressed or resized afterwards,
    a spike at the upper end of the histogram.
    """
    result = np.zeros(channels.shape[1:], bool)
    for channel in channels:
        top = channel.max()
        for mask, count in (_plateau(channel == top), _spike(channel, float(top))):
            if _FEWEST <= count <= _LARGEST_SHARE * mask.size:
                result |= mask
    return result


def _plateau(top: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int]:
    """The pixels at the largest value, and how many of them have four neighbours like themselves."""
    inner = top[1:-1, 1:-1] & top[:-2, 1:-1] & top[2:, 1:-1] & top[1:-1, :-2] & top[1:-1, 2:]
    return top, int(inner.sum())


def _spike(channel: NDArray[Any], top: float) -> tuple[NDArray[np.bool_], int]:
    """The pixels in the topmost hundredth of the range, and their number; 0 if the histogram has no spike there."""
    span = top - float(channel.min())
    high = channel >= top - 0.01 * span
    count = int(high.sum())
    below = (int((channel >= top - 0.05 * span).sum()) - count) / 4
    return high, count if count >= max(_SHARE * channel.size, _SPIKE * below) else 0


def widened(mask: NDArray[np.bool_], reach: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask and every pixel within reach (rows, columns) of it."""
    for axis, distance in enumerate(reach):
        totals = np.cumsum(mask, axis, dtype=np.int64)
        n = mask.shape[axis]
        last = np.minimum(np.arange(n) + distance, n - 1)
        first = np.arange(n) - distance - 1
        before = np.take(totals, np.maximum(first, 0), axis)
        along = [1, 1]
        along[axis] = n
        before = before * (first >= 0).reshape(along)
        mask = np.take(totals, last, axis) > before
    return mask
