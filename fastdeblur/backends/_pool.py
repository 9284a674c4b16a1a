"""Device memory from the pool of the library whose arrays are worked on, so that two pools do not hold what one could share."""

from __future__ import annotations

import threading
from types import ModuleType
from typing import Any

from fastdeblur._libraries import cupy_stream

_lock = threading.Lock()
_taken = False


def take_from(library: str, core: ModuleType) -> None:
    """Let the core allocate from this library's pool, if it has one: the first that comes, for as long as the process lives."""
    global _taken
    make = {"CuPy": _cupy, "torch": _torch}.get(library)
    if _taken or make is None:
        return
    with _lock:
        if not _taken:
            core.set_allocator(*make(core))
            _taken = True


def _cupy(core: ModuleType) -> tuple[Any, Any]:
    import cupy

    held: dict[tuple[int, int], Any] = {}

    def allocate(size: int, device: int, stream: int) -> int:
        try:
            with cupy.cuda.Device(device), cupy_stream(stream):
                memory = cupy.cuda.alloc(size)
        except MemoryError:
            return 0
        held[device, memory.ptr] = memory
        return int(memory.ptr)

    def release(pointer: int, device: int, stream: int) -> None:
        held.pop((device, pointer), None)

    return allocate, release


def _torch(core: ModuleType) -> tuple[Any, Any]:
    import torch

    cuda: Any = torch.cuda  # partly without types

    def allocate(size: int, device: int, stream: int) -> int:
        try:
            return int(cuda.caching_allocator_alloc(size, device, stream))
        except torch.OutOfMemoryError:
            return 0

    def release(pointer: int, device: int, stream: int) -> None:
        cuda.caching_allocator_delete(pointer)

    return allocate, release
