"""Being told when a module has been imported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Telling(Loader):
    """A module's own loader, and a call when it is done."""

    def __init__(self, loader: Any, tell: Callable[[str], None]) -> None:
        self._loader = loader
        self._tell = tell

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        # The module must look as if we had not been here: resources, say, are found through its loader.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._tell(module.__name__)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


class _Watch(MetaPathFinder):
    """Lets the other finders find, and puts ourselves in front of the loader of the modules that are waited for."""

    def __init__(self, names: Sequence[str], tell: Callable[[str], None]) -> None:
        self._names = names
        self._tell = tell

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._names:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(fullname, path, target) if find and finder is not self else None
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Telling(spec.loader, self._tell)
                return spec
        return None


def watch(names: Sequence[str], tell: Callable[[str], None]) -> None:
    """Call `tell` with the name of each of these modules when it has been imported, from now on."""
    if not any(isinstance(finder, _Watch) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watch(names, tell))


def stop() -> None:
    """No longer be told."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Watch)]


def is_deadlock(error: RuntimeError) -> bool:
    """Whether the import system gave up because two threads import two modules in opposite order."""
    return type(error).__name__ == "_DeadlockError"
