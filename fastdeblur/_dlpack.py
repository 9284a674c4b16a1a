"""A look at an array through DLPack (data-apis.org/array-api, `__dlpack__`), for producers that offer nothing else.

The capsule is held, not consumed: its destructor then gives the memory back to the producer.
"""

from __future__ import annotations

import ctypes
from typing import Any

from fastdeblur._libraries import Seen
from fastdeblur.errors import InvalidArgument

_KINDS = {0: "i", 1: "u", 2: "f", 6: "b"}  # DLDataTypeCode


class _Device(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int32), ("ordinal", ctypes.c_int32)]


class _DataType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    """DLTensor, the first member of DLManagedTensor."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


def look_by_dlpack(value: Any, name: str) -> Seen:
    """Ask for a capsule whose data are ready on the legacy default stream."""
    try:
        capsule = value.__dlpack__(stream=1)
        pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
        pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        address = pointer_of(capsule, b"dltensor")
        assert address is not None
        tensor = _Tensor.from_address(address)
    except Exception as error:
        raise InvalidArgument(
            f"{name}: expected an array that DLPack can hand over, got {type(value).__name__} ({error})"
        ) from error
    code, bits, lanes = tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes
    if code not in _KINDS or lanes != 1 or bits % 8:
        raise InvalidArgument(
            f"{name}: expected a real numeric dtype, got DLPack's type {code} of {bits} bits and {lanes} lanes"
        )
    size = bits // 8
    axes = range(tensor.ndim)
    return Seen(
        int(tensor.data or 0) + int(tensor.byte_offset),
        tuple(int(tensor.shape[axis]) for axis in axes),
        f"{'|' if size == 1 else '<'}{_KINDS[code]}{size}",
        tuple(int(tensor.strides[axis]) * size for axis in axes) if tensor.strides else None,
        False,
        int(tensor.device.ordinal),
        0,
        (value, capsule),
    )
