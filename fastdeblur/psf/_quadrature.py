"""Gauss-Legendre nodes of any number, without the eigenvalue problem that NumPy solves for them."""

from __future__ import annotations

import functools

import numpy as np

from fastdeblur.psf._common import Float64Array


@functools.lru_cache(maxsize=64)
def gauss_legendre(count: int) -> tuple[Float64Array, Float64Array]:
    """Return nodes in (-1, 1), rising, and weights of sum 2: Newton's method from Tricomi's estimate."""
    k = np.arange(count, 0, -1)
    x = (1 - (1 - 1 / count) / (8 * count**2)) * np.cos(np.pi * (4 * k - 1) / (4 * count + 2))
    slope = np.ones(count)
    for _ in range(6):
        before, value = np.zeros(count), np.ones(count)
        for n in range(1, count + 1):
            before, value = value, ((2 * n - 1) * x * value - (n - 1) * before) / n
        slope = count * (x * value - before) / (x * x - 1)
        x = x - value / slope
    x = (x - x[::-1]) / 2  # exactly symmetric
    weights = 2 / ((1 - x * x) * slope**2)
    weights = (weights + weights[::-1]) / weights.sum()
    x.flags.writeable = weights.flags.writeable = False  # shared by all who ask
    return x, weights
