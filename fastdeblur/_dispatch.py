"""The only file that chooses a backend."""

from __future__ import annotations

from typing import Any

from fastdeblur import backends
from fastdeblur._checks import as_choice
from fastdeblur.backends import Backend, Spec
from fastdeblur.errors import DeviceError, InvalidArgument, Unsupported


def choose(name: Any, spec: Spec) -> Backend:
    """The backend for a spec: for ``auto`` the best that can, where the spec computes; else the named one or an error, never
    another one."""
    candidates = backends.all_backends()
    as_choice(name, "backend", ("auto", *(b.name for b in candidates)))
    where = "cpu" if spec.device is None else "cuda"
    if name == "auto":
        reasons = []
        for backend in candidates:
            if backend.computes_on == where:
                reason = backend.why_not(spec)
                if not reason:
                    return backend
                reasons.append(f"{backend.name}: {reason}")
        raise DeviceError(f"device: 'cuda:{spec.device}' cannot be used: {'; '.join(reasons)}")
    backend = backends.get_backend(name)
    if backend.computes_on != where:
        raise InvalidArgument(
            f"backend: {name!r} computes "
            + (
                f"in host memory, got an array or device='cuda:{spec.device}'; copy the array to the host, or take backend='auto'"
                if where == "cuda"
                else "on a CUDA device, got device='cpu'"
            )
        )
    reason = backend.why_not(spec)
    if reason:
        raise Unsupported(f"backend: {name!r} cannot run {spec.method}: {reason}")
    return backend


def computes_on(name: Any) -> str:
    """ "cpu" or "cuda"; "" for ``auto`` and for what is no backend, which choose() refuses."""
    return next((b.computes_on for b in backends.all_backends() if b.name == name), "")


def why_no_device(ordinal: int) -> str:
    """Empty if a backend can compute on this CUDA device."""
    able = [b for b in backends.all_backends() if b.computes_on == "cuda"]
    reasons = {b.name: b.why_not_device(ordinal) for b in able}
    return "" if "" in reasons.values() else "; ".join(f"{name}: {why}" for name, why in reasons.items())
