"""Who can run a network: the compiled core, numba, NumPy; on a device, the CUDA core.

The only file of this package that chooses between them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from fastdeblur._checks import as_choice
from fastdeblur.errors import DeviceError, InvalidArgument, Unsupported
from fastdeblur.nets.execute import REFERENCE, Kernels, execute
from fastdeblur.nets.graph import Graph
from fastdeblur.nets.reference import Run
from fastdeblur.nets.tiles import tiling

Array = NDArray[Any]


class Engine(Protocol):
    """One way to run networks in host memory."""

    name: str

    def why_not(self, graph: Graph) -> str:
        """Empty if it can run the network here, else one sentence."""

    def memory(self, graph: Graph, height: int, width: int, threads: int, limit: int | None) -> int:
        """Bytes that a run takes beyond image and result. Raises OutOfMemory where the limit is too low."""

    def kept(self, graph: Graph) -> int:
        """Of these, bytes that the network's last run has left to the next."""

    def run(
        self,
        graph: Graph,
        image: NDArray[np.float32],
        out: NDArray[np.float32],
        run: Run,
        threads: int,
        limit: int | None,
    ) -> None:
        """The result for an image (C, H, W) of any strides into ``out``, C-contiguous."""


class PlainEngine:
    """The reference, or kernels in its stead, value by value."""

    def __init__(self, name: str, why_not: Callable[[], str], kernels: Callable[[int], Kernels]):
        self.name = name
        self._why_not = why_not
        self._kernels = kernels

    def why_not(self, graph: Graph) -> str:
        return self._why_not()

    def memory(self, graph: Graph, height: int, width: int, threads: int, limit: int | None) -> int:
        return tiling(graph, height, width, limit).needed

    def kept(self, graph: Graph) -> int:
        return 0

    def run(
        self,
        graph: Graph,
        image: NDArray[np.float32],
        out: NDArray[np.float32],
        run: Run,
        threads: int,
        limit: int | None,
    ) -> None:
        kernels = self._kernels(threads)
        _, height, width = image.shape
        for write, read in tiling(graph, height, width, limit).tiles(height, width):
            part = execute(graph, image[(slice(None), *read)], run, kernels=kernels)
            inside = [slice(w.start - r.start, w.stop - r.start) for w, r in zip(write, read, strict=True)]
            out[(slice(None), *write)] = part[(slice(None), *inside)]


def _numba_missing() -> str:
    from fastdeblur.backends.numba_ import NumbaBackend

    return NumbaBackend().why_not()


def _numba_kernels(threads: int) -> Kernels:
    from fastdeblur.nets.numba_kernels import kernels

    return kernels(threads)


def _native() -> Any:
    return import_module("fastdeblur.nets._native").NativeNet


class NativeEngine:
    """The compiled core; a network is packed for it once."""

    name = "native"

    def __init__(self) -> None:
        self._packed: WeakKeyDictionary[Graph, Any] = WeakKeyDictionary()

    def why_not(self, graph: Graph) -> str:
        if find_spec("fastdeblur.nets._native") is None:
            return "the compiled engine for networks is not built"
        return str(_native().why_not(graph))

    def _net(self, graph: Graph) -> Any:
        if graph not in self._packed:
            self._packed[graph] = _native()(graph)
        return self._packed[graph]

    def memory(self, graph: Graph, height: int, width: int, threads: int, limit: int | None) -> int:
        return int(self._net(graph).memory(height, width, threads, limit or 0))

    def kept(self, graph: Graph) -> int:
        return int(self._net(graph).kept())

    def run(
        self,
        graph: Graph,
        image: NDArray[np.float32],
        out: NDArray[np.float32],
        run: Run,
        threads: int,
        limit: int | None,
    ) -> None:
        self._net(graph).run(image, out, run.psf, run.noise or 0.0, threads, limit or 0)


class CudaEngine:
    """The compiled CUDA core; a network is packed once for each device and precision."""

    name = "cuda"

    def __init__(self) -> None:
        self._packed: WeakKeyDictionary[Graph, dict[tuple[int, str], Any]] = WeakKeyDictionary()

    def why_not(self, device: int) -> str:
        """Empty if it can run networks on this device, else one sentence."""
        from fastdeblur.backends.cuda import CudaBackend

        return CudaBackend().why_not_device(device)

    def net(self, graph: Graph, device: int, precision: str) -> Any:
        """A `_cuda.CudaNet`."""
        from fastdeblur.nets._cuda import CudaNet

        known = self._packed.setdefault(graph, {})
        if (device, precision) not in known:
            known[device, precision] = CudaNet(graph, device, precision)
        return known[device, precision]


ENGINES: tuple[Engine, ...] = (
    NativeEngine(),
    PlainEngine("numba", _numba_missing, _numba_kernels),
    PlainEngine("numpy", lambda: "", lambda threads: REFERENCE),
)
CUDA = CudaEngine()


def choose(name: Any, graph: Graph, device: int | None = None) -> Engine | CudaEngine:
    """The best engine that can for "auto", on a CUDA device or for None in host memory; else the named one or an error, never
    another one."""
    as_choice(name, "backend", ("auto", *(engine.name for engine in ENGINES), CUDA.name))
    if device is not None:
        return _on_device(name, graph, device)
    if name == "auto":
        return next(engine for engine in ENGINES if not engine.why_not(graph))
    if name == CUDA.name:
        raise InvalidArgument(f"backend: {name!r} computes on a CUDA device, got device='cpu'")
    engine = next(engine for engine in ENGINES if engine.name == name)
    if reason := engine.why_not(graph):
        raise Unsupported(f"backend: {name!r} cannot run the network {graph.name!r}: {reason}")
    return engine


def _on_device(name: str, graph: Graph, device: int) -> CudaEngine:
    if name not in ("auto", CUDA.name):
        raise InvalidArgument(
            f"backend: {name!r} computes in host memory, got an array or device='cuda:{device}'; copy the array to the host, "
            f"or take backend='auto'"
        )
    if reason := CUDA.why_not(device):
        if name == "auto":
            raise DeviceError(f"device: 'cuda:{device}' cannot be used for networks: {reason}")
        raise Unsupported(f"backend: {name!r} cannot run the network {graph.name!r}: {reason}")
    return CUDA
