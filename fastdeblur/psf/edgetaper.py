"""Borders made fit for a periodic transform."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import Layout, as_real_array, names_memory_errors, require_finite, result_dtype
from fastdeblur.errors import InvalidArgument
from fastdeblur.psf._given import given_psf, summable
from fastdeblur.psf.otf import psf2otf


@names_memory_errors
def edgetaper(
    image: npt.ArrayLike, psf: npt.ArrayLike, *, channel_axis: int | None = None
) -> npt.NDArray[Any]:
    """Blend an image's borders into its periodically blurred self, so that they meet without a jump (MATLAB's edgetaper).

    With the periodic blur B the result is ``a image + (1 - a) B image``, held within the image's own range. The
    weight a is the product over the axes of one minus the autocorrelation of the PSF's projection on that axis,
    scaled to 1 at lag 0, on a circle one pixel shorter than the axis: 0 in the outermost pixels, 1 farther than the PSF
    reaches. The boundaries of `wiener` and `richardson_lucy` need no taper; it is for methods that know periodic
    borders only.

    Parameters
    ----------
    image : (..., [d,] [h,] w), any real dtype, with as many spatial axes (last, but for channel_axis) as psf.
    psf : 1-D to 3-D, origin at ``shape // 2``; at most half as long as the image on each axis. Normalised here.
    channel_axis : the image's axis of channels, or None.

    Returns
    -------
    Array of the image's shape; float64 for a float64 image, else float32.

    Raises
    ------
    InvalidArgument
        If an argument is not as said, not finite, or so large that a sum of its values would overflow.
    OutOfMemory
        If the memory cannot be had.

    Source: MathWorks, MATLAB Image Processing Toolbox, edgetaper.
    """
    kernel = given_psf(psf)
    array = as_real_array(image, "image")
    layout = Layout.of(array.shape, kernel.shape, channel_axis)
    if layout.psf_per_channel:
        raise InvalidArgument(
            f"psf: expected {kernel.ndim - 1} axes, one PSF for all channels, got {kernel.ndim}"
        )
    if any(2 * k > n for k, n in zip(kernel.shape, layout.spatial, strict=True)):
        raise InvalidArgument(
            f"psf: expected at most half of the image's {layout.spatial} pixels on each axis, got shape {kernel.shape}"
        )
    require_finite(array, "image", limit=summable(math.prod(layout.spatial)))
    out = np.empty(array.shape, result_dtype(array.dtype))
    source, target = layout.view(array), layout.view(out)
    otf = psf2otf(kernel, layout.spatial)[..., : layout.spatial[-1] // 2 + 1]
    weight = np.ones(layout.spatial)
    for axis, n in enumerate(layout.spatial):
        weight *= _weight(kernel, axis, n).reshape([-1 if a == axis else 1 for a in range(kernel.ndim)])
    axes = tuple(range(kernel.ndim))
    for index in np.ndindex(layout.planes):
        plane = source[index].astype(np.float64)
        blurred = np.fft.irfftn(np.fft.rfftn(plane) * otf, layout.spatial, axes)
        target[index] = np.clip(weight * plane + (1 - weight) * blurred, plane.min(), plane.max())
    return out


def _weight(psf: npt.NDArray[np.float64], axis: int, n: int) -> npt.NDArray[np.float64]:
    if n == 1:
        return np.ones(1)
    profile = psf.sum(axis=tuple(a for a in range(psf.ndim) if a != axis))
    correlation = np.fft.irfft(np.abs(np.fft.rfft(profile, n - 1)) ** 2, n - 1)
    weight: npt.NDArray[np.float64] = 1 - np.append(correlation, correlation[0]) / correlation.max()
    return weight
