"""Zernike polynomials by Noll's index (Noll 1976, doi:10.1364/JOSA.66.000207), of root mean square 1 on the unit disk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastdeblur._checks import as_count
from fastdeblur.errors import InvalidArgument
from fastdeblur.psf._common import Float64Array, parameter

# Radial degree 43; beyond, a pupil is better given by its own values.
LAST = 1000


def degrees(index: int) -> tuple[int, int]:
    """Radial degree n and azimuthal frequency m of Noll's index j >= 1; m < 0 for the sines."""
    n = (math.isqrt(8 * index - 7) - 1) // 2
    place = index - n * (n + 1) // 2  # 1 to n + 1 within the degree, |m| rising
    m = 2 * (place // 2) if n % 2 == 0 else 2 * ((place - 1) // 2) + 1
    return n, m if index % 2 == 0 else -m


def polynomial(index: int, x: Float64Array, y: Float64Array) -> Float64Array:
    """Z_j at points of the unit disk, x to the right and y up."""
    n, m = degrees(index)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    value = _radial(n, abs(m), radius) * math.sqrt(n + 1)
    if m == 0:
        return value
    wave: Float64Array = np.cos(m * angle) if m > 0 else np.sin(-m * angle)
    return value * math.sqrt(2) * wave


def _radial(n: int, m: int, r: Float64Array) -> Float64Array:
    """R_n^m = r^m times the Jacobi polynomial P_k^(0, m)(2 r^2 - 1), k = (n - m) / 2, by its recurrence."""
    x = 2 * r * r - 1
    previous, value = np.zeros_like(r), np.ones_like(r)
    for k in range(1, (n - m) // 2 + 1):
        if k == 1:
            following = 1 + (m + 2) * (x - 1) / 2
        else:
            s = 2 * k + m
            following = (
                (s - 1) * (s * (s - 2) * x - m * m) * value - 2 * (k - 1) * (k + m - 1) * s * previous
            ) / (2 * k * (k + m) * (s - 2))
        previous, value = value, following
    result: Float64Array = r**m * value
    return result


def check_coefficients(coefficients: Any) -> dict[int, Float64Array]:
    """Return {Noll's index: values} of a mapping, or of a sequence that begins with Z_1."""
    if isinstance(coefficients, Mapping):
        pairs = list(coefficients.items())
    elif isinstance(coefficients, (list, tuple, np.ndarray)):
        pairs = list(enumerate(coefficients, start=1))
    else:
        raise InvalidArgument(
            f"coefficients: expected a mapping of Noll's index to its coefficient, or a sequence, got {coefficients!r}"
        )
    found = {}
    for key, value in pairs:
        index = as_count(key, "coefficients: Noll's index", minimum=1)
        if index > LAST:
            raise InvalidArgument(f"coefficients: expected Noll's index to be at most {LAST}, got {index}")
        found[index] = parameter(f"coefficients[{index}]", value)
    return found
