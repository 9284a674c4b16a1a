"""Arrays in CUDA memory, whoever made them: found out, viewed without a copy, and answered in kind."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur import _libraries
from fastdeblur._libraries import Library
from fastdeblur.errors import InvalidArgument


class DeviceArray:
    """A view of an array in the memory of one CUDA device.

    NumPy does the arithmetic of shapes and strides on an array of the device's addresses, which must never be read: so that array
    stays in here.
    """

    __slots__ = ("_addresses", "device", "library", "owner", "stream")

    def __init__(self, addresses: NDArray[Any], device: int, stream: int, library: Library, owner: Any):
        self._addresses = addresses
        self.device = device  # ordinal
        self.stream = stream  # on which the producer works, as an integer; 0 and 1: the legacy default one
        self.library = library
        self.owner = owner  # keeps the memory

    @property
    def shape(self) -> tuple[int, ...]:
        return self._addresses.shape

    @property
    def ndim(self) -> int:
        return self._addresses.ndim

    @property
    def size(self) -> int:
        return self._addresses.size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._addresses.dtype

    @property
    def strides(self) -> tuple[int, ...]:
        """In bytes."""
        return self._addresses.strides

    @property
    def pointer(self) -> int:
        """Address of the element at index 0."""
        return int(self._addresses.__array_interface__["data"][0])

    @property
    def writeable(self) -> bool:
        return bool(self._addresses.flags.writeable)

    @property
    def aligned(self) -> bool:
        return bool(self._addresses.flags.aligned)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """For CuPy and torch to look at it; its stream is the caller's concern."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, not self.writeable),
            "strides": self.strides,
            "version": 3,
            "stream": None,
        }

    def __getitem__(self, index: Any) -> DeviceArray:
        """A view by basic indexing."""
        index = index if isinstance(index, tuple) else (index,)
        # The ellipsis keeps NumPy from reading an element.
        return self._like(self._addresses[(*index, ...)])

    def transpose(self, *axes: Any) -> DeviceArray:
        return self._like(self._addresses.transpose(*axes))

    def _like(self, addresses: NDArray[Any]) -> DeviceArray:
        return DeviceArray(addresses, self.device, self.stream, self.library, self.owner)

    def overlaps(self, other: DeviceArray) -> bool:
        """Whether they share elements; undecided within a reasonable time counts as sharing."""
        if not np.may_share_memory(self._addresses, other._addresses):
            return False
        most: Any = 10_000  # steps; NumPy's types admit only its two symbolic values
        try:
            return np.shares_memory(self._addresses, other._addresses, max_work=most)
        except Exception:
            # NumPy's TooHardError, which moved between namespaces.
            return True

    def new(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        """An uninitialised array of the same library on the same device."""
        made = self.library.empty(shape, dtype, self.device)
        view = read(made, "out")
        view.library = self.library
        return view

    def result(self) -> Any:
        """What its library's user expects to be given."""
        return self.library.result(self.owner)

    def __repr__(self) -> str:
        return (
            f"DeviceArray({self.library.name} on cuda:{self.device}, shape={self.shape}, dtype={self.dtype})"
        )


def on_device(value: Any) -> bool:
    """Whether the value is an array in a CUDA device's memory."""
    return isinstance(value, DeviceArray) or _libraries.of(value) is not None


def read(value: Any, name: str) -> DeviceArray:
    """A view of an array for which on_device() is true."""
    if isinstance(value, DeviceArray):
        return value
    library = _libraries.of(value)
    assert library is not None
    seen = library.look(value, name)
    try:
        dtype = np.dtype(seen.typestr)
    except TypeError as error:
        raise InvalidArgument(f"{name}: expected a real numeric dtype, got {seen.typestr}") from error
    if dtype.kind not in "buif":
        raise InvalidArgument(f"{name}: expected a real numeric dtype, got {dtype}")
    if not dtype.isnative:
        raise InvalidArgument(f"{name}: expected this machine's byte order on a device, got {dtype.str}")
    if any(n < 0 for n in seen.shape) or (seen.strides is not None and len(seen.strides) != len(seen.shape)):
        raise InvalidArgument(
            f"{name}: expected a shape and as many strides, got {seen.shape} and {seen.strides}"
        )
    holder = _Addresses(
        {
            "shape": seen.shape,
            "typestr": dtype.str,
            # Without elements there may be no memory, but NumPy wants an address.
            "data": (seen.pointer or 64, seen.readonly),
            "strides": seen.strides,
            "version": 3,
        }
    )
    if not seen.pointer and 0 not in seen.shape:
        raise InvalidArgument(f"{name}: expected an array that has memory, got a null pointer")
    return DeviceArray(
        np.asarray(holder), seen.device, seen.stream, library, value if seen.owner is None else seen.owner
    )


class _Addresses:
    def __init__(self, interface: dict[str, Any]):
        self.__array_interface__ = interface


def where(value: Any) -> str:
    """Where an array's elements are, for a message."""
    return f"on cuda:{value.device}" if isinstance(value, DeviceArray) else "in host memory"
