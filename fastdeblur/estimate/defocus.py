"""The radius of the disk of a lens out of focus, from the rings of zeros in the spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from fastdeblur import psf
from fastdeblur._checks import names_memory_errors
from fastdeblur.estimate import _evidence, _families
from fastdeblur.estimate._input import as_plane
from fastdeblur.estimate.motion import LEAST


@dataclass(frozen=True)
class Defocus:
    """A uniform disk: `radius` in pixels; `confidence` between 0 (cannot tell) and 1.

    A radius of 0 says that no blur is likelier than any.
    """

    radius: float
    confidence: float

    def psf(self, **options: Any) -> npt.NDArray[Any]:
        """The kernel: `fastdeblur.psf.defocus(radius, **options)`."""
        return psf.defocus(self.radius, **options)


@names_memory_errors
def defocus(image: npt.ArrayLike, *, channel_axis: int | None = None) -> Defocus:
    """Estimate the defocus of a lens with a round aperture from the blurred image alone.

    As `motion`, with the disk's transfer function (2 J1(x) / x)^2, x = 2 pi r |f|. Radii from 0.8 pixels to a sixth of the
    frame's shorter side, at most 40, are looked for.

    Parameters
    ----------
    image : (H, W), or with channels, whose mean is taken; any real dtype, linear light, at least 64 x 64
        pixels, finite. Clipped highlights are left out.
    channel_axis : axis of the channels, or None.

    Returns
    -------
    Defocus, with radius (pixels), confidence (0 to 1) and psf(). For a constant image, noise or a sharp photo
        the confidence is near 0.

    Raises
    ------
    InvalidArgument
        If image is not real, finite, of the right number of axes and large enough.

    Sources: Whittle 1953, doi:10.1007/BF02590998 (likelihood of a spectrum); Cannon 1976,
    doi:10.1109/TASSP.1976.1162770 (zeros of defocus); Stokseth 1969, doi:10.1364/JOSA.59.001314 (disk).
    """
    plane = as_plane(image, channel_axis, LEAST)
    spectrum = None if plane is None else _families.Spectrum.of(plane)
    if plane is None or spectrum is None:
        return Defocus(0.0, 0.0)
    best = _families.defocus(spectrum, *_families.radii(plane.pixels.shape))[0]
    found = {"none": spectrum.unblurred(), "defocus": best}
    if best.cost >= found["none"].cost:
        return Defocus(0.0, 0.0)
    found["gaussian"] = _families.gaussian(spectrum, *_families.sigmas(plane.pixels.shape))[0]
    return Defocus(float(best.parameters[0]), _evidence.confidence(spectrum, "defocus", found))
