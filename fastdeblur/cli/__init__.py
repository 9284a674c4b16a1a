"""The `fastdeblur` command. Its libraries (typer, rich, Pillow, tifffile, imagecodecs) are optional."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]

_REQUIRED = ("typer", "rich", "PIL", "tifffile", "imagecodecs")


def main() -> None:
    """Entry point of the command; leaves through `SystemExit`."""
    missing = [name for name in _REQUIRED if find_spec(name) is None]
    if missing:
        print(
            f'fastdeblur: the command needs {", ".join(missing)}: pip install "fastdeblur[cli]"',
            file=sys.stderr,
        )
        raise SystemExit(2)
    try:
        from fastdeblur.cli.app import app
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    app(prog_name="fastdeblur")
