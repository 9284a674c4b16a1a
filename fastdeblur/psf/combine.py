"""Several blurs, one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import as_psf
from fastdeblur.errors import InvalidArgument, OutOfMemory
from fastdeblur.psf._common import Float64Array, allocate, check_dtype, check_ndim, finish
from fastdeblur.psf._given import scaled

# Up to so many multiplications a sum of shifted copies, which is exact for light that is positive, is quick.
_DIRECT = 1 << 24


def combine(
    *psfs: npt.ArrayLike, ndim: int | None = None, dtype: npt.DTypeLike = np.float64
) -> npt.NDArray[Any]:
    """PSF of several blurs together: their full linear convolution, normalised.

    Parameters
    ----------
    psfs : one PSF or more, each with a positive sum, its origin at ``shape // 2``, even sizes included. All have the
        same axes; with ndim, leading axes are batches, which broadcast.
    ndim : number of spatial axes, 1 to 3, the last ones. Default: all of
        them.
    dtype : float64 or float32 (computed in float64, then rounded).

    Returns
    -------
    Array of shape ``batch + shape``, each kernel with sum 1 and origin at ``shape // 2``. On each axis it is the
    smallest that holds the full convolution with its origin there: sizes a and b give a + b - 1 pixels, or a + b if
    both are even. PSFs without negative values give one without.

    Raises
    ------
    InvalidArgument
        If there is no PSF; if one is empty, not real and finite, or without a positive sum, or with values that
        cancel in it; if their numbers of axes differ or batches do not broadcast.
    OutOfMemory
        If the result is larger than the machine's memory.
    """
    kind = check_dtype(dtype)
    if not psfs:
        raise InvalidArgument("psfs: expected at least one PSF, got none")
    axes = None if ndim is None else check_ndim(ndim)
    arrays = [_checked(value, f"psfs[{i}]", axes) for i, value in enumerate(psfs)]
    if axes is None:
        counts = {array.ndim for array in arrays}
        if len(counts) > 1 or max(counts) > 3:
            raise InvalidArgument(
                f"psfs: expected one number of axes, 1 to 3, got {', '.join(str(array.ndim) for array in arrays)}"
            )
        axes = counts.pop()
    try:
        batch = np.broadcast_shapes(*(array.shape[:-axes] for array in arrays))
    except ValueError as error:
        shapes = ", ".join(str(array.shape[:-axes]) for array in arrays)
        raise InvalidArgument(f"psfs: expected batches that broadcast, got {shapes}") from error

    before = [sum(array.shape[axis - axes] // 2 for array in arrays) for axis in range(axes)]
    length = [sum(array.shape[axis - axes] - 1 for array in arrays) + 1 for axis in range(axes)]
    # The origin is at shape // 2: what follows it is as long as what is before it, or one less.
    sizes = tuple(2 * b + 1 if n - 1 - b >= b else 2 * b for b, n in zip(before, length, strict=True))
    out = allocate(batch, sizes, kind)
    out[...] = 0
    flat = [np.broadcast_to(a, batch + a.shape[-axes:]).reshape((-1, *a.shape[-axes:])) for a in arrays]
    inner = tuple(slice(0, n) for n in length)
    try:
        for k, kernel in enumerate(out):
            total = flat[0][k]
            for other in flat[1:]:
                total = _convolve(total, other[k])
            kernel[inner] = total / total.sum()
    except MemoryError as error:
        raise OutOfMemory(
            f"psfs: the memory for a convolution of shape {sizes} cannot be allocated"
        ) from error
    return finish(out, batch, kind)


def _checked(value: Any, name: str, axes: int | None) -> Float64Array:
    try:
        array = as_psf(value) if axes is None else _as_batch(value, axes)
    except InvalidArgument as error:
        raise InvalidArgument(f"{name}{str(error).removeprefix('psf')}") from error
    return scaled(array, name, tuple(range(array.ndim - (axes or array.ndim), array.ndim)))


def _as_batch(value: Any, axes: int) -> Float64Array:
    from fastdeblur._checks import as_real_array, require_finite

    array = as_real_array(value, "psf").astype(np.float64, order="C")
    if array.ndim < axes or array.size == 0:
        raise InvalidArgument(f"psf: expected at least {axes} axes and one pixel, got shape {array.shape}")
    require_finite(array, "psf")
    return array


def _convolve(a: Float64Array, b: Float64Array) -> Float64Array:
    if a.size < b.size:
        a, b = b, a
    shape = tuple(n + m - 1 for n, m in zip(a.shape, b.shape, strict=True))
    if a.size * int(np.count_nonzero(b)) <= _DIRECT:
        out = np.zeros(shape)
        for index in np.argwhere(b):
            out[tuple(slice(i, i + n) for i, n in zip(index, a.shape, strict=True))] += b[tuple(index)] * a
        return out
    axes = tuple(range(a.ndim))
    result: Float64Array = np.fft.irfftn(
        np.fft.rfftn(a, shape, axes) * np.fft.rfftn(b, shape, axes), shape, axes
    )
    if a.min() >= 0 and b.min() >= 0:
        np.maximum(result, 0.0, out=result)
    return result
