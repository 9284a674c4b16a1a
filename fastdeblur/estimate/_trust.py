"""How far an estimated kernel can be trusted: what there was to see, and whether parts of the image agree."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur.estimate._gradient_prior import FloatArray
from fastdeblur.estimate._kernel_step import normal_equations, solve

# Photographs, blurred by up to 40 pixels and with up to 5 % of noise, have several times this; white noise has 1.
_STRUCTURE = 2.0
_BLOCK = 8


def structure(image: NDArray[Any], rounding: float = 0.0) -> float:
    """How much coarser than white noise an image is: the spread of its block means over what white noise would leave.

    1 for white noise of any level, 0 for a constant; tens for photographs, sharp or blurred. Where the spread is less than the
    `rounding`, a share of the largest value, it tells nothing: 0.
    """
    largest = float(max(image.max(), -image.min()))
    if not largest > 0:
        return 0.0
    image = image / largest
    image -= image.mean()
    step = max(1, min(_BLOCK, min(image.shape) // 4))
    height, width = (n // step * step for n in image.shape)
    means = image[:height, :width].reshape(height // step, step, width // step, step).mean((1, 3))
    # Differences of diagonal neighbours see the noise, and of a photograph no more than its finest detail.
    fine = np.median(np.abs(image[1:, 1:] - image[:-1, :-1])) / (0.6745 * np.sqrt(2))
    coarse = float(means.std())
    if coarse <= max(rounding, float(np.finfo(np.float64).eps)):
        return 0.0
    return float(coarse * step / max(float(fine), 1e-3 * coarse))


def has_structure(image: NDArray[Any], rounding: float) -> bool:
    return structure(image, rounding) > _STRUCTURE


def agreement(
    sharp: FloatArray, blurred: FloatArray, shape: tuple[int, int], mask: FloatArray, ridge: float
) -> float:
    """Correlation in [0, 1] of the kernels that two halves of the image, a chessboard's fields, give by themselves.

    Noise and wrong edges differ between the halves; the blur does not.
    """
    fields = [max(n // 4, 2 * k) for n, k in zip(mask.shape, shape, strict=True)]
    rows, columns = (np.arange(n) // f for n, f in zip(mask.shape, fields, strict=True))
    black = ((rows[:, np.newaxis] + columns) % 2).astype(np.float32)
    kernels = []
    for half in (mask * black, mask * (1 - black)):
        kernel = solve(normal_equations(sharp, blurred, shape, half), ridge, rounds=2)
        if not kernel.any():
            return 0.0
        kernels.append(kernel / np.linalg.norm(kernel))
    return float(np.clip(np.vdot(*kernels), 0, 1))
