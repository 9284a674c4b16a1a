"""The PSF of a path: a camera that moves along any polyline, at any speed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import as_choice
from fastdeblur.errors import InvalidArgument
from fastdeblur.psf._common import (
    Float64Array,
    allocate,
    check_dtype,
    check_shape,
    choose_native,
    finish,
    parameter,
    scale_to_one,
)
from fastdeblur.psf._paths import frame_of, rasterise_pieces

SOURCES = ("pixel", "point")

# A path further away would only take time to be cut into pixels that no frame holds.
_FARTHEST = 1e6


def trajectory(
    points: npt.ArrayLike,
    times: npt.ArrayLike | None = None,
    *,
    source: str = "pixel",
    centre: bool = True,
    shape: tuple[int, int] | None = None,
    dtype: npt.DTypeLike = np.float64,
    backend: str = "auto",
    n_threads: int = 0,
) -> npt.NDArray[Any]:
    """PSF of motion along a polyline, integrated exactly over time and over each pixel.

    Between two points the motion is straight and even. A pixel's weight is the mean over the exposure of the
    area that the pixel shares with a unit square of light carried along the path (``source="pixel"``), or the
    share of time that a point of light spends in it (``source="point"``).

    Parameters
    ----------
    points : (..., p, 2), the path's p >= 1 points as (x, y) in pixels: x to the right and y down, along the
        image's columns and rows, at most 1e6 from the origin. One point is a camera at rest.
    times : (..., p), when the path is at each point, in any unit; never falling, and not all the same. Two
        points at the same time are a jump. Default: evenly spaced, so that a long piece is a fast one.
    source : what is carried along the path.

        - "pixel": the light of a whole pixel, a unit square. The kernel's centroid is the path's to rounding,
          also where the path rests between pixels; the same as linear interpolation between pixels.
        - "point": a point of light at the pixel's centre, as in `motion`, which is the same for a straight
          line. Narrower by one pixel's width; places are rounded to whole pixels.
    centre : move the path so that its mean over time is the origin (True), by parts of a pixel; or keep it where
        it is (False), which moves a deblurred image by as much.
    shape : (h, w) in pixels. Default: odd, and just large enough; for a batch, the largest such shape. A
        smaller shape may cut off up to 1 % of the path; the rest is scaled to sum 1.
    dtype : float64 or float32 (computed in float64, then rounded).
    backend : "auto", "native" or "numpy".
    n_threads : threads of the native backend, which share out a batch; 0 means all. The result does not depend
        on it.

    Leading axes of points and times are a batch; they broadcast.

    Returns
    -------
    Array of shape ``batch + (h, w)``, >= 0, each kernel with sum 1 and origin at ``shape // 2``.

    Raises
    ------
    InvalidArgument
        If points or times are not real, finite numbers of these shapes; if times fall, or none passes; if
        shape cuts off more than 1 %.
    OutOfMemory
        If the result is larger than the machine's memory.
    Unsupported
        If backend is "native" and the extension is not built.

    Source: Siddon 1985, doi:10.1118/1.595715 (exact lengths of a line in the cells of a grid).
    """
    sizes = None if shape is None else check_shape(shape, 2)
    kind = check_dtype(dtype)
    as_choice(source, "source", SOURCES)
    if not isinstance(centre, (bool, np.bool_)):
        raise InvalidArgument(f"centre: expected True or False, got {centre!r}")
    batch, paths, clocks = check_path(points, times)
    core, threads = choose_native(backend, n_threads)

    shifts = -mean_place(paths, clocks) if centre else np.zeros((len(paths), 2))
    if sizes is None:
        sizes = frame_of(np.abs(paths + shifts[:, None]).max(axis=(0, 1)), source)
    kernels = allocate(batch, sizes, kind)
    if core is not None:
        which = np.arange(len(paths))
        windows = np.ascontiguousarray(clocks[:, [0, -1]])
        core.psf_paths(paths, clocks, which, windows, shifts, source == "pixel", kernels, threads)
    else:
        for kernel, path, clock, shift in zip(kernels, paths, clocks, shifts, strict=True):
            rasterise_path(path + shift, clock, source, kernel)
    scale_to_one("path", np.arange(len(paths)), kernels, sizes)
    return finish(kernels, batch, kind)


def check_path(
    points: npt.ArrayLike, times: npt.ArrayLike | None
) -> tuple[tuple[int, ...], Float64Array, Float64Array]:
    """Return the batch shape, and its paths as (n, p, 2) points and (n, p) times."""
    place = parameter("points", points)
    if place.ndim < 2 or place.shape[-1] != 2:
        raise InvalidArgument(f"points: expected shape (..., p, 2), got {place.shape}")
    if np.abs(place).max() > _FARTHEST:
        raise InvalidArgument(
            f"points: expected at most {_FARTHEST:g} pixels from the origin, got {np.abs(place).max():g}"
        )
    count = place.shape[-2]
    clock = np.arange(count, dtype=np.float64) if times is None else parameter("times", times)
    if clock.ndim < 1 or clock.shape[-1] != count:
        raise InvalidArgument(f"times: expected shape (..., {count}), one for each point, got {clock.shape}")
    with np.errstate(over="ignore"):
        lasts = clock[..., -1] - clock[..., 0]
    if not np.isfinite(lasts).all():
        raise InvalidArgument("times: expected a duration that a float64 can hold, got one that it cannot")
    if (np.diff(clock) < 0).any():
        raise InvalidArgument("times: expected times that never fall, got a step back")
    if count > 1 and (clock[..., 0] == clock[..., -1]).any():
        raise InvalidArgument("times: expected a path that takes time, got the same time from end to end")
    try:
        batch = np.broadcast_shapes(place.shape[:-2], clock.shape[:-1])
    except ValueError as error:
        raise InvalidArgument(
            f"points, times: expected batches that broadcast, got {place.shape[:-2]}, {clock.shape[:-1]}"
        ) from error
    n = math.prod(batch)
    return (
        batch,
        np.ascontiguousarray(np.broadcast_to(place, (*batch, count, 2))).reshape(n, count, 2),
        np.ascontiguousarray(np.broadcast_to(clock, (*batch, count))).reshape(n, count),
    )


def mean_place(paths: Float64Array, times: Float64Array) -> Float64Array:
    """Return each path's mean over time, (n, 2) for (n, p, 2) points."""
    if paths.shape[1] == 1:
        return paths[:, 0]
    spans = np.diff(times, axis=1)
    middles = (paths[:, 1:] + paths[:, :-1]) / 2
    mean: Float64Array = (middles * (spans / spans.sum(axis=1, keepdims=True))[..., None]).sum(axis=1)
    return mean


def rasterise_path(path: Float64Array, times: Float64Array, source: str, out: Float64Array) -> None:
    """Fill one kernel with the whole of a path (p, 2)."""
    if len(path) == 1:
        path, times = np.repeat(path, 2, axis=0), np.array([0.0, 1.0])
    share = np.diff(times) / (times[-1] - times[0])
    used = share > 0
    kernel = np.zeros(int(used.sum()), np.int64)
    rasterise_pieces(path[:-1][used], path[1:][used], share[used], kernel, source == "pixel", out[None])
