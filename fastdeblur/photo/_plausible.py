"""Whether a restored photo can be light at all: a check that needs no sharp one to compare with.

Light is not negative, but a wrong kernel's result is, beside edges and lamps, and so is amplified noise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur.photo._numbers import FloatArray

# Negative by more than this counts, or by more than the noise makes it; in this share of a photo it is too much.
_DARK, _DARK_PER_NOISE = 0.005, 0.6
_MOST_DARK = 0.03
# Between these shares of negative in the light around a pixel, its restored value is doubted more and more.
_DOUBT, _WRONG = 0.02, 0.10


def darkness(noise: float) -> float:
    """How far below black restored light must be to count as negative."""
    return max(_DARK, _DARK_PER_NOISE * noise)


def possible(restored: NDArray[Any], dark: float) -> bool:
    """Whether little enough of it is negative."""
    return float(np.mean(restored < -dark)) <= _MOST_DARK


def share(restored: FloatArray, light: FloatArray, size: tuple[int, ...], dark: float) -> FloatArray:
    """(H, W): 1 where the restored (channels, H, W) is light, towards 0 where it is negative within a part of the kernel's size."""
    reach = (max(2, size[0] // 4), max(2, size[1] // 4))
    worst = np.zeros(light.shape[1:])
    for after, before in zip(restored, light, strict=True):
        negative = mean_around(np.maximum(-after, 0), reach)
        worst = np.maximum(worst, negative / (mean_around(before, reach) + dark))
    trusted = np.clip((_WRONG - worst) / (_WRONG - _DOUBT), 0, 1)
    return np.asarray(mean_around(trusted, reach), np.float32)


def mean_around(plane: NDArray[Any], reach: tuple[int, int]) -> NDArray[np.float64]:
    """Of the pixels within reach (rows, columns); beyond the border there are none."""
    for axis, distance in enumerate(reach):
        n = plane.shape[axis]
        last = np.minimum(np.arange(n) + distance + 1, n)
        first = np.maximum(np.arange(n) - distance, 0)
        sums = np.insert(np.cumsum(plane, axis, dtype=np.float64), 0, 0, axis)
        count = (last - first).reshape([-1, 1] if axis == 0 else [1, -1])
        plane = (np.take(sums, last, axis) - np.take(sums, first, axis)) / count
    return np.asarray(plane, np.float64)
