"""Finding beads and laying them on top of each other."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur.psf._common import Float64Array

STEPS = 12  # of alignment, at most
CLOSE_ENOUGH = 1e-4  # pixels
CROWD = 0.3  # a neighbour's brightness that spoils a bead
CORE = 0.2  # of the peak: what the centre is taken from


def smooth(image: Float64Array) -> Float64Array:
    """Twice the binomial 1, 2, 1 along each axis: a Gaussian of sigma 1."""
    for axis, n in enumerate(image.shape):
        if n == 1:
            continue
        for _ in range(2):
            padded = np.pad(image, [(1, 1) if a == axis else (0, 0) for a in range(image.ndim)], mode="edge")
            parts = [np.take(padded, np.arange(k, n + k), axis=axis) for k in range(3)]
            image = (parts[0] + 2 * parts[1] + parts[2]) / 4
    return image


def candidates(
    image: Float64Array, snr: float, mad_to_sigma: float
) -> tuple[npt.NDArray[np.int64], Float64Array]:
    """Places (n, axes) of local maxima above snr times the noise, brightest first, and their heights."""
    soft = smooth(image)
    level = float(np.median(soft))
    noise = mad_to_sigma * float(np.median(np.abs(soft - level)))
    # Where most pixels are equal, rounding would be noise.
    floor = max(snr * noise, 1e-3 * float(soft.max() - level))
    highest = soft
    for axis, n in enumerate(soft.shape):
        padded = np.pad(
            highest, [(2, 2) if a == axis else (0, 0) for a in range(soft.ndim)], constant_values=-np.inf
        )
        highest = np.max([np.take(padded, np.arange(k, n + k), axis=axis) for k in range(5)], axis=0)
    places = np.argwhere((soft == highest) & (soft - level > floor))
    heights = soft[tuple(places.T)] - level
    order = np.argsort(-heights, kind="stable")
    return places[order], heights[order]


def crowded(
    places: npt.NDArray[np.int64], heights: Float64Array, halves: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Which maxima have another one within their window that is not far fainter."""
    spoilt = np.zeros(len(places), bool)
    order = np.argsort(places[:, 0], kind="stable")
    ordered, tall = places[order], heights[order]
    # Of all maxima only those in a strip as wide as the window are looked at.
    first = np.searchsorted(ordered[:, 0], ordered[:, 0] - halves[0], side="left")
    last = np.searchsorted(ordered[:, 0], ordered[:, 0] + halves[0], side="right")
    for i, (low, high) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        near = (np.abs(ordered[low:high] - ordered[i]) <= halves).all(axis=1)
        near &= tall[low:high] >= CROWD * tall[i]
        near[i - low] = False
        spoilt[order[i]] = bool(near.any())
    return spoilt


def _frequencies(shape: tuple[int, ...]) -> list[Float64Array]:
    grids: Any = [2 * np.pi * np.fft.fftfreq(n) for n in shape]
    # A real signal's highest frequency has no sign to shift it by.
    for grid, n in zip(grids, shape, strict=True):
        if n % 2 == 0:
            grid[n // 2] = 0.0
    return [g.reshape([-1 if a == b else 1 for b in range(len(shape))]) for a, g in enumerate(grids)]


def shift(image: Float64Array, distance: Float64Array) -> Float64Array:
    """Move an image by parts of a pixel, by Fourier interpolation (periodic)."""
    result: Float64Array = np.fft.ifftn(np.fft.fftn(image) * _moving(image.shape, distance)).real
    return result


def _moving(shape: tuple[int, ...], distance: Float64Array) -> npt.NDArray[np.complex128]:
    """What multiplies a spectrum to move its image."""
    turns = [np.exp(-1j * w * d) for w, d in zip(_frequencies(shape), distance, strict=True)]
    result: npt.NDArray[np.complex128] = functools.reduce(np.multiply, turns)
    return result


def align(beads: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Places (n, axes) from the windows' centres, amplitudes (n,), mean bead, and correlations with it (n,).

    Each bead is modelled as amplitude times the mean, moved; amplitude and move by Gauss-Newton, the mean anew in
    between from the beads moved back.
    """
    count, ndim = len(beads), beads.ndim - 1
    moves = np.stack([centre_of_core(bead) for bead in beads])
    amplitudes = np.array([bead.max() for bead in beads])
    # Every move is made in the frequency domain, where a bead goes once and the mean once for each step.
    axes = tuple(range(1, beads.ndim))
    spectra = np.fft.fftn(beads, axes=axes)
    used = [a for a in range(ndim) if beads.shape[1 + a] > 1]
    slopes = [np.ones((1,) * ndim), *(-1j * _frequencies(beads.shape[1:])[a] for a in used)]
    everywhere = np.stack([np.broadcast_to(slope, beads.shape[1:]) for slope in slopes])
    for _ in range(STEPS):
        moves -= moves.mean(axis=0)  # the mean's own place is free: the centre of all
        mean = _mean(spectra, moves, amplitudes)
        largest = 0.0
        for i, bead in enumerate(beads):
            # The moved mean and what it changes by along each axis.
            columns = np.fft.ifftn(everywhere * (mean * _moving(bead.shape, moves[i])), axes=axes).real
            solution = np.linalg.lstsq(columns.reshape(len(slopes), -1).T, bead.ravel(), rcond=None)[0]
            amplitudes[i] = max(float(solution[0]), 1e-12 * float(np.abs(bead).max()))
            step = np.zeros(ndim)
            step[used] = np.clip(solution[1:] / amplitudes[i], -0.5, 0.5)
            moves[i] += step
            largest = max(largest, float(np.abs(step).max()))
        if largest < CLOSE_ENOUGH or count == 1:
            break
    mean = _mean(spectra, moves, amplitudes)
    alike = np.array(
        [
            _correlation(bead, np.fft.ifftn(mean * _moving(bead.shape, move)).real)
            for bead, move in zip(beads, moves, strict=True)
        ]
    )
    return moves, amplitudes, np.fft.ifftn(mean).real, alike


def _mean(
    spectra: npt.NDArray[np.complex128], moves: Float64Array, amplitudes: Float64Array
) -> npt.NDArray[np.complex128]:
    """The spectrum of the beads' mean, each moved back."""
    total = np.zeros(spectra.shape[1:], np.complex128)
    for spectrum, move, amplitude in zip(spectra, moves, amplitudes, strict=True):
        total += amplitude * (spectrum * _moving(spectrum.shape, -move))
    return total / float(np.sum(amplitudes**2))


def _correlation(a: Float64Array, b: Float64Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(np.vdot(a, b) / np.sqrt(np.vdot(a, a) * np.vdot(b, b) + np.finfo(float).tiny))


def centre_of_core(image: Float64Array) -> Float64Array:
    """Centroid, from the middle, of what rises above 0.2 of the peak in the part around it that does."""
    peak = np.unravel_index(int(np.argmax(image)), image.shape)
    core = np.maximum(image - CORE * image[peak], 0.0)
    # On each axis as far as the profile through the peak stays above.
    box = []
    for axis, n in enumerate(image.shape):
        line = core[tuple(slice(None) if a == axis else p for a, p in enumerate(peak))] > 0
        low = high = int(peak[axis])
        while low > 0 and line[low - 1]:
            low -= 1
        while high < n - 1 and line[high + 1]:
            high += 1
        box.append(slice(low, high + 1))
    part = core[tuple(box)]
    total = float(part.sum())
    centre = []
    for axis, n in enumerate(image.shape):
        profile = part.sum(axis=tuple(a for a in range(image.ndim) if a != axis))
        centre.append(float(profile @ np.arange(box[axis].start, box[axis].stop)) / total - n // 2)
    return np.array(centre)
