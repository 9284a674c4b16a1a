"""Which arrays the convolutions take, what their results are, and which part of the full convolution a mode keeps."""

from __future__ import annotations

from functools import lru_cache
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur._dropin.replaces import PLAIN

Array = NDArray[Any]
Shape = tuple[int, ...]

# By dtype rather than by character: a byte-swapped one is not equal to its native twin.
REAL = {np.dtype(c): c for c in "?bBhHiIlLqQfd"}
FLOATS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
MODES = frozenset({"full", "same", "valid"})

# Weights this small the core leaves out, and such differences it does not see, as ndimage; scipy.signal uses them.
SMALLEST = float(np.finfo(np.float64).eps)


def suitable(in1: Any, in2: Any) -> bool:
    """Two plain real arrays of one number of axes, at least 1, neither empty."""
    return (
        type(in1) in PLAIN
        and type(in2) in PLAIN
        and in1.dtype in REAL
        and in2.dtype in REAL
        and in1.ndim == in2.ndim > 0
        and in1.size > 0
        and in2.size > 0
    )


@lru_cache(maxsize=256)
def result_type(first: np.dtype[Any], second: np.dtype[Any]) -> np.dtype[Any]:
    """NumPy's; a dtype per pair never changes, and asking costs as much as a small convolution."""
    return np.result_type(first, second)


def kept(s1: Shape, s2: Shape, mode: str) -> tuple[Shape, Shape] | None:
    """(start, shape) of the part of the full convolution that a mode keeps, or None where the original refuses or broadcasts.

    ``same`` is as large as the first array and starts at (K - 1) // 2, K the second's length.
    """
    if mode == "full":
        return (0,) * len(s1), tuple(n + k - 1 for n, k in zip(s1, s2, strict=True))
    if mode == "same":
        return tuple((k - 1) // 2 for k in s2), s1
    if all(n >= k for n, k in zip(s1, s2, strict=True)):
        return tuple(k - 1 for k in s2), tuple(n - k + 1 for n, k in zip(s1, s2, strict=True))
    if all(n <= k for n, k in zip(s1, s2, strict=True)):
        return tuple(n - 1 for n in s1), tuple(k - n + 1 for n, k in zip(s1, s2, strict=True))
    return None


def is_whole(value: Any) -> bool:
    return type(value) is int or isinstance(value, np.integer)


def finite(array: Array) -> bool:
    """Whether all values are finite (and not so large that their squares are not): one quick pass."""
    if array.dtype not in FLOATS:
        return True
    flat = array.ravel("K")
    with np.errstate(over="ignore", invalid="ignore"):
        return isfinite(float(np.dot(flat, flat)))


def usable(array: Array) -> Array:
    """The array itself if the core can read it where it lies, else a contiguous copy."""
    if not array.flags.aligned:
        return array.copy()
    return np.ascontiguousarray(array)


def reversed_view(array: Array) -> Array:
    return array[(slice(None, None, -1),) * array.ndim]
