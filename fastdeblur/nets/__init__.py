"""Small trained networks that undo blur, on the same core, without any machine-learning framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastdeblur.nets.model import Model, available, load
from fastdeblur.nets.summary import Summary

if TYPE_CHECKING:
    from fastdeblur.nets.export import from_torch

__all__ = ["Model", "Summary", "available", "from_torch", "load"]


def __getattr__(name: str) -> Any:
    """What few programs need is loaded when first asked for."""
    if name == "from_torch":
        from fastdeblur.nets.export import from_torch

        return from_torch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
