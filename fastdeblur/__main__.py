"""``python -m fastdeblur SCRIPT [ARGS]``: run existing code unchanged, on our functions.

The program gets what Python would give it: its own ``__main__``, ``sys.argv`` and ``sys.path[0]``, its exit status, and tracebacks
that begin in its own files.
"""

from __future__ import annotations

import io
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from types import CodeType, ModuleType, TracebackType
from typing import Any, NoReturn

from fastdeblur._dropin.patching import patch
from fastdeblur._version import __version__
from fastdeblur.errors import InvalidArgument

USAGE = """\
usage: python -m fastdeblur SCRIPT [ARGS]       a file, or a folder or zip file with a __main__.py
       python -m fastdeblur -m MODULE [ARGS]
       python -m fastdeblur -c CODE [ARGS]
       python -m fastdeblur -h | --version

Runs a Python program unchanged, with the functions of scipy.signal, scipy.ndimage and skimage.restoration
that fastdeblur accelerates replaced by its own. The command for images is called `fastdeblur`, without python -m.
"""


class _NotFound(Exception):
    """The program that was asked for is not there; the message says what is missing."""


def main(arguments: list[str]) -> None:
    """Run what the command line names; leaves through `SystemExit` if that cannot be."""
    if not arguments:
        _refuse("expected a script, -m MODULE or -c CODE", USAGE)
    first, *rest = arguments
    if first in ("-h", "--help"):
        print(USAGE, end="")
        return
    if first == "--version":
        print(f"fastdeblur {__version__}")
        return
    if first[:2] in ("-m", "-c") and len(first) > 2:  # -mMODULE, as Python takes it
        first, rest = first[:2], [first[2:], *rest]
    if first in ("-m", "-c") and not rest:
        _refuse(f"{first}: expected an argument")
    if first.startswith("-") and first not in ("-m", "-c"):
        _refuse(f"unknown option {first}", USAGE)

    own_path = not getattr(sys.flags, "safe_path", sys.flags.isolated)
    if own_path and sys.path:
        # The current directory, which -m put there, is no place to find SciPy in: a script would not look there.
        del sys.path[0]
    try:
        patch()
    except InvalidArgument as error:
        _refuse(str(error))
    _hide_own_frames()
    try:
        if first == "-c":
            sys.argv = ["-c", *rest[1:]]
            _prepend("", own_path)
            _run(_code_of(rest[0]), {})
        elif first == "-m":
            sys.argv = ["-m", *rest[1:]]
            _prepend(os.getcwd(), own_path)
            spec = _module_spec(rest[0])
            sys.argv[0] = spec.origin or "-m"
            _run_spec(spec)
        else:
            sys.argv = [first, *rest]
            _run_path(first, own_path)
    except _NotFound as error:
        _refuse(str(error))


def _refuse(message: str, usage: str = "") -> NoReturn:
    print(f"python -m fastdeblur: {message}", file=sys.stderr)
    print(usage, end="", file=sys.stderr)
    raise SystemExit(2)


def _prepend(directory: str, own_path: bool) -> None:
    if own_path:
        sys.path.insert(0, directory)


def _run_path(path: str, own_path: bool) -> None:
    full = os.path.join(os.getcwd(), path)  # as Python does it: absolute, but not tidied up
    if os.path.isfile(full) and not _is_archive(full):
        try:
            with io.open_code(full) as file:
                source = file.read()
        except OSError as error:
            raise _NotFound(f"cannot read {path!r}: {error.strerror}") from None
        _prepend(os.path.dirname(os.path.realpath(full)), own_path)
        loader = SourceFileLoader("__main__", full)
        _run(_code_of(source, full), {"__file__": full, "__cached__": None, "__loader__": loader})
        return
    if not os.path.exists(full):
        raise _NotFound(f"no such file: {path!r}")
    # Also with -P: a folder or an archive is itself the place to look, as it is for Python.
    sys.path.insert(0, full)
    spec = PathFinder.find_spec("__main__", [full])
    if spec is None:
        raise _NotFound(f"no __main__.py in {path!r}")
    _run_spec(spec)


def _is_archive(path: str) -> bool:
    from zipfile import is_zipfile

    return not path.endswith((".py", ".pyw")) and is_zipfile(path)


def _module_spec(name: str) -> ModuleSpec:
    try:
        spec = find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = find_spec(f"{name}.__main__")
            if spec is None:
                raise _NotFound(
                    f"no module named {name}.__main__; {name!r} is a package and cannot be executed"
                )
    except (ModuleNotFoundError, ValueError) as error:
        missing = getattr(error, "name", None)
        if missing and missing != name and not name.startswith(f"{missing}."):
            raise  # the package is there, and something that it imports is not
        spec = None
    if spec is None:
        raise _NotFound(f"no module named {name}")
    return spec


def _run_spec(spec: ModuleSpec) -> None:
    loader: Any = spec.loader
    code = loader.get_code(spec.name) if hasattr(loader, "get_code") else None
    if code is None:
        raise _NotFound(f"no code object available for {spec.name}")
    _run(
        code,
        {
            "__spec__": spec,
            "__file__": spec.origin,
            "__cached__": spec.cached,
            "__loader__": spec.loader,
            "__package__": spec.parent,
        },
    )


def _code_of(source: bytes | str, filename: str = "<string>") -> CodeType:
    # Not our own `from __future__` statements.
    return compile(source, filename, "exec", dont_inherit=True)


def _run(code: CodeType, names: dict[str, Any]) -> None:
    """Execute the program as ``__main__``, which it stays: threads and pickles look there after its last line."""
    program = ModuleType("__main__")
    program.__dict__.update({"__builtins__": __builtins__, **names})
    sys.modules["__main__"] = program
    exec(code, program.__dict__)


def _hide_own_frames() -> None:
    """Show tracebacks from the program's first line on; a hook that the program sets itself comes after ours."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        inner = trace
        for own in (False, True):  # first those that called us, then ours
            while inner is not None and (inner.tb_frame.f_globals is globals()) is own:
                inner = inner.tb_next
        # A program that does not even compile has no frames; the error names file and line itself.
        if inner is None and not isinstance(error, SyntaxError):
            inner = trace
        before(kind, error.with_traceback(inner), inner)

    sys.excepthook = hook


if __name__ == "__main__":
    main(sys.argv[1:])
