"""Transfer functions: from the numbers in a file to linear light in 0..1, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def decode_srgb(values: Array) -> Array:
    """sRGB (IEC 61966-2-1) to linear light; odd-symmetric below 0, the same power above 1."""
    size = np.abs(values)
    linear = np.where(size <= 0.04045, size / 12.92, ((size + 0.055) / 1.055) ** 2.4)
    return np.copysign(linear, values).astype(values.dtype, copy=False)


def encode_srgb(light: Array) -> Array:
    """Linear light to sRGB, the inverse of `decode_srgb`."""
    size = np.abs(light)
    encoded = np.where(size <= 0.0031308, size * 12.92, 1.055 * size ** (1 / 2.4) - 0.055)
    return np.copysign(encoded, light).astype(light.dtype, copy=False)


def decode(values: Array, gamma: float | str) -> Array:
    """To linear light: gamma is "srgb" or the exponent of a power law (1 leaves the values as they are)."""
    if gamma == "srgb":
        return decode_srgb(values)
    return np.copysign(np.abs(values) ** float(gamma), values).astype(values.dtype, copy=False)


def encode(light: Array, gamma: float | str) -> Array:
    """From linear light, the inverse of `decode`."""
    if gamma == "srgb":
        return encode_srgb(light)
    return np.copysign(np.abs(light) ** (1 / float(gamma)), light).astype(light.dtype, copy=False)
