"""Deconvolver: everything that can be prepared once, for streams of frames; and what it takes in memory."""

from __future__ import annotations

import copy
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastdeblur._checks import (
    AnyArray,
    Layout,
    as_choice,
    as_count,
    as_image,
    as_number,
    as_thread_count,
    names_memory_errors,
    result_dtype,
)
from fastdeblur._device import place
from fastdeblur._dispatch import choose
from fastdeblur._geometry import DEFAULT_BOUNDARY, Frame
from fastdeblur._problem import Problem, as_boundary, copied_bytes
from fastdeblur.backends import Spec
from fastdeblur.errors import InvalidArgument
from fastdeblur.methods.richardson_lucy import Callback, as_acceleration
from fastdeblur.methods.richardson_lucy import run as run_richardson_lucy
from fastdeblur.methods.wiener import Regularization
from fastdeblur.methods.wiener import run as run_wiener


class Deconvolver:
    """A plan for images of one shape and one PSF: FFT plans, transfer functions and scratch, made once and kept.

    With the native backend and ``out=`` given, a call after the first of its kind allocates nothing that grows with the image, as
    long as the core can read the image where it lies: float16, long double, a foreign byte order and unaligned elements are
    converted in a copy, and a kernel or callable ``reg`` is evaluated in each call. The other backends keep the transfer functions
    only. Calls from several threads are safe; they take turns.

    A plan may be pickled (for process pools, or dask) and copied: what comes out is an independent plan of the same arguments. It
    gives the same bits, prepares itself in its first call, and takes no turns with the original.

    Parameters
    ----------
    shape : tuple of int
        Shape of the images, batch axes and channel axis included.
    psf : array
        As in ``wiener``.
    dtype : float32 or float64
        The precision to compute in, and the dtype of the results; images of other dtypes are converted as they are read.
    boundary : str, optional
        As in ``wiener`` and ``richardson_lucy``. None takes each method's own default, "edge" and "unknown".
    channel_axis, n_threads, backend, device
        As in ``wiener``. Without ``device`` a plan is kept for each device that an image came from.

    Raises
    ------
    InvalidArgument, Unsupported
        As ``wiener``.
    """

    @names_memory_errors
    def __init__(
        self,
        shape: tuple[int, ...],
        psf: ArrayLike,
        *,
        dtype: DTypeLike = np.float32,
        boundary: str | None = None,
        channel_axis: int | None = None,
        n_threads: int = 0,
        backend: str = "auto",
        device: str | None = None,
    ):
        self._shape = _as_shape(shape, "shape")
        self._boundary = None if boundary is None else as_boundary(boundary, "richardson_lucy")
        self._problem = Problem(
            self._shape,
            psf,
            _as_dtype(dtype),
            channel_axis=channel_axis,
            n_threads=n_threads,
            backend=backend,
            device=device,
            keep=True,
        )
        # A backend that cannot, or a PSF that does not fit, is an error now, not later.
        self._problem.backend("wiener", self._boundary or DEFAULT_BOUNDARY["wiener"])
        if self._boundary is not None:
            self._problem.frame(self._boundary)
        self._start()

    def _start(self) -> None:
        """Nobody is in here, in this process."""
        self._lock = threading.RLock()
        self._busy = False
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        # Its problem as another one, or copy.copy would share the compiled plan, whose scratch only one call may use.
        state = self.__dict__ | {"_problem": copy.copy(self._problem)}
        for mine in ("_lock", "_busy", "_process"):
            del state[mine]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the images."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """dtype of the results."""
        return self._problem.dtype

    @names_memory_errors
    def wiener(
        self,
        image: ArrayLike,
        balance: float,
        *,
        reg: Regularization = "laplacian",
        out: Any = None,
    ) -> NDArray[Any]:
        """As the function ``wiener``, for an image of the plan's shape; the result has the plan's dtype."""
        boundary = as_boundary(self._boundary or DEFAULT_BOUNDARY["wiener"], "wiener")
        array = self._image(image)
        balance = as_number(balance, "balance")
        with self._turn():
            result: NDArray[Any] = run_wiener(self._problem, array, balance, reg, boundary, out)
            return result

    @names_memory_errors
    def richardson_lucy(
        self,
        image: ArrayLike,
        num_iter: int = 30,
        *,
        acceleration: str | None = None,
        background: float = 0.0,
        weights: ArrayLike | None = None,
        init: ArrayLike | None = None,
        tol: float | None = None,
        callback: Callback | None = None,
        out: Any = None,
    ) -> NDArray[Any]:
        """As the function ``richardson_lucy``, for an image of the plan's shape; the result has the plan's dtype."""
        array = self._image(image)
        with self._turn():
            result: NDArray[Any] = run_richardson_lucy(
                self._problem,
                array,
                self._boundary or DEFAULT_BOUNDARY["richardson_lucy"],
                out,
                num_iter=num_iter,
                acceleration=acceleration,
                background=background,
                weights=weights,
                init=init,
                tol=tol,
                callback=callback,
            )
            return result

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One call at a time: the scratch is shared. A callback that comes back in here would wait for itself."""
        if self._process != os.getpid():
            # Forked, perhaps while another thread was in here: its locks are lost.
            self._problem.forget_plans()
            self._start()
        with self._lock:
            if self._busy:
                raise InvalidArgument(
                    "callback: expected not to use the Deconvolver that is calling it, got a call from inside; take "
                    "state.estimate(), or a plan of its own"
                )
            self._busy = True
            try:
                yield
            finally:
                self._busy = False

    def _image(self, image: ArrayLike) -> AnyArray:
        array = as_image(image)
        if array.shape != self._shape:
            raise InvalidArgument(f"image: expected the plan's shape {self._shape}, got {array.shape}")
        return array

    def __repr__(self) -> str:
        psf = self._problem.psfs.shape[1:]
        return f"Deconvolver(shape={self._shape}, psf={psf}, dtype={self.dtype}, boundary={self._boundary!r})"


def estimate_memory(
    method: str,
    shape: tuple[int, ...],
    psf_shape: tuple[int, ...],
    dtype: DTypeLike = np.float32,
    *,
    boundary: str | None = None,
    acceleration: str | None = None,
    weights: bool = False,
    channel_axis: int | None = None,
    n_threads: int = 0,
    backend: str = "auto",
    device: str | None = None,
) -> int:
    """Peak memory in bytes that a call takes beyond its input and output.

    Parameters
    ----------
    method : "wiener" or "richardson_lucy"
    shape, psf_shape : tuple of int
        Shapes of the image and of the PSF.
    dtype : dtype
        The image's dtype; float64 is computed in float64, everything else in float32. float16, long double and a foreign byte order
        take a copy of a plane, or of as many as 16 MiB hold.
    boundary, acceleration, channel_axis, n_threads, backend, device
        As in the call. Of a GPU's backend this is memory of the device.
    weights : bool
        Whether the call has ``weights``.

    Raises
    ------
    InvalidArgument
        As the call.
    """
    as_choice(method, "method", ("wiener", "richardson_lucy"))
    boundary = as_boundary(DEFAULT_BOUNDARY[method] if boundary is None else boundary, method)
    layout = Layout.of(_as_shape(shape, "shape"), _as_shape(psf_shape, "psf_shape"), channel_axis)
    psfs = layout.planes[-1] if layout.psf_per_channel else 1
    try:
        given = np.dtype(dtype)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"dtype: expected a real numeric dtype, got {dtype!r}") from error
    if dtype is None or given.kind not in "buif":
        raise InvalidArgument(f"dtype: expected a real numeric dtype, got {dtype!r}")
    real = result_dtype(given)
    frame = Frame.of(layout.spatial, layout.psf_spatial, boundary, method)
    chosen = choose(backend, Spec(method, len(frame.shape), real, boundary, place(device, backend)))
    options = {
        "acceleration": as_acceleration(acceleration),
        "weights": bool(weights),
        "n_threads": as_thread_count(n_threads),
        "psfs": psfs,
        "planes": math.prod(layout.planes),
    }
    needed = chosen.memory(method, frame, real, options)
    if chosen.computes_on == "cpu":
        needed += copied_bytes(given, math.prod(frame.shape), math.prod(layout.planes))
    return needed


def _as_shape(value: Any, name: str) -> tuple[int, ...]:
    try:
        shape = tuple(value)
    except TypeError:
        raise InvalidArgument(f"{name}: expected a tuple of integers, got {value!r}") from None
    if not shape:
        raise InvalidArgument(f"{name}: expected at least one axis, got ()")
    return tuple(as_count(n, name, minimum=1) for n in shape)


def _as_dtype(value: Any) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(value)
    except (TypeError, ValueError):
        raise InvalidArgument(f"dtype: expected float32 or float64, got {value!r}") from None
    if value is None or dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InvalidArgument(
            f"dtype: expected float32 or float64, got {dtype if value is not None else None}"
        )
    return dtype
