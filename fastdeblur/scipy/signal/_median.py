"""Medians of images."""

# ruff: noqa: A002 - the parameters' names are the original's

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.signal as _original

from fastdeblur._dropin.replaces import PLAIN, core, replaces
from fastdeblur.scipy.ndimage._arguments import CONSTANT, exact_in_double
from fastdeblur.scipy.ndimage._median import MOST_IN_WINDOW
from fastdeblur.scipy.signal._arrays import REAL, is_whole, usable


@replaces(_original.medfilt2d)
def medfilt2d(input: Any, kernel_size: Any = 3) -> Any:
    """Median of every pixel's window; zeros lie beyond the borders.

    input       : array (h, w), real
    kernel_size : odd int or two of them, the window in pixels
    Returns a fresh array of input's shape and dtype.

    As scipy.signal.medfilt2d. Windows of up to 125 pixels are ours, by sorting networks over vectors of pixels; arrays with NaN
    go to the original.
    Raises what the original raises: ValueError for even sizes, other ranks and dtypes that cannot be ordered.
    """
    if type(input) not in PLAIN or input.dtype not in REAL or input.dtype.kind == "b" or input.ndim != 2:
        return NotImplemented
    if kernel_size is None:
        window: tuple[int, ...] = (3, 3)
    elif is_whole(kernel_size):
        window = (int(kernel_size), int(kernel_size))
    elif type(kernel_size) in (tuple, list) and all(is_whole(k) for k in kernel_size):
        window = tuple(map(int, kernel_size))
    else:
        return NotImplemented
    if len(window) != 2 or not all(0 < k <= MOST_IN_WINDOW and k % 2 for k in window):
        return NotImplemented
    if not 3 <= window[0] * window[1] <= MOST_IN_WINDOW or input.size == 0:
        return NotImplemented
    # The original warns of windows larger than the image, but not of such.
    larger = window[0] > input.shape[0] or window[1] > input.shape[1]
    if larger and input.dtype.type not in (np.ubyte, np.float32, np.float64):
        return NotImplemented
    # The original orders such integers in float64.
    if not exact_in_double(input):
        return NotImplemented
    out = np.empty(input.shape, input.dtype)
    first = (-(window[0] // 2), -(window[1] // 2))
    outside = np.zeros(1, input.dtype)
    done = core().ndimage_median(usable(input), out, window, first, CONSTANT, outside)  # type: ignore[union-attr]
    return out if done else NotImplemented
