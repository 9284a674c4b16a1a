"""What the estimators read of an image: one plane of a known scale, and how much each of its pixels counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import Layout, as_real_array, require_finite
from fastdeblur.errors import InvalidArgument
from fastdeblur.estimate._exposure import clipped
from fastdeblur.estimate._periodogram import FloatArray

_SOFT_EDGE = 3  # pixels over which weights fall to 0 at a clipped region


@dataclass(frozen=True)
class Plane:
    """The mean of the channels, with mean 0 and standard deviation 1; the weights are 0 at clipped pixels (None: no such)."""

    pixels: FloatArray
    weights: FloatArray | None
    scale: float  # image units in one unit of `pixels`


def as_channels(image: Any, channel_axis: Any, least: int) -> npt.NDArray[Any]:
    """The checked image as (channels, h, w), not converted."""
    array = as_real_array(image, "image")
    layout = Layout.of(array.shape, (1, 1), channel_axis) if array.ndim >= 2 else None
    spatial = 2 if channel_axis is None else 3
    if layout is None or array.ndim != spatial:
        rule = "2-D (h, w), or 3-D with channel_axis" if channel_axis is None else "3-D with channel_axis"
        raise InvalidArgument(f"image: expected {rule}, got shape {array.shape}")
    channels = layout.view(array) if channel_axis is not None else array[np.newaxis]
    if min(channels.shape[1:]) < least:
        raise InvalidArgument(f"image: expected at least {least} x {least} pixels, got shape {array.shape}")
    require_finite(array, "image", limit=1e30)
    return channels


def rounding(dtype: np.dtype[Any]) -> float:
    """The share of an image's largest value below which its contrast can be rounding: of its own dtype, float64 for integers."""
    return 4 * float(max(np.finfo(dtype if dtype.kind == "f" else np.float64).eps, np.finfo(np.float64).eps))


def as_plane(image: Any, channel_axis: Any, least: int) -> Plane | None:
    """The checked image as one plane; None if it is constant, or clipped all over."""
    channels = as_channels(image, channel_axis, least)
    mean = np.mean(channels, axis=0, dtype=np.float64)
    largest = float(max(channels.max(), -float(channels.min())))
    if not largest > 0:
        return None
    mean /= largest
    mean -= mean.mean()
    scale = float(mean.std())
    if not scale > rounding(channels.dtype):
        return None
    pixels = (mean / scale).astype(np.float32)
    return Plane(pixels, _weights(channels), scale * largest)


def _weights(channels: npt.NDArray[Any]) -> FloatArray | None:
    bad = clipped(channels)
    if not bad.any():
        return None
    # A clipped pixel spoils the differences to its neighbours; beyond, weights rise linearly so as not to make edges.
    grown = _dilate(bad)
    weights = np.zeros(bad.shape, np.float32)
    for _ in range(_SOFT_EDGE):
        weights += ~grown
        grown = _dilate(grown)
    return weights / np.float32(_SOFT_EDGE)


def _dilate(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    result = mask.copy()
    result[1:] |= mask[:-1]
    result[:-1] |= mask[1:]
    sideways = result.copy()
    result[:, 1:] |= sideways[:, :-1]
    result[:, :-1] |= sideways[:, 1:]
    return result
