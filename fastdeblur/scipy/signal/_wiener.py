"""The local Wiener filter, a denoiser."""

from __future__ import annotations

from math import isfinite, prod
from typing import Any

import numpy as np
import scipy.signal as _original

from fastdeblur._dropin.replaces import PLAIN, core, replaces
from fastdeblur.scipy.ndimage._arguments import CONSTANT
from fastdeblur.scipy.ndimage._lines import Line, filter_lines
from fastdeblur.scipy.signal._arrays import REAL, Array, is_whole, usable

_LARGEST = float(np.finfo(np.float64).max)
# The sums are direct, so that a flat patch has no variance but the original's: long windows are the original's.
_LONGEST_WINDOW = 64
_EPSILON = float(np.finfo(np.float64).eps)


def _window_sums(image: Array, window: tuple[int, ...]) -> Array | None:
    """Sums over each pixel's window, zero outside; None if a value is not finite."""
    sums = np.empty(image.shape)
    lines = [Line(axis, np.ones(k), -(k // 2), CONSTANT) for axis, k in enumerate(window)]
    return sums if filter_lines(image, sums, lines, 0.0, _LARGEST) else None


@replaces(_original.wiener)
def wiener(im: Any, mysize: Any = None, noise: Any = None) -> Any:
    """Reduce noise: every pixel is drawn to the mean of its window, the more the less the window varies beyond the noise.

    im     : array of any number of dimensions
    mysize : int or sequence of ints, the window in pixels along each axis; None: 3
    noise  : the noise's variance; None: the mean of the local variances
    Returns a fresh float64 array of im's shape.

    As scipy.signal.wiener, including what it does to flat patches without noise, where it divides by a variance of zero and leaves
    NaN. This is not deconvolution: `fastdeblur.wiener` undoes a blur.
    Source: Lee 1980, doi:10.1109/TPAMI.1980.4766994
    """
    if type(im) not in PLAIN or im.dtype not in REAL or im.dtype.kind == "b" or im.size == 0 or im.ndim == 0:
        return NotImplemented
    if mysize is None:
        window: tuple[int, ...] = (3,) * im.ndim
    elif is_whole(mysize):
        window = (int(mysize),) * im.ndim
    elif type(mysize) in (tuple, list) and len(mysize) == im.ndim and all(is_whole(k) for k in mysize):
        window = tuple(map(int, mysize))
    else:
        return NotImplemented
    if not all(1 <= k <= _LONGEST_WINDOW for k in window) or type(noise) not in (
        type(None),
        int,
        float,
        np.float64,
    ):
        return NotImplemented
    image = usable(im)
    with np.errstate(all="ignore"):
        return _drawn_to_means(image, window, noise)


def _drawn_to_means(image: Array, window: tuple[int, ...], noise: float | None) -> Any:
    means, variances = _window_sums(image, window), _window_sums(image**2, window)
    if means is None or variances is None:
        return NotImplemented
    regular = core().signal_wiener(image, means, variances, float(prod(window)), noise)  # type: ignore[union-attr]
    if noise is None:
        noise = variances.mean()
        if not isfinite(noise):
            return NotImplemented
    # Of a variance that should be 0 rounding leaves up to this. Where the noise is no more, the original's rounding decides.
    largest = max(float(image.max()), -float(image.min()))
    rounding = (64 + prod(window)) * _EPSILON * largest * largest
    if not (noise > rounding or np.abs(variances).min() > rounding):
        return NotImplemented
    if regular:
        return means
    # Some variances are 0, and below the noise.
    drawn = image - means
    drawn *= 1 - noise / variances
    drawn += means
    return np.where(variances < noise, means, drawn)
