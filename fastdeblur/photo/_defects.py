"""Hot and dead pixels: single ones so far from their neighbours that no blurred light can have made them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur.photo._numbers import FloatArray, largest

Mask = NDArray[np.bool_]

_CONTRAST = 3.0  # of what the neighbours differ among themselves
_NOISE = 8.0  # standard deviations, beyond that
_LEAST = 0.03  # of light, at least: less does not ring, and may be rounding

# A PSF whose strong pixels stand out by no more than this makes no such pixel of a point of light.
_CONTRAST_OF_PSF, _STRONG = 2.0, 0.5


def defects(light: FloatArray, noise: NDArray[np.float64]) -> Mask:
    """(channels, H, W): where a channel has a hot or a dead pixel."""
    levels = np.maximum(_NOISE * noise, _LEAST)
    return np.stack([_outliers(c, _CONTRAST, float(n)) for c, n in zip(light, levels, strict=True)])


def spreads(psf: NDArray[np.float64]) -> bool:
    """Whether light that went through this PSF never looks like a hot pixel."""
    around = np.pad(psf, 2).astype(np.float32)
    return not (_outliers(around, _CONTRAST_OF_PSF, 0.0) & (around > _STRONG * around.max())).any()


def mended(channels: NDArray[Any], mask: Mask) -> NDArray[Any]:
    """A copy with the median of their good neighbours in place of these pixels."""
    result = channels.copy()
    for values, bad, out in zip(channels, mask, result, strict=True):
        if not bad.any():
            continue
        rows, columns = np.nonzero(bad)
        around = np.pad(values.astype(np.float64), 1, mode="reflect")
        around[np.pad(bad, 1, mode="reflect")] = np.nan
        near = [around[rows + y, columns + x] for y in range(3) for x in range(3) if (y, x) != (1, 1)]
        median = np.nanmedian(near, axis=0)
        out[rows, columns] = (
            np.minimum(np.rint(median), largest(out.dtype)) if out.dtype.kind in "iu" else median
        )
    return result


def _outliers(plane: FloatArray, contrast: float, beyond: float) -> Mask:
    if min(plane.shape) < 3:
        return np.zeros(plane.shape, bool)
    around = np.pad(plane, 1, mode="reflect")
    height, width = plane.shape
    least, most = np.full_like(plane, np.inf), np.full_like(plane, -np.inf)
    for y in range(3):
        for x in range(3):
            if (y, x) != (1, 1):
                near = around[y : y + height, x : x + width]
                np.minimum(least, near, out=least)
                np.maximum(most, near, out=most)
    reach = contrast * (most - least) + np.float32(beyond)
    result: Mask = (plane - most > reach) | (least - plane > reach)
    return result
