"""Estimation of the noise's standard deviation as scikit-image does it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import skimage.restoration as _original

from fastdeblur._dropin.replaces import PLAIN, replaces
from fastdeblur.skimage.restoration._common import contiguous, is_count, native

# PyWavelets reads other byte orders as float64.
_FLOATS = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))
_NORMAL_QUARTILE = np.float64(0.6744897501960817)  # of the standard normal distribution


@replaces(_original.estimate_sigma)
def estimate_sigma(image: Any, average_sigmas: Any = False, *, channel_axis: Any = None) -> Any:
    """Standard deviation of Gaussian noise from the finest wavelet details: scikit-image's function, without PyWavelets.

    Parameters
    ----------
    image : array, real
    average_sigmas : bool
        Return the channels' mean instead of a list.
    channel_axis : int, optional
        Each channel is estimated by itself.

    Returns
    -------
    A float, or a list of one for each channel.

    Notes
    -----
    Only the band that is used is computed, the one of details along every axis. Coefficients that are exactly 0 do not count,
    as in the original: they are taken for masked-out areas. float16 is computed in float32, integers in float64.

    References
    ----------
    Donoho and Johnstone 1994, doi:10.1093/biomet/81.3.425.
    """
    if not (
        type(image) in PLAIN
        and image.size > 0
        and image.ndim > 0
        and (image.dtype.kind in "biu" or image.dtype in _FLOATS)
        and (channel_axis is None or (is_count(channel_axis) and image.ndim > 1))
    ):
        return NotImplemented
    if channel_axis is None:
        return _sigma(image)
    channels = np.moveaxis(image, int(channel_axis) % image.ndim, 0)
    sigmas = [_sigma(channel) for channel in channels]
    return np.mean(sigmas) if average_sigmas else sigmas


def _sigma(image: Any) -> Any:
    if image.shape[-1] <= 4:
        warnings.warn(
            f"image is size {image.shape[-1]} on the last axis, but channel_axis is None. If this is a color image, "
            "please set channel_axis=-1 for proper noise estimation.",
            stacklevel=4,
        )
    dtype = np.float32 if image.dtype in _FLOATS[:2] else np.float64
    detail = contiguous(image, dtype)
    for axis in range(image.ndim):
        shape = list(detail.shape)
        shape[axis] = (shape[axis] + 3) // 2
        filtered = np.empty(shape, dtype)
        native().restoration_db2_detail(detail, axis, filtered, 0)
        detail = filtered
    magnitudes = np.abs(detail)
    return np.median(magnitudes[magnitudes != 0]) / _NORMAL_QUARTILE
