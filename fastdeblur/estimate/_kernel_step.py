"""The kernel between a sharp and a blurred image: non-negative least squares on gradients.

    min over k >= 0 of  |k * grad x - grad y|^2 + ridge |k|^2

The normal equations need the images only through the autocorrelation of grad x and its correlation with grad y at the lags
of the kernel's support, so that the iterations run on a grid of twice the kernel's size, not the image's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastdeblur._geometry import good_size
from fastdeblur.estimate._gradient_prior import FloatArray, gradient

Kernel = NDArray[np.float64]


@dataclass(frozen=True)
class NormalEquations:
    matrix: Kernel  # spectrum of the autocorrelation, on `grid`
    target: Kernel  # (h, w)
    grid: tuple[int, int]
    energy: float  # of grad y

    def apply(self, kernel: Kernel) -> Kernel:
        height, width = kernel.shape
        spectrum = np.fft.rfft2(kernel, s=self.grid) * self.matrix
        return np.fft.irfft2(spectrum, s=self.grid)[:height, :width]


def normal_equations(
    sharp: FloatArray, blurred: FloatArray, shape: tuple[int, int], mask: FloatArray
) -> NormalEquations:
    """sharp, blurred: on one periodic grid; mask: 1 where gradients are used, 0 elsewhere."""
    lags = tuple(np.arange(-(n - 1), n) for n in shape)
    reach = tuple(np.arange(n) - n // 2 for n in shape)
    half = (sharp.shape[0], sharp.shape[1] // 2 + 1)
    power, joint, energy = np.zeros(half, np.float32), np.zeros(half, np.complex64), 0.0
    for gx, gy in zip(gradient(sharp), gradient(blurred), strict=True):
        gy = gy * mask
        energy += float(np.vdot(gy, gy))
        sx, sy = np.fft.rfft2(gx * mask), np.fft.rfft2(gy)
        power = power + (sx.real**2 + sx.imag**2)
        joint = joint + sx.conj() * sy
    auto = np.fft.irfft2(power, s=sharp.shape)[np.ix_(*lags)]
    cross = np.fft.irfft2(joint, s=sharp.shape)[np.ix_(*reach)]
    grid = (good_size(2 * shape[0] - 1, real=False), good_size(2 * shape[1] - 1, real=True))
    wrapped = np.zeros(grid)
    wrapped[np.ix_(lags[0] % grid[0], lags[1] % grid[1])] = auto
    return NormalEquations(np.fft.rfft2(wrapped).real, cross.astype(np.float64), grid, energy)


def solve(equations: NormalEquations, ridge: float, rounds: int = 4) -> Kernel:
    """Conjugate gradients, then rounds of them on the pixels that are positive or wish to be (an active set)."""

    def apply(kernel: Kernel) -> Kernel:
        return equations.apply(kernel) + ridge * kernel

    def descend(kernel: Kernel, free: NDArray[np.bool_], iterations: int) -> Kernel:
        residual = (equations.target - apply(kernel)) * free
        direction, size = residual, float(np.vdot(residual, residual))
        enough = 1e-8 * size
        for _ in range(iterations):
            if size <= enough:
                break
            image = apply(direction) * free
            step = size / max(float(np.vdot(direction, image)), 1e-30)
            kernel, residual = kernel + step * direction, residual - step * image
            before, size = size, float(np.vdot(residual, residual))
            direction = residual + (size / before) * direction
        return kernel

    kernel = descend(np.zeros(equations.target.shape), np.ones(equations.target.shape, bool), 25)
    for _ in range(rounds):
        kernel = np.maximum(kernel, 0)
        free = (kernel > 0) | (equations.target > apply(kernel))
        if not free.any():
            break
        kernel = descend(kernel, free, 12)
    return np.maximum(kernel, 0)
