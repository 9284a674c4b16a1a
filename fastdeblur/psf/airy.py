"""The PSF of diffraction at a round aperture: Airy's pattern, with or without a central obstruction."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur.psf._aperture import (
    airy_radius,
    airy_table,
    check_obstruction,
    optical_unit,
    phase_per_pixel,
    wave_nodes,
)
from fastdeblur.psf._common import (
    allocate,
    broadcast,
    check_dtype,
    check_shape,
    choose_native,
    corner,
    finish,
    odd_size,
    scale_to_one,
)
from fastdeblur.psf._radial import check_truncation, nodes, rasterise


def airy(
    wavelength: npt.ArrayLike,
    *,
    na: npt.ArrayLike | None = None,
    f_number: npt.ArrayLike | None = None,
    pixel_size: npt.ArrayLike,
    refractive_index: npt.ArrayLike = 1.0,
    obstruction: npt.ArrayLike = 0.0,
    truncation: float = 0.01,
    shape: tuple[int, int] | None = None,
    dtype: npt.DTypeLike = np.float64,
    backend: str = "auto",
    n_threads: int = 0,
) -> npt.NDArray[Any]:
    """PSF of a lens or telescope that only diffraction blurs, integrated over each pixel.

    With ``v = 2 pi NA r / wavelength = pi r / (wavelength N)`` the intensity is
    ``(2 J1(v) / v - e^2 2 J1(e v) / (e v))^2`` times a constant, e the obstruction. Scalar and paraxial,
    incoherent light, in focus.

    Parameters
    ----------
    wavelength : in vacuum, > 0, in any unit of length.
    na : numerical aperture on the side where pixel_size is measured, > 0 and at most refractive_index.
    f_number : focal ratio N, > 0; instead of na, for a far object. One of the two is required.
    pixel_size : side of a pixel, > 0, in the unit of wavelength: on the sensor with f_number; with na, on the
        side of the object or of the image whose aperture it is. At least a thousandth of wavelength / NA (or
        2 wavelength N), at most 318 times wavelength / (2 NA).
    refractive_index : of the medium, > 0; only limits na.
    obstruction : diameter of the central obstruction over that of the aperture, in [0, 1).
    truncation : share of the light that shape may cut off, in (0, 0.5]; the rest is scaled to sum 1. The
        pattern's rings fade slowly: beyond v lies about 2 / (pi v (1 - e)) of the light.
    shape : (h, w) in pixels. Default: odd, and just large enough for the circle outside of which lies that share;
        for a batch, the largest such shape.
    dtype : float64 or float32 (computed in float64, then rounded).
    backend : "auto", "native" or "numpy".
    n_threads : threads of the native backend; 0 means all. The result does not depend on it.

    The physical parameters may be arrays, which give a batch; they broadcast.

    Returns
    -------
    Array of shape ``batch + (h, w)``, >= 0, each kernel with sum 1, origin at ``shape // 2``. On an odd shape
    its centroid is the origin.

    Raises
    ------
    InvalidArgument
        If a parameter is not a real, finite number in its range; if shape cuts off more than truncation.
    OutOfMemory
        If the result is larger than the machine's memory.
    Unsupported
        If backend is "native" and the extension is not built.

    Source: Airy 1835; the obstructed aperture: O'Neill 1956, doi:10.1364/JOSA.46.000285.
    """
    sizes = None if shape is None else check_shape(shape, 2)
    kind = check_dtype(dtype)
    share = check_truncation(truncation)
    values = phase_per_pixel(wavelength, na, f_number, pixel_size, refractive_index)
    values["obstruction"] = check_obstruction(obstruction)
    core, threads = choose_native(backend, n_threads)

    batch, columns = broadcast(**values)
    values = dict(zip(values, columns, strict=True))
    units, obstructions = optical_unit(values), values["obstruction"]
    if sizes is None:
        sizes = (odd_size(airy_radius(share, obstructions) / units),) * 2
    kernels = allocate(batch, sizes, kind)
    for e in np.unique(obstructions).tolist():
        members = np.flatnonzero(obstructions == e)
        table = airy_table(e, corner((max(sizes),) * 2) * float(units[members].max()), core)
        for k in members.tolist():
            unit = float(units[k])
            count = wave_nodes(unit)
            if core is not None:
                core.psf_radial(table.values, 1 / unit, table.step, False, *nodes(count), kernels[k], threads)
            else:
                kernels[k] = rasterise(table.tail(1 / unit), count, sizes)
    scale_to_one(f"({', '.join(values)})", np.stack(columns, 1), kernels, sizes, share)
    return finish(kernels, batch, kind)
