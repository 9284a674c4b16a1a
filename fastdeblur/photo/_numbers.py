"""A photo's numbers as light, exposed alike, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur import _light
from fastdeblur._checks import Layout, as_choice, as_number
from fastdeblur.errors import InvalidArgument

FloatArray = NDArray[np.float32]

# Of all values, up to the one that counts as bright: lamps do not set the exposure.
_BRIGHT = 0.999
# Of the largest light, at least: further apart, the squares of the brightest leave float32 nothing of the rest, or overflow.
_DIMMEST = 1e-7
_LOOKED_AT = 1 << 20  # values
_GAMMAS = (0.1, 10)


def as_channels(array: NDArray[Any], channel_axis: Any) -> NDArray[Any]:
    """(channels, H, W) of a photo, not converted."""
    if array.ndim < 2 or (channel_axis is None and array.ndim != 2):
        raise InvalidArgument(
            f"image: expected 2-D (H, W), or 3-D with channel_axis, got shape {array.shape}"
        )
    layout = Layout.of(array.shape, (1, 1) if array.ndim > 2 or channel_axis is None else (1,), channel_axis)
    if channel_axis is None:
        return array[np.newaxis]
    if array.ndim != 3:
        raise InvalidArgument(f"image: expected 3-D with channel_axis, got shape {array.shape}")
    moved: NDArray[Any] = layout.view(array)
    return moved


def largest(dtype: np.dtype[Any]) -> float:
    """The largest double that an integer dtype holds: 2^63 - 1 is none, and what is cut there wraps around."""
    most = float(np.iinfo(dtype).max)
    return float(np.nextafter(most, 0)) if dtype.itemsize == 8 else most


def as_law(gamma: Any, dtype: np.dtype[Any]) -> str | float:
    """ "srgb" or the exponent of a power law."""
    if isinstance(gamma, str):
        as_choice(gamma, "gamma", ("auto", "srgb", "none"))
        encoded = gamma == "srgb" or (gamma == "auto" and dtype in (np.uint8, np.uint16))
        return "srgb" if encoded else 1.0
    exponent = as_number(gamma, "gamma")
    if not _GAMMAS[0] <= exponent <= _GAMMAS[1]:
        raise InvalidArgument(f"gamma: expected a number from {_GAMMAS[0]} to {_GAMMAS[1]}, got {gamma!r}")
    return exponent


@dataclass(frozen=True)
class Numbers:
    """How a photo's numbers stand for light: number = unit * encode(exposure * light)."""

    law: str | float
    unit: float
    exposure: float

    @classmethod
    def of(cls, channels: NDArray[Any], law: str | float) -> Numbers:
        """The unit is an integer's largest value, else the largest there is, in sRGB at least 1; light is about 1 where the
        photo is bright.
        """
        if channels.dtype in (np.uint8, np.uint16):
            unit = float(np.iinfo(channels.dtype).max)
        else:
            unit = float(max(np.max(channels), -float(np.min(channels)))) or 1.0
            unit = max(unit, 1.0) if law == "srgb" else unit  # no power law: what is white matters
        some = channels.reshape(-1)[:: max(1, channels.size // _LOOKED_AT)]
        light = _light.decode(np.abs(np.asarray(some / unit, np.float32)), law)
        bright = float(np.quantile(light, _BRIGHT))
        return cls(law, unit, max(bright, _DIMMEST) if bright > 0 else 1.0)

    def light(self, channels: NDArray[Any]) -> FloatArray:
        """Linear light in units of the exposure."""
        values = np.asarray(channels / self.unit, np.float32)
        return np.asarray(_light.decode(values, self.law) / np.float32(self.exposure), np.float32)

    def back(self, light: FloatArray, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The photo's own numbers, cut to their range; integers are rounded."""
        encoded = _light.encode(light * np.float32(self.exposure), self.law)
        values = np.asarray(encoded, np.float64) * self.unit
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            return np.clip(np.rint(values), float(limits.min), largest(dtype)).astype(dtype)
        most = float(np.finfo(dtype).max)
        return np.clip(values, -most, most).astype(dtype)
