"""The backends: each answers ``why_not`` and makes plans. ``auto`` takes the first that can, where the arrays are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastdeblur._geometry import Frame

__all__ = ["Backend", "Plan", "Plane", "Spec", "all_backends", "get_backend"]


@dataclass(frozen=True)
class Spec:
    """What a backend needs to know to say whether it can: the method, the axes, the precision."""

    method: str
    ndim: int
    dtype: np.dtype[Any]
    boundary: str
    device: int | None = None  # ordinal of the CUDA device to compute on; None: the CPU


class Plane(NamedTuple):
    """One image to restore. All arrays have the frame's shape, may have any strides, and are in one memory: the host's, or (as
    DeviceArray) that of the device which the plan is for."""

    image: Any
    out: Any
    psf: int  # index into the plan's PSFs
    weights: Any = None
    init: Any = None
    position: tuple[int, ...] = ()  # among batch axes and channels
    sigma: float = (
        0.0  # Richardson-Lucy: the least H^T W that is divided by; one for all planes that are run together
    )


class Plan(Protocol):
    """Everything that can be prepared before an image is there."""

    def run(self, method: str, params: Any, planes: Sequence[Plane]) -> None:
        """Restore every plane into its ``out``; ``out`` is not touched before the plane's result is complete."""


class Backend(Protocol):
    """One way to compute."""

    name: str
    computes_on: str  # "cpu" or "cuda"
    keeps_scratch: bool  # whether a kept plan holds on to the memory that its runs took

    def why_not(self, spec: Spec | None = None) -> str:
        """Empty if this backend can serve the spec (None: anything at all), else one sentence."""

    def why_not_device(self, ordinal: int) -> str:
        """Empty if it computes on this CUDA device, else one sentence."""

    def plan(
        self, frame: Frame, psfs: NDArray[Any], n_threads: int, keep: bool, device: int | None = None
    ) -> Plan:
        """A plan for one geometry; psfs has shape (n, *psf_shape), each of sum 1, in the dtype to compute in, in host memory.
        keep: it will see many images."""

    def memory(self, method: str, frame: Frame, dtype: np.dtype[Any], options: dict[str, Any]) -> int:
        """Bytes that a plan and a run of the method take beyond input and output."""


@lru_cache(maxsize=1)
def all_backends() -> tuple[Backend, ...]:
    """Every backend, best first; those of a GPU last, since nothing in host memory goes there unasked."""
    from fastdeblur.backends.cuda import CudaBackend
    from fastdeblur.backends.cupy_ import CupyBackend
    from fastdeblur.backends.native import NativeBackend
    from fastdeblur.backends.numba_ import NumbaBackend
    from fastdeblur.backends.numpy_ import NumpyBackend

    return (NativeBackend(), NumbaBackend(), NumpyBackend(), CudaBackend(), CupyBackend())


def get_backend(name: str) -> Backend:
    """The backend of that name, which must be one of all_backends()."""
    return next(backend for backend in all_backends() if backend.name == name)
