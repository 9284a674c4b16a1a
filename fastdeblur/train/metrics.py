"""How near a restored image is to the sharp one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def psnr(found: Array, sharp: Array) -> float:
    """Peak signal-to-noise ratio in decibel for values in 0..1, over all pixels and channels."""
    error = float(np.mean((np.asarray(found, np.float64) - np.asarray(sharp, np.float64)) ** 2))
    return -10 * float(np.log10(error)) if error > 0 else float("inf")


def ssim(found: Array, sharp: Array) -> float:
    """Structural similarity of images (H, W) or (H, W, C) in 0..1, the mean over channels; at least 11 pixels on each side.

    A Gaussian window of standard deviation 1.5 on 11x11 pixels, at the places where it fits, as in the paper.

    Source: Wang et al. 2004, doi:10.1109/TIP.2003.819861.
    """
    a, b = np.asarray(found, np.float64), np.asarray(sharp, np.float64)
    aa, bb, ab = _windowed(a * a), _windowed(b * b), _windowed(a * b)
    a, b = _windowed(a), _windowed(b)
    c1, c2 = 0.01**2, 0.03**2
    variances = (aa - a * a) + (bb - b * b)
    covariance = ab - a * b
    likeness = (2 * a * b + c1) * (2 * covariance + c2) / ((a * a + b * b + c1) * (variances + c2))
    return float(likeness.mean())


def _windowed(x: Array) -> Array:
    weights = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weights /= weights.sum()
    rows = sum(w * x[k : x.shape[0] - 10 + k] for k, w in enumerate(weights))
    result: Array = sum(w * rows[:, k : x.shape[1] - 10 + k] for k, w in enumerate(weights))  # type: ignore[index]
    return result
