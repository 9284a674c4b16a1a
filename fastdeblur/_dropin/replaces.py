"""A function of ours in front of an original: it answers what it can, the original answers the rest.

A drop-in's own function is written with the original's signature. Before it touches anything it decides whether the call is
one that it accelerates; if not, it returns ``NotImplemented``, and the original is called with the very same arguments, so that
results, warnings and errors outside our part are the original's.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import cache, wraps
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from fastdeblur import _isa
from fastdeblur.errors import MaskWarning

Function = TypeVar("Function", bound=Callable[..., Any])

# Exactly these: a subclass may mean something by its type that we would lose.
PLAIN = frozenset({np.ndarray, np.memmap})

# What needs no second look on its way to the original.
_ORDINARY = PLAIN | {int, float, complex, bool, str, tuple, list, type(None), type}


@cache
def core() -> ModuleType | None:
    """The compiled core, or None where there is none: then every call goes to the original."""
    return None if _isa.why_not() else _isa.load_core()


def replaces(original: Callable[..., Any]) -> Callable[[Function], Function]:
    """Decorator: the original's place is taken by the decorated function, which may answer NotImplemented."""
    # Taken from a patched module, or from one that is loaded again, it may be ours: never stand in front of ourselves.
    original = getattr(original, "__fastdeblur_original__", original)

    def decorate(ours: Function) -> Function:
        most, keywords, signature = _shared_interface(ours, original)

        @wraps(ours)
        def call(*args: Any, **kwargs: Any) -> Any:
            if len(args) <= most and (not kwargs or keywords.issuperset(kwargs)) and core() is not None:
                result = ours(*args, **kwargs)
                if result is not NotImplemented:
                    return result
            return _elsewhere(original, args, kwargs)

        call.__fastdeblur_original__ = original  # type: ignore[attr-defined]
        call.__signature__ = signature  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]

    return decorate


def _shared_interface(
    ours: Callable[..., Any], original: Callable[..., Any]
) -> tuple[int, frozenset[str], inspect.Signature]:
    """How many positional arguments and which keywords mean the same to both, and the signature to show.

    Another version of the original may have fewer parameters, more, or other defaults than ours was written for. What differs
    is the original's to answer; where a default differs, or the order, that is every call.
    """
    mine = inspect.signature(ours)
    try:
        theirs = inspect.signature(original)
    except ValueError:  # a C function that does not tell; those take keywords rarely
        return _positional(mine), frozenset(), mine
    defaults = {name: parameter.default for name, parameter in theirs.parameters.items()}
    same_defaults = all(
        name not in defaults or _same(parameter.default, defaults[name])
        for name, parameter in mine.parameters.items()
    )
    most = min(_positional(mine), _positional(theirs))
    same_order = list(mine.parameters)[:most] == list(theirs.parameters)[:most]
    if not (same_defaults and same_order):
        return -1, frozenset(), theirs
    keywords = frozenset(
        name
        for name, parameter in mine.parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and name in defaults
    )
    return most, keywords, theirs


def _positional(signature: inspect.Signature) -> int:
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in signature.parameters.values())


def _same(a: object, b: object) -> bool:
    return a is b or (type(a) is type(b) and bool(a == b))


def _elsewhere(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What is not ours: CuPy's own function for its arrays, else the original."""
    if not kwargs and _ORDINARY.issuperset(map(type, args)):
        return original(*args)
    masked = False
    for value in (*args, *kwargs.values()):
        kind = type(value)
        if kind in _ORDINARY:
            continue
        if str(kind.__module__).partition(".")[0] == "cupy":
            theirs = _cupy_function(original)
            return (theirs or original)(*args, **kwargs)
        masked = masked or (isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value))
    result = original(*args, **kwargs)
    if masked and _lost_its_mask(result):
        warnings.warn(
            f"{original.__name__}: the original ignores masks, and so does this result; fill or weigh the masked pixels first",
            MaskWarning,
            stacklevel=3,
        )
    return result


def _lost_its_mask(result: Any) -> bool:
    first = result[0] if isinstance(result, tuple) and result else result
    # The name of a convolution method is no image.
    return not isinstance(first, (np.ma.MaskedArray, str))


def _cupy_function(original: Callable[..., Any]) -> Callable[..., Any] | None:
    """CuPy's or cuCIM's function of the same name and place, if it is installed and there."""
    package, module = [*original.__module__.split("."), ""][:2]
    home = {"scipy": "cupyx.scipy", "skimage": "cucim.skimage"}.get(package)
    if home is None:
        return None
    try:
        return getattr(import_module(f"{home}.{module}"), original.__name__, None)
    except ImportError:
        return None
