"""Moffat's profile: the PSF of stars through the air, with wings that a Gaussian has not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur.errors import InvalidArgument
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
from fastdeblur.psf._radial import SMOOTH_NODES, check_truncation, nodes, positive, rasterise


def moffat(
    fwhm: npt.ArrayLike | None = None,
    beta: npt.ArrayLike = 2.5,
    *,
    alpha: npt.ArrayLike | None = None,
    truncation: float = 0.01,
    shape: tuple[int, int] | None = None,
    dtype: npt.DTypeLike = np.float64,
    backend: str = "auto",
    n_threads: int = 0,
) -> npt.NDArray[Any]:
    """Moffat PSF, integrated over each pixel.

    The profile ``(beta - 1) / (pi alpha^2) (1 + r^2 / alpha^2)^(-beta)``, of which the share
    ``(1 + r^2 / alpha^2)^(1 - beta)`` lies beyond r. Its full width at half maximum is
    ``2 alpha sqrt(2^(1 / beta) - 1)``. A large beta approaches a Gaussian.

    Parameters
    ----------
    fwhm : full width at half maximum in pixels, > 0.
    beta : how steeply the wings fall, > 1. Stars often have 2.5 to 4.8; the theory of turbulence fits 4.765.
    alpha : scale in pixels, > 0; instead of fwhm. One of the two is required.
    truncation : share of the light that shape may cut off, in (0, 0.5]; the rest is scaled to sum 1.
    shape : (h, w) in pixels. Default: odd, and just large enough for the circle outside of which lies that share;
        for a batch, the largest such shape.
    dtype : float64 or float32 (computed in float64, then rounded).
    backend : "auto", "native" or "numpy".
    n_threads : threads of the native backend; 0 means all. The result does not depend on it.

    Fwhm, alpha and beta may be arrays, which give a batch; they broadcast.

    Returns
    -------
    Array of shape ``batch + (h, w)``, >= 0, each kernel with sum 1, origin at ``shape // 2``. On an odd shape
    its centroid is the origin.

    Raises
    ------
    InvalidArgument
        If a parameter is not a real, finite number in its range; if not one of fwhm and alpha is given; if
        shape cuts off more than truncation.
    OutOfMemory
        If the result is larger than the machine's memory.
    Unsupported
        If backend is "native" and the extension is not built.

    Source: Moffat 1969, Astronomy and Astrophysics 3, 455. For beta: Trujillo et al. 2001,
    doi:10.1046/j.1365-8711.2001.04937.x.
    """
    sizes = None if shape is None else check_shape(shape, 2)
    kind = check_dtype(dtype)
    share = check_truncation(truncation)
    if (fwhm is None) == (alpha is None):
        raise InvalidArgument(
            f"fwhm, alpha: expected one of the two, got {'neither' if fwhm is None else 'both'}"
        )
    name, given = ("fwhm", fwhm) if alpha is None else ("alpha", alpha)
    widths, betas = positive(name, given), positive("beta", beta, above=1.0)
    core, threads = choose_native(backend, n_threads)

    batch, columns = broadcast(**{name: widths, "beta": betas})
    alphas, betas = columns
    if name == "fwhm":
        alphas = alphas / (2 * np.sqrt(np.expm1(np.log(2) / betas)))
    if sizes is None:
        with np.errstate(over="ignore"):
            sizes = (odd_size(alphas * np.sqrt(np.expm1(-np.log(share) / (betas - 1)))),) * 2
    kernels = allocate(batch, sizes, kind)
    for kernel, a, b in zip(kernels, alphas.tolist(), betas.tolist(), strict=True):
        if core is not None:
            core.psf_moffat(a, b, *nodes(SMOOTH_NODES), kernel, threads)
        else:
            kernel[...] = _rasterise(a, b, sizes)
    scale_to_one(f"({name}, beta)", np.stack(columns, 1), kernels, sizes, share)
    return finish(kernels, batch, kind)


def _rasterise(alpha: float, beta: float, sizes: tuple[int, ...]) -> Float64Array:
    def tail(r: Float64Array) -> Float64Array:
        # Not a power of the sum, from which a small r / alpha, that of a large beta, would lose its digits.
        with np.errstate(over="ignore"):  # infinitely far: nothing is beyond
            beyond: Float64Array = np.exp((1 - beta) * np.log1p((r / alpha) ** 2))
        return beyond

    return rasterise(tail, SMOOTH_NODES, sizes)
