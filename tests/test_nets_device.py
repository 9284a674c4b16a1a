"""Networks on a device, against a stand-in that keeps the compiled core's contract without a GPU."""

from __future__ import annotations

import gc
import os
import weakref

import numpy as np
import pytest

import fastdeblur
import standin_cuda
import standin_cupy
from conftest import why_not
from fastdeblur import DeviceError, InvalidArgument, OutOfMemory, Unsupported, _libraries, nets
from fastdeblur.nets.engines import CUDA, ENGINES
from fastdeblur.nets.graph import Graph, Input, Output, make_node
from standin_cuda import FakeTensor

WITHOUT_GPU = bool(why_not("cuda"))
needs_native = pytest.mark.skipif(bool(why_not("native")), reason="the stand-in needs the native core")
RNG = np.random.default_rng(3)
RGB = RNG.uniform(0, 1, (14, 22, 3)).astype(np.float32)
GREY = RGB[..., 0].copy()
PSF = np.ones((3, 5))


def network(channels=3, *, psf=False, noise=False, weight=0.5):
    tensors = {"weight": np.full((channels, channels, 3, 3), weight / 9, np.float32)}
    nodes = [make_node("conv2d", [0], {"padding": [1, 1, 1, 1]}, tensors)]
    if psf:
        nodes.append(make_node("fft_wiener", [1], {}, {"log_balance": np.full(channels, -4, np.float32)}))
    nodes.append(make_node("add", [len(nodes), 0], {}, {}))
    given = Input(channels, psf=psf, noise=noise)
    return nets.Model(Graph("net", "", given, Output(len(nodes)), (1, 1), tuple(nodes)))


@pytest.fixture
def core():
    with standin_cuda.installed() as made:
        yield made
    fastdeblur.set_device(None)


@pytest.fixture
def cupy():
    if standin_cupy.COMPILER is None:
        pytest.skip("no compiler for the kernels")
    with standin_cupy.installed() as module:
        yield module


def runs(core):
    return [c[1:] for c in core.calls if c[0] == "run net"]


@needs_native
def test_a_network_that_is_dropped_leaves_nothing(core):
    """Neither on the device nor in host memory: what is kept for a network goes with it."""
    model = network()
    model(RGB, channel_axis=-1)
    model(RGB, channel_axis=-1, device="cuda")
    kept = [weakref.ref(CUDA.net(model._graph, 0, "float16")), weakref.ref(ENGINES[0]._net(model._graph))]
    assert all(ref() is not None for ref in kept)
    del model
    gc.collect()
    assert all(ref() is None for ref in kept)


@needs_native
def test_host_arrays_stay_on_the_cpu_unless_told(core):
    model = network()
    wanted = model(RGB, channel_axis=-1)
    model(RGB, channel_axis=-1, device="cpu")
    assert not core.calls
    made = [
        model(RGB, channel_axis=-1, device="cuda"),
        model(RGB, channel_axis=-1, device="cuda:1", precision="bfloat16"),
        model(RGB, channel_axis=-1, backend="cuda", precision="float32"),
    ]
    fastdeblur.set_device("cuda:1")
    made.append(model(RGB, channel_axis=-1))
    with fastdeblur.use_device("cpu"):
        model(RGB, channel_axis=-1)
    model(RGB, channel_axis=-1, backend="native")
    for each in made:
        assert type(each) is np.ndarray
        assert each.dtype == np.float32
        np.testing.assert_allclose(each, wanted, rtol=1e-6, atol=1e-6)
    assert [c for c in core.calls if c[0] == "net"] == [
        ("net", 0, "float16"),
        ("net", 1, "bfloat16"),
        ("net", 0, "float32"),
        ("net", 1, "float16"),
    ]
    assert runs(core) == [({False}, 0)] * 4


@needs_native
def test_a_network_is_packed_once_for_a_device(core):
    model = network()
    for _ in range(3):
        model(RGB, channel_axis=-1, device="cuda")
    assert [c[0] for c in core.calls].count("net") == 1


@needs_native
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float64, np.longdouble, bool], ids=str)
def test_every_dtype_has_its_white(core, dtype):
    white = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    image = (RGB * white).astype(dtype)
    wanted = network()(image, channel_axis=-1)
    for given in (image, image[::-1, ::-1].copy()[::-1, ::-1]):
        made = network()(given, channel_axis=-1, device="cuda")
        np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-5 * white)


@needs_native
def test_device_arrays_are_used_where_they_are(core, cupy):
    model = network()
    for image, axis in ((RGB, -1), (np.stack([RGB, 1 - RGB]), 3), (np.moveaxis(RGB, -1, 0), 0)):
        made = model(cupy.asarray(image), channel_axis=axis)
        assert type(made) is cupy.ndarray
        assert made.dtype == np.float32
        np.testing.assert_allclose(made.get(), model(image, channel_axis=axis), rtol=1e-6, atol=1e-6)
    assert runs(core)[0] == ({True}, 1)
    assert any(c[0] == "allocator" for c in core.calls)
    with cupy.cuda.ExternalStream(77):
        model(cupy.asarray(RGB), channel_axis=-1)
    assert runs(core)[-1] == ({True}, 77)
    byte = (RGB * 255).astype(np.uint8)
    made = model(cupy.asarray(byte), channel_axis=-1)
    np.testing.assert_allclose(made.get(), model(byte, channel_axis=-1), rtol=1e-5)


@needs_native
def test_out_is_written_where_it_is(core, cupy):
    model = network()
    wanted = model(RGB, channel_axis=-1)
    out = np.zeros((14, 44, 3), np.float32)
    given = FakeTensor(out[:, ::2], stream=9)
    assert model(FakeTensor(RGB, stream=5), channel_axis=-1, out=given) is given
    np.testing.assert_allclose(out[:, ::2], wanted, rtol=1e-6, atol=1e-6)
    assert not out[:, 1::2].any()
    host = np.empty_like(RGB)
    assert model(RGB, channel_axis=-1, out=host, device="cuda") is host
    np.testing.assert_allclose(host, wanted, rtol=1e-6, atol=1e-6)
    with pytest.raises(InvalidArgument, match=r"out: expected an array on cuda:0, as the image is"):
        model(cupy.asarray(RGB), channel_axis=-1, out=host)


@needs_native
def test_channels_one_by_one_with_psf_and_noise(core, cupy):
    model = network(1, psf=True, noise=True)
    big = RNG.uniform(0, 1, (20, 24, 3)).astype(np.float32)
    for noise in (0.02, None):
        wanted = model(big, PSF, channel_axis=-1, noise=noise)
        made = model(big, PSF, channel_axis=-1, noise=noise, device="cuda")
        np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-5)
        there = model(cupy.asarray(big), cupy.asarray(PSF), channel_axis=-1, noise=noise)
        np.testing.assert_allclose(there.get(), wanted, rtol=1e-5, atol=1e-5)
    # A plan is kept for frames of one size and PSF.
    plans = [c for c in core.calls if c[0] == "plan"]
    assert plans == [("plan", 0)]
    each = np.stack([PSF, PSF.cumsum(0), PSF.cumsum(1)], -1)
    made = model(big, each, channel_axis=-1, noise=0.01, device="cuda")
    np.testing.assert_allclose(made, model(big, each, channel_axis=-1, noise=0.01), rtol=1e-5, atol=1e-5)


@needs_native
def test_bad_images_are_told_as_on_the_host(core, cupy):
    model = network()
    image = RGB.copy()
    image[4, 7, 1] = np.nan
    with pytest.raises(InvalidArgument, match=r"image: expected finite values, got nan at index \(4, 7, 1\)"):
        model(image, channel_axis=-1, device="cuda")
    with pytest.raises(InvalidArgument, match=r"image: expected finite values, got nan at index \(1, 4, 7\)"):
        model(cupy.asarray(image), channel_axis=-1)
    huge = network(weight=1e38)
    with pytest.raises(InvalidArgument, match=r"its numbers overflow in float16; precision='float32' may"):
        huge(RGB * 1e3, channel_axis=-1, device="cuda")
    with pytest.raises(InvalidArgument, match=r"its numbers overflow in float32$"):
        huge(RGB * 1e3, channel_axis=-1, device="cuda", precision="float32")


@needs_native
def test_a_bad_image_that_nobody_can_look_through(core, monkeypatch):
    monkeypatch.setattr(_libraries, "find_spec", lambda name: None)
    image = np.full_like(RGB, np.inf)
    with pytest.raises(InvalidArgument, match=r"image: expected finite values within \+-1e\+12, got others"):
        network()(FakeTensor(image), channel_axis=-1, out=FakeTensor(RGB.copy()))


@needs_native
def test_features_that_a_wiener_filter_refuses(core):
    with pytest.raises(InvalidArgument, match="its numbers overflow in float16"):
        network(1, psf=True, weight=1e38)(GREY * 1e3, PSF, device="cuda")


@needs_native
def test_failures(core):
    model = network()
    lacking = "which 5.00 GB could not be had: 1.23 GB are free. Restore the image in parts"
    for what, times in (
        ("is set up on cuda:0, for", 1),
        ("takes about .* GB on cuda:0 for a frame of 14 x 22 pixels, of", 2),
    ):
        core.fail = [standin_cuda.OutOfDeviceMemory(5_000_000_000, 1_230_000_000)] * times
        with pytest.raises(OutOfMemory, match=f"the network 'net' {what} {lacking}"):
            model(RGB, channel_axis=-1, device="cuda")
        model(RGB, channel_axis=-1, device="cuda")
    core.fail = [RuntimeError("an illegal address")]
    with pytest.raises(DeviceError, match=r"device: cuda:0 failed: an illegal address"):
        model(RGB, channel_axis=-1, device="cuda")
    with pytest.raises(
        OutOfMemory, match=r"max_memory: the network 'net' takes .* bytes on the device .* got 10$"
    ):
        model(RGB, channel_axis=-1, device="cuda", max_memory=10)
    np.testing.assert_allclose(
        model(RGB, channel_axis=-1, device="cuda"), model(RGB, channel_axis=-1), rtol=1e-6, atol=1e-6
    )


@needs_native
def test_what_was_kept_for_larger_frames_is_given_back_where_memory_is_short(core):
    """Where the network asks, and where one of its filters does; the filter's plan is gone before the next is made."""
    model = network(1, psf=True)
    wanted = model(GREY, PSF, device="cuda")
    for times, before in ((2, []), (3, [None])):
        core.fail = [standin_cuda.OutOfDeviceMemory(5_000_000_000, 1_230_000_000), *before]
        np.testing.assert_array_equal(model(GREY, PSF, device="cuda"), wanted)
        assert core.calls.count(("release",)) == times - 1
        assert core.calls.count(("plan", 0)) == times
        assert core.most_plans == 1


@needs_native
def test_memory_counts_the_plans_of_wiener_filters(core):
    model = network(1, psf=True)
    net = CUDA.net(model._graph, 0, "float16")
    own = int(net._net.memory(200, 300))
    assert model.summary((200, 300), device="cuda").memory - own > 2 * 4 * 200 * 300
    needed = net.memory(*GREY.shape, PSF.shape)
    with pytest.raises(OutOfMemory, match=f"max_memory: the network 'net' takes {needed:,} bytes"):
        model(GREY, PSF, device="cuda", max_memory=needed - 1)
    model(np.ones((100, 120), np.float32), PSF, device="cuda")
    assert net.kept() > needed
    model(GREY, PSF, device="cuda", max_memory=needed)
    assert ("release",) in core.calls


REFUSED = [
    ({"device": "gpu"}, "device: expected 'cpu', 'cuda' or 'cuda:' and a number"),
    (
        {"precision": "half"},
        "precision: expected one of 'auto', 'float16', 'bfloat16', 'float32', got 'half'",
    ),
    ({"precision": 16}, "precision: expected one of"),
    ({"precision": "float16"}, "precision: expected 'float32' .* on the CPU, got 'float16'"),
    ({"backend": "cuda", "device": "cpu"}, "backend: 'cuda' computes on a CUDA device, got device='cpu'"),
    (
        {"backend": "native", "device": "cuda"},
        "backend: 'native' computes in host memory, got .*device='cuda:0'",
    ),
    ({"backend": "cupy"}, "backend: expected one of"),
]


@needs_native
@pytest.mark.parametrize(("options", "says"), REFUSED, ids=str)
def test_what_contradicts_itself_is_refused(core, options, says):
    with pytest.raises(InvalidArgument, match=says):
        network()(RGB, channel_axis=-1, **options)
    with pytest.raises(InvalidArgument, match=says):
        network().summary((20, 30), **options)
    assert not core.calls


@needs_native
def test_a_device_that_is_not_there(core):
    with pytest.raises(
        DeviceError, match=r"device: 'cuda:7' cannot be used for networks: there is no cuda:7"
    ):
        network()(RGB, channel_axis=-1, device="cuda:7")
    with pytest.raises(
        Unsupported, match=r"backend: 'cuda' cannot run the network 'net': there is no cuda:7"
    ):
        network()(RGB, channel_axis=-1, device="cuda:7", backend="cuda")
    with pytest.raises(InvalidArgument, match=r"image: expected an array on cuda:1, as device='cuda:1' says"):
        network()(FakeTensor(RGB), channel_axis=-1, device="cuda:1")


@pytest.mark.skipif(not WITHOUT_GPU, reason="there is a GPU")
def test_without_a_gpu():
    with pytest.raises(DeviceError, match=r"device: 'cuda:0' cannot be used for networks: "):
        network()(RGB, channel_axis=-1, device="cuda")
    with pytest.raises(Unsupported, match=r"backend: 'cuda' cannot run the network 'net': "):
        network()(RGB, channel_axis=-1, backend="cuda")


@needs_native
def test_a_summary_tells_the_device_s_memory(core):
    summary = network().summary((20, 30), device="cuda")
    assert summary.backend == "cuda"
    assert summary.memory > 0


@needs_native
def test_the_command(core, tmp_path, monkeypatch):
    pytest.importorskip("typer")
    pytest.importorskip("rich")
    image = pytest.importorskip("PIL.Image")
    from typer.testing import CliRunner

    from fastdeblur.cli.app import app
    from fastdeblur.nets.graph import write

    monkeypatch.chdir(tmp_path)
    image.fromarray((RGB * 255).astype(np.uint8)).save("in.png")
    write("net.safetensors", network().graph)
    arguments = ["deblur", "in.png", "-o", "out.png", "--model", "net.safetensors", "--device"]
    result = CliRunner().invoke(app, [*arguments, "cuda:1"])
    assert result.exit_code == 0, result.output
    assert ("net", 1, "float16") in core.calls
    assert os.path.exists("out.png")
    result = CliRunner().invoke(app, [*arguments, "cuda", "--precision", "float32", "--overwrite"])
    assert result.exit_code == 0, result.output
    assert ("net", 0, "float32") in core.calls
    for more, says in (
        (["--model", "net.safetensors"], "precision: expected 'float32'"),
        ([], "--precision: needs --model"),
    ):
        result = CliRunner().invoke(
            app, ["deblur", "in.png", "-o", "other.png", *more, "--precision", "float16"]
        )
        assert result.exit_code != 0
        assert says in result.output
        assert not os.path.exists("other.png")
    for device, says in (("tpu", "--device: expected 'cpu'"), ("cuda:9", "there is no cuda:9")):
        result = CliRunner().invoke(app, [*arguments[:3], "other.png", *arguments[4:], device])
        assert result.exit_code != 0
        assert says in result.output
        assert not os.path.exists("other.png")
