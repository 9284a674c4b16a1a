"""The PSFs of a rolling shutter: each row of the image sees another part of the camera's path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import as_choice, as_count
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
from fastdeblur.psf._paths import frame_of
from fastdeblur.psf.trajectory import SOURCES, check_path, mean_place, rasterise_path


def rolling_shutter(
    points: npt.ArrayLike,
    times: npt.ArrayLike | None = None,
    *,
    rows: int | npt.ArrayLike,
    row_time: float,
    exposure: float,
    first_row: float | None = None,
    source: str = "pixel",
    centre: bool = True,
    shape: tuple[int, int] | None = None,
    dtype: npt.DTypeLike = np.float64,
    backend: str = "auto",
    n_threads: int = 0,
) -> npt.NDArray[Any]:
    """PSFs of the rows of an image that a moving camera reads out row by row.

    Row r is exposed from ``first_row + r * row_time`` for ``exposure``; its PSF is that part of the path, as
    `trajectory` makes it.

    Parameters
    ----------
    points : (p, 2), p >= 2 points of the camera's path as (x, y) in pixels, x to the right and y down: where the
        image of a fixed scene is.
    times : (p,), when the path is at each point; never falling. Default: 0, 1, 2, ...
    rows : number of rows, for one PSF each; or the numbers of the rows that are wanted, (n,), in which an entry
        may stand for a band of rows: its middle, 7.5 for the rows 0 to 15.
    row_time : time from the start of one row to that of the next, >= 0, in the unit of times.
    exposure : time for which each row collects light, > 0.
    first_row : when row 0 begins. Default: when the path does.
    source : "pixel" or "point", what is carried along the path; see `trajectory`.
    centre : move each row's kernel so that its path's mean is the origin (True): deblurring then leaves the
        image's skew as it is. Or measure places from where the path says that 0 is (False).
    shape : (h, w) in pixels. Default: odd, and just large enough for all rows. A smaller shape may cut off up to
        1 % of a row's path.
    dtype : float64 or float32 (computed in float64, then rounded).
    backend : "auto", "native" or "numpy".
    n_threads : threads of the native backend, which share out the rows; 0 means all. The result does not depend
        on it.

    Returns
    -------
    Array of shape ``(rows, h, w)``, >= 0, each kernel with sum 1 and origin at ``shape // 2``.

    Raises
    ------
    InvalidArgument
        If an argument is not a real, finite number in its range or of its shape; if a row is exposed before
        the path begins or after it ends; if shape cuts off more than 1 %.
    OutOfMemory
        If the result is larger than the machine's memory.
    Unsupported
        If backend is "native" and the extension is not built.

    Source: Su and Heidrich 2015, doi:10.1109/CVPR.2015.7298760.
    """
    sizes = None if shape is None else check_shape(shape, 2)
    kind = check_dtype(dtype)
    as_choice(source, "source", SOURCES)
    if not isinstance(centre, (bool, np.bool_)):
        raise InvalidArgument(f"centre: expected True or False, got {centre!r}")
    batch, paths, clocks = check_path(points, times)
    if batch or paths.shape[1] < 2:
        raise InvalidArgument(
            f"points: expected one path (p, 2) of at least 2 points, got shape {np.shape(points)}"
        )
    # Times from the path's first one on: the seconds of a date have few digits behind the point.
    path, start = paths[0], float(clocks[0, 0])
    clocks = clocks - start
    clock = clocks[0]
    windows = _windows(clock, start, _row_numbers(rows), row_time, exposure, first_row)
    core, threads = choose_native(backend, n_threads)

    parts = [_part(path, clock, *window) for window in windows.tolist()]
    shifts = np.zeros((len(parts), 2))
    if centre:
        shifts = -np.concatenate([mean_place(p[None], t[None]) for p, t in parts])
    if sizes is None:
        extents = [np.abs(p + shift).max(axis=0) for (p, _), shift in zip(parts, shifts, strict=True)]
        sizes = frame_of(np.max(extents, axis=0), source)
    kernels = allocate((len(parts),), sizes, kind)
    if core is not None:
        which = np.zeros(len(parts), np.int64)
        core.psf_paths(paths, clocks, which, windows, shifts, source == "pixel", kernels, threads)
    else:
        for kernel, (p, t), shift in zip(kernels, parts, shifts, strict=True):
            rasterise_path(p + shift, t, source, kernel)
    scale_to_one("row", np.arange(len(parts)), kernels, sizes)
    return finish(kernels, (len(parts),), kind)


def _row_numbers(rows: Any) -> Float64Array:
    if not isinstance(rows, Sequence) and not getattr(rows, "ndim", 0):
        return np.arange(as_count(rows, "rows", minimum=1), dtype=np.float64)
    numbers = parameter("rows", rows)
    if numbers.ndim != 1:
        raise InvalidArgument(f"rows: expected an integer or numbers (n,), got shape {numbers.shape}")
    return numbers


def _windows(
    clock: Float64Array, start: float, rows: Float64Array, row_time: Any, exposure: Any, first_row: Any
) -> Float64Array:
    values = {
        "row_time": row_time,
        "exposure": exposure,
        "first_row": start if first_row is None else first_row,
    }
    for name, value in values.items():
        values[name] = number = parameter(name, value, non_negative=name != "first_row")
        if number.ndim:
            raise InvalidArgument(f"{name}: expected one number, got shape {number.shape}")
    if not values["exposure"] > 0:
        raise InvalidArgument(f"exposure: expected a number > 0, got {exposure!r}")
    with np.errstate(over="ignore"):
        begin = (values["first_row"] - start) + rows * values["row_time"]
        end = begin + values["exposure"]
    slack = 1e-9 * (clock[-1] - clock[0])  # sums that should meet the ends may miss them by rounding
    if begin.min() < clock[0] - slack or end.max() > clock[-1] + slack:
        raise InvalidArgument(
            f"times: expected a path over all exposures, from {begin.min() + start:g} to {end.max() + start:g}, "
            f"got {start:g} to {clock[-1] + start:g}"
        )
    if (end <= begin).any():
        raise InvalidArgument(
            f"exposure: expected one that the times' precision tells from none, got {exposure!r}"
        )
    return np.stack([begin, end], axis=1)


def _part(
    path: Float64Array, clock: Float64Array, begin: float, end: float
) -> tuple[Float64Array, Float64Array]:
    """The path between two times, with points at both."""
    first = int(np.searchsorted(clock, begin, side="right"))
    last = int(np.searchsorted(clock, end, side="left"))
    times = np.concatenate([[begin], clock[first:last], [end]])
    ends = np.stack([_place(path, clock, begin, first), _place(path, clock, end, last)])
    return np.concatenate([ends[:1], path[first:last], ends[1:]]), times


def _place(path: Float64Array, clock: Float64Array, time: float, after: int) -> Float64Array:
    i = min(max(after, 1), len(clock) - 1)
    span = clock[i] - clock[i - 1]
    t = min(max((time - clock[i - 1]) / span, 0.0), 1.0) if span > 0 else 0.0
    place: Float64Array = path[i - 1] + t * (path[i] - path[i - 1])
    return place
