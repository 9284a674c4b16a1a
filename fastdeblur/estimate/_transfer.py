"""Squared moduli of the transfer functions of the parametric blurs, averaged over cells: (c, k) parameters to (c, m)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur import psf
from fastdeblur.estimate._periodogram import Cells, Float64Array, FloatArray

FLOOR = np.float32(1e-12)


def _floored(transfer: npt.NDArray[Any]) -> FloatArray:
    result: FloatArray = np.maximum(transfer, FLOOR).astype(np.float32)
    return result


def motion(cells: Cells, parameters: Float64Array) -> FloatArray:
    """Straight motion, (length, angle in degrees): sinc^2(L u), u the frequency along the line.

    The mean of two points one deviation away stands for the mean over the cell: so a zero is as deep as the cell can show it.
    """
    length, angle = parameters[:, :1].astype(np.float32), np.deg2rad(parameters[:, 1:2])
    along, up = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    u = along * cells.fx + up * cells.fy
    spread = np.sqrt(along**2 * cells.vx.astype(np.float32) + up**2 * cells.vy.astype(np.float32))
    result = np.sinc(length * (u - spread)) ** 2
    result += np.sinc(length * (u + spread)) ** 2
    return _floored(np.float32(0.5) * result)


def motion_kernel(cells: Cells, parameters: Float64Array) -> FloatArray:
    """The same for the kernels that `psf.motion` makes, whose pixels' squares the continuous line knows nothing of.

    A short line near an axis has all its weight in one row; a long one climbs in steps.
    """
    result = np.empty((parameters.shape[0], cells.fx.size), np.float32)
    for row, (length, angle) in zip(result, parameters.tolist(), strict=True):
        line = psf.motion(length, angle)
        y, x = np.nonzero(line)
        weight = line[y, x].astype(np.float32)
        y, x = line.shape[0] // 2 - y, x - line.shape[1] // 2
        # Symmetric to its origin, so half of it and cosines do.
        half = (y > 0) | ((y == 0) & (x >= 0))
        y, x = y[half], x[half]
        weight = np.where((y == 0) & (x == 0), weight[half], 2 * weight[half])
        two_pi = np.float32(2 * np.pi)
        phase = np.outer(two_pi * cells.fy, y.astype(np.float32))
        phase += np.outer(two_pi * cells.fx, x.astype(np.float32))
        # Mean over the cell by the second derivative: cosine and sine of half a cell along the line.
        along, up = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        spread = np.sqrt(along**2 * cells.vx + up**2 * cells.vy).astype(np.float32)
        shift = np.outer(two_pi * spread, (along * x + up * y).astype(np.float32))
        even = np.cos(phase) * np.cos(shift) @ weight
        odd = np.sin(phase) * np.sin(shift) @ weight
        row[:] = even * even + odd * odd  # mean of H(f - spread)^2 and H(f + spread)^2
    return _floored(result)


def kernel(cells: Cells, pixels: Float64Array) -> FloatArray:
    """Any kernel, (h, w) with its origin at ``shape // 2``: (1, m), the mean of four points one deviation away on each axis."""
    y, x = np.nonzero(pixels)
    weight = pixels[y, x].astype(np.float32)
    y, x = pixels.shape[0] // 2 - y, x - pixels.shape[1] // 2
    result = np.zeros(cells.fx.size, np.float32)
    for right, up in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        phase = np.outer(cells.fx + right * np.sqrt(cells.vx), x.astype(np.float32)).astype(np.float32)
        phase += np.outer(cells.fy + up * np.sqrt(cells.vy), y.astype(np.float32)).astype(np.float32)
        phase *= np.float32(2 * np.pi)
        result += (np.cos(phase) @ weight) ** 2 + (np.sin(phase) @ weight) ** 2
    return _floored(result[None] / 4)


def defocus(cells: Cells, parameters: Float64Array) -> FloatArray:
    """Uniform disk, (radius,): (2 J1(x) / x)^2, x = 2 pi r |f|."""
    radius = parameters[:, :1].astype(np.float32)
    f = cells.radius
    spread = np.sqrt((cells.fx**2 * cells.vx + cells.fy**2 * cells.vy) / np.maximum(f * f, 1e-12)).astype(
        np.float32
    )
    two_pi = np.float32(2 * np.pi)
    result = _jinc(two_pi * radius * np.abs(f - spread)) ** 2
    result += _jinc(two_pi * radius * (f + spread)) ** 2
    return _floored(np.float32(0.5) * result)


def gaussian(cells: Cells, parameters: Float64Array) -> FloatArray:
    """Gaussian, (sigma along the angle, sigma across it, angle in degrees): exp(-4 pi^2 f . Sigma f)."""
    angle = np.deg2rad(parameters[:, 2:3])
    along, up = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    major, minor = parameters[:, :1].astype(np.float32), parameters[:, 1:2].astype(np.float32)
    form = (major * (along * cells.fx + up * cells.fy)) ** 2
    form += (minor * (along * cells.fy - up * cells.fx)) ** 2
    return _floored(np.exp(np.float32(-4 * np.pi**2) * form))


def none(cells: Cells, parameters: Float64Array) -> FloatArray:
    """No blur, for any parameters."""
    return np.ones((parameters.shape[0], cells.fx.size), np.float32)


def _jinc(x: FloatArray) -> FloatArray:
    """2 J1(x) / x for x >= 0, to 1e-7: Abramowitz and Stegun 1964, 9.4.4 and 9.4.6."""
    t = np.square(np.minimum(x, 3) / 3)
    near = 0.5 + t * (
        -0.56249985
        + t * (0.21093573 + t * (-0.03954289 + t * (0.00443319 + t * (-0.00031761 + t * 0.00001109))))
    )
    far = np.maximum(x, 3)
    t = 3 / far
    size = 0.79788456 + t * (
        0.00000156
        + t * (0.01659667 + t * (0.00017105 + t * (-0.00249511 + t * (0.00113653 - t * 0.00020033))))
    )
    phase = (
        far
        - 2.35619449
        + t
        * (
            0.12499612
            + t * (0.00005650 + t * (-0.00637879 + t * (0.00074348 + t * (0.00079824 - t * 0.00029166))))
        )
    )
    result: FloatArray = np.where(x < 3, 2 * near, 2 * size * np.cos(phase) / (far * np.sqrt(far)))
    return result
