"""Length and direction of straight motion, from the zeros and the slope of the spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from fastdeblur import psf
from fastdeblur._checks import as_number, names_memory_errors
from fastdeblur.errors import InvalidArgument
from fastdeblur.estimate import _evidence, _families
from fastdeblur.estimate._input import as_plane

LEAST = 64  # pixels on an axis
SHORTEST = 2.5


@dataclass(frozen=True)
class Motion:
    """Straight, uniform motion: `length` in pixels, `angle` in degrees as in `fastdeblur.psf.motion`, in [0, 180).

    `confidence` is between 0 (cannot tell) and 1. A length of 0 says that no motion is likelier than any.
    """

    length: float
    angle: float
    confidence: float

    def psf(self, **options: Any) -> npt.NDArray[Any]:
        """The kernel: `fastdeblur.psf.motion(length, angle, **options)`."""
        return psf.motion(self.length, self.angle, **options)


def longest(shape: tuple[int, ...], max_length: float | None) -> float:
    """The longest motion to look for in a frame of this shape."""
    most = min(shape) / 3
    if max_length is None:
        return min(100.0, most)
    length = as_number(max_length, "max_length", minimum=3.0)
    if length > most:
        raise InvalidArgument(
            f"max_length: expected at most a third of the frame's shorter side, {most:.4g}, got {max_length!r}"
        )
    return length


@names_memory_errors
def motion(
    image: npt.ArrayLike, *, max_length: float | None = None, channel_axis: int | None = None
) -> Motion:
    """Estimate straight, uniform motion from the blurred image alone.

    The spectrum of a photo falls smoothly with frequency; motion of length L multiplies it by sinc^2(L u), u the frequency along
    the motion. The estimate is the length and the angle under which the spectrum, with the noise's floor, is most likely.

    Parameters
    ----------
    image : (H, W), or with channels, whose mean is taken; any real dtype, linear light, at least 64 x 64
        pixels, finite. Clipped highlights are left out.
    max_length : longest motion to look for, in pixels, from 3 to a third of the frame's shorter side. Default:
        that third, at most 100.
    channel_axis : axis of the channels, or None.

    Returns
    -------
    Motion, with length (pixels), angle (degrees, counter-clockwise from the x axis, in [0, 180)), confidence
        (0 to 1) and psf(). For a constant image, noise or a sharp photo the confidence is near 0.

    Raises
    ------
    InvalidArgument
        If image is not real, finite, of the right number of axes and large enough; if max_length is out of range.

    Sources: Whittle 1953, doi:10.1007/BF02590998 (likelihood of a spectrum); Cannon 1976,
    doi:10.1109/TASSP.1976.1162770 (zeros of motion blur); `docs/estimate.md` has the rest.
    """
    plane = as_plane(image, channel_axis, LEAST)
    if plane is None:
        if max_length is not None:
            as_number(max_length, "max_length", minimum=3.0)
        return Motion(0.0, 0.0, 0.0)
    most = longest(plane.pixels.shape, max_length)
    spectrum = _families.Spectrum.of(plane)
    if spectrum is None:
        return Motion(0.0, 0.0, 0.0)
    best = _families.motion(spectrum, SHORTEST, most)[0]
    found = {"none": spectrum.unblurred(), "motion": best}
    if best.cost >= found["none"].cost:
        return Motion(0.0, 0.0, 0.0)
    found["defocus"] = _families.defocus(spectrum, *_families.radii(plane.pixels.shape))[0]
    found["gaussian"] = _families.gaussian(spectrum, *_families.sigmas(plane.pixels.shape))[0]
    confidence = _evidence.confidence(spectrum, "motion", found)
    return Motion(float(best.parameters[0]), float(best.parameters[1]), confidence)
