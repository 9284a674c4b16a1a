"""Importing fastdeblur is quick and brings in nothing heavy that is not used yet."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "scipy",
    "numba",
    "llvmlite",
    "cupy",
    "torch",
    "jax",
    "skimage",
    "PIL",
    "tifffile",
    "typer",
    "rich",
    "pytest",
)


def run(code: str, tmp_path) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    return result.stdout


def test_import_is_light(tmp_path):
    code = "import sys, fastdeblur; print(*sys.modules)"
    loaded = {name.partition(".")[0] for name in run(code, tmp_path).split()}
    assert loaded.isdisjoint(HEAVY)


def test_import_adds_little_to_numpy(tmp_path):
    code = (
        "import numpy, time\n"
        "begun = time.process_time()\n"
        "import fastdeblur\n"
        "print(time.process_time() - begun)"  # not the time that others had
    )
    assert min(float(run(code, tmp_path)) for _ in range(5)) < 0.15


def test_every_public_name_exists(tmp_path):
    code = "import fastdeblur; print(*[name for name in fastdeblur.__all__ if not hasattr(fastdeblur, name)])"
    assert run(code, tmp_path).split() == []


def test_import_leaves_the_cuda_core_alone(tmp_path):
    code = (
        "import sys, numpy, fastdeblur\n"
        "fastdeblur.wiener(numpy.ones((9, 8)), numpy.ones((3, 3)), 0.1)\n"
        "print('fastdeblur._cuda' in sys.modules)"
    )
    assert run(code, tmp_path).strip() == "False"
