"""The choice of the compiled core: the best level that is built and runs here, or the forced one."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from fastdeblur import _isa
from fastdeblur.errors import InvalidArgument

REQUIRED = "native" in os.environ.get("FASTDEBLUR_REQUIRE", "").split(",")
needs_core = pytest.mark.skipif(
    not _isa.built_levels() and not REQUIRED, reason="the compiled core is not built"
)

# The psABI's levels in the kernel's names for the flags.
V2 = {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}
V3 = V2 | {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}
V4 = V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


@pytest.fixture
def machine(monkeypatch):
    """Sets what is built, what the processor runs and what is forced."""

    def be(built: str, cpu: str, forced: str | None = None) -> None:
        monkeypatch.setattr(_isa, "built_levels", lambda: tuple(built.split()))
        monkeypatch.setattr(_isa, "cpu_level", lambda: cpu)
        if forced is None:
            monkeypatch.delenv("FASTDEBLUR_ISA", raising=False)
        else:
            monkeypatch.setenv("FASTDEBLUR_ISA", forced)

    return be


@needs_core
@pytest.mark.skipif(
    not Path("/proc/cpuinfo").exists() or platform.machine() != "x86_64", reason="needs Linux on x86-64"
)
def test_probe_agrees_with_the_kernel():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        flags = next(set(line.partition(":")[2].split()) for line in file if line.startswith("flags"))
    level = "v4" if flags >= V4 else "v3" if flags >= V3 else "v2" if flags >= V2 else "v1"
    assert _isa.cpu_level() == level


@pytest.mark.parametrize(
    ("built", "cpu", "best"),
    [
        ("v4 v3 v2", "v4", "v4"),
        ("v4 v3 v2", "v3", "v3"),
        ("v4 v3 v2", "v2", "v2"),
        ("v3", "v4", "v3"),
        ("v4 v3 generic", "v1", "generic"),
        ("v4 v3 generic", "v2", "generic"),
        ("generic", "generic", "generic"),
    ],
)
def test_takes_the_best_level_that_runs(machine, built, cpu, best):
    machine(built, cpu)
    assert _isa.best_level() == best


@pytest.mark.parametrize("forced", ["v2", "V2", " x86-64-v2 "])
def test_forced_level(machine, forced):
    machine("v4 v3 v2", "v3", forced)
    assert _isa.best_level() == "v2"


@pytest.mark.parametrize("forced", ["", "auto"])
def test_empty_and_auto_force_nothing(machine, forced):
    machine("v4 v3 v2", "v3", forced)
    assert _isa.best_level() == "v3"


@pytest.mark.parametrize(
    ("forced", "message"),
    [
        ("v4", r"FASTDEBLUR_ISA: .* this processor \(v3\) can run, got 'v4'; possible here: v3, v2$"),
        ("generic", r"FASTDEBLUR_ISA: .* was built with, got 'generic'; possible here: v3, v2$"),
        ("avx2", r"FASTDEBLUR_ISA: expected one of v4, v3, v2, generic, got 'avx2'; possible here: v3, v2$"),
    ],
)
@pytest.mark.parametrize("call", [_isa.best_level, _isa.load_core, _isa.why_not])
def test_impossible_level_is_an_error_not_a_fallback(machine, forced, message, call):
    machine("v4 v3 v2", "v3", forced)
    with pytest.raises(InvalidArgument, match=message):
        call()


def test_pure_python_installation(machine):
    machine("", "generic")
    assert "without its compiled core" in _isa.why_not()
    with pytest.raises(ImportError, match="without its compiled core"):
        _isa.load_core()


def test_processor_older_than_every_build(machine):
    machine("v4 v3 v2", "v1")
    assert _isa.why_not() == "the compiled core was built for v4, v3, v2, this processor runs v1"


def run(code: str, tmp_path, **env: str) -> str:
    """What the code prints in a Python of its own, away from the source tree."""
    command = [sys.executable, "-c", code]
    env = {**os.environ, **env}
    return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout


@needs_core
@pytest.mark.parametrize("level", _isa.runnable_levels())
def test_every_runnable_level_loads_and_says_its_name(level, tmp_path):
    name = "generic" if level == "generic" else f"x86-64-{level}"
    code = "from fastdeblur import _isa; core = _isa.load_core(); print(core.__name__, core.isa)"
    assert run(code, tmp_path, FASTDEBLUR_ISA=level).split() == [f"fastdeblur._core_{level}", name]


@needs_core
def test_choosing_is_quick(tmp_path):
    code = (
        "import numpy, fastdeblur.errors, time, sys\n"
        "sys.modules.pop('fastdeblur._isa', None)\n"
        "begun = time.perf_counter()\n"
        "from fastdeblur import _isa\n"
        "_isa.best_level()\n"
        "print(time.perf_counter() - begun)"
    )
    assert min(float(run(code, tmp_path)) for _ in range(3)) < 0.02  # about 1 ms on an idle machine
