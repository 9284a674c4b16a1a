"""Wiener-Hunt deconvolution as scikit-image does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import skimage.restoration as _original

from fastdeblur._dropin.replaces import PLAIN, replaces
from fastdeblur.skimage.restoration._common import (
    Real,
    contiguous,
    fits_in,
    is_image,
    is_number,
    native,
    uft,
    working_dtype,
)


@replaces(_original.wiener)
def wiener(
    image: Any, psf: Any, balance: Any, reg: Any = None, is_real: bool = True, clip: bool = True
) -> Any:
    """Wiener-Hunt deconvolution with periodic borders: scikit-image's function, in three fused passes.

    Parameters
    ----------
    image : (N1, ..., ND) array, real
    psf : array of as many axes, real
        Impulse response with its origin at ``shape // 2``, used as it is (not normalised).
    balance : float
        Weight of the regularisation.
    reg : array, optional
        Impulse response or half-spectrum transfer function of the regularisation; the Laplacian by default.
    is_real : bool
        Whether transfer functions are given on half the frequencies.
    clip : bool
        Cut the result to [-1, 1].

    Returns
    -------
    Array of image's shape; float32 for float16 and float32, otherwise float64.

    Notes
    -----
    Fast are real images of 1 to 3 axes with a real PSF no larger than the image, ``is_real=True`` and a balance that leaves no
    frequency to rounding; the rest goes to scikit-image, whose results and errors are those of this function in every case.

    The original has surprises that are kept here: borders are periodic, so that opposite ones ring into each other;
    ``clip=True`` cuts an image in 0..255 to 1; the imaginary part of a complex ``psf`` or ``reg`` is ignored; a real PSF
    of the half spectrum's shape counts as a transfer function. `fastdeblur.wiener` extends the image past its borders, normalises
    the PSF, never cuts, knows PSF and transfer function apart, and leaves frequencies that the blur removed at 0.

    References
    ----------
    Orieux, Giovannelli, Rodet 2010, doi:10.1364/JOSAA.27.001593; Hunt 1971.
    """
    if not (
        is_image(image)
        and fits_in(psf, image.shape)
        and is_real is True
        and type(clip) is bool
        and is_number(balance)
    ):
        return NotImplemented
    shape = image.shape
    dtype = working_dtype(image.dtype)
    # A float64 scalar, unlike a Python float, makes a float32 problem a float64 one.
    if dtype is np.float32 and type(balance) is np.float64:
        return NotImplemented
    half = (*shape[:-1], shape[-1] // 2 + 1)
    if psf.shape == half:
        return NotImplemented
    if reg is None:
        if min(shape) < 3:
            return NotImplemented
        power = None
    else:
        transfer = response(reg, shape)
        if transfer is None:
            return NotImplemented
        # The original takes the real part, too.
        power = np.square(contiguous(transfer.real, dtype))
    out = np.empty(shape, dtype)
    done = native().restoration_wiener(
        contiguous(image, dtype), contiguous(psf, dtype), power, float(balance), clip, out, 0
    )
    return out if done else NotImplemented


def response(reg: Any, shape: tuple[int, ...]) -> Real | None:
    """The regulariser's transfer function on the half spectrum, or None where reg is unusual."""
    half = (*shape[:-1], shape[-1] // 2 + 1)
    result: Real | None = None
    if type(reg) in PLAIN and reg.dtype.kind == "c" and reg.shape == half:
        result = reg
    elif fits_in(reg, shape):
        result = uft.ir2tf(reg, shape)
    return result
