"""One call for a blurred photo: find out what blurred it, and undo that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastdeblur import _light, estimate
from fastdeblur._checks import (
    Layout,
    as_choice,
    as_number,
    as_psf,
    as_real_array,
    as_thread_count,
    names_memory_errors,
    normalised,
    require_finite,
)
from fastdeblur.errors import InvalidArgument
from fastdeblur.estimate import _nonblind
from fastdeblur.estimate._exposure import clipped, widened
from fastdeblur.estimate._support import impulse
from fastdeblur.methods.wiener import wiener

FloatArray = NDArray[np.float32]

KINDS = ("auto", "motion", "defocus", "gaussian", "shake")
QUALITIES = ("fast", "best")

# Below this confidence nothing is undone: a wrong kernel does more harm than the blur.
_TRUST = 0.25
# Of the noise, in units of the range: rounding to 8 bits, and what an estimated kernel gets wrong, which noise stands for.
_LEAST_NOISE, _LEAST_NOISE_ESTIMATED = 0.002, 0.006
_LARGEST_SEARCH = 1 << 20  # pixels in which a camera shake's kernel is looked for
_MOST_FREQUENCIES = 1 << 16  # that generalised cross-validation looks at


@dataclass(frozen=True)
class Deblurred:
    """What `deblur` made of a photo, and from what."""

    image: NDArray[Any]
    """The photo's shape, dtype and unit."""
    psf: NDArray[np.float64]
    """(h, w), sum 1, origin at ``shape // 2``: the blur that was undone; 1 x 1 if none was."""
    kind: str
    """"given", "motion", "defocus", "gaussian", "shake"; "sharp" or "unknown", where the photo comes back as it was."""
    confidence: float
    """In [0, 1], that the PSF is right; 1 for a given one."""
    confidence_map: FloatArray
    """(H, W) in [0, 1]: where the frame bears the PSF out; 0 on clipped pixels."""
    varies: bool
    """Whether parts of the frame are blurred otherwise than the whole; one PSF cannot be right for all then."""
    noise: float
    """Standard deviation of the noise, in linear light in units of the range, mean over the channels."""
    method: str
    """"hyper-laplacian", "wiener" or "none"."""
    parameter: float
    """The noise that the hyper-Laplacian prior was weighed against, or Wiener's balance; 0 for "none"."""


@dataclass(frozen=True)
class _Blur:
    psf: NDArray[np.float64]
    kind: str
    confidence: float
    tiles: NDArray[np.object_]
    varies: bool = False


_NO_TILES = np.empty((0, 0), object)


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
    callback: Callable[[estimate.KernelProgress], Any] | None = None,
    n_threads: int = 0,
) -> NDArray[Any] | Deblurred:
    """Deblur a photo whose blur nobody knows.

    The kind of blur is told from the spectrum (`estimate.kind`), its PSF estimated, the noise measured, clipped highlights left out, and
    the blur undone in linear light.

    Parameters
    ----------
    image : array, (H, W), or with channels along ``channel_axis``
        Any real dtype, finite, at least 64 x 64 pixels where the blur has to be found.
    psf : array, (h, w), optional
        The blur, if it is known: origin at ``shape // 2``, any positive sum.
    kind : "auto", "motion", "defocus", "gaussian" or "shake"
        What blurred it: straight motion, a lens out of focus, a Gaussian, or any other compact kernel, camera shake above all.
    quality : "best" or "fast"
        "best": least squares with a hyper-Laplacian prior on gradients, weighed by the measured noise. "fast": a Wiener filter whose balance
        generalised cross-validation chooses; tens of times quicker, softer or noisier.
    gamma : "auto", "srgb", "none" or a number > 0
        How values stand for light, which is what gets blurred. "auto": sRGB for integers of 8 and 16 bits, linear for all else; a
        number is the exponent of a power law.
    channel_axis : int, optional
        Axis of the channels, None for none. They share one blur.
    full : bool
        Whether to return a `Deblurred` instead of the image alone.
    callback : callable, optional
        As in `estimate.kernel`, while a camera shake's kernel is looked for. Ending that search early gives the photo as it was.
    n_threads : int
        0 for as many as OpenMP would use.

    Returns
    -------
    array or Deblurred
        The photo's shape, dtype and unit; integers are rounded and clipped to their range. A sharp photo, and one in which nothing
        tells what blurred it, comes back as it was.

    Raises
    ------
    InvalidArgument
        An argument breaks its rule; the message names argument, rule and value.

    References
    ----------
    D. Krishnan, R. Fergus, Fast image deconvolution using hyper-Laplacian priors, NIPS 22, 2009.
    G. H. Golub, M. Heath, G. Wahba, Technometrics 21:215, 1979, doi:10.1080/00401706.1979.10489751 (cross-validation).
    `estimate.kind`, `estimate.motion` and `estimate.kernel` name the sources of the estimators.
    """
    array = as_real_array(image, "image")
    channels = _as_channels(array, channel_axis)
    require_finite(array, "image", limit=1e30)
    kind = as_choice(kind, "kind", KINDS)
    quality = as_choice(quality, "quality", QUALITIES)
    law = _as_law(gamma, array.dtype)
    if callback is not None and not callable(callback):
        raise InvalidArgument(f"callback: expected a callable, got {type(callback).__name__}")
    threads = as_thread_count(n_threads)
    given = None if psf is None else _as_kernel(psf, channels.shape[1:])

    unit = _unit(array)
    light = _light.decode(np.asarray(channels / unit, np.float32), law)
    burnt = np.asarray(clipped(light.max(0))) if unit else np.zeros(channels.shape[1:], bool)
    if given is not None:
        blur = _Blur(given, "given", 1.0, _NO_TILES)
    else:
        blur = _find(light, kind, callback, threads)
    noise = (
        np.atleast_1d(estimate.noise(light, channel_axis=0)) if min(light.shape[1:]) >= 16 else np.zeros(1)
    )
    result = Deblurred(
        array,
        blur.psf,
        blur.kind,
        blur.confidence,
        _map(blur, burnt),
        blur.varies,
        float(noise.mean()),
        "none",
        0.0,
    )
    if blur.psf.size > 1:
        least = _LEAST_NOISE if given is not None else _LEAST_NOISE_ESTIMATED
        restored, parameter = _restore(light, blur.psf, np.maximum(noise, least), burnt, quality, threads)
        method = "hyper-laplacian" if quality == "best" else "wiener"
        sharp = _back(restored, law, unit, array, channel_axis)
        result = replace(result, image=sharp, method=method, parameter=parameter)
    else:
        result = replace(result, image=array.copy())
    return result if full else result.image


def _as_channels(array: NDArray[Any], channel_axis: int | None) -> NDArray[Any]:
    """(channels, H, W) of a checked image."""
    wanted = 2 if channel_axis is None else 3
    if array.ndim != wanted:
        rule = "2-D (H, W), or 3-D with channel_axis" if channel_axis is None else "3-D with channel_axis"
        raise InvalidArgument(f"image: expected {rule}, got shape {array.shape}")
    layout = Layout.of(array.shape, (1, 1), channel_axis)
    return layout.view(array) if channel_axis is not None else array[np.newaxis]


def _as_kernel(psf: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    kernel = as_psf(psf)
    if kernel.ndim != 2:
        raise InvalidArgument(f"psf: expected 2-D (h, w), got shape {kernel.shape}")
    if any(k > n for k, n in zip(kernel.shape, shape, strict=True)):
        raise InvalidArgument(f"psf: expected at most the image's size {shape}, got shape {kernel.shape}")
    return normalised(kernel)


def _as_law(gamma: Any, dtype: np.dtype[Any]) -> str | float:
    """ "srgb" or the exponent of a power law."""
    if isinstance(gamma, str):
        as_choice(gamma, "gamma", ("auto", "srgb", "none"))
        encoded = gamma == "srgb" or (gamma == "auto" and dtype.kind in "iu" and dtype.itemsize <= 2)
        return "srgb" if encoded else 1.0
    exponent = as_number(gamma, "gamma")
    if exponent == 0:
        raise InvalidArgument(f"gamma: expected a number > 0, got {gamma!r}")
    return exponent


def _unit(array: NDArray[Any]) -> float:
    """What stands for the full range: an integer's largest value, or the largest there is."""
    if array.dtype.kind in "iu" and array.dtype.itemsize <= 2:
        return float(np.iinfo(array.dtype).max)
    return float(np.max(np.abs(array))) or 1.0


def _find(light: FloatArray, kind: str, callback: Any, threads: int) -> _Blur:
    """The blur of (channels, H, W) in linear light."""
    told = estimate.kind(light, channel_axis=0)
    name, confidence = (told.kind, told.confidence) if kind == "auto" else (kind, 1.0)
    found = told.estimate if kind in ("auto", told.kind) else None
    if name in ("sharp", "unknown") or confidence < _TRUST:
        name = name if name == "sharp" else "unknown"
        return _Blur(impulse((1, 1)), name, confidence, told.tiles, told.varies)
    if name == "shake":
        best = estimate.kernel(_busiest(light.mean(0)), callback=callback, n_threads=threads)
        psf, confidence = best.psf, best.confidence
    else:
        if found is None:
            found = getattr(estimate, name)(light, channel_axis=0)
        psf, confidence = found.psf(), found.confidence
    if confidence < _TRUST:
        return _Blur(impulse((1, 1)), "unknown", confidence, told.tiles, told.varies)
    return _Blur(psf, name, confidence, told.tiles, told.varies)


def _busiest(plane: FloatArray) -> FloatArray:
    """The part of a large photo, a megapixel, that has the most structure to judge a kernel by."""
    shrink = (_LARGEST_SEARCH / plane.size) ** 0.5
    if shrink >= 1:
        return plane
    size = [max(64, int(n * shrink)) for n in plane.shape]
    # As many gradients as there are, not as strong: a bright edge against the sky is no texture.
    edges = np.abs(np.diff(plane, axis=0, append=plane[-1:])) + np.abs(
        np.diff(plane, axis=1, append=plane[:, -1:])
    )
    total = np.sqrt(edges).cumsum(0, dtype=np.float64).cumsum(1)
    total = np.pad(total, ((1, 0), (1, 0)))
    rows, columns = (np.arange(0, n - s + 1, max(1, s // 8)) for n, s in zip(plane.shape, size, strict=True))
    at = np.ix_(rows, columns)
    end, right = np.ix_(rows + size[0], columns), np.ix_(rows, columns + size[1])
    sums = total[np.ix_(rows + size[0], columns + size[1])] - total[end] - total[right] + total[at]
    i, j = np.unravel_index(int(np.argmax(sums)), sums.shape)
    return plane[rows[i] : rows[i] + size[0], columns[j] : columns[j] + size[1]]


def _restore(
    light: FloatArray,
    psf: NDArray[np.float64],
    noise: NDArray[np.float64],
    burnt: NDArray[np.bool_],
    quality: str,
    threads: int,
) -> tuple[FloatArray, float]:
    """The restored channels, and the mean of what was chosen for them."""
    height, width = (n // 2 for n in psf.shape)
    # What a clipped pixel hides was blurred into its surroundings, but there it was counted.
    weights = None if not burnt.any() else (~burnt).astype(np.float32)
    restored = np.empty_like(light)
    chosen = []
    for channel, level, out in zip(light, np.broadcast_to(noise, len(light)), restored, strict=True):
        if quality == "best":
            out[...] = _nonblind.hyper_laplacian(
                channel, psf, float(level), weights=weights, n_threads=threads
            )
            chosen.append(float(level))
        else:
            whole = channel if weights is None else _nonblind.bridged(channel, weights, psf.shape)
            balance = cross_validated(whole, psf)
            wiener(whole, psf, balance, out=out, n_threads=threads)
            chosen.append(balance)
    if weights is not None:
        # A clipped pixel's own light is unknown: it stays at the brightest.
        near = widened(burnt, (height // 4, width // 4))
        np.copyto(restored, np.maximum(restored, light), where=burnt & near)
    return restored, float(np.mean(chosen))


def cross_validated(image: FloatArray, psf: NDArray[np.float64]) -> float:
    """Wiener's balance for the Laplacian by generalised cross-validation.

    The least ||(1 - A) y||^2 / tr(1 - A)^2, where A = |H|^2 / (|H|^2 + balance |R|^2): the error of predicting each pixel from the others.
    """
    data = _nonblind.on_grid(image, psf.shape)
    grid = data.shape
    power = np.abs(np.fft.rfft2(data)) ** 2
    h = np.abs(np.asarray(_nonblind.transfer(psf.astype(np.float32), grid))) ** 2
    v, u = np.fft.fftfreq(grid[0])[:, np.newaxis], np.fft.rfftfreq(grid[1])
    r = (4 - 2 * np.cos(2 * np.pi * v) - 2 * np.cos(2 * np.pi * u)) ** 2
    step = max(1, power.size // _MOST_FREQUENCIES)
    power, h, r = (np.asarray(a, np.float64).ravel()[1::step] for a in (power, h, r))
    balances = np.geomspace(1e-5, 1.0, 41)

    def score(balance: float) -> float:
        left = balance * r / (h + balance * r)
        return float(np.sum(left**2 * power) / np.sum(left) ** 2)

    return float(min(balances, key=score))


def _map(blur: _Blur, burnt: NDArray[np.bool_]) -> FloatArray:
    result = np.full(burnt.shape, blur.confidence, np.float32)
    for tile in blur.tiles.flat:
        result[tile.rows, tile.columns] = 0 if tile.differs else min(tile.confidence, blur.confidence)
    result[burnt] = 0
    return result


def _back(
    restored: FloatArray, law: str | float, unit: float, array: NDArray[Any], channel_axis: int | None
) -> NDArray[Any]:
    """From linear light to the photo's own numbers, shape and dtype."""
    values = np.asarray(_light.encode(restored, law), np.float64) * unit
    values = values[0] if channel_axis is None else np.moveaxis(values, 0, channel_axis)
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        return np.clip(np.rint(values), limits.min, limits.max).astype(array.dtype)
    return values.astype(array.dtype if array.dtype.kind == "f" else np.float32)
