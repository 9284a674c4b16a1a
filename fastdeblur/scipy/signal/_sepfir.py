"""Separable filters of images with mirrored borders."""

# ruff: noqa: A002 - the parameters' names are the original's

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.signal as _original

from fastdeblur._dropin.replaces import PLAIN, replaces
from fastdeblur.scipy.ndimage._lines import Line, filter_lines
from fastdeblur.scipy.signal._arrays import FLOATS, usable

_REFLECT = 2
# Up to this many pixels the original's own call is over before ours has begun.
_FEW = 1 << 12


def _taps(kernel: Any, image: Any) -> bool:
    """Whether a kernel is one that the original would take for this image as it is."""
    return (
        type(kernel) in PLAIN
        and kernel.ndim == 1
        and kernel.size % 2 == 1
        and kernel.dtype in FLOATS
        and kernel.dtype.itemsize <= image.dtype.itemsize
    )


def _fits(kernel: Any, length: int) -> bool:
    return type(kernel) in PLAIN and kernel.size <= length


@replaces(_original.sepfir2d)
def sepfir2d(input: Any, hrow: Any, hcol: Any) -> Any:
    """Convolve an image's rows with one kernel and its columns with another, both of odd length; borders mirror (c b a | a b c).

    input      : array (h, w)
    hrow, hcol : arrays of odd lengths
    Returns a fresh array: float32 if the input is, else float64, complex for complex ones.

    As scipy.signal.sepfir2d. Where a kernel is longer than the image the original reads and writes beyond its arrays; ours
    mirrors on.
    Raises what the original raises: ValueError for even lengths and other ranks, TypeError for kernels of a wider dtype.
    """
    if type(input) not in PLAIN or input.dtype not in FLOATS or input.ndim != 2 or input.size == 0:
        return NotImplemented
    if input.size <= _FEW and _fits(hrow, input.shape[1]) and _fits(hcol, input.shape[0]):
        return NotImplemented
    if not (_taps(hrow, input) and _taps(hcol, input)):
        return NotImplemented
    if not (np.isfinite(hrow).all() and np.isfinite(hcol).all()):
        return NotImplemented
    out = np.empty(input.shape, input.dtype)
    lines = [
        Line(axis, np.array(taps[::-1], np.float64, order="C"), -(taps.size // 2), _REFLECT)
        for axis, taps in ((1, hrow), (0, hcol))
    ]
    filter_lines(usable(input), out, lines, 0.0)
    return out
