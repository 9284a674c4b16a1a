"""Deblurring with a prior on the gradient, by half-quadratic splitting.

    min over x, w of  |k * x - y|^2 + gamma |grad x - w|^2 + prior(w),   gamma growing from step to step,

on a periodic grid: w is the shrunk gradient of x, and x follows in the frequency domain (Wang, Yang, Yin and Zhang 2008,
doi:10.1137/080724265). Two priors: the number of gradients that are not 0, and the hyper-Laplacian |w|^exponent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur import _isa

FloatArray = NDArray[np.float32]

# Gradients in a table's unit beyond this follow the first-order answer to 1e-4 of themselves.
_REACH = 40.0
_DENSITY = 200


@dataclass(frozen=True)
class ShrinkTable:
    """What becomes of a component |v| / scale under the prior |w|^exponent: values[i] at i / density, linear in between."""

    values: FloatArray
    density: float
    power: float  # exponent - 1


def count_steps(strength: float, last: float, ratio: float = 2.0) -> FloatArray:
    """(gamma, threshold on the squared gradient) of each step for the prior strength * (number of gradients not 0).

    Source: Xu, Lu, Xu and Jia 2011, doi:10.1145/2070781.2024208.
    """
    count = max(1, int(np.ceil(np.log(last / (2 * strength)) / np.log(ratio))))
    gammas = 2 * strength * ratio ** np.arange(count)
    return np.stack([gammas, strength / gammas], axis=1).astype(np.float32)


def hyper_laplacian_steps(weight: float, exponent: float, count: int = 6) -> FloatArray:
    """(gamma, unit of the table) of each step for weight / 2 |k * x - y|^2 + sum |grad x|^exponent.

    Source: Krishnan and Fergus 2009, "Fast image deconvolution using hyper-Laplacian priors", NIPS 22: beta from 1 towards 256 by
    factors of 2^1.5; by larger ones if there are to be fewer.
    """
    betas = 2.0 ** np.linspace(0.0, 7.5, count)
    return np.stack([betas / weight, betas ** (-1 / (2 - exponent))], axis=1).astype(np.float32)


@lru_cache(maxsize=16)
def shrink_table(exponent: float) -> ShrinkTable:
    """argmin over w of |w|^exponent + (w - v)^2 / 2 for v >= 0; by scaling one table serves every beta."""
    v = np.arange(int(_REACH * _DENSITY) + 1) / _DENSITY
    w = np.maximum(v, 1e-9)
    for _ in range(60):  # Newton's method from above, where the derivative is convex
        slope = w - v + exponent * w ** (exponent - 1)
        w = np.maximum(w - slope / (1 + exponent * (exponent - 1) * w ** (exponent - 2)), 1e-6)
    kept = (w**exponent + (w - v) ** 2 / 2 < v**2 / 2) & (w > 1e-5)
    return ShrinkTable(np.where(kept, w, 0).astype(np.float32), float(_DENSITY), exponent - 1)


def half_quadratic(
    data: FloatArray,
    start: FloatArray,
    kernel: FloatArray,
    steps: FloatArray,
    table: ShrinkTable | None = None,
    *,
    native: bool,
    n_threads: int = 0,
) -> FloatArray:
    """x after all steps from start. data, start: (h, w) on the grid; kernel: origin at shape // 2; no table: the counting prior."""
    x = start.copy()
    if native:
        values, density, power = (
            (None, 1.0, 0.0) if table is None else (table.values, table.density, table.power)
        )
        core = _isa.load_core()
        core.blind_half_quadratic(data, x, kernel, steps, values, density, power, n_threads)
        return x
    otf = transfer(kernel, data.shape)
    correlated, power_k, power_f = (
        otf.conj() * np.fft.rfft2(data),
        np.abs(otf) ** 2,
        gradient_power(data.shape),
    )
    for gamma, scale in steps:
        across, down = shrink(*gradient(x), float(scale), table)
        spectrum = correlated + gamma * np.fft.rfft2(divergence(across, down))
        below = power_k + gamma * power_f
        spectrum = np.divide(spectrum, below, out=np.zeros_like(spectrum), where=below > 0)
        x = np.fft.irfft2(spectrum, s=data.shape).astype(np.float32, copy=False)
    return x


def gradient(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Forward differences along and across the rows, periodic."""
    return np.roll(x, -1, 1) - x, np.roll(x, -1, 0) - x


def divergence(across: FloatArray, down: FloatArray) -> FloatArray:
    """The adjoint of `gradient`."""
    return (np.roll(across, 1, 1) - across) + (np.roll(down, 1, 0) - down)


def shrink(
    across: FloatArray, down: FloatArray, scale: float, table: ShrinkTable | None
) -> tuple[FloatArray, FloatArray]:
    if table is None:
        kept = across * across + down * down >= np.float32(scale)
        return across * kept, down * kept
    return _look_up(across, scale, table), _look_up(down, scale, table)


def _look_up(v: FloatArray, scale: float, table: ShrinkTable) -> FloatArray:
    size = np.abs(v) / np.float32(scale)
    nodes = np.arange(table.values.size) / table.density
    small = np.interp(size, nodes, table.values)
    large = size - (table.power + 1) * np.maximum(size, 1) ** table.power
    found = np.where(size > nodes[-2], large, small) * scale
    return np.asarray(np.copysign(found, v), np.float32)


def transfer(kernel: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Half spectrum of a kernel on a grid, origin at shape // 2."""
    grid = np.zeros(shape, np.float32)
    height, width = kernel.shape
    grid[:height, :width] = kernel
    return np.fft.rfft2(np.roll(grid, (-(height // 2), -(width // 2)), (0, 1)))


def blurred(grid: NDArray[Any], otf: NDArray[Any]) -> NDArray[Any]:
    """A periodic grid through a transfer function of its own shape."""
    return np.fft.irfft2(otf * np.fft.rfft2(grid), s=grid.shape)


def gradient_power(shape: tuple[int, ...]) -> FloatArray:
    """|F|^2 of both forward differences on the half spectrum."""
    down = 2 - 2 * np.cos(2 * np.pi * np.fft.fftfreq(shape[0]))
    across = 2 - 2 * np.cos(2 * np.pi * np.fft.rfftfreq(shape[1]))
    return np.asarray(down[:, np.newaxis] + across, np.float32)
