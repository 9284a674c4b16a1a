"""Gaussian and shift in the frequency domain."""

# ruff: noqa: A002 - the parameters' names are the original's

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.ndimage as _original

from fastdeblur._dropin.replaces import PLAIN, core, replaces
from fastdeblur.scipy.ndimage._arguments import Array, Unsuited, axis_of, every_axis, real, whole

# Elements up to which the tables cost more than what they save.
_FEW = 1 << 12


@replaces(_original.fourier_gaussian)
def fourier_gaussian(input: Any, sigma: Any, n: Any = -1, axis: Any = -1, output: Any = None) -> Any:
    """Product with a Gaussian's Fourier transform, ``scipy.ndimage.fourier_gaussian``.

    input : spectrum, float32, float64, complex64 or complex128, of any number of axes; sigma in elements of the image
    n : -1 for a full spectrum, else the image's length along ``axis``, of which input has the half spectrum
    Returns an array of input's shape and dtype. Spectra of up to 4096 elements and of other dtypes are SciPy's. Raises what
    SciPy raises.
    """
    if _is_small(input):
        return NotImplemented
    try:
        spectrum = _spectrum(input)
        sigmas = every_axis(sigma, spectrum.ndim)
        with np.errstate(over="ignore", invalid="ignore"):
            tables = [
                _gaussian(index, real(s) * math.pi / length)
                for s, (index, length) in zip(sigmas, _frequencies(spectrum, n, axis), strict=True)
            ]
        out = _fresh_or_given(output, spectrum, spectrum.dtype)
    except Unsuited:
        return NotImplemented
    shown, shown_out = spectrum, out
    if spectrum.dtype.kind == "c":
        part = spectrum.real.dtype
        shown, shown_out = spectrum.view(part), out.view(part)
        tables[-1] = np.repeat(tables[-1], 2)
    functions = core()
    assert functions is not None
    functions.ndimage_fourier_scale(shown, shown_out, tables)
    return out


@replaces(_original.fourier_shift)
def fourier_shift(input: Any, shift: Any, n: Any = -1, axis: Any = -1, output: Any = None) -> Any:
    """Shift by any number of elements in the frequency domain, ``scipy.ndimage.fourier_shift``.

    input, n, axis : as for `fourier_gaussian`; shift : one for all axes or one for each
    Returns an array of input's shape: complex64 for complex64, else complex128. Raises what SciPy raises.
    """
    if _is_small(input):
        return NotImplemented
    try:
        spectrum = _spectrum(input)
        shifts = every_axis(shift, spectrum.ndim)
        with np.errstate(invalid="ignore"):
            angles = [
                index * (-2.0 * math.pi * real(s) / length)
                for s, (index, length) in zip(shifts, _frequencies(spectrum, n, axis), strict=True)
            ]
            tables = [np.exp(1j * angle).view(np.float64) for angle in angles]
        out = _fresh_or_given(
            output, spectrum, spectrum.dtype if spectrum.dtype == np.complex64 else np.dtype(np.complex128)
        )
    except Unsuited:
        return NotImplemented
    is_real = spectrum.dtype.kind == "f"
    part = out.real.dtype
    shown = spectrum if is_real else spectrum.view(spectrum.real.dtype).reshape((*spectrum.shape, 2))
    functions = core()
    assert functions is not None
    functions.ndimage_fourier_rotate(shown, out.view(part).reshape((*out.shape, 2)), tables, is_real)
    return out


def _is_small(value: Any) -> bool:
    return type(value) is np.ndarray and value.size <= _FEW


def _spectrum(value: Any) -> Array:
    if (
        type(value) not in PLAIN
        or value.dtype.char not in "fdFD"
        or not value.dtype.isnative
        or value.ndim == 0
    ):
        raise Unsuited
    return np.ascontiguousarray(value).view(np.ndarray)


def _fresh_or_given(output: Any, spectrum: Array, dtype: np.dtype[Any]) -> Array:
    if output is None:
        return np.empty(spectrum.shape, dtype)
    if (
        type(output) is np.ndarray
        and output.shape == spectrum.shape
        and output.dtype == dtype
        and output.dtype.isnative
        and output.flags.c_contiguous
        and output.flags.writeable
        and not np.may_share_memory(output, spectrum)
    ):
        return output
    raise Unsuited


def _frequencies(spectrum: Array, n: Any, axis: Any) -> list[tuple[Array, int]]:
    """Each axis' frequencies in FFT order, and the image's length along it."""
    n, half = whole(n), axis_of(axis, spectrum.ndim)
    result = []
    for k, size in enumerate(spectrum.shape):
        index = np.arange(size, dtype=np.float64)
        if k == half and n >= 0:
            if n == 0:
                raise Unsuited
            result.append((index, n))
        else:
            index[(size + 1) // 2 :] -= size
            result.append((index, size))
    return result


def _gaussian(index: Array, scale: float) -> Array:
    exponent = index * index * (-2.0 * scale * scale)
    if not math.isfinite(scale):
        raise Unsuited
    # As there: what would be below exp(-50) is 0.
    return np.where(np.abs(exponent) > 50.0, 0.0, np.exp(exponent))
