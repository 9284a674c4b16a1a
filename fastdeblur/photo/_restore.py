"""The blur undone: how strongly to hold back, what clipped pixels hide, and whether the result can be light at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastdeblur import _isa
from fastdeblur.estimate._border import on_grid
from fastdeblur.estimate._gradient_prior import transfer
from fastdeblur.estimate._nonblind import hyper_laplacian
from fastdeblur.methods.wiener import wiener
from fastdeblur.photo._find import Blur, busiest
from fastdeblur.photo._gcv import cross_validated
from fastdeblur.photo._numbers import FloatArray

Mask = NDArray[np.bool_]
Solve = Callable[[FloatArray, Mask, float], FloatArray]

# Of the noise: rounding to 8 bits; and what an estimated kernel gets wrong, which noise stands for.
_LEAST_NOISE = {"given": 0.002, "shake": 0.008}
_LEAST_NOISE_OF_FORMULAS = 0.006

# Light is not negative. Where more than a fiftieth of the photo comes out so, the kernel is wrong or noise is amplified, and more
# is held back, by steps of sqrt(2) of the noise, up to where a wrong kernel alone can be the reason.
_DARK, _MOST_DARK = 0.005, 0.02
_STEPS = 6
_SAMPLE = 1 << 18  # pixels by which this is told

_FILLINGS = 4  # of clipped pixels, for Wiener


@dataclass(frozen=True)
class Restored:
    light: FloatArray
    method: str
    regularization: float  # mean over the channels


def restore(
    light: FloatArray, blur: Blur, noise: NDArray[np.float64], saturated: Mask, quality: str, threads: int
) -> Restored | None:
    """(channels, H, W) with the blur undone; None if an estimated PSF gives what cannot be light."""
    psf = blur.psf
    levels = np.maximum(noise, _LEAST_NOISE.get(blur.kind, _LEAST_NOISE_OF_FORMULAS))
    native = not _isa.why_not()

    def best(channel: FloatArray, over: Mask, level: float) -> FloatArray:
        return hyper_laplacian(channel, psf, level, saturated=over, native=native, n_threads=threads)

    def fast(channel: FloatArray, over: Mask, balance: float) -> FloatArray:
        return _wiener(channel, psf, balance, over, threads)

    solve: Solve
    if quality == "best":
        method, solve, step = "hyper-laplacian", best, 2**0.5
        start = levels
    else:
        method, solve, step = "wiener", fast, 2.0  # a balance goes with the noise's variance
        start = np.array([cross_validated(channel, psf) for channel in light])
    raised = 0
    if blur.kind != "given":
        grey = light.mean(0)
        place = busiest(grey, _SAMPLE)
        dark = max(_DARK, 0.6 * float(levels.mean()))
        raised = _held_back(
            solve,
            grey[place],
            np.asarray(saturated.any(0))[place],
            float(start.mean()),
            step,
            dark - min(0.0, float(grey.min())),
        )
        if raised == _STEPS:
            return None
    values = start * step**raised
    restored = np.empty_like(light)
    for channel, over, value, out in zip(light, saturated, values, restored, strict=True):
        out[...] = solve(channel, over, float(value))
    return Restored(restored, method, float(values.mean()))


def _held_back(solve: Solve, sample: FloatArray, over: Mask, start: float, step: float, dark: float) -> int:
    """The fewest steps after which the sample is not dark as no light can be; _STEPS if there are no such."""

    def is_light(steps: int) -> bool:
        return float(np.mean(solve(sample, over, start * step**steps) < -dark)) <= _MOST_DARK

    if is_light(0):
        return 0
    low, high = 1, _STEPS
    while low < high:
        middle = (low + high) // 2
        if is_light(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _wiener(
    channel: FloatArray, psf: NDArray[np.float64], balance: float, saturated: Mask, threads: int
) -> FloatArray:
    """Wiener's filter; where the sensor stopped counting, the light is what the estimate, blurred again, says, if that is more."""
    estimate = wiener(channel, psf, balance, n_threads=threads)
    if saturated.any():
        otf = transfer(psf.astype(np.float32), on_grid(channel, psf.shape).shape)
        for _ in range(_FILLINGS):
            grid = on_grid(estimate, psf.shape)
            blurred = np.fft.irfft2(otf * np.fft.rfft2(grid), s=grid.shape)[
                : channel.shape[0], : channel.shape[1]
            ]
            filled = np.where(saturated, np.maximum(channel, blurred), channel).astype(np.float32)
            estimate = wiener(filled, psf, balance, n_threads=threads)
    return np.asarray(estimate, np.float32)
