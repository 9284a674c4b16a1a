"""The Gaussian PSF, integrated over each pixel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import names_memory_errors
from fastdeblur.errors import InvalidArgument
from fastdeblur.psf import _turned_gaussian
from fastdeblur.psf._common import (
    Float64Array,
    allocate,
    broadcast,
    check_dtype,
    check_lost,
    check_ndim,
    check_shape,
    choose_native,
    finish,
    odd_size,
    parameter,
    require_reach,
    scale_to_one,
    window,
)

# Beyond 5 sigma lies 5.7e-7 of each axis' mass, a few times the rounding of float32.
TRUNCATE = 5.0


@names_memory_errors
def gaussian(
    sigma: npt.ArrayLike | tuple[npt.ArrayLike, ...],
    *,
    angle: npt.ArrayLike = 0.0,
    shape: tuple[int, ...] | None = None,
    ndim: int | None = None,
    dtype: npt.DTypeLike = np.float64,
    backend: str = "auto",
    n_threads: int = 0,
) -> npt.NDArray[Any]:
    """Gaussian PSF in 1-D, 2-D or 3-D, integrated exactly over each pixel.

    Along each axis pixel ``k`` (counted from the origin) holds
    ``(erf((k + 1/2) / (sigma sqrt 2)) - erf((k - 1/2) / (sigma sqrt 2))) / 2``; the kernel is the product
    over the axes, cut to ``shape`` and scaled to sum 1. This is the blur of a detector whose pixels collect
    light over their whole area; the variance of the kernel is therefore about ``sigma**2 + 1/12``. Turned by an
    angle, the density is that of the turned Gaussian, integrated over each pixel to 1e-14.

    Parameters
    ----------
    sigma : standard deviation in pixels, >= 0; 0 gives a unit impulse along that axis.

        - number: one kernel, the same sigma on each axis
        - tuple: one entry for each axis, in the order of the array's axes: ``(sigma_y, sigma_x)`` in 2-D,
          ``(sigma_z, sigma_y, sigma_x)`` in 3-D; an entry that is an array gives a batch, and they broadcast
        - list or array: a batch of kernels, each with the same sigma on each axis

        A tuple is never a batch, and a list or array is never one sigma for each axis.
    angle : degrees by which the kernel is turned, counter-clockwise from the x axis with rows running downwards: the
        direction of sigma_x. Only in 2-D, with a tuple; may be an array. The smaller sigma counts as 0 where it is less
        than 0.004 pixels and less than 1e-3 of the larger.
    shape : size in pixels, one entry for each axis. Default: odd, and just large enough to reach 5 sigma,
        beyond which lies 5.7e-7 of the mass of each axis; for a batch, the largest such shape. A smaller
        shape may cut off up to 1 % of the mass.
    ndim : 1, 2 or 3. Default: what a tuple or ``shape`` says, else 2.
    dtype : float64 or float32 (computed in float64, then rounded).
    backend : "auto", "native" or "numpy".
    n_threads : threads of the native backend; 0 means all. The result does not depend on it.

    Returns
    -------
    Array of shape ``batch + shape``, >= 0, each kernel with sum 1 and origin at ``shape // 2``.

    Raises
    ------
    InvalidArgument
        If sigma is not a real, finite number >= 0, or angle not a real, finite number; if sigma, ndim and shape
        disagree; if angle is given for other than two sigmas; if shape cuts off more than 1 %.
    OutOfMemory
        If the result is larger than the machine's memory.
    Unsupported
        If backend is "native" and the extension is not built.

    Source: Abramowitz and Stegun 1964, section 7.1 (erf). For why the pixel must be integrated and not
    sampled at its centre: Anderson and King 2000, doi:10.1086/316632.
    """
    parts = sigma if isinstance(sigma, tuple) else (sigma,)
    if not parts:
        raise InvalidArgument("sigma: expected at least one value, got ()")
    sizes = None if shape is None else check_shape(shape, None)
    axes = _count_axes(sigma, sizes, ndim)
    names = [f"sigma[{i}]" for i in range(axes)] if isinstance(sigma, tuple) else ["sigma"]
    values = {name: parameter(name, part, non_negative=True) for name, part in zip(names, parts, strict=True)}
    angles = parameter("angle", angle)
    if angles.any() and not (isinstance(sigma, tuple) and axes == 2):
        raise InvalidArgument(f"angle: has a meaning only for sigma = (sigma_y, sigma_x), got {angle!r}")
    kind = check_dtype(dtype)
    core, threads = choose_native(backend, n_threads)
    if angles.any():
        return _turned(values, angles, sizes, kind, core, threads)

    batch, columns = broadcast(**values, **({"angle": angles} if angles.ndim else {}))
    columns = columns[: len(values)]
    sigmas = np.stack(columns * axes if len(columns) == 1 else columns, axis=1)
    if sizes is None:
        with np.errstate(over="ignore"):
            require_reach(TRUNCATE * sigmas, sigma=sigmas)
            sizes = tuple(odd_size(TRUNCATE * sigmas[:, axis]) for axis in range(axes))
    else:
        check_lost("sigma", sigmas, _lost_mass(sigmas, sizes), sizes)

    kernels = allocate(batch, sizes, kind)
    if core is not None:
        core.psf_gaussian(*_as_volumes(sigmas, kernels), threads)
    else:
        for kernel, sigma_of_axis in zip(kernels, sigmas, strict=True):
            kernel[...] = _rasterise(sigma_of_axis, sizes)
            kernel /= kernel.sum()
    return finish(kernels, batch, kind)


def _turned(
    values: dict[str, Float64Array],
    angles: Float64Array,
    sizes: tuple[int, ...] | None,
    kind: np.dtype[Any],
    core: Any,
    threads: int,
) -> npt.NDArray[Any]:
    batch, columns = broadcast(**values, angle=angles)
    sigma_y, sigma_x, angles = columns
    require_reach(np.maximum(sigma_y, sigma_x), sigma=np.maximum(sigma_y, sigma_x))
    if sizes is None:
        with np.errstate(over="ignore"):
            sizes = tuple(odd_size(TRUNCATE * s) for s in _turned_gaussian.extents(sigma_y, sigma_x, angles))
    kernels = allocate(batch, sizes, kind)
    for kernel, y, x, degrees in zip(kernels, *(column.tolist() for column in columns), strict=True):
        # Along the axes, round, or all in one pixel: a product.
        if y == x or math.fmod(degrees, 90.0) == 0 or max(y, x) <= _turned_gaussian.SMALLEST:
            if math.fmod(degrees, 180.0) != 0:
                y, x = x, y
            if core is not None:
                core.psf_gaussian(np.array([[0.0, y, x]]), kernel[None, None], threads)
            else:
                kernel[...] = _rasterise(np.array([y, x]), sizes)
            kernel *= 1 - _lost_mass(np.array([[y, x]]), sizes)[0]
            continue
        turned = _turned_gaussian.prepare(y, x, degrees, sizes)
        if core is not None:
            core.psf_turned_gaussian(*turned, kernel, threads)
        else:
            kernel[...] = _turned_gaussian.rasterise(turned, sizes)
    scale_to_one("(sigma_y, sigma_x, angle)", np.stack(columns, 1), kernels, sizes)
    return finish(kernels, batch, kind)


def _count_axes(sigma: Any, sizes: tuple[int, ...] | None, ndim: int | None) -> int:
    says = {}
    if ndim is not None:
        says["ndim"] = check_ndim(ndim)
    if sizes is not None:
        says["shape"] = len(sizes)
    if isinstance(sigma, tuple):
        says["sigma"] = len(sigma)
        if len(sigma) > 3:
            raise InvalidArgument(f"sigma: expected 1 to 3 entries, one for each axis, got {sigma!r}")
    if len(set(says.values())) > 1:
        shown = ", ".join(f"{count} from {name}" for name, count in says.items())
        argument = "sigma" if "sigma" in says else "shape"
        raise InvalidArgument(f"{argument}: expected one number of axes, got {shown}")
    return next(iter(says.values()), 2)


def _lost_mass(sigmas: Float64Array, sizes: tuple[int, ...]) -> Float64Array:
    kept = np.ones(len(sigmas))
    for axis, size in enumerate(sizes):
        low, high = window(size)
        kept *= [(math.erf(high / (s * math.sqrt(2))) - math.erf(low / (s * math.sqrt(2)))) / 2 if s else 1.0
                 for s in sigmas[:, axis].tolist()]  # fmt: skip
    return 1 - kept


def _as_volumes(sigmas: Float64Array, kernels: Float64Array) -> tuple[Float64Array, Float64Array]:
    """The native rasteriser knows (n, 3) sigmas and (n, d, h, w) kernels: a missing axis has one pixel."""
    missing = 3 - sigmas.shape[1]
    padded = np.pad(sigmas, ((0, 0), (missing, 0)))
    return padded, kernels.reshape((len(kernels),) + (1,) * missing + kernels.shape[1:])


def _rasterise(sigmas: Float64Array, sizes: tuple[int, ...]) -> Float64Array:
    kernel = np.ones(())
    for sigma, size in zip(sigmas.tolist(), sizes, strict=True):
        kernel = np.multiply.outer(kernel, _profile(sigma, size))
    return kernel


def _profile(sigma: float, size: int) -> Float64Array:
    """One axis' pixel integrals, computed on one side of the origin and mirrored, so exactly symmetric."""
    reach = size // 2
    if sigma == 0:
        side = np.zeros(reach + 1)
        side[0] = 1.0
    else:
        edges = [(k + 0.5) / (sigma * math.sqrt(2)) for k in range(reach + 1)]
        # erfc keeps the tail's digits, erf those near the middle.
        below = np.array([math.erf(e) for e in edges])
        above = np.array([math.erfc(e) for e in edges])
        outer = np.where(below[1:] < 0.5, np.diff(below), -np.diff(above)) / 2
        side = np.concatenate([below[:1], outer])
    return side[np.abs(np.arange(size) - reach)]
