"""Networks on a CUDA device, by the compiled core: in numbers of 16 bits on its tensor cores, or in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur._arrays import DeviceArray
from fastdeblur._checks import AnyArray, require_finite
from fastdeblur._geometry import Frame
from fastdeblur.backends import _pool as pool
from fastdeblur.backends.cuda import CudaBackend, _in_reach, core, located
from fastdeblur.backends.native import _as_tuples, _geometry
from fastdeblur.errors import DeviceError, InvalidArgument, ModelError, OutOfMemory, Unsupported
from fastdeblur.nets.graph import Graph
from fastdeblur.nets.layers import FrameError
from fastdeblur.nets.reference import Run, balances

PRECISIONS = ("float16", "bfloat16", "float32")


class CudaNet:
    """A graph on one device in one precision; its weights are copied there by the first run."""

    def __init__(self, graph: Graph, device: int, precision: str):
        self._graph = copy(graph)  # a network is kept for as long as its graph lives, so it must not hold it
        self._device, self._precision = device, precision
        self._plans: dict[tuple[Any, ...], Any] = {}
        try:
            with self._device_errors():
                self._net = core().Net(
                    nodes=[
                        (
                            node.op,
                            list(node.inputs),
                            dict(node.attributes),
                            {k: np.ascontiguousarray(t) for k, t in node.tensors.items()},
                        )
                        for node in graph.nodes
                    ],
                    output=graph.output.value,
                    channels=graph.input.channels,
                    input_scale_offset=(graph.input.scale, graph.input.offset),
                    output_scale_offset=(graph.output.scale, graph.output.offset),
                    multiple_of=tuple(graph.multiple_of),
                    device=device,
                    precision=precision,
                )
        except ValueError as error:
            raise ModelError(f"{graph.name}: {error}") from error

    def memory(self, height: int, width: int, psf_shape: tuple[int, int] | None = None) -> int:
        """Device bytes of a run, arrays in host memory and the plans of Wiener filters included. Raises FrameError.

        psf_shape : of the PSF, where the network takes one; without it, the plans are counted for the smallest.
        """
        try:
            own = int(self._net.memory(height, width))
        except ValueError as error:
            raise FrameError(str(error)) from error
        return own + sum(
            CudaBackend().memory(
                "wiener",
                Frame.of(shape, psf_shape or (1, 1), boundary),
                np.dtype(np.float32),
                {"keep": True},
            )
            for shape, boundary in self._filtered(height, width)
        )

    def _filtered(self, height: int, width: int) -> set[tuple[tuple[int, int], str]]:
        """Frames and boundaries of the Wiener filters."""
        shapes = [(h, w) for _, h, w in self._graph.shapes(height, width)]
        return {
            (shapes[node.inputs[0]], node.attributes["boundary"])
            for node in self._graph.nodes
            if node.op == "fft_wiener"
        }

    def run(self, image: AnyArray, out: AnyArray, run: Run, white: float, limit: float) -> None:
        """The result for an image (C, H, W) of any dtype and strides into ``out``, float32, which has its unit.

        Values beyond ``limit``, in units of white, are refused.
        """
        stream = 0
        if isinstance(image, DeviceArray):
            stream = image.stream
            pool.take_from(image.library.name, core())
        readable = _in_reach(image)
        height, width = image.shape[1:]
        arguments = (
            located(readable),
            located(out),
            height,
            width,
            white,
            limit,
            lambda *given: self._wiener(run, *given),
            stream,
        )
        try:
            with self._device_errors((height, width), run.psf):
                bad = self._first_run(*arguments)
                if bad is None:  # what was kept of larger frames may be all that is lacking
                    self.release()
                    bad = self._net.run(*arguments)
        except ValueError as error:
            if isinstance(error, InvalidArgument):
                raise
            raise FrameError(str(error)) from error
        if bad == "image":
            _explain(image, limit * white)
        if bad:
            raise self._overflow()

    def _first_run(self, *arguments: Any) -> str | None:
        """What the core answers, or None where memory is short: with the error gone, and what it held with it."""
        try:
            return str(self._net.run(*arguments))
        except core().OutOfDeviceMemory:
            return None

    def kept(self) -> int:
        """Device bytes that the last run has left to the next, but for those of Wiener filters."""
        return int(self._net.kept())

    def release(self) -> None:
        """Give back what is kept for the next run."""
        self._plans = {}
        self._net.release()

    def _wiener(
        self,
        run: Run,
        number: int,
        values: int,
        result: int,
        channels: int,
        height: int,
        width: int,
        stream: int,
    ) -> bool:
        """Node ``number`` on float32 planes of the core's own, addresses on the device; whether their numbers allow it."""
        node = self._graph.nodes[number]
        plan = self._plan(node.attributes["boundary"], (height, width), run.psf)
        for channel, balance in enumerate(balances(node, run)):
            at = 4 * channel * height * width
            plane = [(address + at, "<f4", (4 * width, 4), True) for address in (values, result)]
            bad = plan.wiener(
                [(plane[0], plane[1], 0, None, None)], float(balance), node.attributes["reg"], None, stream
            )
            if bad is not None:
                return False
        return True

    def _plan(self, boundary: str, shape: tuple[int, int], psf: NDArray[np.float64] | None) -> Any:
        """One for each boundary, kept as long as frames and PSF stay the same: a stream of frames plans once."""
        kernel = np.ascontiguousarray(psf, np.float32)
        key = (shape, kernel.shape, kernel.tobytes())
        if any(known[:-1] != key for known in self._plans):
            self._plans = {}
        plans = self._plans  # which another thread may replace meanwhile
        plan = plans.get((*key, boundary))
        if plan is None:
            frame = Frame.of(shape, kernel.shape, boundary)
            maps = _as_tuples(frame.maps())
            plan = plans[(*key, boundary)] = core().DeconvolverF32(
                device=self._device,
                psfs=kernel[None],
                data_maps=maps,
                init_maps=maps,
                keep=True,
                **_geometry(frame),
            )
        return plan

    def _overflow(self) -> InvalidArgument:
        hint = "" if self._precision == "float32" else "; precision='float32' may bear them"
        return InvalidArgument(
            f"image: expected values that the network {self._graph.name!r} can work on, got some for which its numbers overflow in "
            f"{self._precision}{hint}"
        )

    @contextmanager
    def _device_errors(
        self, frame: tuple[int, int] | None = None, psf: NDArray[np.float64] | None = None
    ) -> Iterator[None]:
        try:
            yield
        except core().OutOfDeviceMemory as error:
            lacking = (
                f"{error.asked / 1e9:.2f} GB could not be had: {error.free / 1e9:.2f} GB are free. Restore the image in "
                f"parts, or with device='cpu' and the array in host memory"
            )
            name = f"device: the network {self._graph.name!r}"
            if frame is None:
                raise OutOfMemory(f"{name} is set up on cuda:{self._device}, for which {lacking}") from error
            needed = self.memory(*frame, None if psf is None else (psf.shape[0], psf.shape[1]))
            raise OutOfMemory(
                f"{name} takes about {needed / 1e9:.2f} GB on cuda:{self._device} for a frame of {frame[0]} x "
                f"{frame[1]} pixels, of which {lacking}"
            ) from error
        except RuntimeError as error:
            if isinstance(error, DeviceError):
                raise
            raise DeviceError(f"device: cuda:{self._device} failed: {error}") from error


def _explain(image: AnyArray, limit: float) -> None:
    """Raise what is wrong with an image that the device refused, as it would be for one in host memory."""
    host: NDArray[Any] | None
    if isinstance(image, DeviceArray):
        try:
            host = image.library.to_host(image)
        except Unsupported:  # a library that only hands over memory
            host = None
    else:
        host = image
    if host is not None:
        require_finite(host, "image", limit=limit)
    raise InvalidArgument(f"image: expected finite values within +-{limit:.3g}, got others")
