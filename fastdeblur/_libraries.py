"""The libraries that make arrays in CUDA memory: what each is asked, and what it must answer.

None of them is imported before a program hands over one of its arrays; CuPy also where an array of a library without operations of
its own (numba, say) has to be looked through.
"""

from __future__ import annotations

import ctypes
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastdeblur.errors import DeviceError, InvalidArgument, OutOfMemory, Unsupported

# DLPack's types of devices.
_CUDA, _CUDA_MANAGED = 2, 13


class Seen(NamedTuple):
    """An array as its library describes it."""

    pointer: int
    shape: tuple[int, ...]
    typestr: str
    strides: tuple[int, ...] | None  # bytes; None: contiguous in C order
    readonly: bool
    device: int
    stream: int
    owner: Any = None  # what keeps the memory, if not the array itself


class Library:
    """One that knows CUDA's array interface or DLPack only; the ones with more to them derive from it.

    What needs operations on the device is done by CuPy, which can look at everybody's arrays.
    """

    name = "another library"
    # Whether memory that it is given back is given out again in the order of the stream that it was made on, so that work on
    # that stream may go on reading it.
    keeps_order = False

    def look(self, value: Any, name: str) -> Seen:
        """Describe an array of this library. Raises InvalidArgument, which names the argument."""
        if hasattr(value, "__cuda_array_interface__"):
            return look_by_interface(value, name, _device_of_dlpack(value))
        from fastdeblur._dlpack import look_by_dlpack

        return look_by_dlpack(value, name)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], device: int) -> Any:
        return operations("out").empty(shape, dtype, device)

    def result(self, made: Any) -> Any:
        """An array made by empty(), as this library's own."""
        return made

    def synchronize(self, stream: int, device: int) -> None:
        """Wait for what the stream has been given."""
        operations("image").synchronize(stream, device)

    def to_host(self, array: Any, name: str = "image") -> NDArray[Any]:
        """A copy of a DeviceArray."""
        return operations(name).to_host(array)

    def extremes(
        self, array: Any, axes: tuple[int, ...], name: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Least and largest values over the axes, which stay with length 1; NaN where there is one."""
        return operations(name).extremes(array, axes, name)

    def divide(self, array: Any, by: NDArray[np.float64], out: Any, name: str) -> None:
        """out = array / by, computed in float64."""
        operations(name).divide(array, by, out, name)


class CupyLibrary(Library):
    name = "CuPy"
    keeps_order = True

    def look(self, value: Any, name: str) -> Seen:
        return look_by_interface(value, name, int(value.device.id))

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], device: int) -> Any:
        import cupy

        with cupy.cuda.Device(device):
            try:
                return cupy.empty(shape, dtype)
            except MemoryError as error:
                raise no_room(device, shape, dtype, cupy.cuda.runtime.memGetInfo()[0]) from error

    def synchronize(self, stream: int, device: int) -> None:
        import cupy

        with cupy.cuda.Device(device):
            cupy_stream(stream).synchronize()

    def to_host(self, array: Any, name: str = "image") -> NDArray[Any]:
        import cupy

        with cupy_on(array.device, array.stream):
            copied: NDArray[Any] = cupy.asnumpy(cupy.asarray(array))
            return copied

    def extremes(
        self, array: Any, axes: tuple[int, ...], name: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        import cupy

        with cupy_on(array.device, array.stream):
            view = cupy.asarray(array)
            low, high = (
                cupy.asnumpy(f(view, axis=axes, keepdims=True)).astype(np.float64)
                for f in (cupy.min, cupy.max)
            )
            return low, high

    def divide(self, array: Any, by: NDArray[np.float64], out: Any, name: str) -> None:
        import cupy

        with cupy_on(array.device, array.stream):
            cupy.divide(cupy.asarray(array), cupy.asarray(by), out=cupy.asarray(out), casting="same_kind")


class TorchLibrary(Library):
    name = "torch"
    keeps_order = True

    def look(self, value: Any, name: str) -> Seen:
        import torch

        if value.requires_grad:
            raise InvalidArgument(
                f"{name}: expected a tensor without gradients, which would be lost; pass {name}.detach()"
            )
        if value.is_complex() or value.dtype is torch.bfloat16:
            raise InvalidArgument(f"{name}: expected a real numeric dtype, got {value.dtype}")
        if value.layout is not torch.strided:
            raise InvalidArgument(f"{name}: expected a dense tensor, got {value.layout}")
        if value.is_neg():
            raise InvalidArgument(
                f"{name}: expected plain values, got a negated view; pass {name}.resolve_neg()"
            )
        device = int(value.device.index)
        return look_by_interface(value, name, device)._replace(
            stream=int(torch.cuda.current_stream(device).cuda_stream)
        )

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], device: int) -> Any:
        import torch

        try:
            return torch.empty(shape, dtype=getattr(torch, dtype.name), device=f"cuda:{device}")
        except torch.OutOfMemoryError as error:
            raise no_room(device, shape, dtype, torch.cuda.mem_get_info(device)[0]) from error

    def synchronize(self, stream: int, device: int) -> None:
        with self._on(device, stream):
            import torch

            torch.cuda.current_stream(device).synchronize()

    def to_host(self, array: Any, name: str = "image") -> NDArray[Any]:
        with self._on(array.device, array.stream):
            copied: NDArray[Any] = self._tensor(array).cpu().numpy()
            return copied

    def extremes(
        self, array: Any, axes: tuple[int, ...], name: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        import torch

        with self._on(array.device, array.stream):
            tensor = self._tensor(array)
            if not tensor.is_floating_point():  # few operations know every integer
                tensor = tensor.to(torch.float64)
            low, high = (
                getattr(tensor, f)(dim=axes, keepdim=True).to(torch.float64).cpu().numpy()
                for f in ("amin", "amax")
            )
            return low, high

    def divide(self, array: Any, by: NDArray[np.float64], out: Any, name: str) -> None:
        import torch

        with self._on(array.device, array.stream):
            divisor = torch.as_tensor(by, device=f"cuda:{array.device}")
            self._tensor(out).copy_(self._tensor(array).to(torch.float64) / divisor)

    def _on(self, device: int, stream: int) -> AbstractContextManager[Any]:
        import torch

        cuda: Any = torch.cuda  # partly without types
        made: AbstractContextManager[Any] = cuda.stream(cuda.ExternalStream(stream, device=f"cuda:{device}"))
        return made

    def _tensor(self, array: Any) -> Any:
        import torch

        return torch.as_tensor(array, device=f"cuda:{array.device}")


class NumbaLibrary(Library):
    name = "numba"

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], device: int) -> Any:
        from numba import cuda

        # It would rather that arrays were CuPy's; who has these gets these.
        with cuda.gpus[device], warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return cuda.device_array(shape, dtype)


class JaxLibrary(Library):
    """Its arrays cannot be written to: results are made by CuPy and handed over."""

    name = "JAX"

    def look(self, value: Any, name: str) -> Seen:
        value.block_until_ready()  # it works on streams of its own
        return super().look(value, name)._replace(readonly=True, stream=0)

    def result(self, made: Any) -> Any:
        import jax.dlpack

        # JAX does not know CuPy's stream.
        self.synchronize(0, int(made.device.id))
        return jax.dlpack.from_dlpack(made)


_KNOWN: dict[str, Library] = {
    "cupy": CupyLibrary(),
    "torch": TorchLibrary(),
    "numba": NumbaLibrary(),
    "numba_cuda": NumbaLibrary(),
    "jax": JaxLibrary(),
    "jaxlib": JaxLibrary(),
}
_OTHER = Library()


def of(value: Any) -> Library | None:
    """The library of an array in CUDA memory; None for all else, host arrays above all."""
    kind = type(value)
    if kind is np.ndarray or isinstance(value, type):
        return None
    root = kind.__module__.partition(".")[0]
    if root == "torch":
        # Asking a tensor for the interface raises where it has gradients.
        return _KNOWN[root] if getattr(value, "is_cuda", False) else None
    if hasattr(value, "__cuda_array_interface__"):
        return _KNOWN.get(root, _OTHER)
    return _KNOWN.get(root, _OTHER) if _device_of_dlpack(value) is not None else None


def _device_of_dlpack(value: Any) -> int | None:
    """The CUDA device's ordinal by DLPack, None if it is not on one or does not say."""
    ask: Callable[[], tuple[Any, int]] | None = getattr(value, "__dlpack_device__", None)
    if ask is None or not callable(ask) or isinstance(value, (np.ndarray, np.generic)):
        return None
    try:
        kind, ordinal = ask()
        return int(ordinal) if int(kind) in (_CUDA, _CUDA_MANAGED) else None
    except Exception:  # a class asked instead of its instance, a device that DLPack does not know
        return None


def look_by_interface(value: Any, name: str, device: int | None) -> Seen:
    """Read __cuda_array_interface__; device None: ask the driver whose memory it is."""
    try:
        interface = value.__cuda_array_interface__
        pointer, readonly = interface["data"]
        strides = interface.get("strides")
        stream = interface.get("stream")
        seen = Seen(
            int(pointer or 0),
            tuple(int(n) for n in interface["shape"]),
            str(interface["typestr"]),
            None if strides is None else tuple(int(s) for s in strides),
            bool(readonly),
            -1,
            0 if stream is None else int(stream),
        )
    except Exception as error:
        raise InvalidArgument(
            f"{name}: expected an array that tells its memory, got {type(value).__name__} ({error})"
        ) from error
    if interface.get("mask") is not None:
        raise InvalidArgument(f"{name}: a masked array's mask would be lost; pass its data")
    if stream == 0:  # the interface forbids it: per-thread or legacy default stream?
        raise InvalidArgument(f"{name}: expected the interface's stream to be None, 1, 2 or a handle, got 0")
    if device is None:
        device = _device_of_pointer(seen.pointer, name) if seen.pointer else 0
    return seen._replace(device=device)


@lru_cache(maxsize=1)
def _driver() -> Any:
    """NVIDIA's driver library, for the one question that no interface answers."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise DeviceError(f"device: NVIDIA's driver cannot be loaded ({error})") from error


def _device_of_pointer(pointer: int, name: str) -> int:
    ordinal = ctypes.c_int(-1)
    of_device = 9  # CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    code = _driver().cuPointerGetAttribute(ctypes.byref(ordinal), of_device, ctypes.c_uint64(pointer))
    if code != 0:
        raise InvalidArgument(
            f"{name}: expected memory of a CUDA device, got an address that the driver does not know (error {code}); was it freed?"
        )
    return ordinal.value


def operations(name: str) -> Library:
    """The library that computes on everybody's arrays."""
    if find_spec("cupy") is None:
        raise Unsupported(
            f"{name}: arrays of this library need CuPy, to be looked through on the device; install it, "
            f"or pass CuPy's or torch's arrays"
        )
    return _KNOWN["cupy"]


class _Handle:
    """A stream of somebody else's by CUDA's stream protocol."""

    def __init__(self, stream: int):
        self.stream = stream

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.stream


def cupy_stream(stream: int) -> Any:
    """CuPy's object for a stream that it did not make."""
    import cupy

    if stream in (0, 1):
        return cupy.cuda.Stream.null
    if hasattr(cupy.cuda.Stream, "from_external"):  # since CuPy 14, where the older way warns
        return cupy.cuda.Stream.from_external(_Handle(stream))
    return cupy.cuda.ExternalStream(stream)


def cupy_on(device: int, stream: int) -> AbstractContextManager[Any]:
    """CuPy works on this device and stream inside."""
    import cupy

    stack = ExitStack()
    stack.enter_context(cupy.cuda.Device(device))
    # Its own current stream is kept as it is: its pool knows it.
    if int(cupy.cuda.get_current_stream().ptr) not in ({0, 1} if stream in (0, 1) else {stream}):
        stack.enter_context(cupy_stream(stream))
    return stack


def no_room(device: int, shape: tuple[int, ...], dtype: np.dtype[Any], free: int) -> OutOfMemory:
    needed = int(np.prod(shape, dtype=np.float64)) * dtype.itemsize
    return OutOfMemory(
        f"out: an array of shape {shape} and dtype {dtype} takes {needed / 1e9:.2f} GB on cuda:{device}, "
        f"{free / 1e9:.2f} GB are free"
    )
