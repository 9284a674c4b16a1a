"""The architecture: who may import whom, and what an import brings along."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastdeblur

PACKAGE = Path(fastdeblur.__file__).parent
SOURCES = Path(__file__).resolve().parent.parent / "csrc"

# From the bottom up; a layer may import from the ones below it (and, within a layer, from its own).
LAYERS = (
    ("errors", "_version"),
    ("_geometry", "_isa", "_light"),
    ("_libraries", "_dlpack", "_arrays"),
    ("_checks",),
    ("ops",),
    ("backends",),
    ("_dispatch",),
    ("_device",),
    ("_problem",),
    ("methods", "psf"),
    ("plan", "estimate"),
    ("photo",),
    ("_dropin",),
    ("__init__",),
    ("scipy", "skimage", "nets", "train", "cli", "__main__"),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

# Names that a higher layer defines and a lower one needs only while it runs, inside a function.
LATE = {("backends", "methods"), ("psf", "backends")}

FILES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def layer_of(module):
    """The layer of "fastdeblur.methods.wiener" is "methods"."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def module_of(path):
    parts = list(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """(module, whether at import time) of every import of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for node in ast.walk(function)
    }
    typing_only = {
        id(node)
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and "TYPE_CHECKING" in ast.dump(test.test)
        for node in ast.walk(test)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in inside
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                known = node.module == "fastdeblur" and alias.name in RANK
                yield full if known else str(node.module), id(node) not in inside


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    layer = layer_of(module_of(path))
    assert layer in RANK, f"{layer}: no layer of the design; add it to LAYERS"
    for module, at_import in imports(path):
        if module.partition(".")[0] != "fastdeblur":
            continue
        other = layer_of(module)
        if other.startswith(("_core", "_isa_probe")):
            assert layer in ("_isa", "backends", "psf"), f"{path}: {module} is reached through _isa"
            continue
        allowed = RANK[other] <= RANK[layer] or (not at_import and (layer, other) in LATE)
        assert allowed, f"{path}: {layer} must not import {module}"


def test_only_dispatch_chooses_a_backend():
    users = {
        str(path.relative_to(PACKAGE))
        for path in FILES
        if re.search(r"\b(all_backends|get_backend)\(", path.read_text(encoding="utf-8"))
    }
    users = {u for u in users if not u.startswith(("backends", "cli", "psf"))}
    assert users == {"_dispatch.py"}


OPTIONAL = (
    "scipy",
    "numba",
    "cupy",
    "torch",
    "jax",
    "skimage",
    "typer",
    "rich",
    "PIL",
    "tifffile",
    "imagecodecs",
)


CORE_FILES = [
    p for p in FILES if layer_of(module_of(p)) not in LAYERS[-1]
]  # whoever imports those wants them


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_optional_packages_are_imported_late(path):
    for module, at_import in imports(path):
        assert not (at_import and module.partition(".")[0] in OPTIONAL), f"{path}: {module}"


def loaded_after(code):
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        cwd=Path(__file__).parent,  # not the root, whose source tree would hide an installed package
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in result.stdout.split()}


def test_import_pulls_in_nothing_optional():
    loaded = loaded_after("import fastdeblur")
    assert "numpy" in loaded
    assert loaded.isdisjoint(OPTIONAL)


def test_networks_pull_in_nothing_optional():
    code = "from fastdeblur import nets; nets.available(); nets.from_torch"
    assert loaded_after(code).isdisjoint(OPTIONAL)


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_computing_pulls_in_nothing_optional(backend):
    from conftest import need

    code = (
        "import numpy, fastdeblur\n"
        f"fastdeblur.wiener(numpy.ones((20, 30)), numpy.ones((3, 3)), 0.1, backend={need(backend)!r})\n"
        "psf = fastdeblur.psf.motion(5, 30)\n"
        f"fastdeblur.richardson_lucy(numpy.ones((20, 30)), psf, 3, backend={backend!r})"
    )
    assert loaded_after(code).isdisjoint(OPTIONAL)


# ----------------------------------------------------------------------------------------------- the C++ core

CPP_LAYERS = {  # directory: what it may include
    "core": {"core"},
    "psf": {"psf", "core"},
    "methods": {"methods", "core"},
    "blind": {"blind", "cpu", "core"},
    "cpu": {"cpu", "methods", "core"},
    "cuda": {"cuda", "methods", "psf", "core"},
    "cuda/nn": {"cuda", "nn", "core"},
    "ndimage": {"ndimage", "cpu", "core"},
    "signal": {"signal", "cpu", "core"},
    "restoration": {"restoration", "methods", "cpu", "core"},
    "nn": {"nn", "cpu", "core"},
    "bindings": {
        "bindings",
        "blind",
        "ndimage",
        "nn",
        "signal",
        "restoration",
        "methods",
        "psf",
        "cpu",
        "cuda",
        "core",
    },
}
# Of csrc/nn what says what a network is; the rest of it is the processor's engine.
NETWORKS = {"nn/node.h", "nn/activation.h", "nn/operation.h"}
CPP_FILES = sorted(p for p in SOURCES.rglob("*") if p.suffix in (".h", ".cpp", ".cu", ".cuh"))
needs_sources = pytest.mark.skipif(not SOURCES.is_dir(), reason="the C++ sources are not beside the tests")


@needs_sources
@pytest.mark.parametrize("path", CPP_FILES, ids=lambda p: str(p.relative_to(SOURCES)))
def test_includes_run_one_way(path):
    text = path.read_text(encoding="utf-8")
    folder = path.relative_to(SOURCES).parent.as_posix()
    layer = folder if folder in CPP_LAYERS else path.relative_to(SOURCES).parts[0]
    assert layer in CPP_LAYERS
    for included in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, re.M):
        top = included.partition("/")[0]
        if top == "ducc0":
            assert layer == "cpu", f"{path}: only cpu knows the FFT library"
            continue
        assert top in CPP_LAYERS, f"{path}: {included} is not given from csrc/"
        assert layer != "cuda/nn" or top != "nn" or included in NETWORKS, (
            f"{path}: {included} is the processor's"
        )
        if path.relative_to(SOURCES).as_posix() in NETWORKS:
            assert included in NETWORKS | {"core/host_device.h"}, f"{path}: {included} is the processor's"
        # The rasterisers use the one home of threads as well.
        assert top in CPP_LAYERS[layer] or included == "cpu/parallel.h", (
            f"{path}: {layer} must not include {included}"
        )
    for included in re.findall(r"^\s*#\s*include\s+<([^>]+)>", text, re.M):
        if included.startswith(("pybind11", "Python.h")):
            assert layer == "bindings", f"{path}: only bindings know Python"
        if included.startswith("ducc0"):
            assert layer == "cpu", f"{path}: only cpu knows the FFT library"
        if included == "omp.h":
            assert path.name == "parallel.h", f"{path}: parallel.h is the one home of OpenMP"
    if "pragma omp parallel" in text or re.search(r"\bomp_set_num_threads\b", text):
        assert path.name == "parallel.h", f"{path}: parallel.h is the one home of OpenMP"
    assert "omp_set_num_threads(" not in text
