"""`pytest benchmarks` runs the suites; a plain `pytest` never comes here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import threads  # noqa: F401  (before NumPy and everything else that starts threads)

# isort: split
import pytest

from speed_cases import Case, Peer
from suites import prepared


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.option.benchmark_skip = False


@pytest.fixture
def timed(benchmark: object) -> Callable[[Case, Peer | None], None]:
    def run(case: Case, peer: Peer | None) -> None:
        benchmark.group = case.title  # type: ignore[attr-defined]
        benchmark.pedantic(prepared(case, peer), rounds=5, warmup_rounds=1)  # type: ignore[attr-defined]

    return run
