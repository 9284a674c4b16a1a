"""The PSF of straight, uniform motion."""

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
def motion(
    length: npt.ArrayLike,
    angle: npt.ArrayLike = 0.0,
    *,
    shape: tuple[int, int] | None = None,
    dtype: npt.DTypeLike = np.float64,
    backend: str = "auto",
    n_threads: int = 0,
) -> npt.NDArray[Any]:
    """PSF of uniform motion along a straight line, integrated exactly over each pixel.

    The line has no width and is centred on the origin; a pixel's weight is the length of the line inside
    the pixel's square, over the whole length.

    Parameters
    ----------
    length : length of the line in pixels, >= 0; at most 1 gives a unit impulse.
    angle : direction in degrees, counter-clockwise from the x axis as the image is seen: rows run
        downwards, so 90 points up, and 45 goes from the lower left to the upper right. Any finite number;
        the period is 180.
    shape : (h, w) in pixels. Default: odd, and just large enough; for a batch, the largest such shape. A
        smaller shape may cut off up to 1 % of the line; the rest is scaled to sum 1.
    dtype : float64 or float32 (computed in float64, then rounded).
    backend : "auto", "native" or "numpy".
    n_threads : threads of the native backend; 0 means all. The result does not depend on it.

    Length and angle may be arrays, which broadcast as in NumPy and give a batch.

    Returns
    -------
    Array of shape ``batch + (h, w)``, >= 0, each kernel with sum 1, origin at ``shape // 2`` and centroid
    on it.

    Raises
    ------
    InvalidArgument
        If length is not a real, finite number >= 0 or angle not a real, finite number; if they do not
        broadcast; if shape cuts off more than 1 %.
    OutOfMemory
        If the result is larger than the machine's memory.
    Unsupported
        If backend is "native" and the extension is not built.

    Source: Siddon 1985, doi:10.1118/1.595715 (exact lengths of a line in the cells of a grid).
    """
    sizes = None if shape is None else check_shape(shape, 2)
    kind = check_dtype(dtype)
    lengths = parameter("length", length, non_negative=True)
    angles = parameter("angle", angle)
    core, threads = choose_native(backend, n_threads)

    batch, (lengths, angles) = broadcast(length=lengths, angle=angles)
    across, down = _direction(angles)
    if sizes is None:
        require_reach(lengths / 2, length=lengths)
        sizes = odd_size(lengths / 2 * np.abs(down)), odd_size(lengths / 2 * across)
    else:
        lost = _lost_mass(lengths, across, down, sizes)
        check_lost("(length, angle)", np.stack([lengths, angles], 1), lost, sizes)

    kernels = allocate(batch, sizes, kind)
    if core is not None:
        core.psf_motion(lengths, angles, kernels, threads)
    else:
        kernels[...] = 0
        for kernel, line in zip(kernels, np.stack([lengths, across, down], 1).tolist(), strict=True):
            _rasterise(kernel, *line)
            kernel /= kernel.sum()
    return finish(kernels, batch, kind)


def _direction(angles: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Unit vectors along the lines as (to the right, down), with the first part never negative.

    The angle is brought to [0, 45] degrees by steps that do not round, so that kernels whose angles differ
    by a symmetry of the grid differ by that symmetry and nothing else.
    """
    reduced = np.fmod(np.abs(angles), 180.0)
    obtuse = reduced > 90
    reduced = np.where(obtuse, 180 - reduced, reduced)
    steep = reduced > 45
    reduced = np.where(steep, 90 - reduced, reduced)
    long = np.where(reduced == 45, math.sqrt(0.5), np.cos(np.deg2rad(reduced)))
    short = np.where(reduced == 45, math.sqrt(0.5), np.sin(np.deg2rad(reduced)))
    across, up = np.where(steep, short, long), np.where(steep, long, short)
    return across, np.where(obtuse != (angles < 0), up, -up)


def _lost_mass(
    lengths: Float64Array, across: Float64Array, down: Float64Array, sizes: tuple[int, ...]
) -> Float64Array:
    low, high = -lengths / 2, lengths / 2
    for direction, size in ((down, sizes[0]), (across, sizes[1])):
        # The origin is inside the window: along the other axis a line stays in it: the quotients are inf.
        with np.errstate(divide="ignore", over="ignore"):
            first, last = np.sort([border / direction for border in window(size)], axis=0)
        low, high = np.maximum(low, first), np.minimum(high, last)
    return 1 - np.divide(high - low, lengths, out=np.ones_like(lengths), where=lengths > 1)


def _rasterise(kernel: Float64Array, length: float, across: float, down: float) -> None:
    """Walk along half of the line from crossing to crossing of the grid, and reflect it."""
    origin_y, origin_x = kernel.shape[0] // 2, kernel.shape[1] // 2
    if length <= 1:
        kernel[origin_y, origin_x] = 1.0
        return
    stops = [np.array([0.0, length / 2])]
    for direction in (across, abs(down)):
        crossings = np.arange(0.5, length / 2 * direction, 1.0)
        if crossings.size:
            stops.append(crossings / direction)
    t = np.sort(np.minimum(np.concatenate(stops), length / 2))
    middle = (t[1:] + t[:-1]) / 2
    x = np.floor(middle * across + 0.5).astype(np.int64)
    y = np.floor(middle * abs(down) + 0.5).astype(np.int64) * (1 if down > 0 else -1)
    for rows, columns in ((origin_y + y, origin_x + x), (origin_y - y, origin_x - x)):
        inside = (rows >= 0) & (rows < kernel.shape[0]) & (columns >= 0) & (columns < kernel.shape[1])
        np.add.at(kernel, (rows[inside], columns[inside]), np.diff(t)[inside] / length)
