"""The blur undone: how much to hold back, what clipped pixels hide, and where the photo is better left as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur import _isa
from fastdeblur.estimate._border import on_grid
from fastdeblur.estimate._exposure import widened
from fastdeblur.estimate._gradient_prior import blurred, transfer
from fastdeblur.estimate._nonblind import hyper_laplacian
from fastdeblur.photo._find import Blur, busiest
from fastdeblur.photo._numbers import FloatArray
from fastdeblur.photo._parts import blurred_part
from fastdeblur.photo._plausible import darkness, mean_around, possible, share

Mask = NDArray[np.bool_]

# Of the noise: it stands for what a kernel gets wrong too, and for light from beyond the frame.
_LEAST_NOISE, _LEAST_NOISE_OF_SHAKE = 0.006, 0.008

_STEPS, _STEP = 6, 2**0.5  # of the noise: where these do not do, the kernel is wrong
_STEPS_IF_GIVEN = 2  # where a dark sky's noise alone can be the reason
_SAMPLE = 1 << 18  # pixels by which this is told

# Of the noise, at least, around clipped pixels, and elsewhere in their photo: what they hide is guessed, and a guess rings.
_NEAR_CLIPPED, _WITH_CLIPPED = 0.02, 0.01

_SPLITTING = {"best": 6, "fast": 4}  # steps


@dataclass(frozen=True, eq=False)
class Restored:
    """light : (channels, H, W); noise : that the prior was weighed against, mean over the channels; share : (H, W) in [0, 1], of
    the restored light in each pixel, whose rest is the photo as it was.
    """

    light: FloatArray
    noise: float
    share: FloatArray


def restore(
    light: FloatArray, blur: Blur, noise: NDArray[np.float64], saturated: Mask, quality: str, threads: int
) -> Restored | None:
    """(channels, H, W) with the blur undone; None if an estimated PSF gives what cannot be light. A given one is not doubted."""
    psf, size = blur.psf, (blur.psf.shape[0], blur.psf.shape[1])
    levels = np.maximum(noise, _LEAST_NOISE_OF_SHAKE if blur.kind == "shake" else _LEAST_NOISE)
    native = not _isa.why_not()

    def plain(channel: FloatArray, level: float, over: Mask | None = None) -> FloatArray:
        return hyper_laplacian(
            channel,
            psf,
            level,
            saturated=over,
            num_steps=_SPLITTING[quality],
            native=native,
            n_threads=threads,
        )

    def solve(channel: FloatArray, over: Mask, level: float) -> FloatArray:
        if not over.any():
            return plain(channel, level)
        calm = plain(channel, max(level, _NEAR_CLIPPED), over)
        filled = np.where(over, np.maximum(channel, _blurred(calm, psf)), channel).astype(np.float32)
        near = mean_around(widened(over, size), (size[0] // 2, size[1] // 2)).astype(np.float32)
        return np.asarray(near * calm + (1 - near) * plain(filled, max(level, _WITH_CLIPPED)), np.float32)

    black = min(0.0, float(light.min()))  # what is taken for no light
    dark = darkness(float(levels.mean()))
    grey = light.mean(0)
    place = busiest(grey, _SAMPLE)
    sample, over = grey[place], np.asarray(saturated.any(0))[place]
    start = float(levels.mean())
    steps = _fewest(lambda n: possible(solve(sample, over, start * _STEP**n) - black, dark))
    if blur.kind == "given":
        steps = min(steps, _STEPS_IF_GIVEN)
    elif steps == _STEPS:
        return None
    levels = levels * _STEP**steps
    restored = np.empty_like(light)
    for channel, over, level, out in zip(light, saturated, levels, restored, strict=True):
        out[...] = solve(channel, over, float(level))
    part = np.ones(light.shape[1:], np.float32)
    if blur.kind != "given":
        part = share(restored - black, light - black, psf.shape, dark)
        if blur.kind != "shake":  # whose tiles were compared with no blur
            part *= blurred_part(light.shape[1], light.shape[2], blur.tiles)
        restored *= part
        restored += (1 - part) * light
    return Restored(restored, float(levels.mean()), part)


def _blurred(light: FloatArray, psf: NDArray[np.float64]) -> NDArray[Any]:
    grid = on_grid(light, psf.shape)
    otf = transfer(psf.astype(np.float32), grid.shape)
    return blurred(grid, otf)[: light.shape[0], : light.shape[1]]


def _fewest(will_do: Callable[[int], bool]) -> int:
    """The fewest steps that will do, if all larger numbers do too; _STEPS if none does."""
    if will_do(0):
        return 0
    low, high = 1, _STEPS
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if will_do(middle) else (middle + 1, high)
    return low
