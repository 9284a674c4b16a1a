"""Total-variation denoising as scikit-image does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import skimage.restoration as _original
from skimage.util import img_as_float as _img_as_float

from fastdeblur._dropin.replaces import PLAIN, replaces
from fastdeblur.skimage.restoration._common import (
    contiguous,
    is_count,
    is_number,
    native,
    working_dtype,
)

# Untyped, and typed calls of it are errors.
img_as_float: Any = _img_as_float


# Heavier ones are no float32, in which the original divides by them for a float32 image.
_HEAVIEST = float(np.finfo(np.float32).max)


@replaces(_original.denoise_tv_chambolle)
def denoise_tv_chambolle(
    image: Any, weight: Any = 0.1, eps: Any = 2.0e-4, max_num_iter: Any = 200, *, channel_axis: Any = None
) -> Any:
    """Total-variation denoising by Chambolle's projection: scikit-image's function, several iterations in one walk.

    Parameters
    ----------
    image : array, real
        Integers are scaled by `skimage.util.img_as_float`.
    weight : float
        The greater, the smoother.
    eps : float
        The iteration ends when the cost of two successive images differs by less than this part of the first one's.
    max_num_iter : int
    channel_axis : int, optional
        Each channel is denoised by itself.

    Returns
    -------
    Array of image's shape; float32 for float16 and float32, otherwise float64.

    Notes
    -----
    Fast are finite images of 2 or 3 spatial axes; the rest goes to scikit-image. Results agree to rounding, and the number of
    iterations with it unless two costs differ by ``eps`` to the last digit.

    References
    ----------
    Chambolle 2004, doi:10.1023/B:JMIV.0000011325.36760.1e.
    """
    if not (
        type(image) in PLAIN
        and image.size > 0
        and is_number(weight)
        and type(weight) is not np.float32  # in whose precision the original would divide
        and 0 < weight <= _HEAVIEST
        and is_number(eps)
        and is_count(max_num_iter)
        and max_num_iter > 1
        and (channel_axis is None or is_count(channel_axis))
        and image.ndim - (channel_axis is not None) in (2, 3)
    ):
        return NotImplemented
    dtype: Any = working_dtype(image.dtype)
    if dtype is None:
        return NotImplemented
    if image.dtype.kind != "f":
        image = img_as_float(image)
    arguments = float(weight), float(eps), int(max_num_iter), 0
    denoise = native().restoration_denoise_tv
    if channel_axis is None:
        out = np.empty(image.shape, dtype)
        return out if denoise(contiguous(image, dtype), out, *arguments) else NotImplemented
    axis = int(channel_axis) % image.ndim
    out = np.empty_like(image, dtype)
    for channel, target in zip(np.moveaxis(image, axis, 0), np.moveaxis(out, axis, 0), strict=True):
        plane = np.empty(channel.shape, dtype)
        if not denoise(contiguous(channel, dtype), plane, *arguments):
            return NotImplemented
        target[...] = plane
    return out
