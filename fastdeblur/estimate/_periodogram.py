"""The power spectrum of an image's frame, averaged over cells of the frequency plane.

The power is that of the gradient over the gradient filter's own response: so the strong low frequencies of a photo do not leak into
the high ones, the mean does not matter, and pixels that are masked out (clipped ones) leave no edge as high as their brightness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

_TILE = 1024  # larger frames are cut into tiles, whose periodograms are averaged
_TAPER = 0.25  # share of a tile's side that fades in, and out
_LOWEST = 4.0  # cycles per tile; what is below is the window's more than the image's
_LEVELS = 3  # halvings of the cells towards frequency 0
_KNOWN_SHARE = 0.05  # of a tile's window that masked pixels must leave
_INNER_ROWS, _INNER_COLUMNS = 35, 18  # cells of one level below 1/16 cycles per pixel, at densities up to 128


@dataclass(frozen=True)
class Cells:
    """Averages over cells; arrays of shape (m,).

    fx, fy: cycles per pixel, fx >= 0, fy counted upwards. power: per pixel, in squared image units. dof: how many
    independent exponential variates the average is worth. vx, vy: variance of the frequencies that a cell mixes.
    """

    fx: FloatArray
    fy: FloatArray
    power: Float64Array
    dof: Float64Array
    vx: Float64Array
    vy: Float64Array

    @property
    def radius(self) -> FloatArray:
        result: FloatArray = np.hypot(self.fx, self.fy)
        return result

    @property
    def phase(self) -> FloatArray:
        """Direction of the frequency, radians counter-clockwise from the x axis."""
        result: FloatArray = np.arctan2(self.fy, self.fx)
        return result


def smooth_size(n: int) -> int:
    """The largest even number of at most n whose prime factors are 2, 3 and 5."""
    best = 2
    for five in range(1 + int(math.log(n, 5))):
        for three in range(1 + int(math.log(n, 3))):
            odd = 5**five * 3**three
            if 2 * odd <= n:
                best = max(best, odd << int(math.log2(n // odd)))
    return best


def _taper(n: int) -> Float64Array:
    edge = max(2.0, n * _TAPER)
    t = np.arange(n) + 0.5
    inside = np.minimum(np.minimum(t, n - t) / edge, 1.0)
    result: Float64Array = 0.5 - 0.5 * np.cos(np.pi * inside)
    return result


def _spectral_variance(window: Float64Array) -> float:
    """Second moment of |W(f)|^2, from the window's derivative (Parseval)."""
    slope = np.diff(window)
    return float(slope @ slope / (window @ window)) / (4 * math.pi**2)


def _correlation_sum(window: Float64Array) -> float:
    """Sum over all shifts of the squared correlation of two bins of a windowed transform of white noise."""
    spectrum = np.abs(np.fft.fft(window * window)) ** 2
    return float(spectrum.sum() / spectrum[0])


@dataclass(frozen=True)
class _Bins:
    """Which bins of a tile's transform are used, their frequencies, and the cell that each falls into."""

    use: npt.NDArray[np.bool_]
    fx: FloatArray
    fy: FloatArray
    cell: npt.NDArray[np.intp]
    width: Float64Array


def _cell_count(density: int) -> int:
    return (density + 1) * (density // 2 + 1) + _LEVELS * _INNER_ROWS * _INNER_COLUMNS


def _bins(h: int, w: int, density: int) -> _Bins:
    fy = np.fft.fftfreq(h)[:, None]
    fx = np.fft.rfftfreq(w)[None]
    radius = np.hypot(fy, fx)
    use = (radius >= _LOWEST / min(h, w)) & (radius < 0.5)
    use[:, 0] &= fy[:, 0] > 0  # the other half of this column is its mirror image
    y, x = np.broadcast_to(-fy, use.shape)[use], np.broadcast_to(fx, use.shape)[use]
    largest = np.maximum(np.abs(y), x)
    level = np.clip(np.ceil(-np.log2(largest * 16)), 0, _LEVELS).astype(np.intp)
    cells_per_cycle = density * 2.0**level
    # Cells lie symmetric to both axes, so that a mirrored image has mirrored cells.
    row, column = np.rint(y * cells_per_cycle).astype(np.intp), np.rint(x * cells_per_cycle).astype(np.intp)
    outer = (row + density // 2) * (density // 2 + 1) + column
    inner = (row + _INNER_ROWS // 2) * _INNER_COLUMNS + column
    first = (density + 1) * (density // 2 + 1) + (level - 1) * (_INNER_ROWS * _INNER_COLUMNS)
    cell = np.where(level == 0, outer, first + inner)
    return _Bins(use, x.astype(np.float32), y.astype(np.float32), cell, 1 / cells_per_cycle)


def periodogram(
    image: FloatArray, weights: FloatArray | None, densities: tuple[int, ...]
) -> list[Cells] | None:
    """The frame's spectrum, once for each density: in square cells, 1 / density wide, narrower below 1/16 cycles per pixel.

    image: (h, w). weights: 0 where a pixel is unknown, else up to 1. None where next to nothing is known.
    """
    sums = [np.zeros((7, _cell_count(density))) for density in densities]
    bins: dict[tuple[int, int], list[_Bins]] = {}
    for tile in _tiles(*image.shape):
        part = image[tile]
        if part.shape not in bins:
            bins[part.shape] = [_bins(part.shape[0], part.shape[1], density) for density in densities]
        _add_tile(part, None if weights is None else weights[tile], bins[part.shape], sums)
    if not sums[0][0].any():
        return None
    return [_means(total) for total in sums]


def _add_tile(
    tile: FloatArray, weights: FloatArray | None, bins: list[_Bins], sums: list[Float64Array]
) -> None:
    h, w = tile.shape
    taper_y, taper_x = _taper(h), _taper(w)
    window = (taper_y[:, None] * taper_x).astype(np.float32)
    energy = full = float(np.sum(taper_y**2) * np.sum(taper_x**2))
    if weights is not None:
        window *= weights
        energy = float(np.sum(window.astype(np.float64) ** 2))
        if energy < _KNOWN_SHARE * full:
            return
    power = np.zeros((h, w // 2 + 1), np.float32)
    for axis in (0, 1):
        gradient = tile - np.roll(tile, 1, axis)  # the row that is rolled around lies where the window is 0
        spectrum = np.fft.rfft2(gradient * window)
        power += (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    overlap = _correlation_sum(taper_y) * _correlation_sum(taper_x)
    variance_y, variance_x = _spectral_variance(taper_y), _spectral_variance(taper_x)
    for b, total in zip(bins, sums, strict=True):
        response = 4 * np.sin(np.pi * b.fx) ** 2 + 4 * np.sin(np.pi * b.fy) ** 2
        values = power[b.use] / (response * np.float32(energy))
        m = total.shape[1]
        count = np.bincount(b.cell, minlength=m)
        # A cell of few bins mixes less than its width.
        spread = b.width**2 / 12 * (1 - 1 / np.sqrt(count[b.cell]))
        total[0] += count
        for k, v in enumerate((values, b.fx, b.fy, spread + variance_x, spread + variance_y)):
            total[k + 1] += np.bincount(b.cell, v, m)
        total[6] += np.where(count > 0, np.maximum(count / overlap, 1.0) * (energy / full), 0.0)


def _means(sums: Float64Array) -> Cells:
    count, power, fx, fy, vx, vy, dof = sums[:, sums[0] > 0]
    return Cells(
        fx=(fx / count).astype(np.float32),
        fy=(fy / count).astype(np.float32),
        power=power / count,
        dof=np.maximum(dof, 1.0),
        vx=vx / count,
        vy=vy / count,
    )


def _tiles(h: int, w: int) -> list[tuple[slice, slice]]:
    """Slices of tiles of even, smooth sides that cover the frame but for a rim."""

    def axis(n: int) -> list[slice]:
        parts = -(-n // _TILE)
        size = smooth_size(n // parts)
        first = (n - parts * size) // 2
        return [slice(first + k * size, first + (k + 1) * size) for k in range(parts)]

    return [(a, b) for a in axis(h) for b in axis(w)]
