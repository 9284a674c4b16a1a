"""Separable filters of images with mirrored borders."""

# ruff: noqa: A002 - the parameters' names are the original's

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.signal as _original

from fastdeblur._dropin.replaces import PLAIN, replaces
from fastdeblur.scipy.ndimage._arguments import REFLECT
from fastdeblur.scipy.ndimage._lines import Line, filter_lines
from fastdeblur.scipy.signal._arrays import FLOATS, SMALLEST, Array, usable

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


def _seems_symmetric(taps: Array) -> bool:
    """Whether the core would take a kernel for symmetric, as ndimage does, and err by more than rounding."""
    largest = np.abs(taps).max()
    if largest >= 1:
        return False
    half = taps.size // 2
    left, right = taps[:half].astype(np.float64), taps[::-1][:half]
    for apart in (left - right, left + right):
        difference = np.abs(apart).max(initial=0.0)
        if difference <= SMALLEST:
            return bool(difference > SMALLEST * largest)
    return False


def _with_long_kernels(image: Any, hrow: Any, hcol: Any) -> Any:
    """The answer where a kernel is longer than its axis, for which the original writes beyond its arrays; else NotImplemented."""
    if not all(isinstance(a, (np.ndarray, list, tuple)) for a in (image, hrow, hcol)):
        return NotImplemented
    try:
        pixels, row, column = np.asarray(image), np.asarray(hrow), np.asarray(hcol)
    except ValueError:  # ragged
        return NotImplemented
    if pixels.ndim != 2 or row.ndim != 1 or column.ndim != 1 or pixels.size == 0:
        return NotImplemented
    height, width = pixels.shape
    long_row, long_column = row.size > width, column.size > height
    if not (long_row or long_column) or row.size % 2 == 0 or column.size % 2 == 0:
        return NotImplemented
    # The other kernel, the dtypes and their errors are the original's.
    original = sepfir2d.__fastdeblur_original__  # type: ignore[attr-defined]
    filtered = original(
        image, _one(hrow, row) if long_row else hrow, _one(hcol, column) if long_column else hcol
    )
    result = filtered
    if long_row:
        result = result @ _mirroring(row, width).T
    if long_column:
        result = _mirroring(column, height) @ result
    return result.astype(filtered.dtype, copy=False)


def _one(given: Any, taps: Array) -> Any:
    """The kernel that changes nothing, of the kind that was given."""
    one = np.ones(1, taps.dtype)
    return one if isinstance(given, np.ndarray) else one.tolist()


def _mirroring(taps: Array, n: int) -> Array:
    """The matrix that convolves n elements, mirrored on and on beyond their ends."""
    matrix = np.zeros((n, n), np.result_type(taps, np.float64))
    for i in range(n):
        place = (i + taps.size // 2 - np.arange(taps.size)) % (2 * n)
        np.add.at(matrix[i], np.minimum(place, 2 * n - 1 - place), taps)
    return matrix


@replaces(_original.sepfir2d)
def sepfir2d(input: Any, hrow: Any, hcol: Any) -> Any:
    """Convolve an image's rows with one kernel and its columns with another, both of odd length; borders mirror (c b a | a b c).

    input      : array (h, w)
    hrow, hcol : arrays of odd lengths
    Returns a fresh array: float32 if the input is, else float64, complex for complex ones.

    As scipy.signal.sepfir2d. Where a kernel is longer than the image the original reads and writes beyond its arrays; ours
    mirrors on, for every dtype.
    Raises what the original raises: ValueError for even lengths and other ranks, TypeError for kernels of a wider dtype.
    """
    if (
        type(input) not in PLAIN
        or type(hrow) not in PLAIN
        or type(hcol) not in PLAIN
        or input.ndim != 2
        or hrow.size > input.shape[1]
        or hcol.size > input.shape[0]
    ):
        return _with_long_kernels(input, hrow, hcol)
    if input.size <= _FEW or input.dtype not in FLOATS:
        return NotImplemented
    if not (_taps(hrow, input) and _taps(hcol, input)):
        return NotImplemented
    if not (np.isfinite(hrow).all() and np.isfinite(hcol).all()):
        return NotImplemented
    if _seems_symmetric(hrow) or _seems_symmetric(hcol):
        return NotImplemented
    out = np.empty(input.shape, input.dtype)
    lines = [
        Line(axis, np.array(taps[::-1], np.float64, order="C"), -(taps.size // 2), REFLECT)
        for axis, taps in ((1, hrow), (0, hcol))
    ]
    filter_lines(usable(input), out, lines, 0.0)
    return out
