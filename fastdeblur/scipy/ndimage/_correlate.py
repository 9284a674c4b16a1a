"""Correlation and convolution with given weights."""

# ruff: noqa: A002 - the parameters' names are the original's

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.ndimage as _original

from fastdeblur._dropin.replaces import core, replaces
from fastdeblur.scipy.ndimage._arguments import (
    CONSTANT,
    REFLECT,
    Output,
    Unsuited,
    axes_of,
    axis_of,
    every_axis,
    image,
    mode_number,
    real,
    real_weights,
    start_of,
    whole,
    window_image,
)
from fastdeblur.scipy.ndimage._lines import MOST_TAPS, Line, filter_lines

EXACT, FUSED = 0, 1


@replaces(_original.correlate)
def correlate(
    input: Any,
    weights: Any,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Any:
    """Multidimensional correlation, ``scipy.ndimage.correlate``.

    input : array of any real dtype and any number of axes; a copy is made only where it is not contiguous
    weights : as many axes as input, or as ``axes`` names
    Returns an array of input's shape, of its dtype or ``output``'s. Sums are taken in float64 whatever the dtype and, for integers,
    cut towards 0, not rounded, as SciPy does (native functions of fastdeblur compute integers in float32 and return that).
    A kernel is centred on element ``shape // 2``. float64 and integer results equal SciPy's bit for bit; float32 ones to rounding.
    Raises what SciPy raises.
    """
    try:
        return _window(input, weights, output, mode, cval, origin, axes, convolution=False)
    except Unsuited:
        return NotImplemented


@replaces(_original.convolve)
def convolve(
    input: Any,
    weights: Any,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Any:
    """Multidimensional convolution, ``scipy.ndimage.convolve``: `correlate` with mirrored weights and origins.

    Kernels with an even number of elements are centred as SciPy does it: on the element after the middle.
    """
    try:
        return _window(input, weights, output, mode, cval, origin, axes, convolution=True)
    except Unsuited:
        return NotImplemented


@replaces(_original.correlate1d)
def correlate1d(
    input: Any,
    weights: Any,
    axis: Any = -1,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
) -> Any:
    """Correlation along one axis, ``scipy.ndimage.correlate1d``.

    input : array of any real dtype; weights : (n,)
    Returns an array of input's shape, of its dtype or ``output``'s, with SciPy's bits: sums in float64, elements that meet equal or
    opposite weights joined first, results for integers cut towards 0. Raises what SciPy raises.
    """
    try:
        array = image(input)
        result = Output(output, input)
        kernel = real_weights(weights)
        if kernel.ndim != 1 or kernel.size > MOST_TAPS:
            raise Unsuited
        line = Line(
            axis_of(axis, array.ndim),
            kernel,
            start_of(len(kernel), origin),
            mode_number(mode),
        )
        constant = real(cval)
    except Unsuited:
        return NotImplemented
    filter_lines(array, result.array, (line,), constant)
    return result.deliver()


@replaces(_original.convolve1d)
def convolve1d(
    input: Any,
    weights: Any,
    axis: Any = -1,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
) -> Any:
    """Convolution along one axis, ``scipy.ndimage.convolve1d``: `correlate1d` with mirrored weights and origin."""
    try:
        kernel = real_weights(weights)
        if kernel.ndim != 1:
            raise Unsuited
        return correlate1d.__wrapped__(  # type: ignore[attr-defined]
            input, kernel[::-1], axis, output, mode, cval, -whole(origin) - (len(kernel) + 1) % 2
        )
    except Unsuited:
        return NotImplemented


def _window(
    input: Any, weights: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any, *, convolution: bool
) -> Any:
    kernel = real_weights(weights)
    array = window_image(input)
    result = Output(output, input)
    where = axes_of(axes, array.ndim)
    if kernel.ndim != len(where) or (axes is not None and list(where) != sorted(where)):
        raise Unsuited
    if axes is not None and not isinstance(axes, tuple | list) and axes < 0:
        raise Unsuited  # a lone axis counted from the end is none of the array's there
    origins = every_axis(origin, len(where))
    if convolution:
        kernel = kernel[(slice(None, None, -1),) * kernel.ndim]
        origins = [-whole(o) - (n + 1) % 2 for o, n in zip(origins, kernel.shape, strict=True)]
    starts = [0] * array.ndim
    for axis, size, at in zip(where, kernel.shape, origins, strict=True):
        starts[axis] = start_of(size, at)
    if len(where) < array.ndim:
        kernel = np.expand_dims(kernel, tuple(a for a in range(array.ndim) if a not in where))
    number, constant = mode_number(mode), real(cval)
    if number == REFLECT and any(
        max(-start, start + size - 1) >= 4 * n
        for start, size, n in zip(starts, kernel.shape, array.shape, strict=True)
    ):
        raise Unsuited  # the original reflects otherwise so far out; its answer is what is asked for
    # The original converts it to integers in ways of its own.
    if number == CONSTANT and array.dtype.kind in "bui" and not abs(constant) < 2**31:
        raise Unsuited
    functions = core()
    assert functions is not None
    arithmetic = FUSED if result.array.dtype == np.float32 else EXACT
    functions.ndimage_correlate(
        array, np.ascontiguousarray(kernel), result.array, starts, number, constant, arithmetic
    )
    return result.deliver()
