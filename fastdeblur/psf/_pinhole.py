"""The blur of a confocal microscope's pinhole, for planes that are round."""

from __future__ import annotations

import math

import numpy as np

from fastdeblur.psf._common import Float64Array
from fastdeblur.psf._revolve import lagrange

BLOCK = 256  # rows of the banded matrix that are made and applied at a time


def open_pinhole(
    profile: Float64Array, step: float, radius: float, cutoff: float, count: int
) -> Float64Array:
    """Average an even profile (n, planes) over a disk around each of the first `count` samples' places.

    The profile must reach the disk's radius (in the unit of step) and 8 samples farther.
    """
    # Gauss-Legendre in the distance from the pinhole's centre, the midpoint rule around it: exact for what is band-limited.
    x, w = np.polynomial.legendre.leggauss(math.ceil(math.pi * cutoff * radius / 2) + 8)
    rings, shares = radius * (x + 1) / 2, w / 2 * (x + 1)
    angles = (np.arange(turns := math.ceil(2 * math.pi * cutoff * radius) + 16) + 0.5) * math.pi / turns
    across = (rings[:, np.newaxis] * np.cos(angles)).ravel()
    aside = (rings[:, np.newaxis] * np.sin(angles)).ravel()
    weight = np.repeat(shares / turns, turns)

    result = np.empty((count, profile.shape[1]))
    reach = math.ceil(radius / step) + 5
    for first in range(0, count, BLOCK):
        last = min(first + BLOCK, count)
        low, high = max(0, first - reach), min(len(profile), last + reach)
        rows = np.arange(last - first)
        distance = np.hypot((step * (first + rows))[:, np.newaxis] + across, aside)
        index, share = lagrange(distance / step)
        # Next to the axis mirrored samples lie below `first - reach` only where that is negative.
        cells = rows[:, np.newaxis] * (high - low) + index - low
        band = np.bincount(cells.ravel(), (share * weight).ravel(), minlength=len(rows) * (high - low))
        result[first:last] = band.reshape(len(rows), high - low) @ profile[low:high]
    return result
