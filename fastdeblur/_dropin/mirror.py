"""Modules that stand in for others: our functions under their names, everything else passed through."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from fastdeblur._dropin.arrival import is_deadlock
from fastdeblur._dropin.patching import put_in_place


def mirror(name: str, original: ModuleType, ours: dict[str, Any]) -> None:
    """Make the module called ``name`` answer for ``original``: ``ours`` first, then whatever the original has.

    ``__all__`` is the original's; ``fastdeblur_names`` are the names that are ours. Submodules of the original (``windows`` of
    scipy.signal) can be imported under our name too, and are the original's.
    """
    module = sys.modules[name]
    for function in ours.values():
        # Where users find it: help() says so, and pickles do not name our private files.
        function.__module__ = name
    module.__dict__.update(ours)
    module.__dict__["__all__"] = list(
        getattr(original, "__all__", [n for n in dir(original) if n[:1] != "_"])
    )

    def get(attribute: str) -> Any:
        try:
            return getattr(original, attribute)
        except AttributeError:
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}") from None

    module.__dict__["__getattr__"] = get
    module.__dict__["__dir__"] = lambda: sorted({*dir(original), *ours, "fastdeblur_names"})
    module.__dict__["fastdeblur_names"] = tuple(sorted(ours))
    _mirrored[name] = original.__name__
    if _submodules not in sys.meta_path:
        sys.meta_path.insert(0, _submodules)
    put_in_place(original.__name__)


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
    except RuntimeError as error:
        # Another thread imports the original for a program that is patched, has come to its end and waits for us.
        if not is_deadlock(error):
            raise
        return sys.modules[name]


_mirrored: dict[str, str] = {}  # our module's name -> its original's


class _Same(Loader):
    """Loads a name of ours as the very module that the original has under its own."""

    def __init__(self, original: str) -> None:
        self._original = original

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        # The import system takes what is there afterwards.
        sys.modules[module.__name__] = import_module(self._original)


class _Submodules(MetaPathFinder):
    """Finds the original's submodules under our names; without it, Python would load their files a second time."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith("fastdeblur."):
            return None
        for ours, original in _mirrored.items():
            if fullname.startswith(f"{ours}."):
                below = fullname[len(ours) :]
                own = below.count(".") == 1 and PathFinder.find_spec(fullname, path)
                if own or find_spec(original + below) is None:
                    return None
                return ModuleSpec(fullname, _Same(original + below))
        return None


_submodules = _Submodules()
