"""An image on a periodic grid: mirrored beyond its borders, each side fading into the opposite one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur._geometry import Frame
from fastdeblur.backends.numpy_ import NumpyOps


def on_grid(image: NDArray[Any], psf_shape: tuple[int, ...]) -> NDArray[np.float32]:
    """float32, the image at index 0, with room for the PSF's reach beyond both borders."""
    frame = Frame.of(image.shape, psf_shape, "reflect")
    return np.ascontiguousarray(NumpyOps(np.dtype(np.float32)).extend(image, frame), np.float32)
