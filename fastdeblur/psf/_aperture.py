"""What the PSFs of diffraction share: wavelength, aperture and pixel as one number, and Airy's light beyond a radius."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastdeblur._checks import require_memory
from fastdeblur.errors import InvalidArgument
from fastdeblur.psf._bessel import j0_j1
from fastdeblur.psf._common import Float64Array, parameter
from fastdeblur.psf._quadrature import gauss_legendre
from fastdeblur.psf._radial import Table, positive

# A pixel of more than 318 wavelengths times f-numbers: no diffraction is left to see.
_COARSEST = 1000.0

# A pixel of a thousandth of wavelength / NA, over which no light changes: one of them is in another unit.
_FINEST = 2 * np.pi * 1e-3

# At this step of v the eight-point formula misses 1e-13 of waves of J0^2, which turn by 2 for each unit.
_STEP = 1 / 32


def phase_per_pixel(
    wavelength: Any, na: Any, f_number: Any, pixel_size: Any, refractive_index: Any
) -> dict[str, Float64Array]:
    """Check the parameters of an aperture; they come back by name, not yet broadcast."""
    found = {
        "wavelength": positive("wavelength", wavelength),
        "pixel_size": positive("pixel_size", pixel_size),
    }
    if (na is None) == (f_number is None):
        got = "neither" if na is None else "both"
        raise InvalidArgument(f"na, f_number: expected one of the two, got {got}")
    found["refractive_index"] = index = positive("refractive_index", refractive_index)
    name = "na" if f_number is None else "f_number"
    found[name] = given = positive(name, na if f_number is None else f_number)
    try:
        with np.errstate(over="ignore"):
            above = (given > index) if name == "na" else (0.5 / given > index)
    except ValueError:
        return found  # shapes that do not broadcast are named later
    if above.any():
        worst = np.broadcast_to(given, above.shape)[above].flat[0]
        rule = (
            "the refractive index"
            if name == "na"
            else "an aperture 0.5 / f_number of at most the refractive index"
        )
        raise InvalidArgument(
            f"{name}: expected {'at most ' if name == 'na' else ''}{rule} {refractive_index!r}, got {worst}"
        )
    return found


def optical_unit(values: dict[str, Float64Array]) -> Float64Array:
    """v from one pixel to the next: 2 pi NA / wavelength times the pixel, or pi / (wavelength f-number); of flat arrays alike."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        sine = values["na"] if "na" in values else 0.5 / values["f_number"]
        unit: Float64Array = 2 * np.pi * sine * values["pixel_size"] / values["wavelength"]
    if not unit.min() >= _FINEST * (1 - 1e-12):  # but for rounding
        worst = int(unit.argmin())
        scale = "wavelength / na" if "na" in values else "2 wavelength f_number"
        with np.errstate(over="ignore", divide="ignore"):
            limit = 1e-3 * values["wavelength"][worst] / sine[worst]
        raise InvalidArgument(
            f"pixel_size: expected at least a thousandth of {scale} ({limit:.4g}), got {values['pixel_size'][worst]:g}: are they "
            "in one unit?"
        )
    if unit.max() > _COARSEST:
        raise InvalidArgument(
            f"pixel_size: expected at most {_COARSEST / np.pi:.0f} wavelength / (2 NA), beyond which no diffraction is "
            f"seen, got {unit.max() / np.pi:.3g} of them"
        )
    return unit


def check_obstruction(value: Any) -> Float64Array:
    share = parameter("obstruction", value, non_negative=True)
    if share.max() >= 1:
        raise InvalidArgument(f"obstruction: expected values in [0, 1), got {share.max()}")
    return share


def airy_radius(truncation: float, obstruction: Float64Array) -> Float64Array:
    """v beyond which a share ``truncation`` of the light lies: T falls as 2 / (pi v (1 - obstruction))."""
    radius: Float64Array = 2 / (np.pi * truncation * (1 - obstruction))
    return radius


def airy_table(obstruction: float, farthest: float, core: Any) -> Table:
    """T(v) of a round aperture with a round obstruction, up to ``farthest`` and a little beyond.

    With S = J0^2 + J1^2 and C the integral of J1(t) J1(e t) / t from v to infinity, where it begins with e / 2 at 0:
    T = (S(v) + e^2 S(e v) - 4 e C(v)) / (1 - e^2).
    """

    def bessel(x: Float64Array) -> tuple[Float64Array, Float64Array]:
        if core is None:
            return j0_j1(x)
        zero, one = np.empty_like(x), np.empty_like(x)
        core.psf_bessel(x, zero, one)
        return zero, one

    count = int(farthest / _STEP) + 16
    require_memory(64 * count, "psf: the table of the light beyond each radius")
    v: Float64Array = np.arange(count) * np.float64(_STEP)
    j0, j1 = bessel(v)
    light = j0**2 + j1**2
    e = obstruction
    if e > 0:
        places, weights = gauss_legendre(4)
        piece = np.zeros(count - 1)
        for place, weight in zip(places.tolist(), weights.tolist(), strict=True):
            t: Float64Array = v[:-1] + _STEP * (1 + place) / 2
            piece += _STEP / 2 * weight * bessel(t)[1] * bessel(e * t)[1] / t
        rest = e / 2 - np.concatenate([[0.0], np.cumsum(piece)])
        j0, j1 = bessel(e * v)
        light = (light + e * e * (j0**2 + j1**2) - 4 * e * rest) / (1 - e * e)
    return Table(light, _STEP, warped=False)


def wave_nodes(unit: float) -> int:
    """Nodes in a pixel over which intensities turn by 2 ``unit``."""
    return 20 + int(0.6 * unit)
