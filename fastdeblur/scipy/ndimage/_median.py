"""Medians over small windows."""

# ruff: noqa: A002 - the parameters' names are the original's

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.ndimage as _original

from fastdeblur._dropin.replaces import PLAIN, core, replaces
from fastdeblur.scipy.ndimage._arguments import (
    CONSTANT,
    Array,
    Output,
    Unsuited,
    axes_of,
    every_axis,
    exact_in_double,
    mode_number,
    real,
    start_of,
    whole,
    window_image,
)

MOST_IN_WINDOW = 125

# Of C's types of 64-bit integers SciPy's code for lines knows one.
_UNKNOWN_ON_A_LINE = {"q"} - {np.dtype(np.int64).char}


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
    arguments = size, footprint, None, mode, cval, origin
    # SciPy expands sizes by the axes' own names.
    if (
        footprint is not None
        or size is None
        or (type(size) is int and size % 2 == 0)
        or not (axes is None or type(axes) is tuple)
    ):
        return _original_on_a_line(input, output, arguments, axes)
    try:
        array = window_image(input)
        result = Output(output, input)
        where = axes_of(axes, array.ndim)
        if axes is not None and list(where) != sorted(where):
            raise Unsuited  # sizes go by the array's order, origins by either
        window, starts = [1] * array.ndim, [0] * array.ndim
        for axis, n, at in zip(
            where, every_axis(size, len(where)), every_axis(origin, len(where)), strict=True
        ):
            window[axis] = whole(n)
            # SciPy subtracts an origin from the number of elements in the origin's type.
            if window[axis] < 1 or (isinstance(at, np.integer) and at.itemsize < 8):
                raise Unsuited
            starts[axis] = start_of(window[axis], at)
        elements = math.prod(window)
        if elements % 2 == 0 or not 3 <= elements <= MOST_IN_WINDOW:
            raise Unsuited
        # Lines that are short against the window, or of foreign byte order, have rules of their own there.
        if array.ndim == 1 and (
            array.size <= elements or not input.dtype.isnative or input.dtype.char in _UNKNOWN_ON_A_LINE
        ):
            raise Unsuited
        number = mode_number(mode)
        constant = _constant(array, number, cval)
        converted = result.array.dtype != array.dtype
        if (converted and array.ndim > 1) or not exact_in_double(array):
            raise Unsuited
    except Unsuited:
        return _original_on_a_line(input, output, arguments, axes)
    functions = core()
    assert functions is not None
    out = np.empty_like(array) if converted else result.array
    if not functions.ndimage_median(array, out, window, starts, number, constant):
        return _original_on_a_line(input, output, arguments, axes)
    if converted:
        _convert(out, result.array)
    return result.deliver()


def _original_on_a_line(input: Any, output: Any, arguments: tuple[Any, ...], axes: Any) -> Any:
    """The original's answer for a line with an output of its own; NotImplemented for all else.

    SciPy 1.17 writes elements of input's type there, one next to the other, whatever the output's type and strides are: beyond
    its memory. So it writes to a fresh one.
    """
    if output is None or type(input) not in PLAIN or input.ndim != 1:
        return NotImplemented
    if isinstance(output, np.ndarray):
        if output.shape != input.shape or not output.flags.writeable:
            return NotImplemented
        to = output
    elif isinstance(output, type | np.dtype | str):
        dtype = np.dtype(output)
        if isinstance(output, str) and not issubclass(dtype.type, np.number):
            return NotImplemented
        to = np.empty(input.shape, dtype)
    else:
        return NotImplemented
    original = median_filter.__fastdeblur_original__  # type: ignore[attr-defined]
    _convert(original(input, *arguments, axes=axes), to)
    return to


def _convert(values: Array, to: Array) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        np.copyto(to, values, casting="unsafe")


def _constant(array: Array, mode: int, cval: Any) -> Array:
    value = real(cval)
    # On a line of integers SciPy makes it one of 64 bits, also where it is not met.
    if array.ndim == 1 and array.dtype.kind != "f" and not abs(value) < 2.0**63:
        raise Unsuited
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
