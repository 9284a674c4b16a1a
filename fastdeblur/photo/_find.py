"""What blurred a photo: the kind, then its point-spread function, and whether to believe in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur import estimate
from fastdeblur.estimate._support import impulse
from fastdeblur.photo._numbers import FloatArray

KINDS = ("auto", "motion", "defocus", "gaussian", "shake")

# Below this confidence nothing is undone: a wrong kernel does more harm than the blur. A kind that the user names need not hold out
# against the others.
_TRUST, _TRUST_OF_NAMED = 0.25, 0.05
_LARGEST_SEARCH = 1 << 20  # pixels in which a camera shake's kernel is looked for


@dataclass(frozen=True)
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
    light: FloatArray, kind: str, callback: Callable[[estimate.KernelProgress], Any] | None, threads: int
) -> Blur:
    """The blur of (channels, H, W) in linear light, all of one kind if that is not "auto"."""
    if kind != "auto":
        if kind == "shake":
            return _shake(light, callback, threads, _TRUST_OF_NAMED)
        named: Callable[..., estimate.Motion | estimate.Defocus | estimate.Gaussian] = getattr(estimate, kind)
        return _formula(kind, named(light, channel_axis=0), _TRUST_OF_NAMED)
    told = estimate.kind(light, channel_axis=0)
    if told.kind == "sharp":
        blur = none("sharp", told.confidence)
    elif told.confidence < _TRUST:
        return none("unknown")
    elif told.estimate is None:
        blur = _shake(light, callback, threads, _TRUST)
    else:
        blur = _formula(told.kind, told.estimate, _TRUST)
    return Blur(blur.psf, blur.kind, blur.confidence, blur.parameters, told.tiles, told.varies)


def _formula(kind: str, found: estimate.Motion | estimate.Defocus | estimate.Gaussian, trust: float) -> Blur:
    if found.confidence < trust:
        return none("unknown")
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


def _shake(light: FloatArray, callback: Any, threads: int, trust: float) -> Blur:
    grey = light.mean(0)
    found = estimate.kernel(grey[busiest(grey, _LARGEST_SEARCH)], callback=callback, n_threads=threads)
    if found.confidence < trust or found.psf.size == 1:
        return none("unknown")
    return Blur(found.psf, "shake", found.confidence)


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
