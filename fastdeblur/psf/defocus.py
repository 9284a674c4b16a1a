"""The PSF of a lens out of focus: a uniform disk."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import names_memory_errors
from fastdeblur.psf._common import (
    Float64Array,
    allocate,
    broadcast,
    check_dtype,
    check_lost,
    check_shape,
    choose_native,
    finish,
    odd_size,
    parameter,
    require_reach,
    window,
)


@names_memory_errors
def defocus(
    radius: npt.ArrayLike,
    *,
    shape: tuple[int, int] | None = None,
    dtype: npt.DTypeLike = np.float64,
    backend: str = "auto",
    n_threads: int = 0,
) -> npt.NDArray[Any]:
    """PSF of a defocused lens with a round aperture: a uniform disk, integrated exactly over each pixel.

    A pixel's weight is the area of the disk inside the pixel's square, in closed form, over the area of the
    disk. This is geometrical optics: good where the disk is larger than the diffraction pattern.

    Parameters
    ----------
    radius : radius of the disk in pixels, >= 0; at most 0.5 gives a unit impulse.
    shape : (h, w) in pixels. Default: odd, and just large enough; for a batch, the largest such shape. A
        smaller shape may cut off up to 1 % of the disk; the rest is scaled to sum 1.
    dtype : float64 or float32 (computed in float64, then rounded).
    backend : "auto", "native" or "numpy".
    n_threads : threads of the native backend; 0 means all. The result does not depend on it.

    Radius may be an array, which gives a batch.

    Returns
    -------
    Array of shape ``batch + (h, w)``, >= 0, each kernel with sum 1, origin at ``shape // 2`` and centroid
    on it.

    Raises
    ------
    InvalidArgument
        If radius is not a real, finite number >= 0; if shape cuts off more than 1 %.
    OutOfMemory
        If the result is larger than the machine's memory.
    Unsupported
        If backend is "native" and the extension is not built.

    Source: Stokseth 1969, doi:10.1364/JOSA.59.001314.
    """
    sizes = None if shape is None else check_shape(shape, 2)
    kind = check_dtype(dtype)
    radii = parameter("radius", radius, non_negative=True)
    core, threads = choose_native(backend, n_threads)

    batch, (radii,) = broadcast(radius=radii)
    if sizes is None:
        require_reach(radii, radius=radii)
        sizes = (odd_size(radii),) * 2
    else:
        check_lost("radius", radii, _lost_mass(radii, sizes), sizes)

    kernels = allocate(batch, sizes, kind)
    if core is not None:
        core.psf_defocus(radii, kernels, threads)
    else:
        for kernel, r in zip(kernels, radii.tolist(), strict=True):
            kernel[...] = _rasterise(r, sizes)
            kernel /= kernel.sum()
    return finish(kernels, batch, kind)


def _lost_mass(radii: Float64Array, sizes: tuple[int, ...]) -> Float64Array:
    spread = radii > 0.5
    r = np.where(spread, radii, 1.0)
    kept = np.zeros_like(radii)
    for x in window(sizes[1]):
        for y in window(sizes[0]):
            kept += _area_in_cell(0.0, abs(x) / r, 0.0, abs(y) / r) / np.pi
    return np.where(spread, 1 - kept, 0.0)


def _area_in_cell(x0: Any, x1: Any, y0: Any, y1: Any) -> Any:
    """Area of the unit disk in [x0, x1] x [y0, y1], all >= 0: the integral of min(y1, sqrt(1 - x^2)) - y0."""
    leaves_top = np.clip(np.sqrt(np.maximum(0.0, 1 - y1 * y1)), x0, x1)
    meets_bottom = np.clip(np.sqrt(np.maximum(0.0, 1 - y0 * y0)), x0, x1)
    under_arc = _arc_integral(meets_bottom) - _arc_integral(leaves_top) - y0 * (meets_bottom - leaves_top)
    return (leaves_top - x0) * (y1 - y0) + under_arc


def _arc_integral(x: Any) -> Any:
    x = np.minimum(x, 1.0)
    return (x * np.sqrt((1 - x) * (1 + x)) + np.arcsin(x)) / 2


def _rasterise(radius: float, sizes: tuple[int, ...]) -> Float64Array:
    # Cells of the first quadrant; the last row and column lie outside the disk and stand for all beyond. The
    # axes cut the pixels of the origin's row and column in half: these count twice.
    reach = math.ceil(max(radius, 0.5) + 0.5)
    edges = np.concatenate([[0.0], np.arange(reach + 1) + 0.5]) / max(radius, 0.5)
    x0, x1 = edges[None, :-1], edges[None, 1:]
    y0, y1 = edges[:-1, None], edges[1:, None]
    quadrant = np.maximum(_area_in_cell(x0, x1, y0, y1), 0.0)
    quadrant[0, :] *= 2
    quadrant[:, 0] *= 2
    # Exactly symmetric about the diagonal too.
    quadrant = np.triu(quadrant) + np.triu(quadrant, 1).T
    rows, columns = (np.minimum(np.abs(np.arange(size) - size // 2), reach) for size in sizes)
    kernel: Float64Array = quadrant[np.ix_(rows, columns)]
    return kernel
