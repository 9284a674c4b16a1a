"""What can go wrong, as one line on stderr and an exit code; no traceback for a user's mistake."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer

from fastdeblur.errors import FastdeblurError

USAGE, FAILED, INTERRUPTED, TERMINATED = 2, 1, 130, 143


class UsageError(Exception):
    """A wrong argument or an unusable file, found before any work: exit code 2."""


class WorkError(Exception):
    """Something failed while working: exit code 1."""


class Terminated(BaseException):
    """SIGTERM, raised as an exception so that temporary files are removed on the way out."""


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Terminated


def _say(kind: str, message: object) -> None:
    text = " ".join(str(message).split())
    print(f"fastdeblur: {kind}{text}", file=sys.stderr)


def note(message: str) -> None:
    """One line for the user about something that is not an error."""
    _say("note: ", message)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    _say("warning: ", message)


@contextmanager
def reported() -> Iterator[None]:
    """Turn exceptions into one line and an exit code, and warnings into one line."""
    previous: Any = None
    with warnings.catch_warnings():
        warnings.simplefilter("once")
        warnings.showwarning = _show_warning
        try:
            try:
                previous = signal.signal(signal.SIGTERM, _terminate)
            except ValueError:  # not in the main thread: signals are not ours to take
                previous = None
            yield
        except (UsageError, FastdeblurError) as error:
            _say("", error)
            raise typer.Exit(USAGE) from error
        except (WorkError, OSError) as error:
            _say("", error)
            raise typer.Exit(FAILED) from error
        except MemoryError as error:
            _say("", f"out of memory: {error}" if str(error) else "out of memory")
            raise typer.Exit(FAILED) from error
        except KeyboardInterrupt as error:
            _say("", "interrupted")
            raise typer.Exit(INTERRUPTED) from error
        except Terminated as error:
            _say("", "terminated")
            raise typer.Exit(TERMINATED) from error
        finally:
            if previous is not None:
                signal.signal(signal.SIGTERM, previous)
