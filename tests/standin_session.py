"""A plugin for pytest: the stand-in that FASTDEBLUR_STANDIN names is there for the whole session, as what it stands for."""

from __future__ import annotations

import os
from contextlib import ExitStack

_session = ExitStack()


def pytest_sessionstart() -> None:
    if os.environ["FASTDEBLUR_STANDIN"] == "cuda":
        import standin_cuda as standin
    else:
        import standin_cupy as standin
    _session.enter_context(standin.installed())


def pytest_sessionfinish() -> None:
    _session.close()
