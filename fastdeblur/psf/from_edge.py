"""A round PSF from the image of a straight edge."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import as_real_array, result_dtype
from fastdeblur.errors import InvalidArgument
from fastdeblur.psf._common import Float64Array, check_shape
from fastdeblur.psf._given import given, returned

BINS = 4  # of the edge's profile, per pixel (ISO 12233)
SMALLEST_TILT = 1.0  # degrees from the pixel rows and columns: below it the bins stay empty
SMALLEST_CONTRAST = 8.0  # of the edge's step to the noise


@dataclass(frozen=True)
class Edge:
    """A PSF measured from an edge, and the edge."""

    psf: npt.NDArray[Any]
    angle: float  #: of the edge line in degrees, counter-clockwise from the x axis, in (-90, 90]
    distance: Float64Array  #: (n,): pixels from the edge, towards its bright side
    edge_spread: Float64Array  #: (n,): the profile across the edge, 0 on the dark side, 1 on the bright one
    line_spread: Float64Array  #: (n,): its derivative, made even, per pixel; the integral is 1


@overload
def from_edge(
    image: npt.ArrayLike, shape: tuple[int, int], *, full: Literal[False] = ...
) -> npt.NDArray[Any]: ...
@overload
def from_edge(image: npt.ArrayLike, shape: tuple[int, int], *, full: Literal[True]) -> Edge: ...
def from_edge(image: npt.ArrayLike, shape: tuple[int, int], *, full: bool = False) -> npt.NDArray[Any] | Edge:
    """Round PSF from a picture of one straight, slanted edge between a dark and a bright area.

    The edge is found from the gradient to parts of a pixel; the pixels' distances from it, in bins of a quarter of a
    pixel, give the edge spread, its derivative the line spread. The Fourier transform of the line spread is the
    section through the PSF's transform (projection-slice theorem), which is turned around and transformed back.
    What the bins and the differences blur is divided out.

    Assumed are: a sharp edge in the scene, straight over the picture and at least 1 degree off the pixel rows and
    columns; even light on both sides; linear light, no sharpening; a PSF that is round, which one edge cannot prove; and
    a PSF within shape. The pixels' own area is in the result, as in every measured PSF.

    Parameters
    ----------
    image : (h, w), any real dtype, linear light, with one edge through it.
    shape : (h, w) of the PSF.
    full : return `Edge`, with the angle and the profiles, instead of the PSF alone.

    Returns
    -------
    Array of `shape`, >= 0, sum 1, origin at ``shape // 2``, float64 for a float64 image, else float32; or `Edge`.

    Raises
    ------
    InvalidArgument
        If an argument is not as said; if there is no edge, or not one that can be used: noisy, not slanted, or too near
        to the picture's border for the shape.

    Sources: ISO 12233 (the slanted edge); Bracewell 1956, doi:10.1071/PH560198 (projection and slice).
    """
    array = as_real_array(image, "image")
    light = given(array, "image", (2,))
    sizes = check_shape(shape, 2)
    if not isinstance(full, (bool, np.bool_)):
        raise InvalidArgument(f"full: expected True or False, got {full!r}")
    if min(light.shape) < 8:
        raise InvalidArgument(f"image: expected at least 8 x 8 pixels, got shape {light.shape}")

    normal, position = _line(light)
    y, x = np.ogrid[: light.shape[0], : light.shape[1]]
    distance: Float64Array = (x * normal[0] + y * normal[1]) - position
    reach = math.hypot(*(n // 2 + 0.5 for n in sizes)) + 1
    # The middle half of the edge's picture: there the profile is complete on both sides.
    span = min(float(-distance.min()), float(distance.max()))
    if span < reach + 1:
        raise InvalidArgument(
            f"shape: expected a PSF that reaches less than the {span:.1f} pixels that the edge is from the picture's corners, "
            f"got {shape!r}, which reaches {reach:.1f}"
        )
    limit = math.ceil(reach)
    centres, spread, noise = _edge_spread(light, distance, limit)
    dark, bright = float(spread[: 2 * BINS].mean()), float(spread[-2 * BINS :].mean())
    if not bright - dark > SMALLEST_CONTRAST * noise:
        raise InvalidArgument(
            f"image: expected an edge of at least {SMALLEST_CONTRAST:g} times the noise, "
            f"got a step of {bright - dark:.3g} with noise {noise:.3g}"
        )
    spread = (spread - dark) / (bright - dark)
    line = np.gradient(spread, 1 / BINS)
    line = (line + line[::-1]) / 2
    line *= _window(centres, limit)
    line *= BINS / line.sum()

    psf = np.maximum(_round_psf(centres, line, sizes), 0.0)
    kernel = returned(psf / psf.sum(), result_dtype(array.dtype))
    if not full:
        return kernel
    angle = math.degrees(
        math.atan2(-normal[0], -normal[1])
    )  # the line's own direction, rows running downwards
    angle = angle - 180 if angle > 90 else angle + 180 if angle <= -90 else angle
    return Edge(kernel, angle, centres, spread, line)


def _line(light: Float64Array) -> tuple[tuple[float, float], float]:
    """The edge's unit normal (x, y), towards the bright side, and its distance from pixel (0, 0) along it."""
    gy: Float64Array = np.gradient(light, axis=0)
    gx: Float64Array = np.gradient(light, axis=1)
    energy: Float64Array = gx**2 + gy**2
    # Noise lies everywhere, the edge only where the gradient is large.
    weight: Float64Array = np.maximum(energy - 0.25 * energy.max(), 0.0)
    if not weight.sum() > 0:
        raise InvalidArgument("image: expected an edge, got a constant image")
    sx, sy = float(gx[weight > 0].sum()), float(gy[weight > 0].sum())
    steep = abs(sx) >= abs(sy)  # nearly vertical: one crossing in each row
    picture = light if steep else light.T
    sign = 1.0 if (sx if steep else sy) >= 0 else -1.0
    n, length = picture.shape
    slope, offset = _line_through(weight if steep else weight.T)
    rows = np.arange(n)
    columns = np.arange(length)
    gradient = sign * np.gradient(picture, axis=1)
    for half in (12.0, 8.0, 6.0, 6.0, 6.0):
        # Centroids of the gradient in a window around the last line, which must fit in the picture.
        middle = offset + slope * rows
        inside = (middle > half + 1) & (middle < length - half - 2)
        if inside.sum() < 5:
            half = 3.0
            inside = (middle > half + 1) & (middle < length - half - 2)
        if inside.sum() < 5:
            raise InvalidArgument(
                "image: expected a straight edge across the picture, got none that crosses 5 rows or columns"
            )
        window = (
            np.clip(1 - ((columns - middle[inside, np.newaxis]) / half) ** 2, 0.0, None) * gradient[inside]
        )
        mass = window.sum(axis=1)
        good = mass > 0.2 * np.median(mass)
        place = (window[good] @ columns) / mass[good]
        if good.sum() < 5:
            raise InvalidArgument("image: expected a straight edge across the picture, got none")
        slope, offset = (float(v) for v in np.polyfit(rows[inside][good], place, 1))
    tilt = math.degrees(math.atan(abs(slope)))
    if tilt < SMALLEST_TILT:
        raise InvalidArgument(
            f"image: expected an edge at least {SMALLEST_TILT:g} degree off the pixel rows and columns, got {tilt:.2g}"
        )
    scale = sign / math.hypot(1.0, slope)
    along = (scale, -slope * scale)
    return (along if steep else along[::-1]), offset * scale


def _line_through(weight: Float64Array) -> tuple[float, float]:
    """Weighted fit of column = slope * row + offset."""
    rows, columns = np.nonzero(weight)
    w = np.sqrt(weight[rows, columns])
    if np.ptp(rows) < 4:
        raise InvalidArgument("image: expected a straight edge across the picture, got none")
    line = np.polyfit(rows, columns, 1, w=w)
    return float(line[0]), float(line[1])


def _edge_spread(
    light: Float64Array, distance: Float64Array, limit: int
) -> tuple[Float64Array, Float64Array, float]:
    """Bins' centres, means of the pixels in them, and the noise of one pixel from its deviations far from the edge."""
    count = 2 * limit * BINS + 1
    centres = (np.arange(count) - limit * BINS) / BINS
    index = np.floor(distance * BINS + 0.5).astype(np.int64) + limit * BINS
    inside = (index >= 0) & (index < count)
    index, values, places = index[inside], light[inside], distance[inside]
    number = np.bincount(index, minlength=count)
    filled = number > 0
    if filled.mean() < 0.5:
        raise InvalidArgument(
            "image: expected an edge long and slanted enough for bins of a quarter pixel, got more than half of them empty"
        )
    means = np.bincount(index, values, minlength=count)[filled] / number[filled]
    at = np.bincount(index, places, minlength=count)[filled] / number[filled]
    profile = np.interp(centres, at, means)
    far = np.abs(places) > 0.7 * limit
    noise = float(np.std(values[far] - profile[index[far]])) if far.any() else 0.0
    return centres, profile, noise


def _window(distance: Float64Array, limit: int) -> Float64Array:
    """1 up to 0.6 of the limit, then down to 0 as a cosine: noise far out, differentiated, is no light."""
    t = np.clip((np.abs(distance) / limit - 0.6) / 0.4, 0.0, 1.0)
    return 0.5 + 0.5 * np.cos(np.pi * t)


def _transfer(distance: Float64Array, line: Float64Array, frequency: Float64Array) -> Float64Array:
    """The line spread's cosine transform, 0 from where it first drowns in noise.

    White noise of the edge's bins goes through the central difference as sin(pi f / 2); how much there is shows between
    1 and 2 cycles per pixel, where no lens and pixel let light through.
    """

    def transform(f: Float64Array) -> Float64Array:
        result: Float64Array = np.cos(2 * np.pi * f[:, np.newaxis] * distance) @ line / BINS
        return result

    beyond = np.linspace(1.25, 1.75, 2 * distance.size)
    noise = np.sqrt(np.mean((transform(beyond) / np.sin(np.pi * beyond / 2)) ** 2))
    transfer = transform(frequency)
    drowned = np.abs(transfer) < 2 * noise * np.sin(np.pi * frequency / 2)
    if drowned.any():
        transfer[int(np.argmax(drowned)) :] = 0.0
    return transfer


def _round_psf(distance: Float64Array, line: Float64Array, sizes: tuple[int, ...]) -> Float64Array:
    """Turn the line spread's transform around the origin and transform back, on a grid with room to spare.

    The grid is twice as fine as the pixels: a sharp lens' transform goes on above half a cycle per pixel, and what the
    pixels fold down from there is in every picture.
    """
    grid = tuple(4 * n + 2 for n in sizes)
    fy, fx = (np.fft.fftfreq(n, 0.5) for n in grid)
    radius = np.hypot(fy[:, np.newaxis], fx)
    fine = np.linspace(0.0, 1.0, 8 * max(grid))
    transfer = _transfer(distance, line, fine)
    # Averages over a bin, linear interpolation's and the central difference's share of the transform.
    transfer /= np.sinc(fine / BINS) * np.sinc(2 * fine / BINS)
    otf = np.where(radius <= 1.0, np.interp(radius, fine, transfer), 0.0)
    psf = np.fft.ifft2(otf).real[::2, ::2]
    rows, columns = (np.arange(n) - n // 2 for n in sizes)
    picked: Float64Array = psf[np.ix_(rows, columns)]
    return picked
