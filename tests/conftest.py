"""What all tests share: the backends that really work here, and Hypothesis profiles."""

from __future__ import annotations

import os
import signal
from functools import cache
from io import StringIO

# Threads that wait must not take the processors from those that work; read when OpenMP is loaded, hence first of all.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# NumPy's products here are small: its threads would cost more than they bring.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Jobs that a script starts in the background inherit that Ctrl-C is ignored; programs that tests send it would never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import fastdeblur
from fastdeblur.backends import all_backends

settings.register_profile(
    "default", max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "default")

BACKENDS = tuple(backend.name for backend in all_backends())
REQUIRED = frozenset(os.environ.get("FASTDEBLUR_REQUIRE", "").replace(" ", "").split(",")) - {""}


@cache
def why_not(name: str) -> str:
    """Empty if the backend allocated and ran one small problem, else why it did not."""
    backend = next(b for b in all_backends() if b.name == name)
    if why := backend.why_not(None):
        return why
    try:
        result = fastdeblur.wiener(np.ones((5, 7), np.float32), np.ones((3, 3)), 0.1, backend=name)
    except ImportError as error:
        return str(error)
    return "" if np.allclose(result, 1) else f"{name} is there but computes nonsense: {result}"


def usable_backends() -> tuple[str, ...]:
    return tuple(name for name in BACKENDS if not why_not(name))


def skip_or_fail(name: str, why: str) -> None:
    """Skip, or fail where FASTDEBLUR_REQUIRE names this backend."""
    if name in REQUIRED:
        pytest.fail(f"FASTDEBLUR_REQUIRE names {name}, but: {why}")
    pytest.skip(f"{name}: {why}")


def need(name: str) -> str:
    if why := why_not(name):
        skip_or_fail(name, why)
    return name


def pytest_configure(config: pytest.Config) -> None:
    if unknown := REQUIRED - {*BACKENDS}:
        raise pytest.UsageError(f"FASTDEBLUR_REQUIRE: expected names from {BACKENDS}, got {sorted(unknown)}")


@pytest.fixture(params=BACKENDS, scope="session")
def backend(request: pytest.FixtureRequest) -> str:
    """Every backend that works here."""
    return need(request.param)


@pytest.fixture(scope="session")
def native() -> str:
    return need("native")


@pytest.fixture(params=["numpy", "native"], scope="session")
def backend_of_psf(request: pytest.FixtureRequest) -> str:
    """Each backend that PSF generators have and that works here."""
    return need(request.param)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """What the progress bar shows, as if it were on a terminal."""
    console = pytest.importorskip("rich.console").Console
    from fastdeblur.cli import progress

    shown = StringIO()
    monkeypatch.setattr(
        progress,
        "Console",
        lambda stderr: console(file=shown, force_terminal=True, width=120, color_system=None),
    )
    return shown


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)
