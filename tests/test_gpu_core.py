"""The backend over the compiled CUDA core, against a stand-in that keeps the core's contract without a GPU."""

from __future__ import annotations

import numpy as np
import pytest

import fastdeblur
import standin_cuda
import standin_cupy
from conftest import why_not
from fastdeblur import DeviceError, InvalidArgument, OutOfMemory, Unsupported
from fastdeblur.backends import get_backend
from standin_cuda import FakeTensor

from cases import CASES

pytestmark = pytest.mark.skipif(bool(why_not("native")), reason="the stand-in needs the native core")

PSF = np.ones((3, 3))
IMAGE = np.random.default_rng(5).uniform(0.1, 1, (20, 30)).astype(np.float32)


@pytest.fixture
def core():
    with standin_cuda.installed() as made:
        yield made


@pytest.fixture
def cupy():
    if standin_cupy.COMPILER is None:
        pytest.skip("no compiler for the kernels")
    with standin_cupy.installed() as module:
        yield module


SOME = [
    c
    for i, c in enumerate(CASES)
    if i % 7 == 0 or "everything" in c.name or "tol" in c.name or "holed" in c.name
]


@pytest.mark.parametrize("problem", SOME, ids=str)
def test_host_arrays(problem, dtype, core):
    result = problem.run("cuda", dtype)
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, problem.run("native", dtype, n_threads=1))
    assert core.calls == [("plan", 0), ("run", {False}, 0)]


@pytest.mark.parametrize("problem", SOME, ids=str)
def test_device_arrays_are_used_where_they_are(problem, dtype, core, cupy):
    arguments = {"image": problem.image(dtype), **problem.arguments(dtype)}
    moved = {
        k: cupy.asarray(v) if isinstance(v, np.ndarray) and k != "reg" else v for k, v in arguments.items()
    }
    result = problem.function()(**moved, psf=problem.psf)
    assert type(result) is cupy.ndarray
    np.testing.assert_array_equal(result.get(), problem.run("native", dtype, n_threads=1))
    assert core.calls[0][0] == "plan"
    assert core.calls[-1] == ("run", {True}, 1)


def test_a_library_of_nobody_s(core):
    """With out=, no library needs to make anything."""
    out = np.empty((20, 30), np.float32)
    given = FakeTensor(out, stream=9)
    returned = fastdeblur.wiener(FakeTensor(IMAGE, stream=9), PSF, 0.1, out=given, backend="cuda")
    assert returned is given
    np.testing.assert_array_equal(out, fastdeblur.wiener(IMAGE, PSF, 0.1, backend="native"))


def test_a_call_waits_where_memory_may_be_given_to_others(core, cupy):
    """A library of nobody's may hand it out as soon as the array is gone; CuPy does so in the stream's order."""
    bytes_ = (IMAGE * 200).astype(np.uint8)
    fastdeblur.wiener(FakeTensor(bytes_, stream=9), PSF, 0.1, out=FakeTensor(np.empty_like(IMAGE)))
    assert core.calls[-2:] == [("run", {True}, 9), ("synchronize", 0, 9)]
    fastdeblur.wiener(cupy.asarray(bytes_), PSF, 0.1)
    fastdeblur.wiener(bytes_, PSF, 0.1, device="cuda")
    assert len([c for c in core.calls if c[0] == "synchronize"]) == 1
    weights = FakeTensor(np.ones_like(IMAGE))
    fastdeblur.richardson_lucy(cupy.asarray(bytes_), PSF, 2, weights=weights)
    assert core.calls[-1] == ("synchronize", 0, 1)


def test_strides(core):
    backing = np.zeros((40, 60), np.float32)
    for image in (IMAGE[::-1, ::-1].copy()[::-1, ::-1], np.asfortranarray(IMAGE)):
        out = backing[::2, ::-2]
        fastdeblur.wiener(FakeTensor(image), PSF, 0.1, out=FakeTensor(out))
        np.testing.assert_array_equal(out, fastdeblur.wiener(IMAGE, PSF, 0.1, backend="native"))
        assert not backing[1::2].any()


def test_the_stream_of_the_image_is_the_call_s(core, cupy):
    with cupy.cuda.ExternalStream(77):
        image = cupy.asarray(IMAGE)
        fastdeblur.wiener(image, PSF, 0.1)
    assert core.calls[-1] == ("run", {True}, 77)


def test_memory_comes_from_the_library_s_pool(core, cupy):
    fastdeblur.wiener(cupy.asarray(IMAGE), PSF, 0.1)
    fastdeblur.wiener(cupy.asarray(IMAGE), PSF, 0.1)
    [allocator] = [c for c in core.calls if c[0] == "allocator"]
    assert callable(allocator[1])
    assert callable(allocator[2])


def test_host_arrays_leave_the_core_its_own_pool(core, cupy):
    fastdeblur.wiener(IMAGE, PSF, 0.1, device="cuda")
    assert not [c for c in core.calls if c[0] == "allocator"]


def test_a_bad_image_is_told_as_on_the_host(core, cupy):
    image = IMAGE.copy()
    image[4, 7] = np.nan
    for given in (image, cupy.asarray(image)):
        with pytest.raises(
            InvalidArgument, match=r"image: expected finite values, got nan at index \(4, 7\)"
        ):
            fastdeblur.wiener(given, PSF, 0.1, device="cuda")


def test_a_callback_sees_the_result_s_kind_and_may_raise(core, cupy):
    seen = []

    def callback(state):
        seen.append(state.estimate())
        if state.iteration == 2:
            raise RuntimeError("mine")

    for image in (IMAGE, cupy.asarray(IMAGE)):
        with pytest.raises(RuntimeError, match=r"^mine$") as caught:
            fastdeblur.richardson_lucy(image, PSF, callback=callback, device="cuda")
        assert type(caught.value) is RuntimeError
    assert [type(x) for x in seen] == [np.ndarray] * 2 + [cupy.ndarray] * 2
    np.testing.assert_array_equal(seen[1], seen[3].get())
    with pytest.raises(KeyboardInterrupt):
        fastdeblur.richardson_lucy(IMAGE, PSF, callback=interrupt, device="cuda")


def interrupt(state):
    raise KeyboardInterrupt


def test_out_of_memory_says_what_to_do(core):
    core.fail = [standin_cuda.OutOfDeviceMemory(5_000_000_000, 1_230_000_000)]
    with pytest.raises(
        OutOfMemory, match=r"5.00 GB could not be had: 1.23 GB are free. Restore the image in tiles"
    ):
        fastdeblur.wiener(IMAGE, PSF, 0.1, device="cuda")
    plan = fastdeblur.Deconvolver(IMAGE.shape, PSF, device="cuda")
    plan.wiener(IMAGE, 0.1)
    core.fail = [standin_cuda.OutOfDeviceMemory(5_000_000_000, 1_230_000_000)]
    with pytest.raises(OutOfMemory):
        plan.richardson_lucy(IMAGE)
    expected = fastdeblur.wiener(IMAGE, PSF, 0.1, backend="native")
    np.testing.assert_array_equal(plan.wiener(IMAGE, 0.1), expected)


def test_a_failing_device(core):
    core.fail = [RuntimeError("an illegal memory access was encountered")]
    with pytest.raises(DeviceError, match="device: cuda:1 failed: an illegal memory access"):
        fastdeblur.wiener(IMAGE, PSF, 0.1, device="cuda:1")
    fastdeblur.wiener(IMAGE, PSF, 0.1, device="cuda:1")


def test_a_plan_for_each_device(core, cupy):
    plan = fastdeblur.Deconvolver(IMAGE.shape, PSF)
    expected = fastdeblur.wiener(IMAGE, PSF, 0.1, backend="native")
    second = cupy.ndarray(IMAGE, device=1)
    for image in (IMAGE, cupy.asarray(IMAGE), second, IMAGE, second):
        result = plan.wiener(image, 0.1)
        np.testing.assert_array_equal(result if image is IMAGE else result.get(), expected)
    assert [c for c in core.calls if c[0] == "plan"] == [("plan", 0), ("plan", 1)]


def test_float16_on_the_device(core, cupy):
    image = IMAGE.astype(np.float16)
    result = fastdeblur.wiener(cupy.asarray(image), PSF, 0.1)
    np.testing.assert_array_equal(result.get(), fastdeblur.wiener(image, PSF, 0.1, backend="native"))


def test_the_core_comes_before_cupy(core, cupy):
    fastdeblur.wiener(cupy.asarray(IMAGE), PSF, 0.1)
    assert core.calls


def test_estimate_of_memory(core):
    arguments = ("richardson_lucy", (100, 120), (5, 5))
    assert fastdeblur.estimate_memory(*arguments, device="cuda") == fastdeblur.estimate_memory(
        *arguments, backend="native", n_threads=1
    )


def test_why_not():
    with standin_cuda.installed(devices=0):
        assert get_backend("cuda").why_not() == "there is no CUDA device"
        with pytest.raises(Unsupported, match="backend: 'cuda' cannot run wiener: there is no CUDA device"):
            fastdeblur.wiener(IMAGE, PSF, 0.1, backend="cuda")
    with standin_cuda.installed(devices=1):
        assert get_backend("cuda").why_not_device(0) == ""
        assert get_backend("cuda").why_not_device(3) == "there is no cuda:3, only 1 device"


# ------------------------------------------------------------------------------------------------- command line


@pytest.fixture
def cli():
    testing = pytest.importorskip("typer.testing")
    pytest.importorskip("rich")
    from fastdeblur.cli import app

    return lambda *arguments: testing.CliRunner().invoke(app.app, list(arguments))


def test_info_lists_the_gpus(core, cli):
    result = cli("info")
    assert result.exit_code == 0
    line = (
        "cuda:0 Stand-in, compute capability 9.0, 84.8 of 85.9 GB free, driver 13000, CUDA 13000, cuFFT 12.0"
    )
    assert line in " ".join(result.stdout.split())


def test_deblur_on_a_device(core, cli, tmp_path, monkeypatch):
    tifffile = pytest.importorskip("tifffile")
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("in.tif", IMAGE)
    common = ("deblur", "in.tif", "--psf", "gaussian:1", "-n", "3", "-q")
    for name, more in (("cpu.tif", ()), ("gpu.tif", ("--device", "cuda:1"))):
        result = cli(*common, "-o", name, *more)
        assert result.exit_code == 0, result.output
    assert {c[1] for c in core.calls if c[0] == "plan"} == {1}
    np.testing.assert_allclose(tifffile.imread("gpu.tif"), tifffile.imread("cpu.tif"), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--psf", "gaussian:1", "--device", "gpu"), "--device: expected 'cpu', 'cuda'"),
        (("--psf", "gaussian:1", "--device", "cuda:9"), "device: 'cuda:9' cannot be used"),
        (("--device", "cuda"), "--device: needs --psf"),
    ],
)
def test_deblur_on_no_device(arguments, says, core, cli, tmp_path, monkeypatch):
    tifffile = pytest.importorskip("tifffile")
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("in.tif", IMAGE)
    result = cli("deblur", "in.tif", "-o", "out.tif", "-q", *arguments)
    assert result.exit_code != 0
    assert says in result.output
    assert not (tmp_path / "out.tif").exists()
