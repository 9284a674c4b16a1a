"""Richardson-Lucy deconvolution as scikit-image does it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import skimage.restoration as _original

from fastdeblur._dropin.replaces import replaces
from fastdeblur._geometry import good_size
from fastdeblur.skimage.restoration._common import (
    Real,
    contiguous,
    fits_in,
    is_count,
    is_image,
    is_number,
    native,
    working_dtype,
)


@replaces(_original.richardson_lucy)
def richardson_lucy(
    image: Any, psf: Any, num_iter: Any = 50, clip: Any = True, filter_epsilon: Any = None
) -> Any:
    """Richardson-Lucy deconvolution: scikit-image's function, in four fused passes an iteration.

    Parameters
    ----------
    image : array, real
    psf : array of as many axes, real
    num_iter : int
        Number of iterations, which starts from 0.5 everywhere.
    clip : bool
        Cut the result to [-1, 1].
    filter_epsilon : float, optional
        Blurred values below this make the ratio 0.

    Returns
    -------
    Array of image's shape; float32 for float16 and float32, otherwise float64.

    Notes
    -----
    Fast are finite real images of 1 to 3 axes with a PSF no larger than the image; the rest goes to scikit-image. So does a run
    whose blurred estimate passes through 0 where the image does not, as images with negative parts make it do: what comes then
    hangs on rounding.

    The original has surprises that are kept here: the scene is 0 outside the image and the update is never divided by the light
    that a pixel sends into it, so that borders brighten with every iteration; 1e-12 is added to the blurred image; the PSF is
    not normalised; a PSF of even size is mirrored about a pixel and not its middle, so that the image drifts; ``clip=True`` cuts
    an image in 0..255 to 1. `fastdeblur.richardson_lucy` has boundaries that keep constants constant, starts from the image's mean,
    normalises the PSF, applies the true adjoint and never cuts.

    References
    ----------
    Richardson 1972, doi:10.1364/JOSA.62.000055; Lucy 1974, doi:10.1086/111605.
    """
    if not (
        is_image(image)
        and fits_in(psf, image.shape)
        and is_count(num_iter)
        and num_iter >= 1
        and type(clip) is bool
        and (filter_epsilon is None or is_number(filter_epsilon))
    ):
        return NotImplemented
    dtype: Any = working_dtype(image.dtype)
    kernel = contiguous(psf, dtype)
    even = [k % 2 == 0 for k in kernel.shape]
    if True in even:
        kernel = _centred(kernel)
    out = np.empty(image.shape, dtype)
    done = native().restoration_richardson_lucy(
        contiguous(image, dtype),
        kernel,
        even,
        _grid(image.shape, psf.shape),
        int(num_iter),
        float(filter_epsilon) if filter_epsilon else None,
        clip,
        out,
        0,
    )
    return out if done else NotImplemented


def _centred(kernel: Real) -> Real:
    """The kernel with its origin (K - 1) // 2, where ``same`` starts, at ``shape // 2``."""
    padded: Real = np.zeros([k | 1 for k in kernel.shape], kernel.dtype)
    padded[tuple(slice(1 - k % 2, None) for k in kernel.shape)] = kernel
    return padded


@lru_cache(maxsize=256)
def _grid(shape: tuple[int, ...], psf: tuple[int, ...]) -> list[int]:
    """Lengths on which nothing wraps around into the frame: half a PSF of zeros between its ends suffices."""
    last = len(shape) - 1
    return [
        good_size(n + k // 2, real=axis == last) if k > 1 else n
        for axis, (n, k) in enumerate(zip(shape, psf, strict=True))
    ]
