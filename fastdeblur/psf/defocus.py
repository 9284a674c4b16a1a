"""The PSF of a lens out of focus: a uniform disk, or the polygon of its aperture blades."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import as_count, names_memory_errors
from fastdeblur.errors import InvalidArgument
from fastdeblur.psf import _polygon
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
    scale_to_one,
    window,
)

# More blades than any lens has, and a polygon that no pixel tells from a disk.
_MOST_BLADES = 1000


@names_memory_errors
def defocus(
    radius: npt.ArrayLike,
    *,
    blades: int | None = None,
    rotation: npt.ArrayLike = 0.0,
    shape: tuple[int, int] | None = None,
    dtype: npt.DTypeLike = np.float64,
    backend: str = "auto",
    n_threads: int = 0,
) -> npt.NDArray[Any]:
    """PSF of a defocused lens: a uniform disk or regular polygon, integrated exactly over each pixel.

    A pixel's weight is the area of the disk or polygon inside the pixel's square, in closed form, over the whole
    area. This is geometrical optics: good where the blur is larger than the diffraction pattern.

    Parameters
    ----------
    radius : radius of the disk in pixels, >= 0; at most 0.5 gives a unit impulse. Of a polygon, the distance
        from its centre to its corners.
    blades : number of the aperture's blades, 3 to 1000, which make a regular polygon with as many corners. Default: a
        round aperture.
    rotation : degrees counter-clockwise from the x axis to a corner; only with blades. On the other side of the
        plane in focus the polygon is turned by 180 degrees.
    shape : (h, w) in pixels. Default: odd, and just large enough; for a batch, the largest such shape. A
        smaller shape may cut off up to 1 % of the disk; the rest is scaled to sum 1.
    dtype : float64 or float32 (computed in float64, then rounded).
    backend : "auto", "native" or "numpy".
    n_threads : threads of the native backend; 0 means all. The result does not depend on it.

    Radius and rotation may be arrays, which give a batch; they broadcast.

    Returns
    -------
    Array of shape ``batch + (h, w)``, >= 0, each kernel with sum 1 and origin at ``shape // 2``, on which the disk
    or polygon is centred. So is the kernel of a disk or an even number of blades; with an odd number, the rounding to
    pixels moves its centroid by up to 0.12 / radius pixels, or 0.12 for radii below 1.

    Raises
    ------
    InvalidArgument
        If radius is not a real, finite number >= 0, rotation not a real, finite number, or blades not an integer in
        its range; if rotation is given without blades; if shape cuts off more than 1 %.
    OutOfMemory
        If the result is larger than the machine's memory.
    Unsupported
        If backend is "native" and the extension is not built.

    Source: Stokseth 1969, doi:10.1364/JOSA.59.001314; polygons are clipped after Sutherland and Hodgman 1974,
    doi:10.1145/360767.360802.
    """
    sizes = None if shape is None else check_shape(shape, 2)
    kind = check_dtype(dtype)
    radii, rotations = parameter("radius", radius, non_negative=True), parameter("rotation", rotation)
    if blades is not None:
        corners = as_count(blades, "blades", minimum=3)
        if corners > _MOST_BLADES:
            raise InvalidArgument(f"blades: expected at most {_MOST_BLADES}, got {blades!r}")
        core, threads = choose_native(backend, n_threads)
        return _polygons(radii, corners, rotations, sizes, kind, core, threads)
    if rotations.any():
        raise InvalidArgument(f"rotation: has a meaning only with blades, got {rotation!r}")
    core, threads = choose_native(backend, n_threads)

    batch, (radii, *_) = broadcast(radius=radii, **({"rotation": rotations} if rotations.ndim else {}))
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


def _polygons(
    radii: Float64Array,
    blades: int,
    rotations: Float64Array,
    sizes: tuple[int, ...] | None,
    kind: np.dtype[Any],
    core: Any,
    threads: int,
) -> npt.NDArray[Any]:
    batch, (given, rotations) = broadcast(radius=radii, rotation=rotations)
    radii = np.maximum(given, 0.5)  # what fits into a pixel is an impulse
    require_reach(given, radius=given)
    if sizes is None:
        unit = [_polygon.vertices(1.0, blades, rotation) for rotation in rotations.tolist()]
        reach = np.where(given <= 0.5, 0.0, given)[:, None] * np.abs(unit).max(axis=1)
        sizes = odd_size(reach[:, 1]), odd_size(reach[:, 0])
    kernels = allocate(batch, sizes, kind)
    if core is not None:
        core.psf_polygon(radii, rotations, blades, kernels, threads)
    else:
        for kernel, r, rotation in zip(kernels, radii.tolist(), rotations.tolist(), strict=True):
            kernel[...] = _polygon.rasterise(r, blades, rotation, sizes)
    scale_to_one("(radius, rotation)", np.stack([given, rotations], 1), kernels, sizes)
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
