from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

# (address, dtype as in the array interface, strides in bytes, whether in device memory)
_Located: TypeAlias = tuple[int, str, tuple[int, ...], bool]
# image, out, index of the PSF, weights, init
_Plane: TypeAlias = tuple[_Located, _Located, int, _Located | None, _Located | None]
# first and second source, and their weights, of what lies beyond an axis
_Map: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
# index of a plane whose image cannot be used, and what is wrong with it (flags)
_Bad: TypeAlias = tuple[int, int] | None
# plane, iterations done, relative change, a function that copies the estimate out; whether to go on
_OnIteration: TypeAlias = Callable[[int, int, float, Callable[[_Located], None]], bool]
# address, "<f4" or "<f8", shape
_Kernels: TypeAlias = tuple[int, str, tuple[int, ...]]

architectures: str

class OutOfDeviceMemory(MemoryError):
    asked: int
    free: int

def why_not() -> str: ...
def device_count() -> int: ...
def devices() -> list[dict[str, Any]]: ...
def set_allocator(
    allocate: Callable[[int, int, int], int] | None, release: Callable[[int, int, int], None] | None
) -> None: ...
def release_pool(device: int) -> None: ...
def synchronize(device: int, stream: int) -> None: ...

class DeconvolverF32:
    def __init__(
        self,
        *,
        device: int,
        psfs: NDArray[np.float32],
        data_maps: Sequence[_Map],
        init_maps: Sequence[_Map],
        keep: bool,
        frame: Sequence[int],
        grid: Sequence[int],
        extended: bool,
        dark_outside: bool,
    ) -> None: ...
    def wiener(
        self,
        planes: Sequence[_Plane],
        balance: float,
        reg: str,
        power: NDArray[np.float32] | None,
        stream: int,
    ) -> _Bad: ...
    def richardson_lucy(
        self,
        planes: Sequence[_Plane],
        num_iter: int,
        acceleration: str,
        background: float,
        sigma: float,
        measured: bool,
        on_iteration: _OnIteration | None,
        stream: int,
    ) -> _Bad: ...

class DeconvolverF64:
    def __init__(
        self,
        *,
        device: int,
        psfs: NDArray[np.float64],
        data_maps: Sequence[_Map],
        init_maps: Sequence[_Map],
        keep: bool,
        frame: Sequence[int],
        grid: Sequence[int],
        extended: bool,
        dark_outside: bool,
    ) -> None: ...
    def wiener(
        self,
        planes: Sequence[_Plane],
        balance: float,
        reg: str,
        power: NDArray[np.float64] | None,
        stream: int,
    ) -> _Bad: ...
    def richardson_lucy(
        self,
        planes: Sequence[_Plane],
        num_iter: int,
        acceleration: str,
        background: float,
        sigma: float,
        measured: bool,
        on_iteration: _OnIteration | None,
        stream: int,
    ) -> _Bad: ...

class Net:
    def __init__(
        self,
        *,
        nodes: Sequence[tuple[str, list[int], dict[str, Any], dict[str, NDArray[np.float32]]]],
        output: int,
        channels: int,
        input_scale_offset: tuple[float, float],
        output_scale_offset: tuple[float, float],
        multiple_of: tuple[int, ...],
        device: int,
        precision: str,
    ) -> None: ...
    def run(
        self,
        image: _Located,
        out: _Located,
        height: int,
        width: int,
        white: float,
        limit: float,
        wiener: Callable[[int, int, int, int, int, int, int], bool],
        stream: int,
    ) -> str: ...
    def memory(self, height: int, width: int) -> float: ...
    def kept(self) -> int: ...
    def release(self) -> None: ...

def bytesF32(  # noqa: N802
    *,
    frame: Sequence[int],
    grid: Sequence[int],
    psf_shape: Sequence[int],
    psf_count: int,
    extended: bool,
    dark_outside: bool,
    keep: bool,
    richardson_lucy: bool,
    acceleration: str,
    weights: bool,
    many_planes: bool,
) -> float: ...
def bytesF64(  # noqa: N802
    *,
    frame: Sequence[int],
    grid: Sequence[int],
    psf_shape: Sequence[int],
    psf_count: int,
    extended: bool,
    dark_outside: bool,
    keep: bool,
    richardson_lucy: bool,
    acceleration: str,
    weights: bool,
    many_planes: bool,
) -> float: ...
def psf_motion(
    *, device: int, lengths: NDArray[np.float64], angles: NDArray[np.float64], out: _Kernels, stream: int
) -> None: ...
def psf_defocus(*, device: int, radii: NDArray[np.float64], out: _Kernels, stream: int) -> None: ...
def psf_gaussian(*, device: int, sigmas: NDArray[np.float64], out: _Kernels, stream: int) -> None: ...
