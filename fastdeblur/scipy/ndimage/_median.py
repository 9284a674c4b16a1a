"""Medians over small windows."""

# ruff: noqa: A002 - the parameters' names are the original's

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.ndimage as _original

from fastdeblur._dropin.replaces import core, replaces
from fastdeblur.scipy.ndimage._arguments import (
    CONSTANT,
    Array,
    Output,
    Unsuited,
    axes_of,
    every_axis,
    mode_number,
    real,
    start_of,
    whole,
    window_image,
)

MOST_IN_WINDOW = 125


@replaces(_original.median_filter)
def median_filter(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Any:
    """Multidimensional median filter, ``scipy.ndimage.median_filter``.

    input : array of any real dtype and any number of axes; size, origin : one for all axes or one for each
    Windows with an odd number of elements up to 125 are ours, compared in the array's own dtype by networks that work on many
    outputs at once; SciPy answers for the others, for footprints with holes, and for arrays that hold a NaN.
    Returns an array of input's shape and dtype, equal to SciPy's. Raises what SciPy raises.
    """
    try:
        array = window_image(input)
        where = axes_of(axes, array.ndim)
        window, starts = [1] * array.ndim, [0] * array.ndim
        if footprint is not None or size is None:
            raise Unsuited
        for axis, n, at in zip(
            where, every_axis(size, len(where)), every_axis(origin, len(where)), strict=True
        ):
            window[axis] = whole(n)
            if window[axis] < 1:
                raise Unsuited
            starts[axis] = start_of(window[axis], at)
        elements = math.prod(window)
        # Lines that are short against the window have rules of their own there.
        if (
            elements % 2 == 0
            or not 3 <= elements <= MOST_IN_WINDOW
            or (array.ndim == 1 and array.size <= elements)
        ):
            raise Unsuited
        number = mode_number(mode)
        constant = _constant(array, number, cval)
        result = Output(output, input)
        if result.array.dtype != array.dtype:
            raise Unsuited
    except Unsuited:
        return NotImplemented
    functions = core()
    assert functions is not None
    if not functions.ndimage_median(array, result.array, window, starts, number, constant):
        return NotImplemented
    return result.deliver()


def _constant(array: Array, mode: int, cval: Any) -> Array:
    value = real(cval)
    if mode != CONSTANT:
        return np.zeros(1, array.dtype)
    if array.dtype.kind == "f":
        if not abs(value) <= float(np.finfo(array.dtype).max):
            raise Unsuited
    else:
        least, most = (
            (0, 1) if array.dtype.kind == "b" else (np.iinfo(array.dtype).min, np.iinfo(array.dtype).max)
        )
        if not least <= value < most:
            raise Unsuited
        value = math.trunc(value)
    return np.array([value], array.dtype)
