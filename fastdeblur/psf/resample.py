"""A PSF for another pixel size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import centroid, require_memory, result_dtype
from fastdeblur.errors import InvalidArgument
from fastdeblur.psf._common import Float64Array, check_shape, parameter
from fastdeblur.psf._given import crop_or_pad, given_psf, nudge, offsets, rebin, returned


def resample(
    psf: npt.ArrayLike,
    factor: npt.ArrayLike | None = None,
    *,
    pixel_size: npt.ArrayLike | None = None,
    new_pixel_size: npt.ArrayLike | None = None,
    shape: tuple[int, ...] | None = None,
) -> npt.NDArray[Any]:
    """The same PSF as a detector with other pixels would record it.

    A pixel's value is the light on its area. What lies up to a pixel's border is therefore known exactly, axis by
    axis; in between it is interpolated by monotone cubics of fourth order, and the new pixels take what lies between
    their borders. No light is lost or turns negative, and the centroid stays where it is: what the coarser grid moves
    it by is moved back by linear sharing between neighbours (in a `shape` that holds all of the old frame).

    Parameters
    ----------
    psf : 1-D to 3-D, origin at ``shape // 2``; sum > 0 (normalised here).
    factor : new pixels per old pixel, > 0: one number, or one for each axis; 2 halves the pixels.
    pixel_size, new_pixel_size : instead of factor, in any one unit, > 0: a number, or one for each axis.
    shape : of the result. Default: odd, and large enough for all of the old frame.

    Returns
    -------
    Array of sum 1, origin at ``shape // 2``; float64 for a float64 PSF, else float32.

    Raises
    ------
    InvalidArgument
        If an argument is not as said; if not exactly one of factor and the two pixel sizes is given.
    OutOfMemory
        If the result is larger than the machine's memory.

    Sources: Colella and Woodward 1984, doi:10.1016/0021-9991(84)90143-8 (slopes); Fritsch and Carlson 1980,
    doi:10.1137/0717021 (monotone cubics).
    """
    light = given_psf(psf)
    factors = _factors(factor, pixel_size, new_pixel_size, light.ndim)
    sizes = None if shape is None else check_shape(shape, light.ndim)
    # The old frame's longer half, and a pixel at either end for the light that is moved back.
    halves = [max(n // 2 + 0.5, n - n // 2 - 0.5) * f for n, f in zip(light.shape, factors, strict=True)]
    enough = tuple(2 * max(0, math.ceil(min(half, 1e15) - 0.5 - 1e-9)) + 1 for half in halves)
    if sizes is None:
        sizes = enough
    require_memory(8 * math.prod(n + 2 for n in sizes), f"psf: a kernel of shape {sizes}")

    wanted = [c * f for c, f in zip(centroid(light), factors, strict=True)]
    for axis, (n, f, size) in enumerate(zip(light.shape, factors, sizes, strict=True)):
        borders = np.append(offsets(size) - 0.5, size - size // 2 - 0.5)
        light = rebin(light, axis, borders / f + (n // 2 + 0.5))
    total = float(light.sum())
    if not total > 0:
        raise InvalidArgument(f"shape: expected a frame that holds light, got {sizes}")
    light = light / total
    if all(size >= n for size, n in zip(sizes, enough, strict=True)):
        light = _restore_centroid(light, wanted)
        if shape is not None:
            light = crop_or_pad(light, sizes)
    dtype = result_dtype(np.asarray(psf).dtype)
    return returned(light / light.sum(), dtype)


def _restore_centroid(light: Float64Array, wanted: list[float]) -> Float64Array:
    moves = [w - c for w, c in zip(wanted, centroid(light), strict=True)]
    if max(map(abs, moves)) <= 1e-12:
        return light
    grown = tuple(n + 2 if abs(move) > 1e-12 else n for n, move in zip(light.shape, moves, strict=True))
    padded = crop_or_pad(light, grown)
    for axis, move in enumerate(moves):
        padded = nudge(padded, axis, move)
    cut = np.abs(padded - crop_or_pad(crop_or_pad(padded, light.shape), grown)).sum()
    return crop_or_pad(padded, light.shape) if cut <= 1e-15 else padded


def _factors(factor: Any, old: Any, new: Any, ndim: int) -> list[float]:
    if (factor is None) == (old is None) or (old is None) != (new is None):
        given = ", ".join(
            name
            for name, value in (("factor", factor), ("pixel_size", old), ("new_pixel_size", new))
            if value is not None
        )
        raise InvalidArgument(
            f"factor: expected either factor, or pixel_size and new_pixel_size, got {given or 'none of them'}"
        )
    if factor is not None:
        return _per_axis(factor, "factor", ndim)
    sizes = zip(_per_axis(old, "pixel_size", ndim), _per_axis(new, "new_pixel_size", ndim), strict=True)
    return [a / b for a, b in sizes]


def _per_axis(value: Any, name: str, ndim: int) -> list[float]:
    numbers = parameter(name, value)
    if numbers.shape not in ((), (ndim,)):
        raise InvalidArgument(f"{name}: expected one number, or one for each of {ndim} axes, got {value!r}")
    if not (numbers > 0).all():
        raise InvalidArgument(f"{name}: expected numbers > 0, got {value!r}")
    return [float(v) for v in np.broadcast_to(numbers, (ndim,))]
