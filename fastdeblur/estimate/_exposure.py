"""Clipped highlights: pixels that tell nothing of the blur, because the sensor stopped counting."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Share of pixels in the topmost hundredth of the range, and their number over that of the next hundredths, from which on
# they count as clipped.
_SHARE = 5e-4
_SPIKE = 4.0


def clipped(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Where an image in [0, 1] stands at its upper limit; nowhere if its histogram shows no spike there."""
    top = float(image.max())
    level = top - 0.01
    high = image >= level
    share = float(high.mean())
    below = float(((image >= top - 0.05) & ~high).mean()) / 4
    if share < _SHARE or share < _SPIKE * below:
        return np.zeros(image.shape, bool)
    return np.asarray(high)


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
