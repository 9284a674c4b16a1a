"""An image on a periodic grid: its border values go on beyond, each side's fading into the opposite one's.

A mirror image would hold more detail, but no blurred scene looks so: motion comes back at the opposite angle, at the frequencies
that the blur erased, and these ring through the whole frame. Photos gain 0.6 to 0.8 dB without it after motion and shake.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur._geometry import Frame
from fastdeblur.backends.numpy_ import NumpyOps


def on_grid(image: NDArray[Any], psf_shape: tuple[int, ...]) -> NDArray[np.float32]:
    """float32, the image at index 0, with room for the PSF's reach beyond both borders."""
    frame = Frame.of(image.shape, psf_shape, "edge")
    return np.ascontiguousarray(NumpyOps(np.dtype(np.float32)).extend(image, frame), np.float32)
