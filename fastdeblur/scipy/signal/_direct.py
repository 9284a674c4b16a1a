"""Convolution and correlation by direct sums: small kernels, and whole numbers that must stay exact."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
import scipy.signal as _original

from fastdeblur._dropin.replaces import PLAIN, core, replaces
from fastdeblur.scipy.ndimage._arguments import CONSTANT, REFLECT, WRAP
from fastdeblur.scipy.signal._arrays import (
    FLOATS,
    MODES,
    REAL,
    SMALLEST,
    Array,
    Shape,
    finite,
    kept,
    result_type,
    reversed_view,
    suitable,
    usable,
)

_BOUNDARIES = {
    "fill": CONSTANT,
    "pad": CONSTANT,
    "wrap": WRAP,
    "circular": WRAP,
    "symm": REFLECT,
    "symmetric": REFLECT,
}
_FUSED, _MODULAR = 1, 2

# A larger kernel is worse than slow: the core keeps a patch of the image for each of its planes.
_LARGEST_KERNEL = 1 << 16
# Up to this many products the original's own call is over before ours has begun.
_FEW = 1 << 12


def _zeros(weights: Array) -> bool | None:
    """Whether the core would leave out zeros; None if it would leave out others, or if not all weights are finite."""
    if weights.size <= 64:  # a loop is quicker than four calls of NumPy
        sizes = [abs(w) for w in weights.ravel().tolist()]
        small = [w for w in sizes if w <= SMALLEST]
        return None if any(small) or not isfinite(sum(sizes)) else bool(small)
    magnitude = np.abs(weights)
    little = magnitude[magnitude <= SMALLEST]
    return None if little.any() or not isfinite(magnitude.sum()) else little.size > 0


def correlate_weights(
    image: Array, weights: Array, start: Shape, count: Shape, boundary: int = CONSTANT, fill: float = 0.0
) -> Array | None:
    """out[i] = sum over k of weights[k] * image[i + start + k], or None where that cannot be had as the original has it.

    Whole numbers wrap around as NumPy's do; float32 is summed in float64.
    """
    dtype = result_type(image.dtype, weights.dtype)
    if weights.size > _LARGEST_KERNEL:
        return None
    if dtype in FLOATS:
        by = np.array(weights, np.float64, order="C")
        zeros = _zeros(by)
        # 0 * inf would be NaN.
        if zeros is None or (zeros and not finite(image)):
            return None
        arithmetic = _FUSED
    elif dtype.kind in "iu":
        by = np.array(weights, np.int64, order="C").view(np.uint64)
        arithmetic = _MODULAR
    else:
        return None
    out = np.empty(count, dtype)
    core().ndimage_correlate(usable(image), by, out, start, boundary, fill, arithmetic)  # type: ignore[union-attr]
    return out


def convolution(in1: Array, in2: Array, mode: str) -> Array | None:
    """in1 * in2, zero outside, or None."""
    part = kept(in1.shape, in2.shape, mode)
    if part is None:
        return None
    # The original exchanges the two in the other modes only, and multiplies what is beyond the first by zeros.
    if mode == "same" and in2.size > in1.size and not finite(in2):
        return None
    start, count = part
    image, kernel = (in1, in2) if in1.size >= in2.size else (in2, in1)
    first = tuple(s - k + 1 for s, k in zip(start, kernel.shape, strict=True))
    return correlate_weights(image, reversed_view(kernel), first, count)


def _fill(value: Any, dtype: np.dtype[Any]) -> float | None:
    """The fill value as the result's dtype has it; None where converting it is the original's business."""
    if isinstance(value, np.generic) and value.dtype in REAL:
        value = value.item()
    if type(value) not in (int, float):
        return None
    if dtype in FLOATS:
        with np.errstate(over="ignore"):
            filled = float(dtype.type(value))
        return filled if abs(filled) < np.inf else None
    return float(value) if type(value) is int and 0 <= value <= 127 else None


def _refuse_to_extend_nothing(mode: Any, boundary: Any) -> None:
    """The original divides by the length of what it repeats, which ends the process where that is 0."""
    if mode == "full" and _BOUNDARIES.get(boundary, CONSTANT) != CONSTANT:
        raise ValueError(f"in1: boundary {boundary!r} needs at least one element to repeat, got none")


def _in_plane(in1: Any, in2: Any, mode: Any, boundary: Any, fillvalue: Any, flip: bool) -> Any:
    if type(in1) not in PLAIN or type(in2) not in PLAIN:
        return NotImplemented
    if in1.size * in2.size <= _FEW:
        if in1.size == 0 < in2.size and in1.ndim == in2.ndim == 2:
            _refuse_to_extend_nothing(mode, boundary)
        return NotImplemented
    if type(mode) is not str or mode not in MODES or type(boundary) is not str or boundary not in _BOUNDARIES:
        return NotImplemented
    if not suitable(in1, in2) or in1.ndim != 2:
        return NotImplemented
    part = kept(in1.shape, in2.shape, mode)
    if part is None:
        return NotImplemented
    start, count = part
    swapped = mode == "valid" and not (in1.shape[0] >= in2.shape[0] and in1.shape[1] >= in2.shape[1])
    image, kernel = (in2, in1) if swapped else (in1, in2)
    dtype = result_type(in1.dtype, in2.dtype)
    fill = _fill(fillvalue, dtype)
    if fill is None:
        return NotImplemented
    if flip or mode != "same":
        first = tuple(s - k + 1 for s, k in zip(start, kernel.shape, strict=True))
    else:
        # With even kernels the original's correlation is not its convolution with the kernel turned round.
        first = tuple(-((k - 1) // 2) for k in kernel.shape)
    # correlate2d swaps by correlating the other way round, and turns the result back.
    weights = reversed_view(kernel) if flip else kernel
    out = correlate_weights(image, weights, first, count, _BOUNDARIES[boundary], fill)
    if out is None:
        return NotImplemented
    return reversed_view(out) if swapped and not flip else out


@replaces(_original.convolve2d)
def convolve2d(in1: Any, in2: Any, mode: Any = "full", boundary: Any = "fill", fillvalue: Any = 0) -> Any:
    """Convolve two 2-D arrays by direct sums.

    in1, in2  : arrays (h, w)
    mode      : "full", "same" (in1's shape, starting at (K - 1) // 2 of the full result) or "valid"
    boundary  : what lies outside in1: "fill" (the fill value), "wrap" (periodic) or "symm" (d c b a | a b c d | d c b a)
    fillvalue : number
    Returns an array of NumPy's result type; whole numbers wrap around.

    As scipy.signal.convolve2d, but float32 is summed in float64. Real arrays are ours, in tiles of registers, on all cores.
    Raises what the original raises: ValueError for other ranks, modes, boundaries, and for a "valid" of which neither array
    covers the other; and for an empty in1 that is to be wrapped or mirrored, where the original ends the process.
    """
    return _in_plane(in1, in2, mode, boundary, fillvalue, flip=True)


@replaces(_original.correlate2d)
def correlate2d(in1: Any, in2: Any, mode: Any = "full", boundary: Any = "fill", fillvalue: Any = 0) -> Any:
    """Correlate two 2-D arrays by direct sums.

    Arguments, result and errors are those of `convolve2d`; "same" starts at K // 2 of the full result, so that for even kernels
    this is not `convolve2d` with in2 turned round (but `correlate` is `convolve`). As scipy.signal.correlate2d.
    """
    return _in_plane(in1, in2, mode, boundary, fillvalue, flip=False)
