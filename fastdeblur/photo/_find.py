"""What blurred a photo: the kind, then its point-spread function, and whether to believe in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur import estimate
from fastdeblur.estimate._support import impulse
from fastdeblur.estimate.kind import fitted, formula_instead, told
from fastdeblur.photo._numbers import FloatArray

KINDS = ("auto", "motion", "defocus", "gaussian", "shake")

# Below this confidence nothing is undone: a wrong kernel does more harm than the blur. A kind that the user names need not hold out
# against the others.
_TRUST, _TRUST_OF_NAMED = 0.25, 0.05
# A photo that the spectrum calls sharp, but with so much of a hint at camera shake, is searched for a kernel all the same, which
# has to be beyond doubt then: sharp photos' come to 0.5, those of photos that are blurred too little for the spectrum to 0.9.
_HINT, _TRUST_AGAINST_SPECTRUM = 0.1, 0.7
# Half of the evidence is missing where highlights are clipped. Kernels that are mostly one pixel come of sharp photos then.
_HALF, _PEAK = 0.5, 0.3
_FULL, _WIDE = 0.9, 2.0
# A photo's blocks of so many pixels curve by more than so many times the noise here and there, if it has anything in it.
_BLOCK, _CURVED, _LEAST_CURVED = 8, 6.0, 0.01
_LARGEST_SEARCH = {"best": 1 << 20, "fast": 1 << 18}  # pixels in which a camera shake's kernel is looked for

Formula = estimate.Motion | estimate.Defocus | estimate.Gaussian


@dataclass(frozen=True, eq=False)
class Blur:
    """The blur of a photo; a PSF of one pixel is none."""

    psf: NDArray[np.float64]
    kind: str
    confidence: float
    parameters: dict[str, float] = field(default_factory=dict)
    tiles: NDArray[np.object_] = field(default_factory=lambda: np.empty((0, 0), object))
    varies: bool = False


def none(kind: str, confidence: float = 0.0) -> Blur:
    return Blur(impulse((1, 1)), kind, confidence)


def find(
    light: FloatArray,
    kind: str,
    quality: str,
    callback: Callable[[estimate.KernelProgress], Any] | None,
    threads: int,
) -> Blur:
    """The blur of (channels, H, W) in linear light, of the kind named if that is not "auto"."""

    def search() -> estimate.KernelEstimate:
        grey = light.mean(0)
        part = grey[busiest(grey, _LARGEST_SEARCH[quality])]
        return estimate.kernel(part, callback=callback, n_threads=threads)

    if not has_edges(light.mean(0)):
        return none("unknown")
    if kind != "auto":
        if kind == "shake":
            return _shake(search(), _TRUST_OF_NAMED)
        named: Callable[..., Formula] = getattr(estimate, kind)
        found = named(light, channel_axis=0)
        return none("unknown") if found.confidence < _TRUST_OF_NAMED else _formula(kind, found)
    fits = fitted(light, 0)
    if fits is None:
        return none("unknown")
    first = told(fits)
    if first.kind == "sharp":
        blur = none("sharp", first.confidence)
        if quality == "best" and first.scores["shake"] >= _HINT:
            second = _shake(search(), _TRUST_AGAINST_SPECTRUM)
            blur = second if second.psf.size > 1 else blur
    elif first.confidence < _TRUST:
        return none("unknown")
    elif first.estimate is not None:
        blur = _formula(first.kind, first.estimate)
    else:
        kernel = search()
        instead = None if kernel.stopped else formula_instead(fits, kernel.psf)
        if instead is not None and instead.estimate is not None:
            first, blur = instead, _formula(instead.kind, instead.estimate)
        else:
            blur = _shake(kernel, _TRUST)
    return replace(blur, tiles=first.tiles, varies=first.varies)


def _shake(found: estimate.KernelEstimate, trust: float) -> Blur:
    doubtful = fills(found.psf, found.size) or (found.confidence <= _HALF and found.psf.max() > _PEAK)
    if found.confidence < trust or doubtful or found.psf.size == 1:
        return none("unknown")
    return Blur(found.psf, "shake", found.confidence)


def _formula(kind: str, found: Formula) -> Blur:
    if isinstance(found, estimate.Motion):
        parameters = {"length": found.length, "angle": found.angle}
    elif isinstance(found, estimate.Defocus):
        parameters = {"radius": found.radius}
    else:
        parameters = {
            "sigma_major": found.sigma_major,
            "sigma_minor": found.sigma_minor,
            "angle": found.angle,
        }
    return Blur(found.psf(), kind, found.confidence, parameters)


def fills(psf: NDArray[np.float64], frame: tuple[int, ...]) -> bool:
    """Whether a trimmed kernel reaches all sides of the frame that it was looked for in, and is no path: the search ended nowhere.

    A path covers about as many pixels as it is long.
    """
    reaches = all(n >= _FULL * m for n, m in zip(psf.shape, frame, strict=True))
    return reaches and float(1 / np.sum(psf**2)) > _WIDE * max(psf.shape)


def has_edges(plane: FloatArray) -> bool:
    """False for what is flat, even, or nothing but noise: no estimator finds a blur in it, but one may think so."""
    height, width = (n // _BLOCK for n in plane.shape)
    blocks = plane[: height * _BLOCK, : width * _BLOCK].reshape(height, _BLOCK, width, _BLOCK).mean((1, 3))
    fine = np.median(np.abs(plane[1:, 1:] - plane[:-1, :-1])) / (0.6745 * np.sqrt(2))
    curved = np.abs(
        blocks[1:-1, 1:-1] * 4 - blocks[:-2, 1:-1] - blocks[2:, 1:-1] - blocks[1:-1, :-2] - blocks[1:-1, 2:]
    )
    # The mean of a block's noise, and of rounding to 8 bits, times the square root of 4^2 + 4.
    noise = max(float(fine), 1 / 255) / _BLOCK * 20**0.5
    return float(np.mean(curved > _CURVED * noise)) >= _LEAST_CURVED


def busiest(plane: FloatArray, pixels: int) -> tuple[slice, slice]:
    """The part of a large photo, of so many pixels, that has the most structure to judge a kernel by."""
    shrink = (pixels / plane.size) ** 0.5
    if shrink >= 1:
        return slice(None), slice(None)
    height, width = (min(n, max(64, int(n * shrink))) for n in plane.shape)
    # As many gradients as there are, not as strong: a bright edge against the sky is no texture.
    edges = np.zeros_like(plane)
    edges[:-1] += np.abs(np.diff(plane, axis=0))
    edges[:, :-1] += np.abs(np.diff(plane, axis=1))
    total = np.pad(np.sqrt(edges).cumsum(0, dtype=np.float64).cumsum(1), ((1, 0), (1, 0)))
    rows = np.arange(0, plane.shape[0] - height + 1, max(1, height // 8))
    columns = np.arange(0, plane.shape[1] - width + 1, max(1, width // 8))
    sums = (
        total[np.ix_(rows + height, columns + width)]
        - total[np.ix_(rows + height, columns)]
        - total[np.ix_(rows, columns + width)]
        + total[np.ix_(rows, columns)]
    )
    i, j = np.unravel_index(int(np.argmax(sums)), sums.shape)
    return slice(rows[i], rows[i] + height), slice(columns[j], columns[j] + width)
