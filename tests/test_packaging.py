"""The distributions: what is in them, and that they work where nothing else is.

Builds the source package, the binary wheel (repaired by auditwheel on Linux) and the pure-Python wheel, and
installs the wheels into an empty environment. Takes minutes and needs the package index; `-m "not packaging"`
leaves it out.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINUX = sys.platform == "linux"
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
LEVELS = platform.machine().lower() in ("x86_64", "amd64") and not sys.platform.startswith("win")

pytestmark = [
    pytest.mark.packaging,
    pytest.mark.skipif(not (ROOT / "CMakeLists.txt").exists(), reason="needs the whole source tree"),
]

# Computes with what is installed; run from a directory that has no fastdeblur in it.
USE = """
import sys
from pathlib import Path
import numpy as np
import fastdeblur

assert Path(fastdeblur.__file__).is_relative_to(sys.prefix), fastdeblur.__file__
image = np.random.default_rng(0).random((37, 50), dtype=np.float32)
psf = fastdeblur.psf.gaussian(1.5)
for backend in sys.argv[1:]:
    restored = fastdeblur.wiener(image, psf, 0.01, backend=backend)
    assert restored.shape == image.shape and np.isfinite(restored).all()
    estimate = fastdeblur.richardson_lucy(image, psf, 3, backend=backend)
    assert np.isfinite(estimate).all() and estimate.min() >= 0
print(fastdeblur.__version__)
"""

LEFT_OUT = ("FASTDEBLUR_", "PYTEST_", "PYTHON", "SKBUILD_")


def run(*command: object, cwd: Path, **env: str) -> str:
    """Runs a command apart from this checkout and this environment's settings; returns what it printed."""
    full = {k: v for k, v in os.environ.items() if not k.startswith(LEFT_OUT)}
    if "FASTDEBLUR_DUCC0_DIR" in os.environ:
        full["FASTDEBLUR_DUCC0_DIR"] = os.environ["FASTDEBLUR_DUCC0_DIR"]
    full["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), full.get("PATH", "")])
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**full, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 0, f"{command}: exit {result.returncode}\n{result.stdout[-8000:]}"
    return result.stdout


def build(kind: str, folder: Path, **env: str) -> Path:
    run(sys.executable, "-m", "build", f"--{kind}", "--outdir", folder, ROOT, cwd=folder, **env)
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    return build("sdist", tmp_path_factory.mktemp("sdist"))


def unpacked_here(folder: Path) -> Path | None:
    """The binary wheel of this checkout that pip made and unpacked when it installed the package, packed again; None if the
    package was not installed so.
    """
    installed = importlib.metadata.distribution("fastdeblur")
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    tags = re.findall(r"^Tag: (.+)$", installed.read_text("WHEEL") or "", re.M)
    here = origin.get("url") == ROOT.as_uri() and not origin.get("dir_info", {}).get("editable")
    if not here or tags == ["py3-none-any"]:
        return None
    made_by_pip = re.compile(r"^\.\.|__pycache__|\.dist-info/(INSTALLER|REQUESTED|direct_url\.json)$")
    wheel = folder / f"fastdeblur-{version()}-{tags[0]}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in installed.files or ():
            if made_by_pip.search(file.as_posix()):
                continue
            text = file.read_binary()
            if file.name == "RECORD":
                lines = text.decode().splitlines(keepends=True)
                text = "".join(
                    line for line in lines if not made_by_pip.search(line.partition(",")[0])
                ).encode()
            archive.writestr(file.as_posix(), text)
    return wheel


@pytest.fixture(scope="module")
def installed_wheel(tmp_path_factory) -> Path | None:
    return unpacked_here(tmp_path_factory.mktemp("installed"))


@pytest.fixture(scope="module")
def native_wheel(installed_wheel, tmp_path_factory) -> Path:
    """The one that was installed, or else one of a single instruction-set level, without the CUDA core, little optimised:
    compiling all of it as it should be takes minutes.
    """
    wheel = installed_wheel
    if wheel is None:
        quick = {"SKBUILD_CMAKE_BUILD_TYPE": "None", "CXXFLAGS": "-O1"} if LINUX else {}
        quick["CMAKE_ARGS"] = "-DFASTDEBLUR_CUDA=OFF" + LEVELS * " -DFASTDEBLUR_ISA_LEVELS=v2"
        wheel = build("wheel", tmp_path_factory.mktemp("native"), **quick)
    if not LINUX:
        return wheel
    folder = tmp_path_factory.mktemp("repaired")
    run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", folder, wheel, cwd=folder)
    (repaired,) = folder.iterdir()
    return repaired


@pytest.fixture(scope="module")
def pure_wheel(tmp_path_factory) -> Path:
    """Built as on a machine without a compiler: whatever asked for one would fail."""
    env = {"FASTDEBLUR_NATIVE": "0", "CC": "no-compiler", "CXX": "no-compiler", "CMAKE_GENERATOR": "none"}
    return build("wheel", tmp_path_factory.mktemp("pure"), **env)


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """An environment with NumPy and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    run(folder / SCRIPTS / "python", "-m", "pip", "install", "--quiet", "numpy", cwd=folder)
    return folder


def install(environment: Path, wheel: Path) -> Path:
    python = environment / SCRIPTS / "python"
    run(python, "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel, cwd=environment)
    return python


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def version() -> str:
    text = (ROOT / "fastdeblur" / "_version.py").read_text(encoding="utf-8")
    return re.search(r'__version__ = "(.+)"', text)[1]


def test_sdist_has_what_a_build_needs_and_no_more(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert sdist.name == f"fastdeblur-{version()}.tar.gz"
    assert names >= {
        "CMakeLists.txt",
        "LICENSE",
        "LICENSES/ducc0-fft.txt",
        "README.md",
        "csrc/bindings/isa_probe.cpp",
        "csrc/bindings/module.cpp",
        "csrc/cmake/cuda.cmake",
        "csrc/cmake/ducc0.cmake",
        "csrc/cuda/deconvolver_f32.cu",
        "csrc/cmake/isa.cmake",
        "fastdeblur/_isa.py",
        "fastdeblur/py.typed",
        "pyproject.toml",
        "tests/test_packaging.py",
    }
    junk = re.compile(
        r"(^|/)(\.(?!clang-format)\w|(__pycache__|build|dist|wheelhouse)(/|$))|\.(so|pyd|pyc|o|whl)$"
    )
    assert [name for name in names if junk.search(name)] == []


def test_native_wheel(native_wheel):
    names = contents(native_wheel)
    info = f"fastdeblur-{version()}.dist-info"
    modules = {re.sub(r"\..*", "", name) for name in names if re.search(r"\.(so|pyd)$", name) and "/" in name}
    if LEVELS:
        ours = {name.partition("/")[2] for name in modules if name.startswith("fastdeblur/")}
        assert {"_core_v2", "_isa_probe"} <= ours
    assert {"fastdeblur/py.typed", "fastdeblur/_isa_probe.pyi"} <= names
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/LICENSES/ducc0-fft.txt"} <= names
    assert {name.partition("/")[0] for name in names} <= {"fastdeblur", "fastdeblur.libs", info}
    assert [name for name in names if re.search(r"\.(h|cpp|cmake|pyc)$", name)] == []
    if LINUX:
        assert re.search(r"-(many|musl)linux_\d+_\d+_", native_wheel.name)


def nvcc_compiles(folder: Path) -> bool:
    """Whether there is an nvcc that is new enough and takes this machine's compiler."""
    nvcc = os.environ.get("CUDACXX") or shutil.which("nvcc")
    if nvcc is None:
        return False
    (folder / "empty.cu").touch()
    new_enough = False
    for options in (["--version"], ["-c", "empty.cu"]):
        result = subprocess.run([nvcc, *options], cwd=folder, capture_output=True, text=True, check=False)
        if result.returncode:
            return False
        if release := re.search(r"release (\d+)\.(\d+)", result.stdout):
            new_enough = tuple(map(int, release.groups())) >= (12, 8)
    return new_enough


def test_native_wheel_has_the_cuda_core(installed_wheel, tmp_path):
    if installed_wheel is None:
        pytest.skip("the wheel that is built for these tests goes without")
    if os.environ.get("FASTDEBLUR_CUDA", "AUTO").upper() in ("OFF", "FALSE", "NO", "0"):
        pytest.skip("FASTDEBLUR_CUDA is off")
    if not nvcc_compiles(tmp_path):
        pytest.skip("there is no nvcc that works")
    assert any(name.startswith("fastdeblur/_cuda.") for name in contents(installed_wheel))


def test_native_wheel_is_small(native_wheel):
    """About 10 MB with all that there is; twice that means that something came in which does not belong there."""
    assert native_wheel.stat().st_size <= 20e6


def test_pure_wheel(pure_wheel):
    assert pure_wheel.stat().st_size <= 5e6
    assert pure_wheel.name == f"fastdeblur-{version()}-py3-none-any.whl"
    assert [name for name in contents(pure_wheel) if re.search(r"\.(so|pyd|h|cpp)$", name)] == []


@pytest.mark.parametrize("kind", ["native_wheel", "pure_wheel"])
def test_metadata(kind, request):
    fields = metadata(request.getfixturevalue(kind))
    assert fields["Version"] == version()
    assert fields["License-Expression"] == "BSD-3-Clause"
    assert fields["Requires-Python"] == ">=3.10"
    assert [r for r in fields.get_all("Requires-Dist") if "extra ==" not in r] == ["numpy>=1.24"]
    extras = {"cli", "cuda", "cupy", "demo", "numba", "train", "test", "bench", "dev"}
    assert set(fields.get_all("Provides-Extra")) == extras


def test_native_wheel_works_alone(native_wheel, environment, tmp_path):
    python = install(environment, native_wheel)
    assert run(python, "-c", USE, "native", "numpy", cwd=tmp_path).strip() == version()


def test_pure_wheel_works_alone(pure_wheel, environment, tmp_path):
    python = install(environment, pure_wheel)
    assert run(python, "-c", USE, "numpy", "auto", cwd=tmp_path).strip() == version()
    why_not = run(python, "-c", "from fastdeblur import _isa; print(_isa.why_not())", cwd=tmp_path)
    assert "without its compiled core" in why_not


def test_command_without_its_extra_says_what_to_install(pure_wheel, environment, tmp_path):
    install(environment, pure_wheel)
    result = subprocess.run(
        [environment / SCRIPTS / "fastdeblur", "info"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert 'pip install "fastdeblur[cli]"' in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake on the PATH")
def test_build_refuses_a_folder_without_ducc0(tmp_path):
    options = [f"-DFASTDEBLUR_DUCC0_DIR={tmp_path}", "-DFASTDEBLUR_PYTHON=OFF"]
    result = subprocess.run(
        ["cmake", "-S", ROOT, "-B", tmp_path / "build", *options], capture_output=True, text=True, check=False
    )
    assert result.returncode != 0
    assert "FASTDEBLUR_DUCC0_DIR: expected the folder" in re.sub(r"\s+", " ", result.stderr)
