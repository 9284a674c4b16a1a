"""A deblurring problem with its plan: what wiener, richardson_lucy and Deconvolver share."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np

from fastdeblur import _dispatch
from fastdeblur._arrays import DeviceArray
from fastdeblur._checks import (
    AnyArray,
    Layout,
    as_choice,
    as_psf,
    as_thread_count,
    in_native_order,
    require_memory,
)
from fastdeblur._device import place
from fastdeblur._geometry import BOUNDARIES, Frame
from fastdeblur.backends import Backend, Plan, Plane, Spec
from fastdeblur.errors import InvalidArgument, OutOfMemory
from fastdeblur.ops import CHECKS

# Bytes of images that no core reads as they lie, copied for as many planes at once: of a batch of volumes, for one.
COPIED_AT_ONCE = 1 << 24


class Problem:
    """Image layout, PSFs and backend; makes one plan per boundary and device, when first needed, and keeps it."""

    def __init__(
        self,
        shape: tuple[int, ...],
        psf: Any,
        dtype: np.dtype[Any],
        *,
        channel_axis: int | None,
        n_threads: int,
        backend: str,
        device: str | None = None,
        keep: bool = False,
    ):
        psf_array = as_psf(psf, len(shape))
        self.n_threads = as_thread_count(n_threads)
        self.layout = Layout.of(shape, psf_array.shape, channel_axis)
        self.dtype = dtype
        self.psfs = self.layout.psfs(psf_array).astype(dtype)
        # Of each PSF, whose sum is 1: the sum of what is below 0, as a positive number.
        self.negative = [-float(psf[psf < 0].sum(dtype=np.float64)) for psf in self.psfs]
        self._backend_name = backend
        self._device = device
        self._keep = keep
        self._plans: dict[tuple[str, int | None], tuple[Plan, Frame]] = {}
        # Bytes, for each boundary and device, and kind of call.
        self._allowed: dict[tuple[str, int | None], dict[tuple[Any, ...], int]] = {}

    def frame(self, boundary: str, method: str = "") -> Frame:
        return Frame.of(self.layout.spatial, self.psfs.shape[1:], boundary, method)

    def place(self, image: AnyArray | None = None) -> int | None:
        """The ordinal of the CUDA device on which an image is restored; None for the CPU."""
        return place(self._device, self._backend_name, image)

    def backend(self, method: str, boundary: str, image: AnyArray | None = None) -> Backend:
        return self._backend(method, boundary, self.place(image))

    def _backend(self, method: str, boundary: str, device: int | None) -> Backend:
        spec = Spec(method, self.psfs.ndim - 1, self.dtype, boundary, device)
        return _dispatch.choose(self._backend_name, spec)

    def run(
        self, method: str, boundary: str, params: Any, planes: list[Plane], options: dict[str, Any]
    ) -> None:
        """Restore the planes, making the plan if this is the first call for the boundary on this device."""
        device = self.place(planes[0].image)
        key = boundary, device
        try:
            self._allow(method, key, len(planes), options)
            if key not in self._plans:
                frame, backend = self.frame(boundary, method), self._backend(method, boundary, device)
                plan = backend.plan(frame, self.psfs, self.n_threads, self._keep, device)
                self._plans[key] = (plan, frame)
            plan, frame = self._plans[key]
            _after_producers(planes)
            groups, on_host = _in_groups(planes), not isinstance(planes[0].image, DeviceArray)
            for plane in planes if len(groups) > 1 and on_host else ():
                CHECKS[method](plane, frame, self.dtype)  # nothing is written where one of any group is bad
            for group in groups:
                plan.run(method, params, [p._replace(image=_native(p.image)) for p in group])
            _before_consumers(planes)
        except MemoryError as error:
            self._allowed.pop(key, None)  # what failed is looked at again
            if isinstance(error, OutOfMemory):
                raise
            raise OutOfMemory(
                f"{method}: the memory for an image of shape {self.layout.shape} cannot be allocated"
            ) from error

    def _allow(
        self, method: str, key: tuple[str, int | None], n_planes: int, options: dict[str, Any]
    ) -> None:
        """Refuse what the machine cannot hold: the first call of each kind may ask for more than all before it.

        A device refuses by itself, and only it knows what its pool has left.
        """
        boundary, device = key
        if device is not None:
            return
        allowed = self._allowed.setdefault(key, {})
        kind = (method, *sorted(options.items()))
        if kind in allowed:
            return
        frame, backend = self.frame(boundary, method), self._backend(method, boundary, None)
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

    def __getstate__(self) -> dict[str, Any]:
        """Without the plans, which are one process's and one problem's; a copy makes its own."""
        return self.__dict__ | {"_plans": {}, "_allowed": {}}

    def forget_plans(self) -> None:
        """Make them anew when they are next needed."""
        self._plans.clear()
        self._allowed.clear()

    def planes(
        self,
        image: AnyArray,
        out: AnyArray,
        weights: AnyArray | None = None,
        init: AnyArray | None = None,
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


def copied_bytes(dtype: np.dtype[Any], pixels: int, planes: int) -> int:
    """Bytes of the planes that are copied at once: those of images that no core reads as they lie in host memory."""
    if dtype.isnative and dtype.itemsize <= 8 and dtype != np.float16:
        return 0
    return _at_once(dtype, pixels, planes) * pixels * _copied_itemsize(dtype)


def _copied_itemsize(dtype: np.dtype[Any]) -> int:
    """float16 becomes float32, long double float64; the rest is turned round."""
    return 4 if dtype.kind == "f" and dtype.itemsize == 2 else min(dtype.itemsize, 8)


def _at_once(dtype: np.dtype[Any], pixels: int, planes: int) -> int:
    return min(planes, max(1, COPIED_AT_ONCE // max(1, pixels * _copied_itemsize(dtype))))


def _in_groups(planes: list[Plane]) -> list[list[Plane]]:
    """All planes at once, or those in a row that have one sigma and whose copies may be there at once."""
    image, most = planes[0].image, len(planes)
    on_host = not isinstance(image, DeviceArray)
    if on_host and (copied_bytes(image.dtype, image.size, most) or not image.flags.aligned):
        most = _at_once(image.dtype, image.size, most)
    alike = [list(group) for _, group in groupby(planes, lambda plane: plane.sigma)]
    return [group[first : first + most] for group in alike for first in range(0, len(group), most)]


def _native(image: AnyArray) -> AnyArray:
    return image if isinstance(image, DeviceArray) else in_native_order(image)


def _others(planes: list[Plane]) -> dict[int, DeviceArray]:
    """An array for each stream besides the image's on which something that belongs to it was made; 0 and 1 name the same one."""
    first = planes[0]
    if not isinstance(first.image, DeviceArray):
        return {}
    arrays = (a for a in (first.out, first.weights, first.init) if a is not None)
    own = max(first.image.stream, 1)
    return {stream: a for a in arrays if (stream := max(a.stream, 1)) != own}


def _after_producers(planes: list[Plane]) -> None:
    """The work is ordered on the image's stream: what comes from others must be there before."""
    for stream, array in _others(planes).items():
        array.library.synchronize(stream, array.device)


def _before_consumers(planes: list[Plane]) -> None:
    """A result that is used on another stream must be there."""
    image = planes[0].image
    if _others(planes):
        image.library.synchronize(image.stream, image.device)


def as_boundary(value: Any, method: str) -> str:
    boundary = as_choice(value, "boundary", BOUNDARIES)
    if method == "wiener" and boundary == "unknown":
        raise InvalidArgument(
            "boundary: 'unknown' has no closed form, so wiener takes 'periodic', 'reflect', 'edge' or 'zero'; "
            "use richardson_lucy for an unknown boundary"
        )
    return boundary
