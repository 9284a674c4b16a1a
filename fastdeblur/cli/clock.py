"""What is known about scikit-image's motion-blurred clock photo: the camera's path and the plain wall.

The path was found from the photo alone by `benchmarks/clock_psf.py`, which uses this file.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastdeblur import psf as generators
from fastdeblur import richardson_lucy

Array = NDArray[np.float64]

# The camera's path: its extent along x, pixels, and its height (pixels, up) at nine even steps of x.
LENGTH = 35.47
HEIGHTS = (-1.18, -0.03, 0.2, 0.09, -0.09, 0.08, 0.72, 0.96, -0.03)

# The ellipse that holds the sharp clock and its shadow: centre (row, column) and semi-axes, pixels.
CENTRE = (154.0, 213.5)
SEMI_AXES = (65.0, 70.0)
# The blurred clock needs as much again as half the smear on either side.
SMEARED_AXES = (80.0, 105.0)

ITERATIONS = 60
FRAME_ITERATIONS = 30
# Rows and columns that show the clock and what ringing there is around it.
DETAIL = (slice(60, 250), slice(90, 330))
# Standard deviation, pixels, of the finest detail that is asked for: finer than this there is only noise.
RESOLUTION = 0.7
# Added to image and model alike, so that noise around zero stays positive: linear light, 0..1.
PEDESTAL = 0.2


def path_psf(length: float, heights: tuple[float, ...] | Array, shape: tuple[int, int] = (9, 45)) -> Array:
    """PSF of a camera that moves at an even speed along x on a path given by its heights.

    length: pixels along x; heights: pixels upwards at evenly spaced points of the path.
    Returns `shape`, float64, summing to 1, the middle of the x range on column `shape[1] // 2`.
    """
    n = 2000
    t = (np.arange(n) + 0.5) / n
    x = (t - 0.5) * length + shape[1] // 2
    y = shape[0] // 2 - _smooth(np.asarray(heights, np.float64), t)
    row, column = np.floor(y).astype(int), np.floor(x).astype(int)
    below, right = y - row, x - column
    psf = np.zeros(shape)
    for dy, weight_y in ((0, 1 - below), (1, below)):
        for dx, weight_x in ((0, 1 - right), (1, right)):
            np.add.at(psf, (row + dy, column + dx), weight_y * weight_x)
    return psf / n


def _smooth(heights: Array, t: Array) -> Array:
    """Catmull-Rom spline through evenly spaced heights, at 0 <= t <= 1."""
    slopes = np.gradient(heights)
    at = t * (len(heights) - 1)
    left = np.minimum(at.astype(int), len(heights) - 2)
    s = at - left
    start, end = heights[left], heights[left + 1]
    bend = slopes[left] * s * (1 - s) ** 2 - slopes[left + 1] * s**2 * (1 - s)
    return np.asarray(start + (end - start) * s**2 * (3 - 2 * s) + bend)


def _radius(shape: tuple[int, ...], axes: tuple[float, float]) -> Array:
    """Elliptical distance from the clock's centre: 1 on the ellipse with these semi-axes."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot((rows - CENTRE[0]) / axes[0], (columns - CENTRE[1]) / axes[1]))


def wall(image: Array) -> Array:
    """The wall's brightness under the clock: a polynomial of degree 6 through what the smear leaves free."""
    far = _radius(image.shape, SMEARED_AXES) > 1
    rows, columns = np.meshgrid(*(np.linspace(-1, 1, n) for n in image.shape), indexing="ij")
    terms = np.stack([columns**i * rows**j for i in range(7) for j in range(7 - i)], axis=-1)
    coefficients = np.linalg.lstsq(terms[far], image[far], rcond=None)[0]
    return np.asarray(terms @ coefficients)


def face_mask(shape: tuple[int, ...], edge: float = 0.25) -> Array:
    """1 on the clock, 0 on the wall, with a soft edge of this relative width."""
    return np.clip((1 - _radius(shape, SEMI_AXES)) / edge, 0.0, 1.0)


def blur(image: Array, psf: Array) -> Array:
    """Convolution with periodic edges: wrong near the edges, where nothing here looks."""
    padded = np.zeros(image.shape)
    padded[: psf.shape[0], : psf.shape[1]] = psf
    padded = np.roll(padded, (-(psf.shape[0] // 2), -(psf.shape[1] // 2)), axis=(0, 1))
    return np.fft.irfft2(np.fft.rfft2(image) * np.fft.rfft2(padded), image.shape)


def restore(photo: Array, psf: Array, n_threads: int = 0, backend: str = "auto") -> Array:
    """Richardson-Lucy on the clock alone, with the wall around it known.

    photo: linear light, 0..1. The wall's share is taken out of the photo; the estimate starts at zero
    outside the ellipse, and Richardson-Lucy leaves zeros as they are. The estimate is sought as a Gaussian
    of RESOLUTION on something finer, which holds back noise (the method of sieves: Snyder and Miller 1985,
    doi:10.1109/TNS.1985.4334101).
    """
    behind, mask = wall(photo), face_mask(photo.shape)
    grain = generators.gaussian(RESOLUTION)
    margin = grain.shape[0] // 2
    coarse = np.maximum(blur(np.pad(psf, margin), grain), 0)  # rounding leaves tiny negative values
    clock = photo - blur(behind * (1 - mask), psf)
    fine = richardson_lucy(
        np.maximum(clock + PEDESTAL, 0),
        coarse,
        ITERATIONS,
        boundary="zero",
        acceleration="biggs-andrews",
        background=PEDESTAL,
        init=behind * mask,
        n_threads=n_threads,
        backend=backend,
    )
    return blur(np.asarray(fine), grain) + behind * (1 - mask)
