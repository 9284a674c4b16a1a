"""`fastdeblur info`: what is installed here, and what it can run on."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from fastdeblur import __version__
from fastdeblur.backends import all_backends
from fastdeblur.cli.failure import reported


def cpu_model() -> str:
    """The processor's name as the operating system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def threads() -> int:
    """What n_threads=0 means: the core knows; where there is none, as many as OpenMP would start."""
    try:
        from fastdeblur.backends import native

        return native.default_threads()
    except ImportError:
        pass
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def isa() -> str:
    """The level of the compiled core in use, or why there is none."""
    try:
        from fastdeblur.backends import native

        return native.isa()
    except Exception as error:
        return f"none: {error}"


def gpu() -> list[str]:
    """A line for each device that a backend can use, and of what it would use; or why there is none."""
    from fastdeblur.backends import cuda, cupy_

    lines = []
    reason = cuda.why_not_cuda()
    if not reason:
        for found in cuda.core().devices():
            major, minor = found["compute_capability"]
            lines.append(
                f"cuda:{found['index']} {found['name']}, compute capability {major}.{minor}, {found['free'] / 1e9:.1f} of "
                f"{found['total'] / 1e9:.1f} GB free, driver {found['driver']}, CUDA {found['runtime']}, cuFFT {found['cufft']}"
            )
    if not cupy_.why_not_cupy():
        import cupy

        lines.append(f"CuPy {cupy.__version__}, {cupy.cuda.runtime.getDeviceCount()} device(s)")
    return lines or [f"none: {reason}"]


def gather() -> dict[str, Any]:
    """All of it, as JSON holds it."""
    return {
        "version": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "executable": sys.executable,
        "cpu": cpu_model(),
        "isa": isa(),
        "threads": threads(),
        "gpu": gpu(),
        "backends": {backend.name: backend.why_not(None) for backend in all_backends()},
    }


def info(
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object; a backend that works has an empty text.")
    ] = False,
) -> None:
    """Print version, platform, processor level, threads, and each backend with what keeps it from running."""
    with reported():
        found = gather()
        if as_json:
            typer.echo(json.dumps(found, indent=2))
            return
        from rich.console import Console
        from rich.table import Table

        table = Table(show_header=False, box=None, pad_edge=False)
        for name, value in found.items():
            if name == "gpu":
                for line in value:
                    table.add_row(name, line)
            elif name != "backends":
                table.add_row(name, str(value))
        for name, why_not in found["backends"].items():
            table.add_row(f"backend {name}", "ready" if not why_not else f"not here: {why_not}")
        Console(highlight=False, markup=False).print(table)
