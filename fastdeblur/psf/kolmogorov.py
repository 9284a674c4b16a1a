"""The PSF of a long exposure through turbulent air."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur.errors import InvalidArgument
from fastdeblur.psf._bessel import j0_j1
from fastdeblur.psf._common import (
    Float64Array,
    allocate,
    broadcast,
    check_dtype,
    check_shape,
    choose_native,
    finish,
    odd_size,
    scale_to_one,
)
from fastdeblur.psf._quadrature import gauss_legendre
from fastdeblur.psf._radial import SMOOTH_NODES, Table, check_truncation, nodes, positive, rasterise

# 3.4419: half of Fried's 6.88, the structure function's constant.
STRUCTURE = (24 / 5 * math.gamma(6 / 5)) ** (5 / 6)

# Full width at half maximum in wavelength / r0; a test finds it again from the profile.
FWHM = 0.9758634299

_ARCSECOND = math.pi / (180 * 3600)
_STEP = 1 / 32
_END = 11.0  # of asinh(rho): rho of 30,000, from where the leading power alone is right to 1e-6 of itself
_FAR = 20.0
_FINEST, _WIDEST = 1e-100, 1e100  # wavelength / r0 in pixels whose squares a float64 can hold


def kolmogorov(
    r0: npt.ArrayLike | None = None,
    wavelength: npt.ArrayLike | None = None,
    *,
    seeing: npt.ArrayLike | None = None,
    pixel_scale: npt.ArrayLike,
    truncation: float = 0.01,
    shape: tuple[int, int] | None = None,
    dtype: npt.DTypeLike = np.float64,
    backend: str = "auto",
    n_threads: int = 0,
) -> npt.NDArray[Any]:
    """PSF of a long exposure through Kolmogorov turbulence, integrated over each pixel.

    Its transfer function at the angular frequency f is ``exp(-3.44 (wavelength f / r0)^(5/3))``; the PSF's
    full width at half maximum is ``0.976 wavelength / r0``. The telescope is taken to be much larger than r0; with
    `combine` and `airy` a smaller one can be added, which is right where both blurs are small.

    Parameters
    ----------
    r0 : Fried's parameter at this wavelength in metres, > 0.
    wavelength : in metres, > 0; with r0.
    seeing : full width at half maximum in arcseconds, > 0; instead of r0 and wavelength.
    pixel_scale : side of a pixel in arcseconds, > 0.
    truncation : share of the light that shape may cut off, in (0, 0.5]; the rest is scaled to sum 1. The wings
        fall as r^(-11/3): 1 % of the light lies beyond 3.7 times the full width at half maximum.
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
        If a parameter is not a real, finite number > 0; if not either seeing, or r0 and wavelength, are given; if
        shape cuts off more than truncation.
    OutOfMemory
        If the result is larger than the machine's memory.
    Unsupported
        If backend is "native" and the extension is not built.

    Source: Fried 1966, doi:10.1364/JOSA.56.001372.
    """
    sizes = None if shape is None else check_shape(shape, 2)
    kind = check_dtype(dtype)
    share = check_truncation(truncation)
    given = {"r0": r0, "wavelength": wavelength, "seeing": seeing}
    names = [name for name, value in given.items() if value is not None]
    if names not in (["r0", "wavelength"], ["seeing"]):
        raise InvalidArgument(
            f"r0, wavelength, seeing: expected r0 and wavelength, or seeing, got {' and '.join(names) or 'none'}"
        )
    values = {name: positive(name, given[name]) for name in names}
    values["pixel_scale"] = positive("pixel_scale", pixel_scale)
    core, threads = choose_native(backend, n_threads)

    batch, columns = broadcast(**values)
    *blur, pixels = columns
    with np.errstate(over="ignore", under="ignore"):
        scales = blur[0] / FWHM if seeing is not None else blur[1] / blur[0] / _ARCSECOND
    with np.errstate(over="ignore", under="ignore"):
        scales = scales / pixels  # wavelength / r0 in pixels
    if not (scales.min() >= _FINEST and scales.max() <= _WIDEST):
        raise InvalidArgument(
            f"{', '.join(values)}: expected a full width at half maximum of {FWHM * _FINEST:.2g} to {FWHM * _WIDEST:.2g} pixels, "
            f"got {FWHM * scales.min():.3g} to {FWHM * scales.max():.3g}"
        )
    if sizes is None:
        sizes = (odd_size(scales * _radius(share)),) * 2
    kernels = allocate(batch, sizes, kind)
    table = light_beyond()
    for kernel, scale in zip(kernels, scales.tolist(), strict=True):
        if core is not None:
            core.psf_radial(table.values, scale, table.step, True, *nodes(SMOOTH_NODES), kernel, threads)
        else:
            kernel[...] = rasterise(table.tail(scale), SMOOTH_NODES, sizes)
    scale_to_one(f"({', '.join(values)})", np.stack(columns, 1), kernels, sizes, share)
    return finish(kernels, batch, kind)


@functools.cache
def light_beyond() -> Table:
    """T(rho), rho in wavelength / r0: one table for all PSFs of the kind."""
    s = np.arange(round(_END / _STEP) + 1) * _STEP
    rho = np.sinh(s)
    far = rho > _FAR
    light = np.concatenate([_by_quadrature(rho[~far]), _by_series(rho[far])])
    return Table(light * (1 + rho * rho) ** (5 / 6), _STEP, warped=True)


def _by_quadrature(rho: Float64Array) -> Float64Array:
    """1 - 2 pi rho int exp(-c f^(5/3)) J1(2 pi rho f) df, with f = t^3, which makes it smooth at 0."""
    places, weights = gauss_legendre(700)
    end = (42 / STRUCTURE) ** (1 / 5)
    t, dt = end / 2 * (1 + places), end / 2 * weights
    transfer = np.exp(-STRUCTURE * t**5) * 3 * t**2 * dt
    argument = 2 * np.pi * rho
    beyond: Float64Array = 1 - argument * (j0_j1(argument[:, None] * t**3)[1] @ transfer)
    return beyond


def _by_series(rho: Float64Array) -> Float64Array:
    """The asymptotic series, term by term from that of the exponential: sum over k of
    -(-c)^k / k! (pi rho)^(-2z) Gamma(1+z) Gamma(z) sin(pi z) / pi with z = 5k/6.
    """
    light = np.zeros_like(rho)
    for k in range(1, 8):
        z = 5 * k / 6
        factor = math.gamma(1 + z) * math.gamma(z) * math.sin(math.pi * z) / math.pi / math.factorial(k)
        light -= (-STRUCTURE) ** k * factor * (np.pi * rho) ** (-2 * z)
    return light


def _radius(share: float) -> float:
    """rho beyond which this share of the light lies, by bisection in asinh(rho)."""
    tail = light_beyond().tail(1.0)
    low, high = 0.0, _END
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(np.sinh([middle]))[0] > share else (low, middle)
    return math.sinh(high)
