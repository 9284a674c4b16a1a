"""The PSF of a microscope whose layers are not what its objective was made for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import as_number
from fastdeblur.errors import InvalidArgument
from fastdeblur.psf._common import Float64Array, check_shape
from fastdeblur.psf._microscope import positive, refractive_index, render
from fastdeblur.psf._pupil import Pupil

#: Micrometres: what is thicker is in another unit.
THICKEST = 1e5


def gibson_lanni(
    shape: tuple[int, int, int],
    *,
    wavelength: float,
    na: float,
    ns: float,
    pixel_size: float,
    z_step: float,
    depth: float = 0.0,
    ni: float = 1.518,
    ni0: float | None = None,
    ti0: float = 150.0,
    ng: float = 1.5255,
    ng0: float | None = None,
    tg: float = 170.0,
    tg0: float | None = None,
    focus: str = "brightest",
    excitation: float | None = None,
    pinhole: float = 0.0,
    axial_samples: int = 1,
    dtype: npt.DTypeLike = np.float64,
    backend: str = "auto",
    n_threads: int = 0,
) -> npt.NDArray[Any]:
    """3-D PSF of a microscope with spherical aberration from its layers, integrated over each pixel. Lengths in micrometres.

    A point lies `depth` below the cover slip in a sample of index ns. With the focal plane nominally z deeper than
    the point, the objective has moved by ``depth + z`` towards the cover slip, and the optical path of the ray with
    the sine ``s = na p`` (times its index) differs from the design's by::

        W(p) = depth sqrt(ns^2 - s^2) + (ti0 - depth - z) sqrt(ni^2 - s^2) - ti0 sqrt(ni0^2 - s^2)
               + tg sqrt(ng^2 - s^2) - tg0 sqrt(ng0^2 - s^2)

    and the intensity at the distance r from the axis is ``| int_0^1 J0(k na r p) exp(i k W(p)) p dp |^2``. Light is
    scalar and the pupil evenly lit (no vectorial effects).

    Parameters
    ----------
    shape : (d, h, w) in pixels; d = 1 is one slice.
    wavelength : of the light that is detected (emission), in vacuum, > 0.
    na : numerical aperture, > 0, at most ni, ni0, ng and ng0. Above ns it is allowed: what the sample reflects
        totally is missing, and the aperture is ns.
    ns : refractive index of the sample, >= 1.
    pixel_size : of the camera in the sample (the camera's over the magnification), 0.001 to 20 wavelength / na.
    z_step : of the objective or the stage between two slices, > 0; the stack is at most 1e6 wavelengths high. Where d or
        axial_samples is more than 1, z_step is 0.001 to 100 times ``wavelength / (ni - sqrt(ni^2 - na^2))``. With
        the index of a slice the focal plane goes deeper into the sample; for stacks the other way round mirror the
        result.
    depth : of the point below the cover slip, >= 0.
    ni, ni0 : refractive index of the immersion medium as it is, and as designed (default: ni), >= 1.
    ti0 : working distance: designed thickness of the immersion medium, > 0, at most 1e5; more than depth and the stack above it.
    ng, ng0 : refractive index of the cover slip as it is, and as designed (default: ng), >= 1.
    tg, tg0 : thickness of the cover slip as it is, and as designed (default: tg), 0 to 1e5.
    focus : what the slice of the origin is. "brightest": where the axis is brightest, so that a restored point
        stays where the stack shows it. "nominal": where the focal plane would be at the point if ns were ni;
        aberrated light then lies off the origin, and restoring also moves it to the true depth.
    excitation : None for a widefield microscope; the wavelength of excitation, > 0, for a confocal one, whose
        PSF is the product of the PSFs of excitation and detection.
    pinhole : of a confocal microscope: its diameter in Airy units, 1.22 wavelength / na; 0 to 20; 0 is a point.
    axial_samples : 1 takes each slice at its plane, as a stack is recorded; more average it over z_step by
        Gauss-Legendre with so many nodes, 1 to 64: the image of a sample made of voxels.
    dtype : float64 or float32 (computed in float64, then rounded).
    backend : "auto", "native" or "numpy".
    n_threads : threads of the native backend; 0 means all. The result does not depend on it.

    Returns
    -------
    Array (d, h, w), >= 0, of sum 1 over the volume (every slice of a widefield PSF holds the same light, as far as
    h and w hold it), origin at ``shape // 2``.

    Raises
    ------
    InvalidArgument
        If an argument is not as said above.
    OutOfMemory
        If the result is larger than the machine's memory.
    Unsupported
        If backend is "native" and the extension is not built.

    Sources: Gibson and Lanni 1992, doi:10.1364/JOSAA.9.000154 (the model); Li, Xue and Blu 2017,
    doi:10.1364/JOSAA.34.001029 (the Bessel series).
    """
    aperture = positive(na, "na")
    sample = refractive_index(ns, "ns")
    oil, glass = refractive_index(ni, "ni", aperture), refractive_index(ng, "ng", aperture)
    oil0 = oil if ni0 is None else refractive_index(ni0, "ni0", aperture)
    glass0 = glass if ng0 is None else refractive_index(ng0, "ng0", aperture)
    below, thickness = as_number(depth, "depth"), as_number(tg, "tg")
    thickness0 = thickness if tg0 is None else as_number(tg0, "tg0")
    working = positive(ti0, "ti0")
    for name, length in (("tg", thickness), ("tg0", thickness0), ("ti0", working)):
        if length > THICKEST:
            raise InvalidArgument(f"{name}: expected at most {THICKEST:g} micrometres, got {length:g}")
    deepest = below + (check_shape(shape, 3)[0] - 1) / 2 * positive(z_step, "z_step")
    if working <= deepest:
        raise InvalidArgument(
            f"ti0: expected a working distance of more than depth and half the stack, {deepest:g} micrometres, got {ti0!r}"
        )

    def path(index: float, sines: Float64Array) -> Float64Array:
        # sqrt(n^2 - s^2) - n without cancellation: what does not depend on s changes no intensity.
        return -(sines**2) / (np.sqrt(np.maximum(0.0, index**2 - sines**2)) + index)

    def aberration(sines: Float64Array) -> Float64Array:
        through_oil = path(oil, sines)
        return (
            below * (path(sample, sines) - through_oil)
            + working * (through_oil - path(oil0, sines))
            + thickness * path(glass, sines)
            - thickness0 * path(glass0, sines)
        )

    return render(
        lambda length: Pupil(length, min(aperture, sample), aberration, lambda sines: path(oil, sines)),
        shape,
        wavelength=wavelength,
        excitation=excitation,
        pinhole=pinhole,
        pixel_size=pixel_size,
        z_step=z_step,
        axial_samples=axial_samples,
        focus=focus,
        dtype=dtype,
        backend=backend,
        n_threads=n_threads,
        numerical_aperture=aperture,
        immersion=oil,
    )
