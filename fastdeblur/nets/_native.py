"""Networks on the compiled core: a graph handed over once, images run through it row by row."""

from __future__ import annotations

import os
import re
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur import _isa
from fastdeblur._geometry import Frame
from fastdeblur.backends import Plane
from fastdeblur.backends.native import NativePlan
from fastdeblur.errors import ModelError, OutOfMemory
from fastdeblur.methods.wiener import WienerParams
from fastdeblur.nets.graph import Graph
from fastdeblur.nets.layers import FrameError
from fastdeblur.nets.reference import Run, balances


class NativeNet:
    """A graph in the core's own layout; its weights are copied."""

    def __init__(self, graph: Graph):
        self._graph = copy(graph)  # a network is kept for as long as its graph lives, so it must not hold it
        self._plans: dict[tuple[Any, ...], NativePlan] = {}
        try:
            self._net = _isa.load_core().Net(
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
            )
        except ValueError as error:
            raise ModelError(f"{graph.name}: {error}") from error

    @staticmethod
    def why_not(graph: Graph) -> str:
        return _isa.why_not()

    def memory(self, height: int, width: int, threads: int, limit: int) -> int:
        """Bytes beyond image and result; limit 0 is none. Raises OutOfMemory, FrameError."""
        filters = self._wiener_memory(height, width)
        try:
            return filters + int(self._net.memory(height, width, threads, _left(limit, filters)))
        except ValueError as error:
            raise _named(error, limit, filters) from error

    def kept(self) -> int:
        """Bytes that the last run has left to the next, plans of Wiener filters included."""
        return int(self._net.kept()) + sum(_plan_bytes(*known[1]) for known in list(self._plans))

    def run(
        self,
        image: NDArray[np.float32],
        out: NDArray[np.float32],
        psf: NDArray[np.float64] | None,
        noise: float,
        threads: int,
        limit: int,
    ) -> None:
        """The result for an image (C, H, W) into ``out``, C-contiguous."""
        run = Run(psf, noise if self._graph.input.noise else None)

        def wiener(number: int, values: NDArray[np.float32], result: NDArray[np.float32]) -> None:
            node = self._graph.nodes[number]
            plan = self._plan(node.attributes["boundary"], values.shape[-2:], psf, threads)
            lanes = values.shape[1]
            for channel, balance in enumerate(balances(node, run)):
                at = divmod(channel, lanes)
                plan.run(
                    "wiener",
                    WienerParams(float(balance), node.attributes["reg"]),
                    [Plane(values[at], result[at], 0)],
                )

        filters = self._wiener_memory(*image.shape[1:])
        try:
            self._net.run(image, out, wiener, threads, _left(limit, filters))
        except ValueError as error:
            raise _named(error, limit, filters) from error

    def _plan(self, boundary: str, shape: tuple[int, ...], psf: Any, threads: int) -> NativePlan:
        """One for each boundary, kept as long as frames and PSF stay the same: a stream of frames plans once."""
        kernel = np.ascontiguousarray(psf, np.float32)
        key = (os.getpid(), shape, threads, kernel.shape, kernel.tobytes())
        if any(known[:-1] != key for known in self._plans):
            self._plans.clear()
        if (*key, boundary) not in self._plans:
            frame = Frame.of(shape, kernel.shape, boundary)
            self._plans[(*key, boundary)] = NativePlan(_isa.load_core(), frame, kernel[None], threads, True)
        return self._plans[(*key, boundary)]

    def _wiener_memory(self, height: int, width: int) -> int:
        """Two spectra of the grid for each boundary: the channel's and the transfer function."""
        boundaries = {node.attributes["boundary"] for node in self._graph.nodes if node.op == "fft_wiener"}
        return len(boundaries) * _plan_bytes(*self._graph.padded(height, width))


def _plan_bytes(height: int, width: int) -> int:
    return 2 * 4 * (height + 64) * (width + 64)


def _left(limit: int, filters: int) -> int:
    """Of a limit in bytes (0 is none), what the Wiener filters leave."""
    return max(limit - filters, 1) if limit else 0


def _named(error: ValueError, limit: int, filters: int) -> Exception:
    text = str(error)
    needed = re.match(r"max_memory: expected at least (\d+) bytes", text)
    if needed is None:
        return FrameError(text)
    return OutOfMemory(
        f"max_memory: expected at least {int(needed[1]) + filters} bytes for this frame, got {limit}"
    )
