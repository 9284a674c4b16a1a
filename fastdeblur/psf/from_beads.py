"""A PSF from an image of many small beads or stars."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import as_number, as_real_array, result_dtype, shown
from fastdeblur.errors import InvalidArgument
from fastdeblur.psf._beads import align, candidates, centre_of_core, crowded, shift
from fastdeblur.psf._common import Float64Array, check_shape
from fastdeblur.psf._given import crop_or_pad, given, returned
from fastdeblur.psf.from_image import MAD_TO_SIGMA, rim_level

MARGIN = 3  # pixels around a bead's window, in which what a shift wraps around stays
SMALLEST_SPREAD = 0.02  # of the beads' correlations with their mean, by which odd ones are told


@dataclass(frozen=True)
class Beads:
    """A measured PSF, and what it was measured from."""

    psf: npt.NDArray[Any]
    positions: Float64Array  #: (n, axes): the used beads' centres in pixels, by parts of a pixel
    amplitudes: Float64Array  #: (n,): their brightness, as multiples of the brightest one's
    rejected: Float64Array  #: (m, axes): maxima that were not used: crowded, cut off, saturated or odd


@overload
def from_beads(
    image: npt.ArrayLike,
    shape: tuple[int, ...],
    *,
    snr: float = ...,
    saturation: float | None = ...,
    background: str | float | None = ...,
    full: Literal[False] = ...,
) -> npt.NDArray[Any]: ...
@overload
def from_beads(
    image: npt.ArrayLike,
    shape: tuple[int, ...],
    *,
    snr: float = ...,
    saturation: float | None = ...,
    background: str | float | None = ...,
    full: Literal[True],
) -> Beads: ...
def from_beads(
    image: npt.ArrayLike,
    shape: tuple[int, ...],
    *,
    snr: float = 10.0,
    saturation: float | None = None,
    background: str | float | None = None,
    full: bool = False,
) -> npt.NDArray[Any] | Beads:
    """PSF from an image of beads (or stars) much smaller than the PSF: found, aligned to parts of a pixel, averaged.

    Maxima of the smoothed image that rise above its noise are candidates. Left out are those whose window of `shape`
    (and 3 pixels around it) leaves the image or holds another one of at least 0.3 of the brightness, those with a
    saturated pixel, and those that correlate with the mean less than the others do. The rest are aligned to their mean,
    with brightness, by Gauss-Newton steps, moved by Fourier interpolation, and averaged with the weights of least
    squares under equal noise. The centroid of the core (the light above 0.2 of the peak) lies on the origin. A bead's
    own size stays in the PSF.

    Parameters
    ----------
    image : (h, w) or (d, h, w), any real dtype, linear light.
    shape : of the PSF, odd on each axis (1 only where the image has 1).
    snr : what a bead must rise above the background, in standard deviations of the smoothed image's noise, > 0.
    saturation : value from which a pixel is saturated. Default: an integer dtype's largest value, none for floats.
    background : what is subtracted from all light. None: the median of each window's outermost pixels, right where the
        PSF has ended inside `shape`. A number in the image's unit, such as the camera's offset, measured without light:
        for PSFs that do not end there, as a widefield microscope's. Their rim is the bead's own light, and half of the
        PSF may be missing where it is subtracted. "image": the image's median, where no number is known and few beads
        leave most pixels dark.
    full : return `Beads`, with the positions, instead of the PSF alone.

    Returns
    -------
    Array of `shape`, >= 0, sum 1, origin at ``shape // 2``, float64 for a float64 image, else float32; or `Beads`.

    Raises
    ------
    InvalidArgument
        If an argument is not as said, or if no bead can be used; the message says what was found.
    """
    array = as_real_array(image, "image")
    light = given(array, "image", (2, 3))
    sizes = check_shape(shape, light.ndim)
    if any(n % 2 == 0 for n in sizes):
        raise InvalidArgument(f"shape: expected odd sizes, got {shape!r}")
    if any(k + 2 * MARGIN > n for k, n in zip(sizes, light.shape, strict=True)):
        room = tuple(n - 2 * MARGIN for n in light.shape)
        raise InvalidArgument(
            f"shape: expected at most {room} for an image of shape {light.shape}, got {shape!r}"
        )
    ratio = as_number(snr, "snr")
    if ratio == 0:
        raise InvalidArgument(f"snr: expected a finite number > 0, got {snr!r}")
    if saturation is not None:
        limit = as_number(saturation, "saturation", minimum=-np.inf)
    else:
        limit = float(np.iinfo(array.dtype).max) if array.dtype.kind in "iu" else np.inf
    if not isinstance(full, (bool, np.bool_)):
        raise InvalidArgument(f"full: expected True or False, got {full!r}")
    level = None if background is None else _level(background, light)

    too_bright = light >= limit
    # In units of its range, of which the squares neither overflow nor vanish: a power of 2, so that no digit changes.
    unit = -int(np.frexp(light.max() / 2 - light.min() / 2)[1])
    light = np.ldexp(light, unit)
    level = None if level is None else float(np.ldexp(level, unit))
    halves = np.array([n // 2 + MARGIN for n in sizes])
    places, heights = candidates(light, ratio, MAD_TO_SIGMA)
    close = crowded(places, heights, halves)
    cut_off = ((places < halves) | (places >= np.array(light.shape) - halves)).any(axis=1)
    cuts = [
        tuple(slice(c - h, c + h + 1) for c, h in zip(place, halves, strict=True))
        for place in places[~close & ~cut_off]
    ]
    saturated = np.array([bool(too_bright[cut].any()) for cut in cuts], bool)
    kept = np.flatnonzero(~close & ~cut_off)[~saturated]
    if not len(kept):
        raise InvalidArgument(
            f"image: expected at least one bead to use, got {len(places)} maxima above {ratio:g} times the noise, of which "
            f"{int(close.sum())} are crowded, {int((cut_off & ~close).sum())} too near to the border, "
            f"{int(saturated.sum())} saturated"
        )
    windows = [light[cut] for cut, s in zip(cuts, saturated, strict=True) if not s]
    faintest = min(float(window.max()) for window in windows)
    if level is not None and level >= faintest:
        raise InvalidArgument(
            f"background: expected a level below every bead's peak, of which the lowest is {np.ldexp(faintest, -unit):g}, got "
            f"{background!r}"
        )
    beads = np.stack([window - (rim_level(window)[0] if level is None else level) for window in windows])
    moves, amplitudes, mean, alike = align(beads)
    if len(beads) > 3:
        middle = float(np.median(alike))
        spread = max(SMALLEST_SPREAD, MAD_TO_SIGMA * float(np.median(np.abs(alike - middle))))
        usual = alike >= middle - 4 * spread
        if not usual.all():
            kept, beads = kept[usual], beads[usual]
            moves, amplitudes, mean, alike = align(beads)

    # The core's pixels are few: where it lies between them, its centroid is a little off. On a pixel it is not.
    offset, psf = np.zeros(mean.ndim), mean
    for _ in range(8):
        offset = offset + centre_of_core(psf)
        psf = shift(mean, -offset)
    psf = crop_or_pad(psf, sizes)
    if level is None:
        psf = psf - rim_level(psf)[0]
    psf = np.maximum(psf, 0.0)
    kernel = returned(psf / psf.sum(), result_dtype(array.dtype))
    if not full:
        return kernel
    unused = np.setdiff1d(np.arange(len(places)), kept)
    return Beads(
        kernel, places[kept] + moves + offset, amplitudes / amplitudes.max(), places[unused].astype(float)
    )


def _level(background: Any, light: Float64Array) -> float:
    """A background that is not each window's own, in the image's unit."""
    if isinstance(background, str) and background == "image":
        return float(np.median(light))
    with suppress(InvalidArgument):  # whose message knows of numbers only
        if not isinstance(background, (bool, np.bool_)):
            return as_number(background, "background", minimum=-np.inf)
    raise InvalidArgument(f"background: expected None, a finite number or 'image', got {shown(background)}")
