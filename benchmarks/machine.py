"""The machine: what it is (no name, no paths), whether it is quiet, how fast it copies."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import metadata
from itertools import pairwise
from pathlib import Path

import numpy as np

from threads import THREADS

PACKAGES = ("fastdeblur", "numpy", "scipy", "scikit-image", "pyfftw", "ducc0", "diplib", "itk-core")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{re.escape(name)}\s*[:=]\s*\"?(.*?)\"?\s*$", text, re.MULTILINE)
    return found.group(1) if found else ""


def cpu_name() -> str:
    """The model's name; virtual machines hide it, so family, model and stepping go with it."""
    text = _read("/proc/cpuinfo")
    name = _field(text, "model name")
    if name:
        numbers = [_field(text, f) for f in ("cpu family", "model", "stepping")]
        return f"{name} (family {numbers[0]}, model {numbers[1]}, stepping {numbers[2]})"
    if platform.system() == "Darwin":
        return subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        ).stdout.strip()
    return platform.processor() or platform.machine()


def caches() -> dict[str, str]:
    """Size and sharing of the first processor's caches, "L3": "32768K for 2 CPUs" say."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size, shared = (
            _read(str(index / f)).strip() for f in ("level", "type", "size", "shared_cpu_list")
        )
        if kind != "Instruction":
            found[f"L{level}"] = f"{size} shared by CPUs {shared}"
    return found


def core_module() -> tuple[str, str]:
    """The compiled core's instruction-set level and its compiler."""
    from fastdeblur import _isa
    from fastdeblur.backends import native

    if why := _isa.why_not():
        return "", why
    binary = Path(str(_isa.load_core().__file__)).read_bytes()
    found = re.search(rb"GCC: \([^\0]*\) ([0-9.]+)|clang version ([0-9.]+)", binary)
    if not found:
        return native.isa(), ""
    return native.isa(), f"GCC {found[1].decode()}" if found[1] else f"clang {found[2].decode()}"


def commit() -> str:
    """The source tree's commit, "-modified" if the library has changes; empty where there is no Git."""

    def git(*arguments: str) -> str:
        root = Path(__file__).resolve().parent
        try:
            return subprocess.run(
                ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return ""

    name = git("rev-parse", "--short=12", "HEAD")
    changed = git("status", "--porcelain", "--", "../fastdeblur", "../csrc", "../CMakeLists.txt")
    return f"{name}-modified" if name and changed else name


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    if "fastdeblur" not in found:
        import fastdeblur

        found["fastdeblur"] = fastdeblur.__version__
    return found


def describe() -> dict[str, object]:
    isa, compiler = core_module()
    memory = _field(_read("/proc/meminfo"), "MemTotal").split()
    system = _field(_read("/etc/os-release"), "PRETTY_NAME") or f"{platform.system()} {platform.release()}"
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "caches": caches(),
        "memory_gib": round(int(memory[0]) / 2**20, 1) if memory else None,
        "system": f"{system}, {platform.system()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
        "isa": isa,
        "compiler": compiler,
        "threads": THREADS,
    }


def provenance() -> dict[str, object]:
    """Where, when disturbed by what, and of which versions a run is; to be asked for before it begins."""
    return {
        "machine": describe(),
        "disturbance": disturbance(),
        "commit": commit(),
        "versions": versions(),
    }


def disturbance() -> str:
    """What else keeps the processors busy, in words; empty on a quiet machine."""

    def ticks() -> tuple[int, int]:
        values = [int(v) for v in _read("/proc/stat").split("\n", 1)[0].split()[1:]]
        return (sum(values[:8]) - values[3] - values[4], sum(values[:8])) if values else (0, 0)

    busy, total = ticks()
    time.sleep(1.0)
    busy_after, total_after = ticks()
    share = (busy_after - busy) / max(1, total_after - total)
    if share > 0.05:
        return f"other work takes {100 * share:.0f} % of the processors"
    # Load lags behind, so it is believed only where the processors cannot be looked at.
    if not total and hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.5:
        return f"the load average is {os.getloadavg()[0]:.1f}"
    return ""


def copy_bandwidth(megabytes: int, seconds: float = 1.5) -> float:
    """Bytes per second, read + written, of NumPy copying one array into another with THREADS threads; the
    best of many copies.

    megabytes: of both arrays together. Copies far larger than the caches measure memory, smaller ones the
    caches.
    """
    count = megabytes * 2**20 // 8
    source, target = np.ones(count, np.float32), np.ones(count, np.float32)
    edges = [count * i // THREADS for i in range(THREADS + 1)]
    parts = [slice(a, b) for a, b in pairwise(edges)]
    best = 0.0
    repeats = max(1, 64 // megabytes)

    def copy(part: slice) -> None:
        into, out_of = target[part], source[part]
        for _ in range(repeats):
            np.copyto(into, out_of)

    with ThreadPoolExecutor(THREADS) as pool:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            begin = time.perf_counter()
            list(pool.map(copy, parts))
            best = max(best, repeats * 2 * source.nbytes / (time.perf_counter() - begin))
    return best
