"""Which arrays and arguments the fast paths take, as scikit-image's restoration functions would read them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.restoration import uft as _uft

from fastdeblur._dropin.replaces import PLAIN, core

Real = NDArray[Any]


def native() -> Any:
    """The compiled core; a fast path is only asked where there is one."""
    return core()


# Untyped, and typed calls of it are errors.
uft: Any = _uft


@lru_cache(maxsize=256)
def working_dtype(dtype: np.dtype[Any]) -> Any:
    """What scikit-image computes a dtype in, or None where that is not ours to answer (complex, long double, objects)."""
    if dtype.kind == "f":
        return {2: np.float32, 4: np.float32, 8: np.float64}.get(dtype.itemsize)
    return np.float64 if dtype.kind in "biu" else None


def is_image(array: Any) -> bool:
    """Whether this is a plain array of 1 to 3 axes and at least one pixel, of a dtype that is ours."""
    return (
        type(array) in PLAIN
        and 1 <= array.ndim <= 3
        and array.size > 0
        and working_dtype(array.dtype) is not None
    )


def fits_in(kernel: Any, shape: tuple[int, ...]) -> bool:
    """Whether this is a plain real array with as many axes as the image and no longer than it along any."""
    return (
        is_image(kernel)
        and kernel.ndim == len(shape)
        and all(k <= n for k, n in zip(kernel.shape, shape, strict=True))
    )


def contiguous(array: Real, dtype: Any) -> Real:
    """The array in that dtype, native and C-contiguous; itself if it is so already."""
    result: Real = np.ascontiguousarray(array, dtype)
    return result


def is_count(value: Any) -> bool:
    return type(value) is int or isinstance(value, np.integer)


def is_number(value: Any) -> bool:
    """Whether this is a real number that a double holds."""
    kind = type(value)
    if kind is int:
        return abs(value) <= 2**53  # type: ignore[no-any-return]
    return kind is float or isinstance(value, (np.float32, np.float64))
