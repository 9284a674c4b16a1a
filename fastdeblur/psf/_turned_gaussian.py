"""Gaussians of two widths, turned: a round one of the smaller width, smeared along the direction of the larger.

For each place t of the smear the pixel's integral separates into an axis each; what is left is an integral over t of a
smooth, decaying function, for which evenly spaced nodes converge faster than exponentially.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastdeblur.psf._common import Float64Array

# Below both, in pixels and as a share of the larger width, the smaller one counts as 0: that moves less than 1e-3 of the
# light.
_THINNEST, _THINNEST_RATIO = 0.004, 1e-3

# Up to this deviation the pixel at the origin holds all light but 1e-22.
SMALLEST = 0.05

# Beyond so many deviations the round Gaussian holds 1e-18 of its light.
_ROUND_REACH = 9.0


class Turned(NamedTuple):
    """What the rasterisers need: see `prepare`."""

    narrow: float
    smear: float
    across: float
    down: float
    step: float
    half: int


def prepare(sigma_y: float, sigma_x: float, angle: float, sizes: tuple[int, ...]) -> Turned:
    """The smaller deviation; that of the smear along (across, down); nodes at step * (-half ... half), or half -1.

    Nodes end where the smear does, or where no light of theirs reaches the frame any more.
    """
    # The larger deviation's direction; a turn by 90 degrees changes the two over.
    degrees = math.fmod(angle, 180.0) + (90.0 if sigma_y > sigma_x else 0.0)
    wide, narrow = max(sigma_y, sigma_x), min(sigma_y, sigma_x)
    across, down = math.cos(math.radians(degrees)), -math.sin(math.radians(degrees))
    ratio = narrow / wide
    smear = wide * math.sqrt((1 - ratio) * (1 + ratio))
    if narrow <= min(_THINNEST, _THINNEST_RATIO * wide):
        return Turned(0.0, wide, across, down, 1.0, -1)
    # The integrand's spectrum falls as exp(-(s w)^2 / 2), s = narrow smear / wide: at 2 pi / step it is below 1e-17.
    step = 2 * math.pi / 8.8 * narrow * smear / wide
    reach = math.hypot(*(n // 2 + 0.5 for n in sizes)) + _ROUND_REACH * narrow
    return Turned(narrow, smear, across, down, step, math.ceil(min(8.8 * smear, reach) / step))


def extents(
    sigma_y: Float64Array, sigma_x: Float64Array, angle: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Deviations along the image's axes, y and x."""
    sine, cosine = np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))
    return np.hypot(sigma_x * sine, sigma_y * cosine), np.hypot(sigma_x * cosine, sigma_y * sine)


def rasterise(t: Turned, sizes: tuple[int, ...]) -> Float64Array:
    if t.half < 0:
        return _line(t, sizes)
    kernel = np.zeros(sizes)
    group = 4096  # bounds the memory
    for first in range(-t.half, t.half + 1, group):
        places = t.step * np.arange(first, min(first + group, t.half + 1))
        weights = t.step / (math.sqrt(2 * math.pi) * t.smear) * np.exp(-0.5 * (places / t.smear) ** 2)
        rows, columns = (
            _shares(np.arange(n) - n // 2, direction * places[:, None], t.narrow)
            for n, direction in zip(sizes, (t.down, t.across), strict=True)
        )
        kernel += (rows * weights[:, None]).T @ columns
    return kernel


def _line(t: Turned, sizes: tuple[int, ...]) -> Float64Array:
    """The smear's share between where the line enters each pixel and where it leaves it."""
    low, high = -40.0 * t.smear, 40.0 * t.smear
    ends = []
    for n, direction in zip(sizes, (t.down, t.across), strict=True):
        centre = np.arange(n) - n // 2
        with np.errstate(divide="ignore", over="ignore"):  # along an axis, or nearly: infinitely far
            borders = np.sort([(centre - 0.5) / direction, (centre + 0.5) / direction], axis=0)
        ends.append(np.clip(borders, low, high))
    enter = np.maximum(ends[0][0][:, None], ends[1][0])
    leave = np.maximum(np.minimum(ends[0][1][:, None], ends[1][1]), enter)
    scale = t.smear * math.sqrt(2)
    return _difference(enter / scale, leave / scale)


def _shares(centre: Any, mean: Any, deviation: float) -> Float64Array:
    scale = deviation * math.sqrt(2)
    return _difference((centre - 0.5 - mean) / scale, (centre + 0.5 - mean) / scale)


_erf, _erfc = np.frompyfunc(math.erf, 1, 1), np.frompyfunc(math.erfc, 1, 1)


def _difference(low: Float64Array, high: Float64Array) -> Float64Array:
    """(erf(high) - erf(low)) / 2; erfc keeps the tails' digits."""
    flip = low + high < 0
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)
    tail = a > 0.5
    result: Float64Array = np.where(tail, _erfc(a) - _erfc(b), _erf(b) - _erf(a)).astype(np.float64) / 2
    return result
