"""From a PSF to its transfer function, and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import names_memory_errors, require_finite, require_memory, result_dtype
from fastdeblur.errors import InvalidArgument
from fastdeblur.psf._common import check_shape
from fastdeblur.psf._given import crop_or_pad, given, summable

# Of an OTF's largest value: what its PSF's imaginary part may be by rounding in single precision.
_IMAGINARY = 1e-4


@names_memory_errors
def psf2otf(psf: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Transfer function of a PSF on a periodic grid: the full discrete Fourier transform with the PSF's origin at index 0.

    ``ifftn(fftn(image) * psf2otf(psf, image.shape))`` is the periodic convolution. The spectrum is full, as MATLAB's, so
    that its shape is the grid's; ``otf[..., : n // 2 + 1]``, n the last axis' length, is what ``rfftn`` would give.
    Nothing is normalised: ``otf[0, 0]`` is the PSF's sum.

    Parameters
    ----------
    psf : 1-D to 3-D, origin at ``shape // 2``, finite.
    shape : of the grid: as many axes as psf, and none shorter.

    Returns
    -------
    Complex array of `shape`: complex128 for a float64 PSF, else complex64.

    Raises
    ------
    InvalidArgument
        If psf is not as said, or so large that its sum would overflow; if shape is smaller than the PSF.
    OutOfMemory
        If the memory cannot be had.
    """
    array = given(psf, "psf", (1, 2, 3))
    require_finite(array, "psf", limit=summable(array.size))
    sizes = check_shape(shape, array.ndim)
    if any(n < k for n, k in zip(sizes, array.shape, strict=True)):
        raise InvalidArgument(f"shape: expected at least the PSF's {array.shape} on each axis, got {sizes}")
    # The PSF in the grid, rolled, and its spectrum are alive at once.
    require_memory(48 * math.prod(sizes), f"shape: the transfer function on a grid {sizes}")
    axes = tuple(range(array.ndim))
    grid = np.roll(crop_or_pad(array, sizes), [-(n // 2) for n in sizes], axes)
    single = result_dtype(np.asarray(psf).dtype) == np.float32
    return np.fft.fftn(grid).astype(np.complex64 if single else np.complex128)


@names_memory_errors
def otf2psf(otf: npt.ArrayLike, shape: tuple[int, ...] | None = None) -> npt.NDArray[Any]:
    """PSF of a transfer function: the inverse of `psf2otf`.

    Parameters
    ----------
    otf : 1-D to 3-D, the full spectrum of a periodic grid, of a real PSF: ``otf[-k] = conj(otf[k])``.
    shape : of the PSF to cut out around the origin. Default: the grid's. Of one that `psf2otf` was given the
        PSF's own shape gives back that PSF.

    Returns
    -------
    Real array of `shape`, origin at ``shape // 2``, not normalised: float32 for complex64 or single precision,
    else float64.

    Raises
    ------
    InvalidArgument
        If otf is not finite, or so large that its sum would overflow; if it belongs to no real PSF, or is smaller than
        shape.
    OutOfMemory
        If the memory cannot be had.
    """
    try:
        array = np.asarray(otf)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"otf: expected an array, got {type(otf).__name__}") from error
    if array.dtype.kind not in "uifc":
        raise InvalidArgument(f"otf: expected a numeric dtype, got {array.dtype}")
    if not 1 <= array.ndim <= 3 or array.size == 0:
        raise InvalidArgument(f"otf: expected 1-D to 3-D with at least one element, got shape {array.shape}")
    if not np.isfinite(array).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidArgument(f"otf: expected finite values, got {array[index]} at index {index}")
    for part in (array.real, array.imag):
        require_finite(part, "otf", limit=summable(array.size))
    sizes = array.shape if shape is None else check_shape(shape, array.ndim)
    if any(n < k for n, k in zip(array.shape, sizes, strict=True)):
        raise InvalidArgument(f"shape: expected at most the OTF's {array.shape} on each axis, got {sizes}")
    grid = np.fft.ifftn(array)
    imaginary, largest = float(np.abs(grid.imag).max()), float(np.abs(grid).max())
    if imaginary > _IMAGINARY * largest:
        raise InvalidArgument(
            f"otf: expected the full spectrum of a real PSF, otf[-k] = conj(otf[k]), got one of a PSF whose imaginary part is "
            f"{imaginary / largest:.2g} of its largest value"
        )
    centred = np.roll(grid.real, [n // 2 for n in array.shape], tuple(range(array.ndim)))
    single = array.dtype in (np.dtype(np.complex64), np.dtype(np.float32), np.dtype(np.float16))
    return crop_or_pad(centred, sizes).astype(np.float32 if single else np.float64)
