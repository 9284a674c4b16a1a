"""What the backends of a GPU share: words for a lack of memory, and images looked at again when one is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastdeblur._arrays import DeviceArray
from fastdeblur._geometry import Frame
from fastdeblur.backends import Plane
from fastdeblur.errors import InvalidArgument, OutOfMemory
from fastdeblur.ops import CHECKS


def out_of_memory(device: int, needed: int, asked: int, free: int) -> OutOfMemory:
    """needed: by the estimate, of the whole call; asked: by the allocation that failed; all in bytes."""
    return OutOfMemory(
        f"device: the call takes about {needed / 1e9:.2f} GB on cuda:{device}, of which {asked / 1e9:.2f} GB could not be had: "
        f"{free / 1e9:.2f} GB are free. Restore the image in tiles or its batch in parts, take float32, or device='cpu' with the "
        f"arrays in host memory"
    )


def must_wait(planes: Sequence[Plane]) -> bool:
    """Whether a call may return only when it is done: its caller may let go of an array whose memory is then given to others."""
    arrays = (a for plane in planes for a in (plane.image, plane.weights, plane.init, plane.out))
    return any(isinstance(a, DeviceArray) and not a.library.keeps_order for a in arrays)


def explain(method: str, planes: Sequence[Plane], index: int, frame: Frame, dtype: np.dtype[Any]) -> None:
    """Raise what is wrong with an image that a device refused, as it would be for one in host memory."""
    plane = planes[index]
    if isinstance(plane.image, DeviceArray):
        library = plane.image.library
        try:
            image, weights = (None if a is None else library.to_host(a) for a in (plane.image, plane.weights))
        except NotImplementedError:  # a library that only hands over memory
            raise InvalidArgument(
                f"image: expected finite values"
                f"{' >= 0' if method == 'richardson_lucy' else ''} whose sum does not overflow, got others at "
                f"position {plane.position}"
            ) from None
        plane = plane._replace(image=image, weights=weights)
    CHECKS[method](plane, frame, dtype)
