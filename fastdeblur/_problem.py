"""A deblurring problem with its plan: what wiener, richardson_lucy and Deconvolver share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur import _dispatch
from fastdeblur._checks import Layout, as_choice, as_psf, as_thread_count, require_memory
from fastdeblur._geometry import BOUNDARIES, Frame
from fastdeblur.backends import Backend, Plan, Plane, Spec
from fastdeblur.errors import InvalidArgument, OutOfMemory


class Problem:
    """Image layout, PSFs and backend; makes one plan per boundary, when first needed, and keeps it."""

    def __init__(
        self,
        shape: tuple[int, ...],
        psf: Any,
        dtype: np.dtype[Any],
        *,
        channel_axis: int | None,
        n_threads: int,
        backend: str,
        keep: bool = False,
    ):
        psf_array = as_psf(psf)
        self.n_threads = as_thread_count(n_threads)
        self.layout = Layout.of(shape, psf_array.shape, channel_axis)
        self.dtype = dtype
        self.psfs = self.layout.psfs(psf_array).astype(dtype)
        self._backend_name = backend
        self._keep = keep
        self._plans: dict[str, tuple[Plan, Frame]] = {}
        self._allowed: dict[str, dict[tuple[Any, ...], int]] = {}  # bytes, for each boundary and kind of call

    def frame(self, boundary: str) -> Frame:
        return Frame.of(self.layout.spatial, self.psfs.shape[1:], boundary)

    def backend(self, method: str, boundary: str) -> Backend:
        return _dispatch.choose(self._backend_name, Spec(method, self.psfs.ndim - 1, self.dtype, boundary))

    def run(
        self, method: str, boundary: str, params: Any, planes: list[Plane], options: dict[str, Any]
    ) -> None:
        """Restore the planes, making the plan if this is the first call for the boundary."""
        try:
            self._allow(method, boundary, len(planes), options)
            if boundary not in self._plans:
                frame, backend = self.frame(boundary), self.backend(method, boundary)
                self._plans[boundary] = (backend.plan(frame, self.psfs, self.n_threads, self._keep), frame)
            self._plans[boundary][0].run(method, params, planes)
        except MemoryError as error:
            self._allowed.pop(boundary, None)  # what failed is looked at again
            if isinstance(error, OutOfMemory):
                raise
            raise OutOfMemory(
                f"{method}: the memory for an image of shape {self.layout.shape} cannot be allocated"
            ) from error

    def _allow(self, method: str, boundary: str, n_planes: int, options: dict[str, Any]) -> None:
        """Refuse what the machine cannot hold: the first call of each kind may ask for more than all before it."""
        allowed = self._allowed.setdefault(boundary, {})
        kind = (method, *sorted(options.items()))
        if kind in allowed:
            return
        frame, backend = self.frame(boundary), self.backend(method, boundary)
        more = {
            "n_threads": self.n_threads,
            "psfs": len(self.psfs),
            "planes": n_planes,
            "keep": self._keep,
        }
        needed = backend.memory(method, frame, self.dtype, options | more)
        # A plan that keeps its scratch has what it was allowed before; only the rest must still be there.
        has = max(allowed.values(), default=0)
        if needed > has:
            held = has if backend.keeps_scratch else 0
            require_memory(needed - held, f"{method} on a grid of {frame.grid}")
        allowed[kind] = needed

    def forget_plans(self) -> None:
        """Make them anew when they are next needed."""
        self._plans.clear()
        self._allowed.clear()

    def planes(
        self,
        image: NDArray[Any],
        out: NDArray[Any],
        weights: NDArray[Any] | None = None,
        init: NDArray[Any] | None = None,
    ) -> list[Plane]:
        """The image's planes with what belongs to each; weights have the image's shape or its spatial shape."""
        layout = self.layout
        shared = weights is not None and weights.shape == layout.spatial and layout.shape != layout.spatial
        images, outs = layout.view(image), layout.view(out)
        masks = layout.view(weights) if weights is not None and not shared else None
        starts = layout.view(init) if init is not None else None
        return [
            Plane(
                images[index],
                outs[index],
                index[-1] if layout.psf_per_channel else 0,
                weights if shared else masks[index] if masks is not None else None,
                starts[index] if starts is not None else None,
                index,
            )
            for index in np.ndindex(layout.planes)
        ]


def as_boundary(value: Any, method: str) -> str:
    boundary = as_choice(value, "boundary", BOUNDARIES)
    if method == "wiener" and boundary == "unknown":
        raise InvalidArgument(
            "boundary: 'unknown' has no closed form, so wiener takes 'periodic', 'reflect', 'edge' or 'zero'; "
            "use richardson_lucy for an unknown boundary"
        )
    return boundary
