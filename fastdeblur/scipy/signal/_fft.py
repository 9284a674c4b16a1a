"""Convolution by FFT: how a problem is laid out on grids, segments and tiles, and the two functions that promise it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import scipy.signal as _original

from fastdeblur._dropin.replaces import core, replaces
from fastdeblur._geometry import good_size
from fastdeblur.scipy.signal._arrays import MODES, Array, Shape, kept, suitable

_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)

# Tiles that stay in a level-2 cache, and what a pixel of a tile costs of what it costs in a whole image that does not.
_TILES = (256, 320, 384, 480)
_TILE_COST = 0.55
_CACHED_PIXELS = 1 << 19


@lru_cache(maxsize=512)
def _whole_axis(image: int, kernel: int, start: int, count: int, real: bool) -> int:
    """The grid on which what comes around does not reach the part that is kept."""
    return good_size(max(image, image + kernel - 1 - start, start + count), real=real)


@lru_cache(maxsize=256)
def _grid(image: Shape, kernel: Shape, start: Shape, count: Shape) -> Shape:
    """The grid of a whole image, or of tiles of it where those are quicker (then they are shorter than the image)."""
    last = len(image) - 1
    whole = tuple(
        _whole_axis(n, k, s, c, axis == last)
        for axis, (n, k, s, c) in enumerate(zip(image, kernel, start, count, strict=True))
    )
    pixels = float(np.prod(whole, dtype=np.float64))
    if len(image) != 2 or pixels <= _CACHED_PIXELS:
        return whole
    best, grid = pixels, whole
    for tile in _TILES:
        if tile < 2 * max(kernel):
            continue
        lengths = tuple(min(tile, full) for full in whole)
        number = 1
        for length, full, k, c in zip(lengths, whole, kernel, count, strict=True):
            number *= 1 if length == full else -(-c // (length - k + 1))
        cost = _TILE_COST * number * lengths[0] * lengths[1]
        if cost < best:
            best, grid = cost, lengths
    return grid


@lru_cache(maxsize=256)
def _segment(kernel: int, count: int) -> int | None:
    """The length of the segments that a long signal is cut into; None where one transform of all of it is quicker."""
    longest = 1 << 16
    if 3 * kernel > longest or count < 3 * kernel:
        return None
    best, segment = 0.0, None
    for length in (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, longest):
        if length < 2 * kernel:
            continue
        length = good_size(min(length, count + kernel - 1), real=True)
        number = -(-count // (length - kernel + 1))
        # Eight segments that do not fit the level-2 cache are twice as slow.
        cost = (
            number
            * length
            * (8 + length.bit_length())
            * (1 if length <= 4096 else 1.5 if length <= 8192 else 2)
        )
        if segment is None or cost < best:
            best, segment = cost, length
    return segment


def convolution(in1: Array, in2: Array, mode: str, spatial: int, dtype: np.dtype[Any]) -> Array | None:
    """Convolution along the last ``spatial`` axes, or None where it is not ours; the axes before them count planes."""
    module = core()
    assert module is not None
    lead = in1.ndim - spatial
    s1, s2 = in1.shape[lead:], in2.shape[lead:]
    part = kept(s1, s2, mode)
    # Without an axis to transform the original multiplies, in whatever dtype that has.
    if part is None or all(n == 1 or k == 1 for n, k in zip(s1, s2, strict=True)):
        return None
    start, count = part
    planes = in1.shape[:lead]
    one_kernel = lead == 0 or in2.shape[:lead] == (1,) * lead
    if not one_kernel and in2.shape[:lead] != planes:
        return None
    out = np.empty(planes + count, dtype)
    image, kernel = (_aligned(in1), _aligned(in2)) if lead else _larger_first(_aligned(in1), _aligned(in2))
    to = out
    if lead:
        image, to = image.reshape(-1, *s1), out.reshape(-1, *count)
        kernel = kernel.reshape(s2 if one_kernel else (-1, *s2))
    if spatial == 1 and one_kernel:
        segment = _segment(kernel.shape[-1], count[0])
        if segment is not None:
            return out if module.signal_overlap_save(image, kernel, to, start[0], segment) else None
    n = image.ndim - spatial
    grid = _grid(image.shape[n:], kernel.shape[-spatial:], start, count)
    return out if module.signal_fft_convolve(image, kernel, to, start, grid) else None


def _aligned(array: Array) -> Array:
    return array if array.flags.aligned else array.copy()


def _larger_first(a: Array, b: Array) -> tuple[Array, Array]:
    return (a, b) if a.size >= b.size else (b, a)


def _spatial_axes(ndim: int, axes: Any) -> int | None:
    """How many of the last axes are convolved; None where others are, or what is not ours to judge."""
    if axes is None:
        return ndim if ndim <= 3 else None
    given = (axes,) if type(axes) is int else axes
    if type(given) not in (tuple, list) or not all(type(a) is int and -ndim <= a < ndim for a in given):
        return None
    places = sorted(a % ndim for a in given)
    if not 1 <= len(places) <= 3 or places != list(range(ndim - len(places), ndim)):
        return None
    return len(places)


def _by_fft(in1: Any, in2: Any, mode: Any, axes: Any) -> Any:
    if type(mode) is not str or mode not in MODES or not suitable(in1, in2):
        return NotImplemented
    spatial = _spatial_axes(in1.ndim, axes)
    if spatial is None:
        return NotImplemented
    single = in1.dtype == _SINGLE and in2.dtype == _SINGLE
    out = convolution(in1, in2, mode, spatial, _SINGLE if single else _DOUBLE)
    return NotImplemented if out is None else out


@replaces(_original.fftconvolve)
def fftconvolve(in1: Any, in2: Any, mode: Any = "full", axes: Any = None) -> Any:
    """Convolve two arrays by FFT.

    in1, in2 : arrays of one number of axes, any shapes
    mode     : "full", "same" (in1's shape, starting at (K - 1) // 2 of the full result) or "valid" (no zeros beyond the borders)
    axes     : int or sequence of ints, the axes to convolve along; None: all. The others broadcast.
    Returns a fresh array: float32 if both are, else float64 (also for whole numbers), complex for complex ones.

    As scipy.signal.fftconvolve. Ours are real arrays along their last one to three axes, in three passes over memory: rows of
    padding are neither stored nor transformed, the kernel's transfer function is made while it is used, only the part that is
    kept is computed back, and images that outgrow the caches are done in overlapping tiles.
    Raises what the original raises: ValueError for unequal ranks, incompatible shapes or unknown modes.
    Source: overlap-save, Stockham 1966, doi:10.1145/1464182.1464209
    """
    return _by_fft(in1, in2, mode, axes)


@replaces(_original.oaconvolve)
def oaconvolve(in1: Any, in2: Any, mode: Any = "full", axes: Any = None) -> Any:
    """Convolve two arrays, one much larger than the other, by FFTs of pieces.

    Arguments, result and errors are those of `fftconvolve`, which here cuts images and signals into pieces by itself.
    As scipy.signal.oaconvolve.
    """
    return _by_fft(in1, in2, mode, axes)
