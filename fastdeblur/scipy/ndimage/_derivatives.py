"""First and second derivatives: Sobel, Prewitt, Laplace, and those of Gaussians."""

# ruff: noqa: A002 - the parameters' names are the original's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.ndimage as _original

from fastdeblur._dropin.replaces import replaces
from fastdeblur.scipy.ndimage._arguments import (
    Array,
    Output,
    Unsuited,
    apart,
    axes_of,
    axis_of,
    every_axis,
    image,
    mode_number,
    real,
)
from fastdeblur.scipy.ndimage._gaussian import filter_or_copy, gaussian_lines
from fastdeblur.scipy.ndimage._lines import Line, filter_lines


def _constant(*weights: float) -> Array:
    kernel = np.array(weights)
    kernel.flags.writeable = False
    return kernel


_DIFFERENCE = _constant(-1.0, 0.0, 1.0)
_SECOND_DIFFERENCE = _constant(1.0, -2.0, 1.0)
_SOBEL = _constant(1.0, 2.0, 1.0)
_PREWITT = _constant(1.0, 1.0, 1.0)


@replaces(_original.sobel)
def sobel(input: Any, axis: Any = -1, output: Any = None, mode: Any = "reflect", cval: Any = 0.0) -> Any:
    """Sobel derivative along an axis, ``scipy.ndimage.sobel``.

    input : array of any real dtype; mode : one for all axes or one for each
    Returns an array of input's shape, of its dtype or ``output``'s, with SciPy's bits: unsigned integers wrap around, as there.
    Raises what SciPy raises.
    """
    return _difference(input, axis, output, mode, cval, _SOBEL)


@replaces(_original.prewitt)
def prewitt(input: Any, axis: Any = -1, output: Any = None, mode: Any = "reflect", cval: Any = 0.0) -> Any:
    """Prewitt derivative along an axis, ``scipy.ndimage.prewitt``; see `sobel`."""
    return _difference(input, axis, output, mode, cval, _PREWITT)


def _difference(input: Any, axis: Any, output: Any, mode: Any, cval: Any, smoothing: Array) -> Any:
    try:
        array = image(input)
        result = Output(output, input)
        along = axis_of(axis, array.ndim)
        modes = [mode_number(m) for m in every_axis(mode, array.ndim)]
        lines = [Line(along, _DIFFERENCE, -1, modes[along])]
        lines += [Line(k, smoothing, -1, modes[k]) for k in range(array.ndim) if k != along]
        constant = real(cval)
    except Unsuited:
        return NotImplemented
    filter_lines(array, result.array, lines, constant)
    return result.deliver()


@replaces(_original.laplace)
def laplace(
    input: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, *, axes: Any = None
) -> Any:
    """Laplace filter by second differences, ``scipy.ndimage.laplace``.

    input : array of any real dtype but bool; mode : one for all axes or one for each
    Returns an array of input's shape, of its dtype or ``output``'s, with SciPy's bits: each axis' differences are rounded to that
    dtype before they are added. Raises what SciPy raises.
    """
    try:
        array = image(input)
        apart(output, input)
        result = Output(output, input)
        where = axes_of(axes, array.ndim)
        modes = every_axis(mode, len(where))
        terms = [[Line(k, _SECOND_DIFFERENCE, -1, mode_number(m))] for k, m in zip(where, modes, strict=True)]
        constant = real(cval)
        if result.array.dtype.kind == "b":
            raise Unsuited  # addition is the logical or
    except Unsuited:
        return NotImplemented
    _sum(array, result.array, terms, constant)
    return result.deliver()


@replaces(_original.gaussian_laplace)
def gaussian_laplace(
    input: Any,
    sigma: Any,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    *,
    axes: Any = None,
    **kwargs: Any,
) -> Any:
    """Laplace filter by second derivatives of a Gaussian, ``scipy.ndimage.gaussian_laplace``.

    input : array of any real dtype but bool; sigma, mode : one for all axes or one for each; kwargs : ``truncate``, ``radius``
    Returns an array of input's shape, of its dtype or ``output``'s, with SciPy's bits. Raises what SciPy raises.
    """
    try:
        array = image(input)
        apart(output, input)
        result = Output(output, input)
        where = axes_of(axes, array.ndim)
        sigmas: list[Any] = [0] * array.ndim
        # Where all axes are named, their order is that of the modes only.
        named = where if len(where) < array.ndim else range(array.ndim)
        for k, s in zip(named, every_axis(sigma, len(where)), strict=True):
            sigmas[k] = s
        terms = _gaussian_terms(array.ndim, sigmas, where, 2, mode, kwargs)
        constant = real(cval)
        if result.array.dtype.kind == "b":
            raise Unsuited
    except Unsuited:
        return NotImplemented
    _sum(array, result.array, terms, constant)
    return result.deliver()


@replaces(_original.gaussian_gradient_magnitude)
def gaussian_gradient_magnitude(
    input: Any,
    sigma: Any,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    *,
    axes: Any = None,
    **kwargs: Any,
) -> Any:
    """Length of the gradient by first derivatives of a Gaussian, ``scipy.ndimage.gaussian_gradient_magnitude``.

    input : array of any real dtype; sigma, mode : one for all axes or one for each; kwargs : ``truncate``, ``radius``
    Returns an array of input's shape, of its dtype or ``output``'s; as in SciPy squares and sums are taken in that dtype, so that
    small integers overflow. Raises what SciPy raises.
    """
    try:
        array = image(input)
        apart(output, input)
        result = Output(output, input)
        where = axes_of(axes, array.ndim)
        terms = _gaussian_terms(array.ndim, every_axis(sigma, array.ndim), where, 1, mode, kwargs)
        constant = real(cval)
        if result.array.dtype.kind == "b":
            raise Unsuited
    except Unsuited:
        return NotImplemented
    total = result.array
    if not terms:
        np.copyto(total, array, casting="unsafe")
        return result.deliver()
    filter_or_copy(array, total, terms[0], constant)
    np.multiply(total, total, total)
    if len(terms) > 1:
        other = np.empty(total.shape, total.dtype)
        for lines in terms[1:]:
            filter_or_copy(array, other, lines, constant)
            np.multiply(other, other, other)
            total += other
    np.sqrt(total, total, casting="unsafe")
    return result.deliver()


def _gaussian_terms(
    ndim: int, sigmas: list[Any], axes: Sequence[int], order: int, mode: Any, kwargs: dict[str, Any]
) -> list[list[Line]]:
    """One list of lines per axis: the Gaussian's derivative along it, the Gaussian along the others."""
    if not kwargs.keys() <= {"truncate", "radius"}:
        raise Unsuited
    truncate, radius = kwargs.get("truncate", 4.0), kwargs.get("radius")
    terms = []
    for axis, m in zip(axes, every_axis(mode, len(axes)), strict=True):
        orders = [0] * ndim
        orders[axis] = order
        terms.append(gaussian_lines(ndim, sigmas, orders, m, truncate, radius, None))
    return terms


def _sum(array: Array, out: Array, terms: list[list[Line]], constant: float) -> None:
    """The sum of the terms' results, each rounded to out's dtype."""
    if not terms:
        np.copyto(out, array, casting="unsafe")
        return
    filter_or_copy(array, out, terms[0], constant)
    for lines in terms[1:]:
        if len(lines) in (1, 2):
            filter_lines(array, out, lines, constant, accumulate=True)
        else:
            term = np.empty(out.shape, out.dtype)
            filter_or_copy(array, term, lines, constant)
            out += term
