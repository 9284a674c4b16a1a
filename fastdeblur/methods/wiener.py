"""The Wiener filter: least-squares deblurring with a quadratic penalty, in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastdeblur._arrays import DeviceArray, on_device
from fastdeblur._checks import (
    AnyArray,
    answer,
    as_host_array,
    as_image,
    as_number,
    as_out,
    as_real_array,
    names_memory_errors,
    require_finite,
    require_squarable,
    result_dtype,
)
from fastdeblur._geometry import Frame
from fastdeblur._problem import Problem, as_boundary
from fastdeblur.backends import Plane
from fastdeblur.errors import InvalidArgument
from fastdeblur.ops import Ops, recipe

Regularization = str | ArrayLike | Callable[..., Any]


@names_memory_errors
def wiener(
    image: ArrayLike,
    psf: ArrayLike,
    balance: float,
    *,
    reg: Regularization = "laplacian",
    boundary: str = "edge",
    channel_axis: int | None = None,
    out: Any = None,
    n_threads: int = 0,
    backend: str = "auto",
    device: str | None = None,
) -> NDArray[Any]:
    """Deblur by the Wiener-Hunt filter, X = conj(H) Y / (|H|^2 + balance |R|^2).

    Parameters
    ----------
    image : array, (..., W), (..., H, W) or (..., D, H, W)
        Blurred image in linear light, any real dtype, any value range (nothing is rescaled or clipped). It has as many spatial
        axes as the PSF; further leading axes are a batch. One in a CUDA device's memory (of CuPy, torch, JAX, numba or whoever
        speaks ``__cuda_array_interface__`` or DLPack) is read where it is.
    psf : array, (w,), (h, w) or (d, h, w)
        Point-spread function, origin at ``shape // 2``, normalised here to sum 1. With ``channel_axis``, a PSF with as many
        axes as the image holds one PSF per channel along that axis; of its other axes the last three are space, those before
        them a batch's, of length 1.
    balance : float >= 0
        Weight of the penalty against the data, in units of |H|^2 (1 at zero frequency): larger is smoother. With
        ``reg="identity"`` it is the noise-to-signal power ratio. With 0 the result is the inverse filter, and frequencies that
        the blur removed entirely stay 0.
    reg : "laplacian", "identity", array or callable
        R. "laplacian" (the default of scikit-image) penalises roughness. A real array is a kernel in the image domain, origin at
        ``shape // 2``. A complex array is a transfer function on the half spectrum (the shape of ``numpy.fft.rfftn(image)``; only
        with ``boundary="periodic"``). A callable takes one frequency array per axis in cycles per pixel (broadcastable) and
        returns R there, real or complex.
    boundary : "edge", "reflect", "zero" or "periodic"
        What lies outside the frame: its border value, its mirror image, darkness, or the opposite side. For "edge" and "reflect"
        the two borders' continuations fade into each other, so that the periodic transform sees no jump. A mirrored motion runs at
        another angle, which rings; where the blur has no direction both are alike.
    channel_axis : int, optional
        Axis of independent channels, None for none.
    out : array, optional
        Where to put the result, in the image's memory: shape of the image, dtype of the result, no memory shared with the image.
    n_threads : int
        0 for as many as OpenMP would use.
    backend : "auto", "native", "numba", "numpy", "cuda" or "cupy"
        "auto" takes the best that can, where the image is; a named one never falls back.
    device : "cpu", "cuda" or "cuda:1" (and so on), optional
        Where to compute. None: where the image is, for one in host memory where ``set_device`` says, which is the CPU unless it was
        called. Device memory is never given up for the CPU's unasked.

    Returns
    -------
    array
        Shape and unit of the image; float64 for a float64 image, else float32. In host memory for an image that is there, else
        an array of the image's library on its device.

    Raises
    ------
    InvalidArgument
        An argument breaks its rule; the message names argument, rule and value. NaN and infinity are refused.
    Unsupported
        The named backend cannot run.
    DeviceError
        The device cannot be used, or failed while working.
    OutOfMemory
        The memory cannot be had, on the host or on the device.

    References
    ----------
    N. Wiener, Extrapolation, Interpolation, and Smoothing of Stationary Time Series, 1949.
    B. R. Hunt, IEEE Trans. Comput. C-22:805, 1973, doi:10.1109/TC.1973.5009169
    """
    array = as_image(image)
    boundary = as_boundary(boundary, "wiener")
    balance = as_number(balance, "balance")
    problem = Problem(
        array.shape,
        psf,
        result_dtype(array.dtype),
        channel_axis=channel_axis,
        n_threads=n_threads,
        backend=backend,
        device=device,
    )
    result: NDArray[Any] = run(problem, array, balance, reg, boundary, out)
    return result


@dataclass(frozen=True)
class WienerParams:
    """reg is "laplacian", "identity", a kernel, a callable, or |R|^2 itself on the half spectrum (``power``)."""

    balance: float
    reg: str | NDArray[Any] | Callable[..., Any]
    power: NDArray[Any] | None = None


def run(problem: Problem, image: AnyArray, balance: float, reg: Any, boundary: str, out: Any) -> Any:
    """Check what is left to check, then compute; image has the problem's shape."""
    params = _params(problem, as_number(balance, "balance", dtype=problem.dtype), reg, boundary)
    if isinstance(image, DeviceArray):
        problem.backend("wiener", boundary, image)  # before anything is made on the device
    result = as_out(out, image.shape, problem.dtype, image)
    problem.run("wiener", boundary, params, problem.planes(image, result), {})
    return answer(result, out)


def _params(problem: Problem, balance: float, reg: Any, boundary: str) -> WienerParams:
    if isinstance(reg, str):
        if reg not in ("laplacian", "identity"):
            raise InvalidArgument(
                f"reg: expected 'laplacian', 'identity', a kernel or a transfer function, got {reg!r}"
            )
        return WienerParams(balance, reg)
    if callable(reg):
        return WienerParams(balance, reg)
    if isinstance(reg, np.ma.MaskedArray):
        raise InvalidArgument("reg: expected an array, got a masked one, whose mask would be lost")
    try:
        array = as_host_array(reg, "reg") if on_device(reg) else np.asarray(reg)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"reg: expected an array, got {type(reg).__name__} ({error})") from error
    space = len(problem.layout.spatial)
    if array.dtype.kind == "c":
        half = problem.frame(boundary, "wiener").half_grid
        if boundary != "periodic":
            raise InvalidArgument(
                f"reg: a transfer function given as an array needs boundary='periodic' (got {boundary!r}), since other boundaries "
                f"choose their own grid; pass a callable of the frequencies"
            )
        if array.shape != half:
            raise InvalidArgument(f"reg: expected a transfer function of shape {half}, got {array.shape}")
        return WienerParams(balance, "power", require_squarable(array, "reg", problem.dtype))
    kernel = as_real_array(array, "reg")
    if kernel.ndim != space or kernel.size == 0:
        raise InvalidArgument(f"reg: expected a kernel with {space} axes, got shape {kernel.shape}")
    require_finite(kernel, "reg", limit=float(np.finfo(problem.dtype).max) ** 0.5 / kernel.size)
    return WienerParams(balance, kernel.astype(problem.dtype))


def reg_power(params: WienerParams, frame: Frame, ops: Ops) -> Any:
    """|R|^2 on the half spectrum (or a scalar)."""
    if params.power is not None:
        return params.power
    if isinstance(params.reg, str):
        return 1 if params.reg == "identity" else ops.laplacian_power(frame)
    if callable(params.reg):
        return ops.transfer_power(params.reg, frame)
    return ops.power(ops.otf(params.reg, frame))


def check(plane: Plane, frame: Frame, dtype: np.dtype[Any]) -> None:
    """What only a look at every pixel can tell."""
    require_finite(plane.image, "image", limit=float(np.finfo(dtype).max) / frame.pixels)


@recipe("wiener", check)
def solve(params: WienerParams, plane: Plane, otf: Any, frame: Frame, ops: Ops) -> Any:
    """The specification. plane.image: frame shape; otf: half spectrum."""
    spectrum = ops.rfft(ops.extend(plane.image, frame))
    spectrum = ops.wiener(spectrum, otf, reg_power(params, frame, ops), params.balance)
    return ops.crop(ops.irfft(spectrum, frame), frame)
