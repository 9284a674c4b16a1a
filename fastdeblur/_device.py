"""Where host arrays are computed, and which device a call runs on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from fastdeblur import _dispatch
from fastdeblur._arrays import DeviceArray, where
from fastdeblur._checks import AnyArray
from fastdeblur.errors import DeviceError, InvalidArgument

# Ordinals of CUDA devices; None is the CPU.
_for_all: int | None = None
_inside: ContextVar[tuple[int | None] | None] = ContextVar("fastdeblur_device", default=None)


def set_device(device: str | None) -> None:
    """Say where arrays in host memory are computed from now on, in all threads.

    An array that is in a device's memory is computed there, whatever this says. A call's own ``device=``, or a CPU backend that it
    names, goes before it.

    Parameters
    ----------
    device : "cpu", "cuda", "cuda:1" (and so on) or None
        "cuda" is "cuda:0". None takes back what was said: the CPU.

    Raises
    ------
    InvalidArgument
        It is none of these.
    DeviceError
        That device cannot be used here; the message says why. The former one stays.
    """
    global _for_all
    _for_all = _usable(device)


@contextmanager
def use_device(device: str | None) -> Iterator[None]:
    """As ``set_device``, inside a ``with`` block only, and only in the thread or task that runs it.

    Parameters
    ----------
    device : "cpu", "cuda", "cuda:1" (and so on) or None
        As in ``set_device``.

    Raises
    ------
    InvalidArgument, DeviceError
        As ``set_device``.
    """
    token = _inside.set((_usable(device),))
    try:
        yield
    finally:
        _inside.reset(token)


def get_device() -> str:
    """Where arrays in host memory are computed: "cpu" or "cuda:0" and so on, as ``set_device`` or ``use_device`` say."""
    ordinal = _default()
    return "cpu" if ordinal is None else f"cuda:{ordinal}"


def _default() -> int | None:
    inside = _inside.get()
    return _for_all if inside is None else inside[0]


def _usable(device: Any) -> int | None:
    ordinal = None if device is None else as_device(device)
    if ordinal is not None and (reason := _dispatch.why_no_device(ordinal)):
        raise DeviceError(f"device: {device!r} cannot be used: {reason}")
    return ordinal


def as_device(value: Any) -> int | None:
    """The ordinal of "cuda" or "cuda:1", None for "cpu"."""
    if value == "cpu":
        return None
    found = re.fullmatch(r"cuda(?::(\d{1,4}))?", value, re.ASCII) if isinstance(value, str) else None
    if found is None:
        raise InvalidArgument(f"device: expected 'cpu', 'cuda' or 'cuda:' and a number, got {value!r}")
    return int(found[1] or 0)


def place(device: Any, backend: str, image: AnyArray | None = None) -> int | None:
    """The device of a call: where the image is, else what the call says, else what its backend or set_device() do."""
    said = None if device is None else as_device(device)
    if isinstance(image, DeviceArray):
        if device is not None and said != image.device:
            expected = "in host memory" if said is None else f"on cuda:{said}"
            raise InvalidArgument(
                f"image: expected an array {expected}, as device={device!r} says, got one {where(image)}"
            )
        return image.device
    if device is not None:
        return said
    computes_on = _dispatch.computes_on(backend)
    if computes_on == "cpu":
        return None
    return _default() or 0 if computes_on == "cuda" else _default()
