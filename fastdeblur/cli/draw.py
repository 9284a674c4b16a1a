"""A PSF as a picture: in the terminal, two pixels to a character, or grey values for a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_RAMP = " .:-=+*#%@"


def flat(kernel: NDArray[Any]) -> NDArray[Any]:
    """The plane of a volume that its origin is in; a signal as one row."""
    if kernel.ndim == 1:
        return kernel[None]
    while kernel.ndim > 2:
        kernel = kernel[kernel.shape[0] // 2]
    return kernel


def grey(kernel: NDArray[Any], bits: int, zoom: int = 1) -> NDArray[Any]:
    """Values from 0 to the largest of 8 or 16 bits, which the kernel's largest becomes; each pixel zoom x zoom times."""
    light = np.rint(np.maximum(kernel, 0.0) / kernel.max() * (2**bits - 1))
    scaled: NDArray[Any] = light.astype(np.uint8 if bits == 8 else np.uint16)
    return scaled.repeat(zoom, axis=0).repeat(zoom, axis=1)


def in_terminal(kernel: NDArray[Any], width: int, colours: bool) -> str:
    """Lines of at most `width` characters; the middle of what does not fit. Brighter is more, by the square root."""
    plane = flat(kernel)
    columns = width if colours else width // 2  # a plain character is twice as high as wide: two for a pixel
    plane = _middle(plane, columns)
    level = np.sqrt(np.maximum(plane, 0.0) / plane.max())
    if not colours:
        index = np.minimum((level * len(_RAMP)).astype(int), len(_RAMP) - 1)
        return "\n".join("".join(_RAMP[i] * 2 for i in row).rstrip() for row in index)
    grey_of = np.rint(232 + 23 * level).astype(int)  # the terminal's 24 greys
    if len(grey_of) % 2:
        grey_of = np.vstack([grey_of, np.full(grey_of.shape[1], 232)])
    pairs = zip(grey_of[::2], grey_of[1::2], strict=True)
    lines = (
        "".join(f"\x1b[38;5;{a};48;5;{b}m\u2580" for a, b in zip(*pair, strict=True)) + "\x1b[0m"
        for pair in pairs
    )
    return "\n".join(lines)


def _middle(plane: NDArray[Any], columns: int) -> NDArray[Any]:
    """The plane around its origin, at most so many columns and rows."""
    reach = max((columns - 1) // 2, 0)
    cuts = tuple(slice(max(n // 2 - reach, 0), n // 2 + reach + 1) for n in plane.shape)
    return plane[cuts]
