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


@cache
def core() -> ModuleType | None:
    """The compiled core, or None where there is none: then every call goes to the original."""
    return None if _isa.why_not() else _isa.load_core()


def replaces(original: Callable[..., Any]) -> Callable[[Function], Function]:
    """Decorator: the original's place is taken by the decorated function, which may answer NotImplemented."""

    def decorate(ours: Function) -> Function:
        parameters = inspect.signature(ours).parameters.values()
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
        names = frozenset(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
        most = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)

        @wraps(ours)
        def call(*args: Any, **kwargs: Any) -> Any:
            if core() is not None and len(args) <= most and (open_ended or names.issuperset(kwargs)):
                result = ours(*args, **kwargs)
                if result is not NotImplemented:
                    return result
            return _elsewhere(original, args, kwargs)

        call.__fastdeblur_original__ = original  # type: ignore[attr-defined]
        try:
            call.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
        except ValueError:  # a builtin that does not tell
            call.__signature__ = inspect.signature(ours)  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]

    return decorate


def _elsewhere(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What is not ours: CuPy's own function for its arrays, else the original."""
    masked = False
    for value in (*args, *kwargs.values()):
        kind = type(value)
        if kind.__module__.partition(".")[0] == "cupy":
            theirs = _cupy_function(original)
            return (theirs or original)(*args, **kwargs)
        masked = masked or issubclass(kind, np.ma.MaskedArray)
    result = original(*args, **kwargs)
    if masked and not isinstance(result, np.ma.MaskedArray):
        warnings.warn(
            f"{original.__name__}: the original ignores masks, and so does this result; fill or weigh the masked pixels first",
            MaskWarning,
            stacklevel=3,
        )
    return result


def _cupy_function(original: Callable[..., Any]) -> Callable[..., Any] | None:
    """CuPy's or cuCIM's function of the same name and place, if it is installed and there."""
    package, _, rest = original.__module__.partition(".")
    public = rest.partition("._")[0]
    home = {"scipy": "cupyx.scipy.", "skimage": "cucim.skimage."}.get(package)
    if home is None:
        return None
    try:
        return getattr(import_module(home + public), original.__name__, None)
    except ImportError:
        return None
