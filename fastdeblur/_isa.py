"""Which build of the compiled core this machine runs.

The core is compiled several times from the same sources, as the modules `_core_v2`, `_core_v3` and `_core_v4`
for the x86-64 levels of the System V psABI (v2: up to SSE4.2, v3: AVX2 and FMA, v4: AVX-512), or once as
`_core_generic` on other processors. The best one that the processor can run is imported. The environment
variable FASTDEBLUR_ISA forces one: v2, v3, v4 (or x86-64-v2, ...) or generic; empty or "auto" leaves the
choice here.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from fastdeblur.errors import InvalidArgument

LEVELS = ("v4", "v3", "v2", "generic")  # best first


@cache
def built_levels() -> tuple[str, ...]:
    """The levels that this installation has a compiled core for, best first; empty in a pure-Python one."""
    return tuple(level for level in LEVELS if find_spec(f"fastdeblur._core_{level}") is not None)


@cache
def cpu_level() -> str:
    """The level of this processor and operating system: "v1" to "v4" on x86-64, "generic" on any other.

    Also "generic" where there is no compiled probe to ask with; then there is no core to choose either.
    """
    try:
        from fastdeblur._isa_probe import x86_level
    except ImportError:
        return "generic"
    level = x86_level()
    return f"v{level}" if level else "generic"


def runnable_levels() -> tuple[str, ...]:
    """The levels that are built and that this processor can run, best first."""
    cpu = cpu_level()
    return tuple(
        level for level in built_levels() if level == "generic" or (cpu != "generic" and level <= cpu)
    )


def best_level() -> str:
    """The level that `load_core` takes: the best runnable one, or the one that FASTDEBLUR_ISA forces.

    Raises InvalidArgument if FASTDEBLUR_ISA names no level, or one that is not built or that this processor
    cannot run; ImportError if there is no compiled core for this machine.
    """
    runnable = runnable_levels()
    value = os.environ.get("FASTDEBLUR_ISA", "").strip()
    if value and value.lower() != "auto":
        forced = value.lower().removeprefix("x86-64-")
        if forced not in runnable:
            if forced not in LEVELS:
                rule = f"expected one of {', '.join(LEVELS)}"
            elif forced not in built_levels():
                rule = "expected a level that this installation was built with"
            else:
                rule = f"expected a level that this processor ({cpu_level()}) can run"
            raise InvalidArgument(
                f"FASTDEBLUR_ISA: {rule}, got {value!r}; possible here: {', '.join(runnable) or 'none'}"
            )
        return forced
    if not built_levels():
        raise ImportError("fastdeblur was installed without its compiled core")
    if not runnable:
        raise ImportError(
            f"the compiled core was built for {', '.join(built_levels())}, this processor runs {cpu_level()}"
        )
    return runnable[0]


def load_core() -> ModuleType:
    """Imports and returns the compiled core.

    Raises what `best_level` raises, or ImportError if loading fails.
    """
    return import_module(f"fastdeblur._core_{best_level()}")


def why_not() -> str:
    """One sentence why there is no compiled core to use; empty if there is.

    A wrong FASTDEBLUR_ISA is no reason to go on without the core: it raises InvalidArgument here too.
    """
    try:
        load_core()
    except ImportError as error:
        return str(error)
    return ""
