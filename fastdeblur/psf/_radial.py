"""Round PSFs from T(r), the share of the light farther from the centre than r; the NumPy reference and what both use.

The field -T(r) / (2 pi r^2) (x, y) has the PSF as its divergence, everywhere but at the origin, where it hides a light of
1: a pixel's integral is the flux through its four sides, and 1 more in the origin's pixel. Nothing cancels in the
tails, where T is small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastdeblur.errors import InvalidArgument
from fastdeblur.psf._common import Float64Array, parameter
from fastdeblur.psf._lagrange import lagrange_weights
from fastdeblur.psf._quadrature import gauss_legendre

Tail = Callable[[Float64Array], Float64Array]


def positive(name: str, value: Any, *, above: float = 0.0) -> Float64Array:
    """Return a physical parameter: real, finite and above a limit."""
    array = parameter(name, value)
    if array.min() <= above:
        raise InvalidArgument(f"{name}: expected values > {above:g}, got {array.min()}")
    return array


def check_truncation(value: Any) -> float:
    share = parameter("truncation", value)
    if share.ndim or not 0 < share <= 0.5:
        raise InvalidArgument(f"truncation: expected a number in (0, 0.5], got {value!r}")
    return float(share)


def nodes(count: int) -> tuple[Float64Array, Float64Array]:
    """Gauss-Legendre nodes in a pixel, [-1/2, 1/2], and weights of sum 1."""
    places, weights = gauss_legendre(count)
    return places / 2, weights / 2


# A side of a pixel passes the pole of 1 / r^2 at no less than its own length's half: 20 nodes miss 1e-15.
SMOOTH_NODES = 20


def rasterise(tail: Tail, count: int, shape: tuple[int, ...]) -> Float64Array:
    """Pixel integrals of a round PSF."""
    reach = max(n // 2 for n in shape)
    places, weights = nodes(count)
    x = np.arange(reach + 1)[:, None] + 0.5
    flux = np.zeros((reach + 1, reach + 1))  # through the side at x, from y - 1/2 to y + 1/2
    for place, weight in zip(places.tolist(), weights.tolist(), strict=True):
        y = np.arange(reach + 1)[None, :] + place
        squared = x * x + y * y
        flux -= weight * tail(np.sqrt(squared)) / squared
    flux *= x / (2 * np.pi)
    across = np.diff(flux, axis=0, prepend=-flux[:1])
    quadrant = across + across.T
    quadrant[0, 0] += 1
    rows, columns = (np.abs(np.arange(n) - n // 2) for n in shape)
    kernel: Float64Array = np.maximum(quadrant, 0.0)[np.ix_(rows, columns)]
    return kernel


@dataclass(frozen=True)
class Table:
    """T at even steps of r / scale; or, warped, T (1 + (r / scale)^2)^(5/6) at even steps of asinh(r / scale)."""

    values: Float64Array
    step: float
    warped: bool

    def tail(self, scale: float) -> Tail:
        """T, by 8 neighbours (Lagrange)."""

        def value(r: Float64Array) -> Float64Array:
            s = r / scale
            place = (np.arcsinh(s) if self.warped else s) / self.step
            end = len(self.values) - 1
            inside = np.minimum(place, end)
            first = np.clip(inside.astype(np.int64) - 3, 0, end - 7)
            result = np.zeros_like(s)
            for k, weight in enumerate(lagrange_weights(inside - (first + 3.0))):
                result += weight * self.values[first + k]
            if self.warped:
                return result * (1 + s * s) ** (-5 / 6)
            return np.where(place >= end, 0.0, result)

        return value
