"""Deblurring with a known kernel and a hyper-Laplacian prior: what a blind estimate is judged by, and finished with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur._checks import require_finite
from fastdeblur.estimate._border import on_grid
from fastdeblur.estimate._gradient_prior import (
    FloatArray,
    blurred,
    half_quadratic,
    hyper_laplacian_steps,
    shrink_table,
    transfer,
)

# Of the prior's weight against the noise's variance, in units of the image's range: 2000 at 1 % of noise, as in the paper.
_PRIOR = 0.2
_LARGEST, _SMALLEST = 2e5, 20.0
_LARGEST_VALUE = 1e15
_FILLINGS = 12  # with half of them a lamp leaves a third more around itself
_PACE = 1.9  # of a filling's step: below 2, where it would cease to converge


def hyper_laplacian(
    image: NDArray[Any],
    psf: NDArray[Any],
    noise_sigma: float = 0.01,
    *,
    exponent: float = 2 / 3,
    weights: NDArray[Any] | None = None,
    saturated: NDArray[np.bool_] | None = None,
    num_steps: int = 6,
    native: bool = True,
    n_threads: int = 0,
) -> FloatArray:
    """min over x of  lambda / 2 |k * x - y|^2 + sum over pixels and directions of |grad x|^exponent.

    Parameters
    ----------
    image : (h, w), range about 1: the prior is not linear; finite, within +-1e15, whose squares float32 holds
    psf : (h, w), sum 1, origin at ``shape // 2``
    noise_sigma : standard deviation of the noise, which sets lambda = 0.2 / noise_sigma^2 within [20, 2e5]
    exponent : in (0, 1)
    weights : (h, w) in [0, 1], optional; 0 leaves a pixel out (clipped, dead), whatever finite value it has. Left-out pixels are
        filled from the blurred estimate and the estimate made again, twelve times: enough for spots as small as the kernel.
    saturated : (h, w) bool, optional; where the light was at least what the image says: filled likewise, but never darker, which is
        slower; nothing is invented where ``weights`` would leave a hole larger than the kernel
    num_steps : of the splitting, >= 2; four lose a few hundredths of what six gain on photos

    Returns
    -------
    (h, w) float32, not clipped. Beyond the borders their values go on, each side's fading into the opposite one's, blurred.

    Source: Krishnan and Fergus 2009, "Fast image deconvolution using hyper-Laplacian priors", NIPS 22.
    """
    require_finite(image, "image", limit=_LARGEST_VALUE)
    height, width = image.shape
    kernel = np.ascontiguousarray(psf, np.float32)
    weight = float(np.clip(_PRIOR / max(noise_sigma, 1e-6) ** 2, _SMALLEST, _LARGEST))
    steps, table = hyper_laplacian_steps(weight, exponent, num_steps), shrink_table(exponent)
    if weights is not None:
        image = _bridged(image, weights, kernel.shape)
    data = on_grid(image, kernel.shape)
    otf = transfer(kernel, data.shape)
    data = _blurred_beyond(data, otf, (height, width))
    x = half_quadratic(data, data, kernel, steps, table, native=native, n_threads=n_threads)
    patient = weights is not None and bool((weights < 1).any())
    bright = saturated is not None and bool(saturated.any())
    if not (patient or bright):
        return x[:height, :width]
    kept = np.ones(image.shape) if weights is None else weights
    over = on_grid(np.zeros(image.shape) if saturated is None else saturated, kernel.shape) > 0.5
    trust = on_grid(kept, kernel.shape) * ~over
    filled = data
    for _ in range(_FILLINGS):
        step = _PACE * (blurred(x, otf) - filled)
        filled = np.maximum(filled + (1 - trust) * step, np.where(over, data, -np.inf))
        filled = np.asarray(filled, np.float32)
        x = half_quadratic(filled, x, kernel, steps, table, native=native, n_threads=n_threads)
    return x[:height, :width]


def _blurred_beyond(data: FloatArray, otf: NDArray[Any], frame: tuple[int, int]) -> FloatArray:
    """An image on its grid, with nothing beyond the frame that the blur erases: what would be there rings in the frame.

    After motion whole frames gain up to 3 dB by it, on average 0.9; after other blurs nothing.
    """
    inside = (slice(frame[0]), slice(frame[1]))
    result = blurred(data, otf)
    result[inside] = data[inside]
    return np.asarray(result, np.float32)


def _bridged(image: NDArray[Any], weights: NDArray[Any], reach: tuple[int, ...]) -> FloatArray:
    """The image, and by the share of trust that a pixel lacks the mean of trusted pixels within about a kernel's size."""
    kept = on_grid(weights * image, reach)
    trust = on_grid(weights, reach)
    widths = [max(1.0, n / 2) for n in reach]
    decay = [np.exp(-2 * (np.pi * s * f) ** 2) for s, f in zip(widths, _frequencies(kept.shape), strict=True)]
    low_pass = decay[0][:, np.newaxis] * decay[1]
    near, far = (blurred(a, low_pass) for a in (kept, trust))
    floor = 1e-3
    mean = (near + floor * kept.mean() / max(float(trust.mean()), 1e-6)) / (np.maximum(far, 0) + floor)
    height, width = image.shape
    return np.asarray(weights * image + (1 - weights) * mean[:height, :width], np.float32)


def _frequencies(shape: tuple[int, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
    return np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
