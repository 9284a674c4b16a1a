"""The one call: what blurred a photo is found, and undone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastdeblur import estimate
from fastdeblur._checks import (
    as_choice,
    as_psf,
    as_real_array,
    as_thread_count,
    names_memory_errors,
    normalised,
    require_finite,
)
from fastdeblur.errors import InvalidArgument
from fastdeblur.estimate._exposure import clipped
from fastdeblur.photo._defects import defects, mended, spreads
from fastdeblur.photo._find import KINDS, Blur, find, none
from fastdeblur.photo._numbers import FloatArray, Numbers, as_channels, as_law
from fastdeblur.photo._restore import restore

QUALITIES = ("best", "fast")

Callback = Callable[[estimate.KernelProgress], Any]

LEAST = 64  # pixels on an axis in which a blur can be found
_LEAST_FOR_NOISE = 16


@dataclass(frozen=True, eq=False)
class Deblurred:
    """What `deblur` made of a photo, and from what."""

    image: NDArray[Any]
    """The photo's shape, dtype and unit."""
    psf: NDArray[np.float64]
    """(h, w), sum 1, origin at ``shape // 2``: the blur that was undone; 1 x 1 if none was."""
    kind: str
    """ "given", "motion", "defocus", "gaussian", "shake"; "sharp" or "unknown", where the photo comes back as it was."""
    parameters: dict[str, float]
    """Of the kind, in pixels and degrees: length and angle; radius; or sigma_major, sigma_minor and angle."""
    confidence: float
    """In [0, 1], that the PSF is right; 1 for a given one, 0 for "unknown"."""
    confidence_map: FloatArray
    """(H, W) in [0, 1]: where the frame bears the answer out; 0 on clipped, hot and dead pixels, and where a blurred photo was left
    as it was.
    """
    varies: bool
    """Whether parts of the frame are blurred otherwise than the whole, and no PSF is right for all; looked at with kind="auto"."""
    noise: float
    """Standard deviation of the noise in linear light, mean over the channels; 1 is the photo's bright end (99.9 % are darker)."""
    method: str
    """ "hyper-laplacian" or "none"."""
    assumed_noise: float
    """What the prior was weighed against, >= noise: also for what the PSF gets wrong; 0 for "none". Around clipped pixels it was
    more.
    """


@overload
def deblur(
    image: ArrayLike,
    psf: ArrayLike | None = ...,
    *,
    kind: str = ...,
    quality: str = ...,
    gamma: str | float = ...,
    channel_axis: int | None = ...,
    full: Literal[False] = ...,
    callback: Callback | None = ...,
    n_threads: int = ...,
) -> NDArray[Any]: ...


@overload
def deblur(
    image: ArrayLike,
    psf: ArrayLike | None = ...,
    *,
    kind: str = ...,
    quality: str = ...,
    gamma: str | float = ...,
    channel_axis: int | None = ...,
    full: Literal[True],
    callback: Callback | None = ...,
    n_threads: int = ...,
) -> Deblurred: ...


@names_memory_errors
def deblur(
    image: ArrayLike,
    psf: ArrayLike | None = None,
    *,
    kind: str = "auto",
    quality: str = "best",
    gamma: str | float = "auto",
    channel_axis: int | None = None,
    full: bool = False,
    callback: Callback | None = None,
    n_threads: int = 0,
) -> NDArray[Any] | Deblurred:
    """Deblur a photo whose blur nobody knows.

    The kind of blur is told from the spectrum (`estimate.kind`), its PSF estimated, the noise measured, and the blur undone in
    linear light, clipped highlights taken for no darker than they say, hot and dead pixels for what lies around them. A blur that
    nothing bears out, and one that leaves what cannot be light when it is undone, is not undone; where that is so in parts only,
    these stay as they were.

    Parameters
    ----------
    image : array, (H, W), or with channels along ``channel_axis``
        Any real dtype, finite; at least 64 x 64 pixels where the blur has to be found.
    psf : array, (h, w), optional
        The blur, if it is known: origin at ``shape // 2``, any positive sum, no larger than the image.
    kind : "auto", "motion", "defocus", "gaussian" or "shake"
        What blurred it: straight motion, a lens out of focus, a Gaussian, or any other compact kernel, camera shake above all.
        Without meaning, and refused, where ``psf`` says it.
    quality : "best" or "fast"
        Least squares with a hyper-Laplacian prior on gradients, weighed against the measured noise. "fast" looks for a camera
        shake's kernel in a quarter of a megapixel instead of one and not twice, and solves in four steps instead of six.
    gamma : "auto", "srgb", "none" or a number > 0
        How values stand for light, which is what gets blurred. "auto": sRGB for uint8 and uint16, linear for all else; a number
        from 0.1 to 10 is the exponent of a power law. White is an integer's largest value, and 1 for floats in sRGB.
    channel_axis : int, optional
        Axis of the channels, None for none. They share one blur; alpha is none of them: pass ``rgba[..., :3]``.
    full : bool
        Whether to return a `Deblurred` instead of the image alone.
    callback : callable, optional
        As in `estimate.kernel`, while a camera shake's kernel is looked for. Ending that search early gives the photo as it was.
    n_threads : int
        0 for as many as OpenMP would use. The result does not depend on it.

    Returns
    -------
    array or Deblurred
        The photo's shape, dtype and unit (booleans become float32), computed in float32; integers are rounded and cut to their
        range. A sharp photo, and one in which nothing tells what blurred it, comes back as it was: a copy.

    Raises
    ------
    InvalidArgument
        An argument breaks its rule; the message names argument, rule and value.
    OutOfMemory
        The machine cannot hold what the call needs.

    References
    ----------
    D. Krishnan, R. Fergus, Fast image deconvolution using hyper-Laplacian priors, NIPS 22, 2009.
    J. Pan, Z. Hu, Z. Su, M.-H. Yang, CVPR 2014, doi:10.1109/CVPR.2014.371 (the kernel of a camera shake).
    `estimate.kind`, `estimate.motion` and `estimate.kernel` name the sources of the estimators.
    """
    array, channels = check_photo(image, channel_axis, small=psf is not None)
    kind = as_choice(kind, "kind", KINDS)
    quality = as_choice(quality, "quality", QUALITIES)
    law = as_law(gamma, array.dtype)
    if not isinstance(full, (bool, np.bool_)):
        raise InvalidArgument(f"full: expected True or False, got {full!r}")
    if callback is not None and not callable(callback):
        raise InvalidArgument(f"callback: expected a callable, got {type(callback).__name__}")
    threads = as_thread_count(n_threads)
    known = None if psf is None else _as_kernel(psf, kind, channels.shape[1:])

    dtype = np.dtype(np.float32) if array.dtype.kind == "b" else array.dtype
    numbers = Numbers.of(channels, law)
    light = numbers.light(channels)
    noise = np.zeros(len(light))
    if min(light.shape[1:]) >= _LEAST_FOR_NOISE:
        noise = np.atleast_1d(estimate.noise(light, channel_axis=0))
    as_it_was, bad = (numbers, light), defects(light, noise)
    if bad.any():
        channels = mended(channels, bad)
        numbers = Numbers.of(channels, law)
        light = numbers.light(channels)
    blur = known or find(light, kind, quality, callback, threads)
    if bad.any() and not spreads(blur.psf):  # through such a PSF they may be what they seem
        (numbers, light), bad, channels = as_it_was, np.zeros_like(bad), as_channels(array, channel_axis)
    saturated = np.stack([clipped(channel[np.newaxis]) for channel in channels])
    restored = None
    if blur.psf.size > 1:
        restored = restore(light, blur, noise, saturated, quality, threads)
        if restored is None:
            blur = none("unknown")
    if restored is None:
        result = array.astype(dtype, order="C", copy=True)
    else:
        values = numbers.back(restored.light, dtype)
        result = values[0] if channel_axis is None else np.moveaxis(values, 0, channel_axis)
    if not full:
        return result
    return Deblurred(
        result,
        blur.psf,
        blur.kind,
        blur.parameters,
        blur.confidence,
        _map(blur, np.asarray((saturated | bad).any(0))) * (restored.share if restored else np.float32(1)),
        blur.varies,
        float(noise.mean()),
        "hyper-laplacian" if restored else "none",
        restored.noise if restored else 0.0,
    )


def check_photo(
    image: ArrayLike, channel_axis: int | None, *, small: bool = False
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The photo as an array, and as (channels, H, W), where `deblur` takes it; `small`: also where no blur could be found in it."""
    array = as_real_array(image, "image")
    channels = as_channels(array, channel_axis)
    if not small and min(channels.shape[1:]) < LEAST:
        raise InvalidArgument(
            f"image: expected at least {LEAST} x {LEAST} pixels to find the blur in, got shape {array.shape}"
        )
    require_finite(array, "image", limit=1e30)
    return array, channels


def check_fits(kernel: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Refuse a PSF that is larger than the photo."""
    if any(k > n for k, n in zip(kernel.shape, shape, strict=True)):
        raise InvalidArgument(f"psf: expected at most the image's size {shape}, got shape {kernel.shape}")


def _as_kernel(psf: ArrayLike, kind: str, shape: tuple[int, ...]) -> Blur:
    kernel = as_psf(psf)
    if kernel.ndim != 2:
        raise InvalidArgument(f"psf: expected 2-D (h, w), got shape {kernel.shape}")
    check_fits(kernel, shape)
    if kind != "auto":
        raise InvalidArgument(f"kind: expected 'auto' where psf is given, got {kind!r}")
    return Blur(normalised(kernel), "given", 1.0)


def _map(blur: Blur, saturated: NDArray[np.bool_]) -> FloatArray:
    result = np.full(saturated.shape, blur.confidence, np.float32)
    for tile in blur.tiles.ravel().tolist():
        result[tile.rows, tile.columns] = 0 if tile.differs else min(tile.confidence, blur.confidence)
    result[saturated] = 0
    return result
