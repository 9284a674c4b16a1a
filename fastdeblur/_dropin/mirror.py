"""Modules that stand in for others: our functions under their names, everything else passed through."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def mirror(name: str, original: ModuleType, ours: dict[str, Any]) -> None:
    """Make the module called ``name`` answer for ``original``: ``ours`` first, then whatever the original has.

    ``__all__`` is the original's; ``fastdeblur_names`` are the names that are ours. Submodules of the original (``windows`` of
    scipy.signal) can be imported under our name too, and are the original's.
    """
    module = sys.modules[name]
    module.__dict__.update(ours)
    module.__dict__["__all__"] = list(
        getattr(original, "__all__", [n for n in dir(original) if n[:1] != "_"])
    )
    module.__dict__["fastdeblur_names"] = tuple(sorted(ours))
    for attribute, value in vars(original).items():
        if isinstance(value, ModuleType) and value.__name__ == f"{original.__name__}.{attribute}":
            sys.modules.setdefault(f"{name}.{attribute}", value)

    def get(attribute: str) -> Any:
        try:
            return getattr(original, attribute)
        except AttributeError:
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}") from None

    module.__dict__["__getattr__"] = get
    module.__dict__["__dir__"] = lambda: sorted({*dir(original), *ours, "fastdeblur_names"})


def original_module(name: str, extra: str) -> ModuleType:
    """The module that a drop-in stands in for; an ImportError that says what to install."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name and name.startswith(error.name):
            raise ModuleNotFoundError(
                f"fastdeblur.{name} stands in for {name}, which is not installed: pip install {extra}",
                name=error.name,
            ) from None
        raise
