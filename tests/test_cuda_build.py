"""The compiled CUDA core on any machine: it loads, says why it cannot compute, refuses clearly, keeps to its contract; and how it
is configured. What it computes is tested in tests/cpp/cuda_*.cpp, and on a GPU by the parity tests.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastdeblur
import standin_cuda
from conftest import skip_or_fail
from fastdeblur import DeviceError, InvalidArgument
from fastdeblur._geometry import Frame
from fastdeblur.backends import cuda as backend
from fastdeblur.backends import get_backend

ROOT = Path(__file__).resolve().parent.parent
PSFS = np.ones((1, 3, 3), np.float32) / 9
FRAME = Frame.of((20, 30), (3, 3), "reflect")


@pytest.fixture(scope="module")
def core():
    try:
        return backend.core()
    except ModuleNotFoundError:
        skip_or_fail("cuda", "this installation has no CUDA core")


@pytest.fixture
def no_device(core):
    if not core.why_not():
        pytest.skip("there is a GPU")
    return core


def test_it_says_why_not(core):
    reason = core.why_not()
    assert isinstance(reason, str)
    assert "\n" not in reason
    assert reason == get_backend("cuda").why_not()
    if reason:
        assert re.search(r"NVIDIA driver|CUDA device|cuFFT|compute capability|memory pools", reason)


def test_devices(core):
    found = core.devices()
    assert len(found) == core.device_count()
    for info in found:
        assert info.keys() == {
            "index", "name", "compute_capability", "total", "free", "driver", "runtime", "cufft"
        }  # fmt: skip
    assert re.fullmatch(r"\d+(,\d+)*", core.architectures)


def test_importing_fastdeblur_leaves_it_alone(core):
    code = "import sys, fastdeblur; sys.exit('fastdeblur._cuda' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / "tests", check=True)


def test_it_links_to_nothing_of_nvidia_s(core):
    if sys.platform != "linux" or shutil.which("readelf") is None:
        pytest.skip("reads what ELF says")
    shown = subprocess.run(
        ["readelf", "-d", core.__file__], capture_output=True, text=True, check=True
    ).stdout
    needed = re.findall(r"NEEDED.*\[(.+)\]", shown)
    assert needed
    assert [n for n in needed if re.search(r"cuda|cufft|nv", n)] == []


# ------------------------------------------------------------------------------------------------ the contract


def signature(function):
    """Names of the arguments, from the stand-in's code or from what pybind11 writes at the docstring's head."""
    if inspect.isfunction(function):
        return [name for name in inspect.signature(function).parameters if name != "self"]
    head = function.__doc__.partition(") ->")[0].partition("(")[2]
    return [name for name in re.findall(r"(\w+): ", head) if name != "self"]


@pytest.mark.parametrize("suffix", ["F32", "F64"])
def test_the_stand_in_takes_what_it_takes(core, suffix):
    ours, theirs = (getattr(m, f"Deconvolver{suffix}") for m in (core, standin_cuda.module()))
    for method in ("wiener", "richardson_lucy"):
        assert signature(getattr(ours, method)) == signature(getattr(theirs, method))
    own = {"calls", "fail", "plans", "most_plans"}
    names = {n for n in vars(standin_cuda.module()) if not n.startswith("__")} - own
    assert names <= set(dir(core))


def plan(**changed):
    given = {"frame": FRAME, "psfs": PSFS, "device": 0, "keep": True, **changed}
    return backend.CudaPlan(*given.values())


def test_a_plan_is_refused_without_a_device(no_device):
    reason = re.escape(no_device.why_not())
    with pytest.raises(DeviceError, match=f"^device: cuda:0 failed: {reason}$"):
        plan()
    with pytest.raises(DeviceError):
        plan(psfs=PSFS.astype(np.float64), device=7)


def test_a_call_is_refused_without_a_device(no_device):
    with pytest.raises(fastdeblur.errors.FastdeblurError, match=re.escape(no_device.why_not())):
        fastdeblur.wiener(np.ones((20, 30)), np.ones((3, 3)), 0.1, device="cuda")
    with pytest.raises(fastdeblur.Unsupported, match=re.escape(no_device.why_not())):
        fastdeblur.wiener(np.ones((20, 30)), np.ones((3, 3)), 0.1, backend="cuda")


def test_psfs_are_refused_without_a_device(no_device):
    values = np.ones(2)
    for make in (
        lambda out: no_device.psf_motion(device=0, lengths=values, angles=values, out=out, stream=0),
        lambda out: no_device.psf_defocus(device=0, radii=values, out=out, stream=0),
    ):
        with pytest.raises(RuntimeError, match=re.escape(no_device.why_not())):
            make((0, "<f4", (2, 5, 5)))
    with pytest.raises(RuntimeError):
        no_device.psf_gaussian(device=0, sigmas=np.ones((2, 3)), out=(0, "<f8", (2, 1, 5, 5)), stream=0)


@pytest.mark.parametrize(
    ("out", "error", "says"),
    [
        ((0, "<f4", (3, 5, 5)), ValueError, r"radii: expected shape \(3\)"),
        ((0, "<f4", (2, 5)), ValueError, "out: expected 3 axes"),
        ((0, "<f2", (2, 5, 5)), TypeError, "out: expected float32 or float64, got <f2"),
        ((0, "<f4"), ValueError, "out: expected"),
    ],
)
def test_psfs_are_written_where_they_fit(core, out, error, says):
    with pytest.raises(error, match=says):
        core.psf_defocus(device=0, radii=np.ones(2), out=out, stream=0)


def test_a_misfit_is_an_invalid_argument(core):
    """What the core says of arguments is the caller's to mend, and no failure of the device."""
    guarded = backend.CudaPlan.__new__(backend.CudaPlan)
    guarded._device = 0
    with pytest.raises(InvalidArgument, match="stream: expected one of cuda:0"), guarded._guarded("wiener"):
        raise ValueError("stream: expected one of cuda:0")


def test_an_allocator_is_two_functions(core):
    core.set_allocator(None, None)
    with pytest.raises(ValueError, match="allocate, release: expected two functions, or None twice"):
        core.set_allocator(lambda size, device, stream: 0, None)


def test_out_of_memory_is_a_memory_error(core):
    assert issubclass(core.OutOfDeviceMemory, MemoryError)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("boundary", ["reflect", "zero", "periodic", "unknown"])
def test_memory_is_counted_without_a_device(core, boundary, dtype):
    """At least the spectrum and the transfer function, and not twice what the processor's backend takes of images."""
    frame = Frame.of((200, 300), (9, 9), boundary)
    count = get_backend("cuda").memory
    item = np.dtype(dtype).itemsize
    spectrum = frame.grid[0] * (frame.grid[1] // 2 + 1) * 2 * item
    wiener = count("wiener", frame, np.dtype(dtype), {})
    plain = count("richardson_lucy", frame, np.dtype(dtype), {})
    assert 2 * spectrum <= wiener <= plain <= 6 * spectrum
    more = {"acceleration": "biggs-andrews", "weights": True, "psfs": 3, "planes": 9}
    assert count("richardson_lucy", frame, np.dtype(dtype), more) > plain + 2 * spectrum


# ---------------------------------------------------------------------------------------------------- the build


@pytest.fixture
def configure(tmp_path):
    """CMake's words about csrc/cmake/cuda.cmake alone."""
    cmake = shutil.which("cmake")
    if cmake is None or not (ROOT / "csrc" / "cmake" / "cuda.cmake").is_file():
        pytest.skip("needs cmake and the whole source tree")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20...4.0)\nproject(only_cuda LANGUAGES NONE)\n"
        f'list(APPEND CMAKE_MODULE_PATH "{(ROOT / "csrc" / "cmake").as_posix()}")\n'
        "if(NOT DEFINED FASTDEBLUR_PYTHON)\n  set(FASTDEBLUR_PYTHON ON)\nendif()\n"
        'include(cuda)\nmessage(STATUS "has ${fastdeblur_has_cuda} for ${cuda_architectures}")\n'
    )

    def run(*options, ok=True, **env):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("FASTDEBLUR_", "CUDA"))}
        result = subprocess.run(
            [cmake, "-S", tmp_path, "-B", tmp_path / "build", *NO_NVCC, *options],
            env={**kept, **env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (result.returncode == 0) is ok, result.stdout + result.stderr
        return re.sub(r"\s+", " ", result.stdout + result.stderr)

    return run


# A machine without nvcc, whatever this one has.
NO_NVCC = (
    "-DCMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH=OFF",
    "-DCMAKE_FIND_USE_CMAKE_SYSTEM_PATH=OFF",
    "-DCMAKE_MAKE_PROGRAM=make",  # never run: there is no language
    f"-DPython_EXECUTABLE={Path(sys.executable).as_posix()}",
)


@pytest.fixture
def no_nvcc_packages():
    try:
        import nvidia.cu13  # noqa: F401
    except ImportError:
        return
    pytest.skip("this environment has nvcc from NVIDIA's packages")


def test_without_nvcc_the_core_is_left_out(configure, no_nvcc_packages):
    said = configure()
    assert "fastdeblur: no CUDA core: nvcc was not found" in said
    assert "has OFF" in said


def test_on_without_nvcc_is_an_error(configure, no_nvcc_packages):
    assert "FASTDEBLUR_CUDA is ON, but nvcc was not found" in configure("-DFASTDEBLUR_CUDA=ON", ok=False)


def test_off(configure):
    said = configure(FASTDEBLUR_CUDA="OFF", FASTDEBLUR_CUDA_ARCHITECTURES="100,90")
    assert "fastdeblur: no CUDA core: FASTDEBLUR_CUDA is OFF" in said
    assert "has OFF for 90;100" in said


def test_without_python_there_is_none(configure):
    assert "no CUDA core: without Python modules there is none" in configure("-DFASTDEBLUR_PYTHON=OFF")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"FASTDEBLUR_CUDA": "maybe"}, 'FASTDEBLUR_CUDA: expected AUTO, ON or OFF, got "maybe"'),
        (
            {"FASTDEBLUR_CUDA_ARCHITECTURES": "sm_90"},
            'FASTDEBLUR_CUDA_ARCHITECTURES: expected numbers from 80 on such as 90, got "sm_90"',
        ),
    ],
)
def test_nonsense_is_refused(configure, options, says):
    assert says in configure(ok=False, **options)


# What CMake asks of a compiler, it asks of these; none gets as far as compiling.
BROKEN = {
    "fails at once": "exit 1",
    "refuses the host's compiler": """case "$*" in *--version*) echo "Cuda compilation tools, release 13.0, V13.0.88"; exit 0;; esac
echo "host_config.h: error: #error -- unsupported GNU version!" >&2
exit 1""",
}


@pytest.fixture(params=BROKEN)
def broken_nvcc(request):
    """Writes an nvcc that does not work."""
    if os.name == "nt":
        pytest.skip("the broken compiler is a shell script")

    def write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{BROKEN[request.param]}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture(params=["CUDACXX", "PATH", "packages"])
def with_broken_nvcc(request, configure, broken_nvcc, tmp_path):
    """CMake's words where the nvcc that it finds does not work, by each way of finding one."""
    if request.param == "CUDACXX":
        nvcc = broken_nvcc(tmp_path / "nvcc")
        route, env = [], {"CUDACXX": str(nvcc)}
    elif request.param == "PATH":
        nvcc = broken_nvcc(tmp_path / "bin" / "nvcc")
        route = ["-DCMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH=ON"]
        env = {"PATH": os.pathsep.join([str(nvcc.parent), os.environ["PATH"]])}
    else:
        nvcc = broken_nvcc(tmp_path / "site" / "nvidia" / "cu13" / "bin" / "nvcc")
        # Regular packages, that they go before those which are installed.
        for folder in (nvcc.parents[1], nvcc.parents[2]):
            (folder / "__init__.py").touch()
        route, env = [], {"PYTHONPATH": str(tmp_path / "site")}
    return nvcc, lambda *options, ok=True: configure(*route, *options, ok=ok, **env)


def test_an_nvcc_that_does_not_work(with_broken_nvcc):
    nvcc, run = with_broken_nvcc
    said = run()
    assert f"no CUDA core: nvcc does not work with this compiler ({nvcc})" in said
    assert "has OFF" in said


def test_on_with_an_nvcc_that_does_not_work(with_broken_nvcc):
    nvcc, run = with_broken_nvcc
    said = run("-DFASTDEBLUR_CUDA=ON", ok=False)
    assert f"FASTDEBLUR_CUDA is ON, but nvcc does not work with this compiler ({nvcc})" in said


def test_nvidia_s_packages_link(configure, tmp_path):
    """Their nvcc looks for the runtime in lib64/, and they have it in lib/."""
    if os.name == "nt":
        pytest.skip("the compiler is a shell script")
    nvcc, seen = tmp_path / "cu13" / "bin" / "nvcc", tmp_path / "seen"
    for folder in (nvcc.parent, tmp_path / "cu13" / "lib"):
        folder.mkdir(parents=True)
    (tmp_path / "cu13" / "lib" / "libcudart_static.a").touch()
    nvcc.write_text(f'#!/bin/sh\necho "$NVCC_APPEND_FLAGS" >"{seen}"\nexit 1\n')
    nvcc.chmod(0o755)
    configure(CUDACXX=str(nvcc), NVCC_APPEND_FLAGS="-w")
    assert seen.read_text().strip() == f'-w -L"{nvcc.parents[1] / "lib"}"'


def test_an_nvcc_that_works_is_used_once_it_is_mended(configure, tmp_path):
    """Also by a build folder in which it did not."""
    found = shutil.which("nvcc")
    if found is None or os.name == "nt" or not all(map(shutil.which, ("c++", "make"))):
        pytest.skip("needs nvcc, a compiler and make")
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    options = ["-DCMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH=ON", f"-DCMAKE_MAKE_PROGRAM={shutil.which('make')}"]
    env = {"PATH": os.pathsep.join([str(nvcc.parent), os.environ["PATH"]])}
    nvcc.write_text("#!/bin/sh\nexit 1\n")
    nvcc.chmod(0o755)
    assert "has OFF" in configure(*options, **env)
    nvcc.write_text(f'#!/bin/sh\nexec "{found}" "$@"\n')
    said = configure(*options, **env)
    if "12.8 is needed" in said:
        pytest.skip("an nvcc that is too old")
    assert "has ON" in said
    assert f"CMAKE_CUDA_COMPILER:STRING={nvcc}" in (tmp_path / "build" / "CMakeCache.txt").read_text()
