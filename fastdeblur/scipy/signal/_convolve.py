"""convolve and correlate, which choose between direct sums and FFTs, and the choice itself."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from time import perf_counter
from typing import Any, cast

import numpy as np
import scipy.signal as _original

from fastdeblur._dropin.replaces import replaces
from fastdeblur.scipy.signal import _direct, _fft
from fastdeblur.scipy.signal._arrays import (
    FLOATS,
    MODES,
    Array,
    Shape,
    finite,
    kept,
    result_type,
    reversed_view,
    suitable,
)
from fastdeblur.scipy.signal._cost import fft_is_faster

# Up to this many products NumPy's one-dimensional loop is over before ours has begun, and the original always sums directly.
_FEW = 1 << 12

# Sums of whole numbers up to this come out of an FFT in double with an error well below 1/2.
_WHOLE_IN_FFT = 1 << 44


def _largest(array: Array) -> int | float:
    return 1 if array.dtype.kind == "b" else max(array.max().item(), -array.min().item())


def _whole_in_fft(a: Array, b: Array) -> bool:
    """Whether no sum of products is too large to be rounded back to the whole number that it is."""
    return bool(_largest(a) * _largest(b) * min(a.size, b.size) <= _WHOLE_IN_FFT)


def _by_fft(a: Array, b: Array, mode: str, dtype: np.dtype[Any]) -> Any:
    if a.ndim > 3:
        return NotImplemented
    single = a.dtype == b.dtype == np.float32
    out = _fft.convolution(a, b, mode, a.ndim, np.dtype(np.float32 if single else np.float64))
    if out is None:
        return NotImplemented
    if dtype.kind in "iu":
        if dtype.itemsize == 8:
            return np.rint(out, out=out).astype(dtype)
        # A cast of floats leaves undefined what becomes of those that do not fit. The sum is rounded to a whole number, the low
        # bits of its mantissa are that number's, and wrap around.
        return np.add(out, 1.5 * 2**52, out=out).view(np.int64).astype(dtype)
    with np.errstate(over="ignore"):
        return out.astype(dtype, copy=False)


def _has_a_largest(a: Array, b: Array) -> bool:
    """Whether the original finds a largest number in both, for which it looks if one is of integers; else it raises."""
    if a.dtype.kind == b.dtype.kind or "b" in (a.dtype.kind, b.dtype.kind):
        return True
    return finite(a) and finite(b)


def _quicker(a: Array, b: Array, count: Shape, dtype: np.dtype[Any]) -> str | None:
    """The quicker method of those that keep whole numbers exact; None where the original is to choose."""
    if not _has_a_largest(a, b):
        return None
    if a.ndim > 3 or not fft_is_faster(a.shape, b.shape, count):
        return "direct"
    if (a.dtype in FLOATS and b.dtype in FLOATS) or _whole_in_fft(a, b):
        return "fft"
    return None if dtype in FLOATS else "direct"


def _convolution(a: Any, b: Any, mode: Any, method: Any, turned: bool) -> Any:
    """a * b, with b turned round for a correlation."""
    if type(mode) is not str or mode not in MODES or type(method) is not str or not suitable(a, b):
        return NotImplemented
    part = kept(a.shape, b.shape, mode)
    dtype = result_type(a.dtype, b.dtype)
    if part is None or dtype.kind not in "iuf" or (dtype.kind == "f" and dtype not in FLOATS):
        return NotImplemented
    if turned:
        b = reversed_view(b)
    few = a.size * b.size <= _FEW
    if few and method != "fft" and a.ndim == 1 and (mode != "same" or a.size >= b.size):
        if method == "direct" or (method == "auto" and _has_a_largest(a, b)):
            return np.convolve(a, b, cast(Any, mode))
        return NotImplemented
    if method == "auto":
        method = _quicker(a, b, part[1], dtype)
        # Where the original would have chosen the FFT, all of its result is NaN.
        products = prod(part[1]) * min(a.size, b.size)
        if method == "direct" and products > _FEW and not (finite(a) and finite(b)):
            return NotImplemented
    elif method == "fft" and dtype not in FLOATS and not _whole_in_fft(a, b):
        return NotImplemented
    if method == "fft":
        return _by_fft(a, b, mode, dtype)
    if method != "direct":
        return NotImplemented
    out = _direct.convolution(a, b, mode)
    return NotImplemented if out is None else out


@replaces(_original.convolve)
def convolve(in1: Any, in2: Any, mode: Any = "full", method: Any = "auto") -> Any:
    """Convolve two arrays of any number of dimensions.

    in1, in2 : arrays of one number of axes
    mode     : "full", "same" (in1's shape, starting at (K - 1) // 2 of the full result) or "valid"
    method   : "direct", "fft" or "auto" (what `choose_conv_method` answers; whole numbers stay exact either way)
    Returns a fresh array of NumPy's result type; whole numbers wrap around.

    As scipy.signal.convolve. Ours are real arrays; the choice is calibrated for our kernels, whose direct sums pay up to about
    100 products a pixel.
    Raises what the original raises: ValueError for unequal ranks, unknown modes or methods, and for a "valid" of which neither
    array covers the other.
    """
    return _convolution(in1, in2, mode, method, turned=False)


@replaces(_original.correlate)
def correlate(in1: Any, in2: Any, mode: Any = "full", method: Any = "auto") -> Any:
    """Correlate two arrays of any number of dimensions: `convolve` with in2 turned round (and conjugated).

    Arguments, result and errors are those of `convolve`. As scipy.signal.correlate.
    """
    return _convolution(in1, in2, mode, method, turned=True)


@replaces(_original.choose_conv_method)
def choose_conv_method(in1: Any, in2: Any, mode: Any = "full", measure: Any = False) -> Any:
    """The quicker method of `convolve` for these arrays, "fft" or "direct".

    in1, in2, mode : as for `convolve`
    measure        : run both and time them
    Returns the method; with measure=True also a dict of seconds, {"fft": ..., "direct": ...}.

    As scipy.signal.choose_conv_method where its answer is a matter of correctness (objects, extended precision). Else it goes by
    the cost of our kernels, and by whether the FFT gives whole numbers exactly: the answer is what `convolve` does.
    """
    if type(mode) is not str or mode not in MODES or not suitable(in1, in2):
        return NotImplemented
    part = kept(in1.shape, in2.shape, mode)
    dtype = result_type(in1.dtype, in2.dtype)
    if part is None or dtype.kind not in "iuf" or (dtype.kind == "f" and dtype not in FLOATS):
        return NotImplemented
    if measure is True:
        seconds = {m: _seconds(lambda m=m: convolve(in1, in2, mode, m)) for m in ("fft", "direct")}  # type: ignore[misc]
        return ("fft" if seconds["fft"] < seconds["direct"] else "direct"), seconds
    if measure is not False:
        return NotImplemented
    return _quicker(in1, in2, part[1], dtype) or NotImplemented


def _seconds(call: Callable[[], Any]) -> float:
    """The quickest of some calls, for about 10 ms, at least one."""
    best = np.inf
    end = perf_counter() + 0.01
    while True:
        begin = perf_counter()
        call()
        now = perf_counter()
        best = min(best, now - begin)
        if now >= end:
            return float(best)
