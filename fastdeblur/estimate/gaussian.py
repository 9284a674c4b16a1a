"""The covariance of Gaussian blur, from how much faster than a sharp photo's the spectrum falls."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from fastdeblur import psf
from fastdeblur._checks import names_memory_errors
from fastdeblur.estimate import _evidence, _families
from fastdeblur.estimate._input import as_plane
from fastdeblur.estimate.motion import LEAST, SHORTEST, longest

_ROUND = 1.5  # ratio of the axes up to which no motion could be meant


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian: standard deviations along `angle` and across it in pixels, `sigma_major` >= `sigma_minor`.

    `angle` in degrees, counter-clockwise from the x axis, in [0, 180). `confidence` is between 0 (cannot tell) and 1.
    Deviations of 0 say that no blur is likelier than any.
    """

    sigma_major: float
    sigma_minor: float
    angle: float
    confidence: float

    @property
    def sigma(self) -> float:
        """The standard deviation of the round Gaussian of the same area, in pixels."""
        return math.sqrt(self.sigma_major * self.sigma_minor)

    def psf(self, **options: Any) -> npt.NDArray[Any]:
        """The kernel: `fastdeblur.psf.gaussian((sigma_minor, sigma_major), angle=angle, **options)`."""
        return psf.gaussian((self.sigma_minor, self.sigma_major), angle=self.angle, **options)


@names_memory_errors
def gaussian(image: npt.ArrayLike, *, channel_axis: int | None = None) -> Gaussian:
    """Estimate Gaussian blur, round or stretched in any direction, from the blurred image alone.

    As `motion`, with the transfer function exp(-4 pi^2 f . Sigma f). A Gaussian has no zeros; how fast a sharp photo's spectrum
    falls is known only within limits, so this is an estimate against the typical sharp photo, whose own blur is not counted.

    Parameters
    ----------
    image : (H, W), or with channels, whose mean is taken; any real dtype, linear light, at least 64 x 64
        pixels, finite. Clipped highlights are left out.
    channel_axis : axis of the channels, or None.

    Returns
    -------
    Gaussian, with sigma_major, sigma_minor (pixels), angle (degrees, counter-clockwise from the x axis, in
        [0, 180)), confidence (0 to 1), sigma and psf(). For a constant image, noise or a sharp photo the
        confidence is near 0.

    Raises
    ------
    InvalidArgument
        If image is not real, finite, of the right number of axes and large enough.

    Sources: Whittle 1953, doi:10.1007/BF02590998 (likelihood of a spectrum); Field 1987,
    doi:10.1364/JOSAA.4.002379 (spectra of photos).
    """
    plane = as_plane(image, channel_axis, LEAST)
    spectrum = None if plane is None else _families.Spectrum.of(plane)
    if plane is None or spectrum is None:
        return Gaussian(0.0, 0.0, 0.0, 0.0)
    shape = plane.pixels.shape
    best = _families.gaussian(spectrum, *_families.sigmas(shape))[0]
    found = {"none": spectrum.unblurred(), "gaussian": best}
    if best.cost >= found["none"].cost:
        return Gaussian(0.0, 0.0, 0.0, 0.0)
    major, minor, angle = best.parameters.tolist()
    found["defocus"] = _families.defocus(spectrum, *_families.radii(shape))[0]
    if major > _ROUND * minor and major > 1:
        found["motion"] = _families.motion(spectrum, SHORTEST, longest(shape, None))[0]
    return Gaussian(major, minor, angle, _evidence.confidence(spectrum, "gaussian", found))
