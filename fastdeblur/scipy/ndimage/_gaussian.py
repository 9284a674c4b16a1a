"""Gaussian filters and the derivatives made of them."""

# ruff: noqa: A002 - the parameters' names are the original's

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.ndimage as _original

from fastdeblur._dropin.replaces import replaces
from fastdeblur.scipy.ndimage._arguments import (
    Array,
    Output,
    Unsuited,
    axes_of,
    axis_of,
    every_axis,
    image,
    mode_number,
    real,
    whole,
)
from fastdeblur.scipy.ndimage._lines import MOST_TAPS, Line, filter_lines

try:
    from scipy.ndimage._filters import _gaussian_kernel1d as _original_kernel
except ImportError:  # another version of SciPy: its functions answer then
    _original_kernel = None

# Longer kernels are not kept: they are soon made against the time that they take.
_LONGEST_KEPT = 4096


def _weights(sigma: Any, order: int, radius: int) -> Array:
    """The original's own weights: integers are cut, and the last bit of a weight may decide where."""
    if _original_kernel is None:
        raise Unsuited
    kernel = np.ascontiguousarray(_original_kernel(sigma, order, radius)[::-1], dtype=np.float64)
    kernel.flags.writeable = False
    return kernel


# typed: a sigma of float32 gives other weights than one of float.
_kept_weights = lru_cache(maxsize=256, typed=True)(_weights)


def gaussian_line(axis: int, sigma: Any, order: Any, mode: Any, truncate: Any, radius: Any) -> Line:
    size = real(sigma)
    if not 0.0 < size < 1e9:
        raise Unsuited
    reach = real(truncate) * size + 0.5
    if not -1.0 < reach < 1e9:
        raise Unsuited
    taken = int(reach) if radius is None else whole(radius)
    order = whole(order)
    if not 0 <= taken <= MOST_TAPS // 2 or not 0 <= order <= 32:
        raise Unsuited
    weights = (_kept_weights if taken <= _LONGEST_KEPT else _weights)(sigma, order, taken)
    return Line(axis, weights, -taken, mode_number(mode))


@replaces(_original.gaussian_filter1d)
def gaussian_filter1d(
    input: Any,
    sigma: Any,
    axis: Any = -1,
    order: Any = 0,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    truncate: Any = 4.0,
    *,
    radius: Any = None,
) -> Any:
    """Gaussian filter or derivative along one axis, ``scipy.ndimage.gaussian_filter1d``, with its weights and its bits.

    input : array of any real dtype; sigma in elements; order : 0, or which derivative of the Gaussian
    Returns an array of input's shape, of its dtype or ``output``'s. Raises what SciPy raises.
    """
    try:
        array = image(input)
        result = Output(output, input)
        line = gaussian_line(axis_of(axis, array.ndim), sigma, order, mode, truncate, radius)
        constant = real(cval)
    except Unsuited:
        return NotImplemented
    filter_lines(array, result.array, (line,), constant)
    return result.deliver()


@replaces(_original.gaussian_filter)
def gaussian_filter(
    input: Any,
    sigma: Any,
    order: Any = 0,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    truncate: Any = 4.0,
    *,
    radius: Any = None,
    axes: Any = None,
) -> Any:
    """Multidimensional Gaussian filter, ``scipy.ndimage.gaussian_filter``.

    input : array of any real dtype and any number of axes; sigma, order, mode, radius : one for all axes or one for each
    Returns an array of input's shape, of its dtype or ``output``'s, with SciPy's bits. As there, what lies between two axes' passes
    is kept in the result's dtype, so that integers are cut once per axis: filter a float array where that matters.
    The last two axes are filtered in one pass over memory. Raises what SciPy raises.
    """
    try:
        array = image(input)
        result = Output(output, input)
        lines = gaussian_lines(array.ndim, sigma, order, mode, truncate, radius, axes)
        constant = real(cval)
    except Unsuited:
        return NotImplemented
    filter_or_copy(array, result.array, lines, constant)
    return result.deliver()


def gaussian_lines(
    ndim: int, sigma: Any, order: Any, mode: Any, truncate: Any, radius: Any, axes: Any
) -> list[Line]:
    where = axes_of(axes, ndim)
    if isinstance(radius, np.ndarray) and radius.ndim == 0:
        raise Unsuited
    each = [every_axis(value, len(where)) for value in (sigma, order, mode, radius)]
    return [
        gaussian_line(axis, s, o, m, truncate, r)
        for axis, s, o, m, r in zip(where, *each, strict=True)
        if real(s) > 1e-15 or math.isnan(real(s))
    ]


def filter_or_copy(array: Array, out: Array, lines: list[Line], constant: float) -> None:
    if lines:
        filter_lines(array, out, lines, constant)
    else:
        np.copyto(out, array, casting="unsafe")
