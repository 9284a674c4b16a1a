"""`patch` and `unpatch`: our functions in the originals' own modules, so that code which never heard of us gets them.

A function of SciPy or scikit-image is bound in several places: in the module that defines it, in the public one, in every
module of the two packages that imported it. All of them are found by looking for the very object, so that no list of
private modules has to be kept; undoing looks again, which also finds the modules that were imported in between. An
original that has not been imported yet is left alone until it is: importing all three takes a second or more.
"""

from __future__ import annotations

import sys
from collections import Counter
from importlib import import_module
from threading import RLock
from types import ModuleType
from typing import Any
from weakref import WeakSet

from fastdeblur._dropin import arrival
from fastdeblur._dropin.replaces import core
from fastdeblur.errors import InvalidArgument

MODULES = ("scipy.signal", "scipy.ndimage", "skimage.restoration")
_PACKAGES = frozenset(name.partition(".")[0] for name in MODULES)

# Nothing is imported while it is held: another thread may hold an import lock and wait here.
_lock = RLock()
_wanted: Counter[str] = Counter()  # how many calls of patch() hold each module
_in_place: dict[str, list[tuple[Any, Any]]] = {}  # (original, ours) of the modules that are patched
_touched: WeakSet[ModuleType] = WeakSet()  # also those that someone takes out of sys.modules
_era = 0  # unpatch() begins a new one; what was held in an older one is no longer held


class Patch:
    """What `patch` returns: as a context manager it takes the patch back at the end of the block."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        self._modules = modules
        self._held: list[int] = []  # the era of every hold that is not yet given back
        self._ready = False  # held by the call of patch(), for the block that may follow

    def __enter__(self) -> None:
        if not self._ready:
            self._hold()
        self._ready = False

    def __exit__(self, *_: object) -> None:
        with _lock:
            if self._held.pop() == _era:
                _wanted.subtract(self._modules)
                _restore_unwanted()

    def _hold(self) -> None:
        with _lock:
            _wanted.update(self._modules)
            self._held.append(_era)
            self._ready = True
        arrival.watch(MODULES, _arrived)
        for name in self._modules:
            if name in sys.modules:
                _load(name)


def patch(*modules: str) -> Patch:
    """Let existing code run on our functions: put them in the place of SciPy's and scikit-image's own.

    As a function it holds until `unpatch`, as a context manager until the end of the block::

        fastdeblur.patch()

        with fastdeblur.patch("scipy.ndimage"):
            ...

    Blocks may be nested and used in several threads; a function is the original again when the last block that wants it
    ends. It is replaced wherever a module of SciPy or scikit-image names it, also in those that imported it earlier; modules
    that are not imported yet are patched when they are. Code of yours that did ``from scipy.ndimage import gaussian_filter``
    before keeps the original; so patch first, or start the program with ``python -m fastdeblur``.

    Calls that we do not accelerate go to the original. Without a compiled core all calls do.

    Parameters
    ----------
    modules : str
        "scipy.signal", "scipy.ndimage", "skimage.restoration"; all of them if none is named. One that is not installed is
        no error. ``fastdeblur.scipy.signal.fastdeblur_names``, for example, lists what is replaced.

    Raises
    ------
    InvalidArgument
        If a module is none of these, or the environment variable FASTDEBLUR_ISA is wrong.
    """
    for name in modules:
        if name not in MODULES:
            raise InvalidArgument(f"modules: expected names among {', '.join(MODULES)}, got {name!r}")
    core()
    held = Patch(tuple(dict.fromkeys(modules)) or MODULES)
    held._hold()
    return held


def unpatch() -> None:
    """Put every original back, whatever calls and blocks of `patch` are open; nothing happens where none is."""
    global _era
    with _lock:
        _era += 1
        _wanted.clear()
        _restore_unwanted()


def _load(name: str) -> None:
    """The drop-in for an original that is imported; then ours into the original's places."""
    import_module(f"fastdeblur.{name}")
    put_in_place(name)


def _arrived(name: str) -> None:
    """An original has just been imported, and its import lock is still held."""
    if not _wanted[name]:
        return
    # Whoever is importing the drop-in already may be waiting for that lock, and calls put_in_place in the end.
    if f"fastdeblur.{name}" not in sys.modules:
        try:
            import_module(f"fastdeblur.{name}")
        except RuntimeError as error:
            if not arrival.is_deadlock(error):
                raise
    put_in_place(name)


def put_in_place(name: str) -> None:
    """Ours into the original's places, if `patch` wants that; also called by a drop-in that has become complete."""
    names = vars(sys.modules[f"fastdeblur.{name}"]).get("fastdeblur_names")
    with _lock:
        if names is not None and name in sys.modules and _wanted[name] and name not in _in_place:
            ours = [vars(sys.modules[f"fastdeblur.{name}"])[n] for n in names]
            _in_place[name] = [(function.__fastdeblur_original__, function) for function in ours]
            _exchange(_in_place[name])


def _restore_unwanted() -> None:
    for name in [name for name in _in_place if not _wanted[name]]:
        _exchange([(ours, original) for original, ours in _in_place.pop(name)])
    if not _in_place:
        _touched.clear()
    if not any(_wanted.values()):
        arrival.stop()


def _exchange(pairs: list[tuple[Any, Any]]) -> None:
    """Bind `new` to every name of SciPy and scikit-image that is bound to `old`, for each pair (old, new)."""
    new_of = {id(old): new for old, new in pairs}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _PACKAGES and isinstance(module, ModuleType):
            _exchange_in(module, new_of)
    for module in list(_touched):
        _exchange_in(module, new_of)


def _exchange_in(module: ModuleType, new_of: dict[int, Any]) -> None:
    names = vars(module)
    for name, value in list(names.items()):
        if id(value) in new_of:
            names[name] = new_of[id(value)]
            _touched.add(module)
