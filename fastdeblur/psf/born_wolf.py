"""The PSF of an ideal microscope objective: Born and Wolf's integral over the pupil."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import as_choice
from fastdeblur.psf._common import Float64Array
from fastdeblur.psf._microscope import positive, render
from fastdeblur.psf._microscope import refractive_index as check_index
from fastdeblur.psf._pupil import Pupil


def born_wolf(
    shape: tuple[int, int, int],
    *,
    wavelength: float,
    na: float,
    refractive_index: float,
    pixel_size: float,
    z_step: float,
    defocus: str = "exact",
    excitation: float | None = None,
    pinhole: float = 0.0,
    axial_samples: int = 1,
    dtype: npt.DTypeLike = np.float64,
    backend: str = "auto",
    n_threads: int = 0,
) -> npt.NDArray[Any]:
    """3-D PSF of an aberration-free microscope, integrated over each pixel. All lengths are in micrometres.

    The intensity at the distance r from the axis, with the focal plane z deeper than the point, is::

        | int_0^1 J0(k na r p) exp(i k phi(p) z) p dp |^2,    k = 2 pi / wavelength,
        phi(p) = sqrt(n^2 - na^2 p^2)      defocus="exact" (Debye)
        phi(p) = -na^2 p^2 / (2 n)         defocus="paraxial" (Born and Wolf 8.8)

    The paraxial phase is what most programs call Born-Wolf. It holds for small apertures; at ``na=1.4`` in oil its
    PSF is about 1.4 times too long. Light is scalar and the pupil evenly lit (no vectorial effects).

    Parameters
    ----------
    shape : (d, h, w) in pixels; d = 1 is the slice in focus.
    wavelength : of the light that is detected (emission), in vacuum, > 0.
    na : numerical aperture, > 0, at most refractive_index.
    refractive_index : of the medium that the objective and the sample are in, >= 1.
    pixel_size : of the camera in the sample (the camera's over the magnification), 0.001 to 20 wavelength / na.
    z_step : between two slices, > 0; the stack is at most 1e6 wavelengths high. Where d or axial_samples is more than
        1, z_step is 0.001 to 100 times the depth of field ``wavelength / (n - sqrt(n^2 - na^2))``.
    defocus : "exact" or "paraxial".
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
    h and w hold it), origin at ``shape // 2``, centroid on it for odd shapes.

    Raises
    ------
    InvalidArgument
        If an argument is not as said above.
    OutOfMemory
        If the result is larger than the machine's memory.
    Unsupported
        If backend is "native" and the extension is not built.

    Sources: Born and Wolf, Principles of Optics, 7th ed. 1999, 8.8, doi:10.1017/CBO9781139644181; evaluated as Li,
    Xue and Blu 2017, doi:10.1364/JOSAA.34.001029.
    """
    aperture = positive(na, "na")
    index = check_index(refractive_index, "refractive_index", aperture)
    as_choice(defocus, "defocus", ("exact", "paraxial"))

    def no_aberration(sines: Float64Array) -> Float64Array:
        return np.zeros_like(sines)

    def slope(sines: Float64Array) -> Float64Array:
        if defocus == "paraxial":
            return -(sines**2) / (2 * index)
        root: Float64Array = np.sqrt(np.maximum(0.0, index**2 - sines**2))
        return root - index

    return render(
        lambda length: Pupil(length, aperture, no_aberration, slope),
        shape,
        wavelength=wavelength,
        excitation=excitation,
        pinhole=pinhole,
        pixel_size=pixel_size,
        z_step=z_step,
        axial_samples=axial_samples,
        focus="nominal",
        dtype=dtype,
        backend=backend,
        n_threads=n_threads,
        numerical_aperture=aperture,
        immersion=index,
    )
