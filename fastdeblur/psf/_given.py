"""Checks of PSFs and images that the user brings, and moving their light by parts of a pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import MOST_CANCELLED, as_real_array, require_finite
from fastdeblur.errors import InvalidArgument
from fastdeblur.psf._common import Float64Array


def summable(count: int) -> float:
    """How large each of so many values may be for no sum of them, nor a step of their Fourier transform, to overflow."""
    return float(np.finfo(np.float64).max) / (4 * count)


def given(value: Any, name: str, ndims: tuple[int, ...]) -> Float64Array:
    """A finite, not empty real array with one of the numbers of axes, as float64."""
    array = as_real_array(value, name)
    if array.ndim not in ndims:
        counts = " or ".join(f"{n}-D" for n in ndims)
        raise InvalidArgument(f"{name}: expected {counts}, got shape {array.shape}")
    if array.size == 0:
        raise InvalidArgument(f"{name}: expected at least one pixel, got shape {array.shape}")
    require_finite(array, name)
    return array.astype(np.float64, order="C")


def given_psf(value: Any) -> Float64Array:
    """A PSF of 1 to 3 axes, with sum 1."""
    return scaled(given(value, "psf", (1, 2, 3)), "psf")


def scaled(psfs: Float64Array, name: str, axes: tuple[int, ...] | None = None) -> Float64Array:
    """PSFs divided by their sums over ``axes`` (None: all), which must be positive and not what is left of cancelled values."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = psfs.sum(axis=axes, keepdims=True)
        if not ((sums > 0) & np.isfinite(sums)).all():
            bad = sums[~((sums > 0) & np.isfinite(sums))]
            raise InvalidArgument(f"{name}: expected a positive, finite sum, got {bad.flat[0]:g}")
        result: Float64Array = psfs / sums
        mass = np.abs(result).sum(axis=axes, keepdims=True)
    if not (mass < MOST_CANCELLED).all():
        total = sums[~(mass < MOST_CANCELLED)].flat[0]
        raise InvalidArgument(f"{name}: expected a sum that its values do not cancel in, got {total:g}")
    return result


def offsets(size: int) -> Float64Array:
    """Distances of an axis' pixels from the origin."""
    result: Float64Array = np.arange(size, dtype=np.float64) - size // 2
    return result


def rebin(psf: Float64Array, axis: int, edges: Float64Array) -> Float64Array:
    """Light between new pixel edges (in old pixels from the first one's outer edge), which may lie outside.

    The light up to an old edge is known exactly. In between it is interpolated by cubics with the slopes of Colella
    and Woodward 1984 (fourth order), limited as Fritsch and Carlson 1980 so that no light turns negative.
    """
    light = np.moveaxis(psf, axis, -1)
    n = light.shape[-1]
    m = np.pad(light, [(0, 0)] * (light.ndim - 1) + [(2, 2)])
    below, above = m[..., 1:-2], m[..., 2:-1]
    slope = (7 * (below + above) - (m[..., :-3] + m[..., 3:])) / 12
    limit = np.where(below * above > 0, 3 * np.minimum(np.abs(below), np.abs(above)), 0.0)
    sign = np.sign(above)
    slope = sign * np.clip(sign * slope, 0.0, limit)

    x = np.clip(edges, 0.0, float(n))
    i = np.minimum(x.astype(np.int64), n - 1)
    t = x - i
    total = np.concatenate([np.zeros((*light.shape[:-1], 1)), np.cumsum(light, axis=-1)], axis=-1)
    upto = total[..., i] + light[..., i] * (t * t * (3 - 2 * t))
    upto += slope[..., i] * (t * (1 - t) ** 2) + slope[..., i + 1] * (t * t * (t - 1))
    return np.ascontiguousarray(np.moveaxis(np.diff(upto, axis=-1), -1, axis))


def nudge(psf: Float64Array, axis: int, distance: float) -> Float64Array:
    """Move the centroid by less than a pixel by sharing each pixel's light with its neighbour; the sum is kept."""
    light = np.moveaxis(psf, axis, -1)
    share = abs(distance)
    result = (1 - share) * light
    if distance > 0:
        result[..., 1:] += share * light[..., :-1]
        result[..., -1] += share * light[..., -1]
    else:
        result[..., :-1] += share * light[..., 1:]
        result[..., 0] += share * light[..., 0]
    return np.moveaxis(result, -1, axis)


def crop_or_pad(psf: Float64Array, shape: tuple[int, ...]) -> Float64Array:
    """The same PSF in another frame, origin on origin."""
    result = np.zeros(shape)
    into, out_of = [], []
    for old, new in zip(psf.shape, shape, strict=True):
        first = new // 2 - old // 2
        into.append(slice(max(0, first), min(new, first + old)))
        out_of.append(slice(max(0, -first), max(0, -first) + into[-1].stop - into[-1].start))
    result[tuple(into)] = psf[tuple(out_of)]
    return result


def returned(psf: Float64Array, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """In the dtype to return: contiguous, and the caller's own."""
    return np.array(psf, dtype=dtype, order="C")
