"""The only file that chooses a backend."""

from __future__ import annotations

from typing import Any

from fastdeblur import backends
from fastdeblur._checks import as_choice
from fastdeblur.backends import Backend, Spec
from fastdeblur.errors import Unsupported


def choose(name: Any, spec: Spec) -> Backend:
    """The backend for a spec: the best that can for ``auto``, else the named one or an error, never another one."""
    candidates = backends.all_backends()
    as_choice(name, "backend", ("auto", *(b.name for b in candidates)))
    if name == "auto":
        return next(b for b in candidates if not b.why_not(spec))
    backend = backends.get_backend(name)
    reason = backend.why_not(spec)
    if reason:
        raise Unsupported(f"backend: {name!r} cannot run {spec.method}: {reason}")
    return backend
