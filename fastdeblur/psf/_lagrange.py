"""Interpolation of what is known at even steps, by the polynomial through 8 neighbours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastdeblur.psf._common import Float64Array


def lagrange_weights(x: Float64Array) -> Iterator[Float64Array]:
    """Lagrange's weights of the samples at -3, ..., 4 for the values at x, one sample's after the other's."""
    for i in range(-3, 5):
        weight = np.ones_like(x)
        for m in range(-3, 5):
            if m != i:
                weight *= (x - m) / (i - m)
        yield weight
