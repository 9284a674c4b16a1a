"""Change of an image's size, by a triangle as wide as a pixel of the coarser grid: no aliasing, no overshoot."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def resample(image: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """The image at another size, centres kept; the values' mean is kept, not their sum."""
    for axis, size in enumerate(shape):
        if image.shape[axis] != size:
            image = _along(image, size, axis)
    return image


def _along(image: NDArray[Any], size: int, axis: int) -> NDArray[Any]:
    n = image.shape[axis]
    scale = n / size
    reach = max(scale, 1.0)
    centres = (np.arange(size) + 0.5) * scale - 0.5
    first = np.ceil(centres - reach).astype(np.intp)
    taps = first + np.arange(math.floor(2 * reach) + 1)[:, np.newaxis]
    weights = np.maximum(0, 1 - np.abs(taps - centres) / reach) * ((taps >= 0) & (taps < n))
    weights = np.asarray(weights / weights.sum(0), image.dtype)
    along = (slice(None), np.newaxis) if axis == 0 else (slice(None),)
    rest = image.shape[1 - axis]
    result = np.zeros((size, rest) if axis == 0 else (rest, size), image.dtype)
    for tap, weight in zip(np.clip(taps, 0, n - 1), weights, strict=True):
        result += weight[along] * np.take(image, tap, axis)
    return result
