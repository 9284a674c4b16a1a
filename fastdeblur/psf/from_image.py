"""A PSF from a picture of a point."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import (
    as_axis,
    as_choice,
    as_number,
    as_real_array,
    centroid,
    names_memory_errors,
    require_memory,
    result_dtype,
)
from fastdeblur.errors import InvalidArgument
from fastdeblur.psf._common import Float64Array, check_shape
from fastdeblur.psf._given import crop_or_pad, given, nudge, offsets, rebin, returned

CENTRES = ("centroid", "peak", "none")
#: Of normal noise: a median of absolute deviations times this is the standard deviation.
MAD_TO_SIGMA = 1.4826


@names_memory_errors
def from_image(
    image: npt.ArrayLike,
    *,
    shape: tuple[int, ...] | None = None,
    background: str | float = "rim",
    noise_cut: float = 3.0,
    centre: str = "centroid",
    channel_axis: int | None = None,
) -> npt.NDArray[Any]:
    """PSF from a picture of a point (a star, a bead, a light in the dark) or of a kernel: cleaned, centred, cropped, sum 1.

    The background is subtracted; pixels that do not rise above it by ``noise_cut`` times its noise become 0, as do those
    that rise but have no neighbour that does (hot pixels); then the light is moved so that its centre lies on the
    origin, by parts of a pixel without loss or negative values, and cropped.

    Parameters
    ----------
    image : (h, w) or (d, h, w), with an axis of channels if channel_axis says so; any real dtype, linear light.
    shape : of the result, one number for each spatial axis. Default: the smallest odd one that holds all light.
    background : a number; or "rim": the median of the outermost pixels, whose median absolute deviation gives the
        noise (a number gives none). 0 takes a kernel's picture as it is.
    noise_cut : >= 0, in standard deviations of the noise.
    centre : what to move to the origin: the "centroid", the "peak" (the brightest pixel's centre), or "none": the pixel
        ``shape // 2`` of the picture stays the origin.
    channel_axis : axis to average over, or None.

    Returns
    -------
    Array of the spatial axes, >= 0, sum 1, origin at ``shape // 2``; float64 for a float64 image, else float32.

    Raises
    ------
    InvalidArgument
        If an argument is not as said, if nothing rises above the background, or if shape would lose more than 1 % of
        the light.
    OutOfMemory
        If the memory cannot be had.
    """
    array = as_real_array(image, "image")
    dtype = result_dtype(array.dtype)
    if channel_axis is not None:
        if array.ndim == 0 or array.size == 0:
            raise InvalidArgument(f"image: expected at least one pixel, got shape {array.shape}")
        array = array.mean(axis=as_axis(channel_axis, array.ndim), dtype=np.float64)
    light = given(array, "image", (2, 3))
    sizes = None if shape is None else check_shape(shape, light.ndim)
    cut = as_number(noise_cut, "noise_cut")
    as_choice(centre, "centre", CENTRES)
    by_rim = isinstance(background, str) and background == "rim"
    level, noise = rim_level(light) if by_rim else (_level(background), 0.0)
    if sizes is not None:
        require_memory(16 * math.prod(sizes), f"shape: a PSF of shape {sizes}")

    light = light - level
    light[light <= cut * noise] = 0.0
    if noise:
        light[_neighbours(light > 0) == 0] = 0.0
    total = float(light.sum())
    if not 0 < total < math.inf:
        raise InvalidArgument(f"image: expected light above the background of {level:g}, got none")
    return returned(frame(light / total, centre, sizes), dtype)


def _level(background: Any) -> float:
    if isinstance(background, str):
        raise InvalidArgument(f"background: expected 'rim' or a number, got {background!r}")
    return as_number(background, "background", minimum=-math.inf)


def rim_level(image: Float64Array) -> tuple[float, float]:
    """Median of the outermost pixels, and the standard deviation of normal noise with their median deviation."""
    outer = np.ones(image.shape, bool)
    outer[tuple(slice(1, -1) if n > 2 else slice(None) for n in image.shape)] = False
    rim = image[outer] if outer.any() else image.ravel()
    level = float(np.median(rim))
    return level, MAD_TO_SIGMA * float(np.median(np.abs(rim - level)))


def _neighbours(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """How many of a pixel's up to 3^n - 1 neighbours are in the mask."""
    count = np.pad(mask, 1).astype(np.int64)
    for axis in range(mask.ndim):
        size = count.shape[axis]
        count = sum(np.take(count, np.arange(k, size - 2 + k), axis=axis) for k in range(3))  # type: ignore[assignment]
    return count - mask


def frame(light: Float64Array, centre: str, shape: tuple[int, ...] | None) -> Float64Array:
    """Move the centre of a PSF of sum 1 to the origin of a frame, and cut off nothing, or at most 1 %."""
    if centre == "centroid":
        move = centroid(light)
    elif centre == "peak":
        place = np.unravel_index(int(np.argmax(light)), light.shape)
        move = tuple(float(int(i) - n // 2) for i, n in zip(place, light.shape, strict=True))
    else:
        move = (0.0,) * light.ndim
    for axis, (n, distance) in enumerate(zip(light.shape, move, strict=True)):
        # An odd frame around the new centre that holds all of the old one, and a pixel more on either side.
        half = math.ceil(max(n // 2 + distance, n - 1 - n // 2 - distance)) + 1
        borders = np.arange(-half, half + 2) - 0.5 + (n // 2 + 0.5) + distance
        light = rebin(light, axis, borders)
    light = np.maximum(light, 0.0)
    light /= light.sum()
    if centre == "centroid":
        for axis, distance in enumerate(centroid(light)):
            light = nudge(light, axis, -distance)
    if shape is None:
        used = [np.abs(offsets(n))[light.any(axis=_others(light.ndim, a))] for a, n in enumerate(light.shape)]
        return crop_or_pad(light, tuple(2 * int(u.max()) + 1 for u in used))
    cut = crop_or_pad(light, shape)
    kept = float(cut.sum())
    if kept < 0.99:
        raise InvalidArgument(
            f"shape: expected to cut off at most 1% of the light, got {shape}, which cuts off {1 - kept:.3g} of 1"
        )
    return cut / kept


def _others(ndim: int, axis: int) -> tuple[int, ...]:
    return tuple(a for a in range(ndim) if a != axis)
