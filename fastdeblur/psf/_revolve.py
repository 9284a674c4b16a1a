"""Volumes that are round in every plane, integrated over pixels: the rules, the reference, and the compiled core's call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastdeblur._checks import require_memory
from fastdeblur.psf._common import Float64Array
from fastdeblur.psf._lagrange import lagrange_weights
from fastdeblur.psf._pupil import Terms

# Samples of the profile per period of the highest frequency, and Lagrange's 8 of them to interpolate between: at that
# frequency the error is 1e-6 of a wave of which an intensity holds next to nothing.
SAMPLES_PER_PERIOD = 16

# Of the integral of the highest frequency over a pixel, by Gauss-Legendre on each side of its square.
PIXEL_ERROR = 1e-6

# Radii that the reference takes at a time: their matrix stays in cache.
CHUNK = 2048


def pixel_rule(cutoff: float, pixel_size: float) -> tuple[Float64Array, Float64Array]:
    """Gauss-Legendre nodes (pixels around the centre) and weights (sum 1) of a side, good up to the cut-off frequency.

    The order q is the smallest whose error for cos(f t) on [-1, 1], f = pi cutoff pixel_size, is below PIXEL_ERROR:
    f^(2q) 2^(2q+1) q!^4 / ((2q + 1) (2q)!^3).
    """
    phase = max(math.pi * cutoff * pixel_size, 1e-6)

    def log_error(q: int) -> float:
        factorials = 4 * math.lgamma(q + 1) - 3 * math.lgamma(2 * q + 1)
        return 2 * q * math.log(phase) + (2 * q + 1) * math.log(2) + factorials - math.log(2 * q + 1)

    q = 2
    while log_error(q) > math.log(PIXEL_ERROR):
        q += 1
    nodes, weights = np.polynomial.legendre.leggauss(q)
    return nodes / 2, weights / 2


def radial_grid(cutoff: float, reach: float, planes: int) -> tuple[float, int]:
    """Step and number of a profile's samples (micrometres) up to a reach, with what interpolation needs beyond."""
    step = 1 / (SAMPLES_PER_PERIOD * cutoff)
    count = math.ceil(reach / step) + 8
    require_memory(count * planes * 16, "psf: the radial profiles")
    return step, count


def sampled(core: Any, beams: Sequence[Terms], step: float, count: int, n_threads: int) -> Float64Array:
    """The product of the beams' intensities (count, planes) at the distances j * step micrometres."""
    planes = beams[0].coefficients.shape[2]
    profile: Float64Array = np.ones((count, planes))
    distances: Float64Array = step * np.arange(count, dtype=np.float64)
    for beam in beams:
        if core is None:
            profile *= beam.intensity(distances)
        else:
            core.psf_pupil(beam.series, beam.nodes, beam.coefficients, beam.scale * step, profile, n_threads)
    return profile


def lagrange(position: Float64Array) -> tuple[np.ndarray[Any, np.dtype[np.int64]], Float64Array]:
    """Indices (8, ...) of the samples of an even profile around each position (in samples), and Lagrange's weights."""
    below = np.floor(position)
    weights = np.stack(list(lagrange_weights(position - below)))
    offsets = np.arange(-3, 5).reshape(-1, *(1,) * position.ndim)
    return np.abs(below.astype(np.int64) + offsets), weights


class Interpolated:
    """A sampled profile, to be evaluated anywhere."""

    def __init__(self, profile: Float64Array, step: float):
        self.profile, self.step = profile, step

    def intensity(self, distance: Float64Array) -> Float64Array:
        result = np.zeros((len(distance), self.profile.shape[1]))
        for index, weight in zip(*lagrange(distance / self.step), strict=True):
            result += weight[:, np.newaxis] * self.profile[index]
        return result


def revolve_reference(
    kernel: Float64Array,
    beams: Sequence[Terms | Interpolated],
    pixel_size: float,
    rule: tuple[Float64Array, Float64Array],
    axial: Float64Array,
) -> None:
    """Fill kernel (d, h, w): each node of each pixel evaluated for itself, one eighth of the plane and its mirror images.

    axial: weights of the planes that make a slice.
    """
    d, h, w = kernel.shape
    nodes, weights = rule
    longer, shorter = max(h, w) // 2 + 1, min(h, w) // 2 + 1
    u, v = np.nonzero(np.arange(longer)[:, np.newaxis] >= np.arange(shorter))
    x, y = u[:, np.newaxis] + nodes, v[:, np.newaxis] + nodes
    distances = pixel_size * np.sqrt(x[:, :, np.newaxis] ** 2 + y[:, np.newaxis, :] ** 2).reshape(len(u), -1)
    share = np.outer(weights, weights).ravel()
    pixels = np.empty((len(u), d))
    step = max(1, CHUNK // share.size)
    for first in range(0, len(u), step):
        part = distances[first : first + step]
        light = np.ones((part.size, 1))
        for beam in beams:
            light = light * beam.intensity(part.ravel())
        slices = light.reshape(part.size, d, len(axial)) @ axial
        pixels[first : first + step] = np.tensordot(share, slices.reshape(*part.shape, d), (0, 1))
    plane = np.zeros((longer, longer), np.int64)
    plane[u, v] = plane[v, u] = np.arange(len(u))
    rows, columns = (np.abs(np.arange(n) - n // 2) for n in (h, w))
    kernel[...] = np.moveaxis(pixels[plane[np.ix_(rows, columns)]], -1, 0)
    kernel /= kernel.sum()
