"""What is wrong with a PSF, and how small a frame holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import as_number, as_real_array, centroid, off_centre, result_dtype
from fastdeblur.errors import InvalidArgument
from fastdeblur.psf._given import crop_or_pad, given_psf, returned

# What `check` complains of: more than rounding and a single-precision sum would explain.
SUM_TOLERANCE = 1e-5
NEGATIVE_TOLERANCE = 1e-6
RIM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class PSFReport:
    """What `check` found; distances in pixels, shares of the sum of absolute values."""

    shape: tuple[int, ...]
    non_finite: int  #: pixels that are NaN or infinite; the rest is of the other pixels
    total: float  #: the sum; 1 for a normalised PSF
    offset: tuple[
        float, ...
    ]  #: of the centroid from the origin ``shape // 2``; NaN where the sum is not positive
    peak: tuple[int, ...]  #: of the largest value from the origin
    negative: float  #: share of the values below 0
    rim: float  #: share in the outermost pixels of axes longer than 1
    even_axes: tuple[int, ...]  #: axes with no middle pixel
    problems: tuple[str, ...]  #: one sentence for each thing that is wrong, the worst first

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.problems

    def __str__(self) -> str:
        size = " x ".join(map(str, self.shape))
        if self.ok:
            return f"PSF of {size} pixels: nothing wrong"
        return "\n- ".join([f"PSF of {size} pixels:", *self.problems])


def check(psf: npt.ArrayLike) -> PSFReport:
    """Say what is wrong with a PSF, and by how much.

    Reported are: pixels that are not finite; a sum that is not positive, or more than 1e-5 from 1; negative values
    (more than 1e-6 of the light); light off the origin ``shape // 2``, its centroid and its brightest pixels, by a
    pixel and by 0.05 of the axis or more, by which a restored image would move (methods warn of the same); more than
    1e-3 of the light in the outermost pixels, as where a frame cuts a PSF off or a background was left in; and even
    sizes, in which a symmetric PSF has no middle pixel. Methods normalise by themselves and take even sizes: the
    findings on sum and size are for those who wonder why a result moved or changed its brightness.

    Parameters
    ----------
    psf : 1-D to 3-D, real.

    Returns
    -------
    PSFReport: numbers, ``problems``, ``ok``; ``str()`` of it is to be read.

    Raises
    ------
    InvalidArgument
        If psf is no real array of 1 to 3 axes with at least one pixel.
    """
    array = as_real_array(psf, "psf").astype(np.float64)
    if not 1 <= array.ndim <= 3 or array.size == 0:
        raise InvalidArgument(f"psf: expected 1-D to 3-D with at least one pixel, got shape {array.shape}")
    finite = np.isfinite(array)
    bad = int(array.size - finite.sum())
    light = np.where(finite, array, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(light.sum())
    # Scaled, so that absurd values do not overflow in what follows.
    light = light / max(float(np.abs(light).max()), np.finfo(float).tiny)
    mass = float(np.abs(light).sum())
    positive = float(light.sum()) > 1e-12 * mass
    offset = centroid(light) if positive else (float("nan"),) * light.ndim
    place = np.unravel_index(int(np.argmax(light)), light.shape)
    peak = tuple(int(i) - n // 2 for i, n in zip(place, light.shape, strict=True))
    negative = float(-light[light < 0].sum()) / mass if mass else 0.0
    inner = light[tuple(slice(1, -1) if n > 1 else slice(None) for n in light.shape)]
    rim = 1 - float(np.abs(inner).sum()) / mass if mass and light.size > 1 else 0.0
    even = tuple(axis for axis, n in enumerate(light.shape) if n % 2 == 0)

    problems = []
    if bad:
        problems.append(f"not finite: {bad} of {array.size} pixels are NaN or infinite")
    if not positive:
        problems.append(f"no light: the sum is {total:g}, expected a positive one")
    elif abs(total - 1) > SUM_TOLERANCE:
        problems.append(f"not normalised: the sum is {total:.7g}, not 1")
    if negative > NEGATIVE_TOLERANCE:
        problems.append(
            f"negative: {100 * negative:.3g} % of the light is below 0, at worst {array[finite].min():.3g}"
        )
    if positive and off_centre(light, offset):
        moved = ", ".join(f"{o:+.3f}" for o in offset)
        problems.append(
            f"off-centre: the centroid is ({moved}) pixels from the origin; a result moves by as much"
        )
    if rim > RIM_TOLERANCE:
        problems.append(
            f"truncated, or on a background: {100 * rim:.3g} % of the light is in the outermost pixels"
        )
    if even:
        problems.append(
            f"even-sized: axis {', '.join(map(str, even))} has no middle pixel; the origin is taken at shape // 2"
        )
    return PSFReport(light.shape, bad, total, offset, peak, negative, rim, even, tuple(problems))


def crop_energy(psf: npt.ArrayLike, energy: float = 0.999) -> npt.NDArray[Any]:
    """The smallest centred box with odd sides that holds a share of a PSF's light.

    Among all boxes around the origin the one with the fewest pixels; of equals, the one that holds most.

    Parameters
    ----------
    psf : 1-D to 3-D, origin at ``shape // 2``; sum > 0 (normalised here).
    energy : share of the light, 0 < energy <= 1.

    Returns
    -------
    Array of odd sides and sum 1, origin at ``shape // 2``; float64 for a float64 PSF, else float32.

    Raises
    ------
    InvalidArgument
        If an argument is not as said.
    """
    light = given_psf(psf)
    share = as_number(energy, "energy")
    if not 0 < share <= 1:
        raise InvalidArgument(f"energy: expected 0 < energy <= 1, got {energy!r}")
    held = light
    for axis, n in enumerate(light.shape):
        # Both sides of the origin onto one, then sums from the origin on.
        lines = np.moveaxis(held, axis, 0)
        folded = lines[n // 2 :: -1].copy()
        folded[1 : n - n // 2] += lines[n // 2 + 1 :]
        held = np.moveaxis(np.cumsum(folded, axis=0), 0, axis)
    sides = np.ix_(*(2 * np.arange(m) + 1 for m in held.shape))
    pixels = np.ones(held.shape)
    for side in sides:
        pixels = pixels * side
    enough = held >= share - 1e-12
    # The whole frame holds all, but for negative values elsewhere.
    enough[tuple(-1 for _ in held.shape)] = True
    pixels[~enough] = np.inf
    candidates = np.argwhere(pixels == pixels.min())
    best = max(candidates.tolist(), key=lambda i: float(held[tuple(i)]))
    cut = crop_or_pad(light, tuple(2 * i + 1 for i in best))
    return returned(cut / cut.sum(), result_dtype(np.asarray(psf).dtype))
