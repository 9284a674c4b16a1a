"""Networks as users see them: images in, images out; errors before any work; tiles; summaries; every engine."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastdeblur
from conftest import need
from fastdeblur import nets
from fastdeblur.errors import InvalidArgument, ModelError, OutOfMemory, Unsupported
from fastdeblur.nets import engines
from fastdeblur.nets import model as models
from fastdeblur.nets.execute import execute, needed_bytes
from fastdeblur.nets.graph import Graph, Input, Output, encode, make_node, write
from fastdeblur.nets.numba_kernels import kernels as numba_kernels
from fastdeblur.nets.reference import Run
from fastdeblur.nets.tiles import axes_of, tiling

from nets_cases import CASES, PSF, SHAPES, expected, problem, run_of


def random_tensors(seed):
    rng = np.random.default_rng(seed)
    return lambda *shape: (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def unet(channels=3, window=5, step=(1, 1), **source):
    """Two scales with a skip, gates and attention: all of it local if the window is."""
    t = random_tensors(3)
    c = channels
    nodes = (
        make_node("conv2d", [0], {"padding": [1, 1, 1, 1]}, {"weight": t(4, c, 3, 3), "bias": t(4)}, "intro"),
        make_node("conv2d", [1], {"stride": [2, 2]}, {"weight": t(8, 4, 2, 2)}, "down"),
        make_node("layer_norm", [2]),
        make_node("linear", [3], {}, {"weight": t(16, 8)}),
        make_node(
            "conv2d", [4], {"padding": [1, 1, 1, 1], "groups": 16}, {"weight": t(16, 1, 3, 3), "bias": t(16)}
        ),
        make_node("simple_gate", [5]),
        make_node(
            "channel_attention",
            [6],
            {"window": [window] * 2 if window else None, "step": list(step)},
            {"weight": t(8, 8)},
        ),
        make_node("add", [7, 2]),
        make_node("gelu", [8]),
        make_node("linear", [9], {}, {"weight": t(16, 8)}),
        make_node("pixel_shuffle", [10]),
        make_node("add", [11, 1]),
        make_node("conv2d", [12], {"padding": [1, 1, 1, 1]}, {"weight": t(c, 4, 3, 3)}),
        make_node("add", [13, 0]),
        make_node("relu", [1]),  # of no use
    )
    return Graph("unet", "for the tests", Input(c, **source), Output(14), (2, 2), nodes)


def wiener_net(noise=True):
    t = random_tensors(4)
    nodes = (
        make_node("linear", [0], {}, {"weight": t(3, 1)}),
        make_node("fft_wiener", [1], {}, {"log_balance": np.full(3, -4, np.float32)}),
        make_node("linear", [2], {}, {"weight": t(1, 3)}),
    )
    return Graph("wiener", "for the tests", Input(1, psf=True, noise=noise), Output(3), (1, 1), nodes)


UNET = nets.Model(unet())
GREY = nets.Model(unet(channels=1))
WIENER = nets.Model(wiener_net())
ALL = [engine.name for engine in engines.ENGINES]


@pytest.fixture(params=ALL)
def engine(request):
    """Every engine that can run networks here."""
    chosen = next(e for e in engines.ENGINES if e.name == request.param)
    if why := chosen.why_not(UNET.graph):
        pytest.skip(why)
    return request.param


def scene(*shape, seed=1):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def rel(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


# -------------------------------------------------------------------------------------------- in and out


def test_every_engine_gives_what_the_reference_gives(engine):
    for shape in ((1, 1), (2, 3), (17, 23), (40, 31)):
        image = scene(3, *shape)
        wanted = execute(UNET.graph, image, Run(None, None), dtype=np.float64)
        got = UNET(image, channel_axis=0, backend=engine)
        assert got.dtype == np.float32
        assert rel(got, wanted) < 1e-5
    grey = scene(20, 33)
    kernel = fastdeblur.psf.motion(5, 30)
    wanted = execute(WIENER.graph, grey[None], Run(kernel, 0.02), dtype=np.float64)[0]
    assert rel(WIENER(grey, kernel * 7, noise=0.02, backend=engine), wanted) < 1e-4


def test_axes_batches_and_strides(engine):
    batch = scene(2, 2, 3, 12, 15)
    wanted = np.stack([[UNET(image, channel_axis=0, backend=engine) for image in row] for row in batch])
    last = np.moveaxis(batch, 2, -1)
    assert not last.flags.c_contiguous
    for given_, axis in ((batch, 2), (last, -1), (np.ascontiguousarray(last), 4), (batch[::-1], -3)):
        got = UNET(given_, channel_axis=axis, backend=engine)
        assert got.shape == given_.shape
        got = np.moveaxis(got, axis, 2)
        np.testing.assert_array_equal(got[::-1] if given_.strides[0] < 0 else got, wanted)
    out = np.full((2, 2, 12, 15, 3), np.nan, np.float32)
    view = out[:, :, :, ::-1]
    assert UNET(last[:, :, :, ::-1], channel_axis=-1, out=view, backend=engine) is view
    assert np.isfinite(out).all()


def test_a_network_of_one_channel_runs_channel_by_channel(engine):
    image = scene(18, 21, 4)
    got = GREY(image, channel_axis=-1, backend=engine)
    for c in range(4):
        np.testing.assert_array_equal(got[..., c], GREY(image[..., c], backend=engine))
    kernels = np.stack([PSF, PSF[::-1], PSF.T], -1)
    colour = scene(20, 22, 3)
    got = WIENER(colour, kernels, noise=0.01, channel_axis=-1, backend=engine)
    for c in range(3):
        wanted = WIENER(colour[..., c], kernels[..., c], noise=0.01, backend=engine)
        np.testing.assert_allclose(got[..., c], wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "bool", "float16", "float32", "float64", ">f4", ">u2"])
def test_every_dtype_has_its_white(dtype):
    kind = np.dtype(dtype)
    white = np.iinfo(kind).max if kind.kind == "u" else 1
    image = (scene(13, 14, 3) * white).astype(kind) if kind.kind != "b" else scene(13, 14, 3) > 0.5
    got = UNET(image, channel_axis=-1)
    wanted = UNET(np.asarray(image, np.float32) / np.float32(white), channel_axis=-1) * white
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted, atol=1e-6 * white)


def test_noise_is_measured_where_it_is_not_given():
    rng = np.random.default_rng(0)
    image = np.full((64, 80), 0.5) + 0.05 * rng.standard_normal((64, 80))
    measured = fastdeblur.estimate.noise(image.astype(np.float32))
    np.testing.assert_allclose(WIENER(image, PSF), WIENER(image, PSF, noise=measured), rtol=1e-5)
    eight = np.clip(image * 255, 0, 255).astype(np.uint8)
    np.testing.assert_allclose(
        WIENER(eight, PSF, noise=12.75), 255 * WIENER(eight / 255, PSF, noise=0.05), rtol=1e-4
    )
    flat = WIENER(np.full((32, 32), 0.25), PSF)
    np.testing.assert_allclose(flat, WIENER(np.full((32, 32), 0.25), PSF, noise=1e-3), rtol=1e-6)


def test_the_result_does_not_depend_on_threads(engine):
    image = scene(3, 61, 70)
    wanted = UNET(image, channel_axis=0, n_threads=1, backend=engine)
    for threads in (2, 3, 0):
        np.testing.assert_array_equal(UNET(image, channel_axis=0, n_threads=threads, backend=engine), wanted)


@pytest.mark.parametrize("case", [c for c in CASES if c.op in ("conv2d", "gelu", "layer_norm")], ids=str)
def test_numbas_kernels_are_the_references(case):
    need("numba")
    for threads in (1, 2):
        for seed, shape in enumerate(SHAPES):
            node, values = problem(case, shape, seed)
            singles = [v.astype(np.float32) for v in values]
            got = numba_kernels(threads)[case.op](node, *singles, run_of(case))
            wanted = expected(node, values)
            assert got.dtype == np.float32
            assert np.abs(got - wanted).max() <= 2e-5 * max(1, np.abs(wanted).max())


# -------------------------------------------------------------------------------------------------- tiles


@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    share=st.floats(0.05, 0.9),
    window=st.sampled_from([1, 2, 5]),
    step=st.sampled_from([(1, 1), (2, 3), (5, 1), (4, 4)]),
)
def test_tiles_give_the_same(shape, share, window, step):
    graph = unet(1, window, step)
    image = scene(1, *shape)
    limit = int(share * needed_bytes(graph, graph.shapes(*shape)))
    model = nets.Model(graph)
    try:
        got = model(image[0], max_memory=limit, backend="numpy")
    except OutOfMemory:
        return
    np.testing.assert_allclose(got, model(image[0], backend="numpy"), rtol=0, atol=1e-5)


def test_tiles_keep_to_the_limit():
    image = scene(3, 300, 400)
    whole = needed_bytes(UNET.graph, UNET.graph.shapes(300, 400))
    wanted = UNET(image, channel_axis=0, backend="numpy")
    for share in (1.0, 0.5, 0.2):
        tracemalloc.start()
        got = UNET(image, channel_axis=0, backend="numpy", max_memory=int(whole * share))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        np.testing.assert_allclose(got, wanted, atol=1e-5)
        assert peak <= whole * share * 1.2 + 2 * image.nbytes


def test_tiles_cover_the_frame_once():
    found = tiling(UNET.graph, 97, 130, 200_000)
    count = np.zeros((97, 130), int)
    for write_, read in found.tiles(97, 130):
        count[write_] += 1
        assert all(r.start <= w.start and w.stop <= r.stop for w, r in zip(write_, read, strict=True))
    assert (count == 1).all()
    axes = axes_of(UNET.graph)
    assert axes is not None
    assert axes[0].multiple == 2
    stepped = axes_of(unet(step=(3, 5)))
    assert stepped is not None
    assert [axis.multiple for axis in stepped] == [6, 10]  # tiles begin on a place of the whole frame's


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_too_little_memory_is_said(name):
    image = scene(64, 64)
    with pytest.raises(OutOfMemory, match="even in tiles"):
        GREY(image, max_memory=1000, backend=need(name))
    with pytest.raises(OutOfMemory, match="cannot be run in tiles"):
        nets.Model(unet(1, None))(image, max_memory=10_000, backend=name)
    with pytest.raises(OutOfMemory, match="'wiener' needs"):
        WIENER(image, PSF, noise=0.1, max_memory=10_000, backend=name)


def test_a_small_file_cannot_ask_for_a_terabyte():
    wide = np.ones((1 << 16, 1), np.float32)
    nodes = (
        make_node("linear", [0], {}, {"weight": wide}),
        make_node("instance_norm", [1]),
        make_node("linear", [2], {}, {"weight": wide.T.copy()}),
    )
    model = nets.Model(Graph("wide", "", Input(1), Output(3), (1, 1), nodes))
    with pytest.raises(OutOfMemory, match="the network 'wide' on a frame of 3000 x 3000 pixels: needs"):
        model(np.zeros((3000, 3000), np.float32), backend="numpy")


def test_a_machine_with_little_memory_gets_tiles(monkeypatch):
    image = scene(3, 200, 200)
    wanted = UNET(image, channel_axis=0, backend="numpy")
    whole = needed_bytes(UNET.graph, UNET.graph.shapes(200, 200))

    def refuse(needed, what, kept):
        if needed - kept > whole // 2:
            raise OutOfMemory(what)

    monkeypatch.setattr(models, "require_memory", refuse)
    monkeypatch.setattr(models, "available_memory", lambda: whole // 3)
    np.testing.assert_allclose(UNET(image, channel_axis=0, backend="numpy"), wanted, atol=1e-5)
    monkeypatch.setattr(models, "available_memory", lambda: 1000)
    with pytest.raises(OutOfMemory, match="the network 'unet' on a frame of 200 x 200 pixels"):
        UNET(image, channel_axis=0, backend="numpy")


# -------------------------------------------------------------------------------------------- bad input

COLOUR, FLAT = scene(16, 17, 3), scene(16, 17)


def holed(value):
    image = COLOUR.copy()
    image[3, 4, 1] = value
    return image


REFUSED = [
    (lambda: UNET(FLAT), r"channel_axis: expected the axis of the 3 channels"),
    (lambda: UNET(COLOUR), r"channel_axis: expected the axis of the 3 channels"),
    (lambda: UNET(np.dstack([COLOUR, FLAT]), channel_axis=-1), r"image: expected 3 channels along channel_axis=-1"),
    (lambda: UNET(COLOUR, channel_axis=3), r"channel_axis: expected -3 to 2"),
    (lambda: UNET(COLOUR, channel_axis=1.0), r"channel_axis: expected an integer"),
    (lambda: UNET(FLAT, channel_axis=0), r"image: expected \(..., H, W\) and channels"),
    (lambda: GREY(FLAT[0]), r"image: expected \(..., H, W\), got shape"),
    (lambda: GREY(0.5), r"image: expected \(..., H, W\)"),
    (lambda: GREY(COLOUR), r"looks like channels in the last axis"),
    (lambda: GREY(np.ones((0, 4))), r"image: expected at least one pixel"),
    (lambda: GREY("photo.jpg"), r"image: expected a real numeric dtype"),
    (lambda: GREY(FLAT * 1j), r"image: expected a real numeric dtype"),
    (lambda: GREY(FLAT.astype(np.int32)), r"image: expected float in 0..1, uint8, uint16 or bool, got int32"),
    (lambda: UNET(holed(np.nan), channel_axis=-1), r"image: expected finite values, got nan at index \(3, 4, 1\)"),
    (lambda: UNET(holed(np.inf), channel_axis=-1), r"image: expected finite values, got inf"),
    (lambda: UNET(holed(1e30), channel_axis=-1), r"image: expected values within"),
    (lambda: UNET(COLOUR, PSF, channel_axis=-1), r"psf: expected None for the network 'unet'"),
    (lambda: UNET(COLOUR, noise=0.1, channel_axis=-1), r"noise: expected None for the network 'unet'"),
    (lambda: WIENER(FLAT), r"psf: expected an array, which the network 'wiener' takes"),
    (lambda: WIENER(FLAT, PSF[0]), r"psf: expected 2-D \(h, w\)"),
    (lambda: WIENER(FLAT, np.ones((3, 3, 3, 3, 3))), r"psf: expected"),
    (lambda: WIENER(FLAT, PSF * 0), r"psf: expected a positive, finite sum"),
    (lambda: WIENER(FLAT, PSF * np.nan), r"psf: expected finite values"),
    (lambda: WIENER(FLAT, np.ones((99, 3))), r"psf: expected at most 33 pixels"),
    (lambda: WIENER(FLAT, PSF, noise=0), r"noise: expected a finite number > 0, got 0"),
    (lambda: WIENER(FLAT, PSF, noise=-1), r"noise: expected a finite number > 0, got -1"),
    (lambda: WIENER(FLAT, PSF, noise=[0.1]), r"noise: expected a finite number"),
    (lambda: WIENER(FLAT[:9], PSF), r"noise: expected a number for a frame of 9 x 17 pixels"),
    (lambda: GREY(FLAT, backend="cuda12"), r"backend: expected one of 'auto'"),
    (lambda: GREY(FLAT, n_threads=-1), r"n_threads: expected an integer >= 0"),
    (lambda: GREY(FLAT, max_memory=0), r"max_memory: expected an integer >= 1"),
    (lambda: GREY(FLAT, max_memory=1e6), r"max_memory: expected an integer"),
    (lambda: GREY(FLAT, out=np.empty((16, 17))), r"out: expected dtype float32"),
    (lambda: GREY(FLAT, out=FLAT), r"out: expected memory of its own"),
    (lambda: GREY(FLAT, out=np.empty((17, 16), np.float32)), r"out: expected shape"),
    (lambda: GREY.summary(5), r"shape: expected \(height, width\)"),
    (lambda: GREY.summary((5, 0)), r"shape: expected an integer >= 1"),
    (lambda: nets.load("sharp"), r"name_or_path: expected one of .* got 'sharp'"),
    (lambda: nets.load(""), r"name_or_path: expected a network's name or a file"),
    (lambda: nets.load(3), r"name_or_path: expected a network's name or a file"),
    (lambda: nets.load("nowhere/a.safetensors"), r"'nowhere/a.safetensors' cannot be read: No such file.*; networks that are"),
    (lambda: nets.load("a.safetensors"), r"cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "says"), REFUSED, ids=[says for _, says in REFUSED])
def test_bad_input_is_refused_with_its_rule(call, says):
    with pytest.raises(InvalidArgument, match=says):
        call()


def test_a_call_that_is_refused_leaves_out_alone():
    out = np.full(COLOUR.shape, 7, np.float32)
    with pytest.raises(InvalidArgument):
        UNET(holed(np.nan), channel_axis=-1, out=out)
    assert (out == 7).all()


def test_frames_too_small_for_a_layer_are_refused_by_its_name():
    t = random_tensors(0)
    attributes = {"padding": [3, 3, 3, 3], "padding_mode": "reflect"}
    node = make_node("conv2d", [0], attributes, {"weight": t(1, 1, 7, 7)}, "head")
    model = nets.Model(Graph("reflecting", "", Input(1), Output(1), (1, 1), (node,)))
    assert model(scene(4, 4)).shape == (4, 4)
    with pytest.raises(
        InvalidArgument, match=r"got 3 x 4 pixels: node 0 \(conv2d, 'head'\): it reflects 3 pixels"
    ):
        model(scene(3, 4))


def test_numbers_that_overflow_are_an_error_not_a_result():
    node = make_node("scale", [0], {}, {"scale": np.full(1, 1e30, np.float32)})
    model = nets.Model(Graph("loud", "", Input(1), Output(1), (1, 1), (node,)))
    with pytest.raises(InvalidArgument, match="overflow"):
        model(np.full((4, 4), 1e10, np.float32), backend="numpy")


def test_an_engine_that_cannot_is_not_replaced(monkeypatch):
    missing = engines.PlainEngine("numpy", lambda: "it is not here", lambda threads: {})
    monkeypatch.setattr(engines, "ENGINES", (missing, engines.ENGINES[-1]))
    with pytest.raises(Unsupported, match="backend: 'numpy' cannot run the network 'unet': it is not here"):
        UNET(COLOUR, channel_axis=-1, backend="numpy")
    assert engines.choose("auto", UNET.graph) is engines.ENGINES[-1]


# --------------------------------------------------------------------------------- names, files, summaries


def test_every_shipped_network_loads_and_has_a_card():
    for name in nets.available():
        model = nets.load(name)
        assert model.name == name
        assert model.description
        assert len(model.card) > 200
        shape = (24, 31) if model.channels == 1 else (24, 31, model.channels)
        axis = None if model.channels == 1 else -1
        image = 0.5 + 0.2 * scene(*shape)
        psf = fastdeblur.psf.motion(5, 30) if model.takes_psf else None
        got = model(image, psf, channel_axis=axis, noise=0.01 if model.takes_noise else None)
        assert got.shape == image.shape
        assert rel(got, image) < 0.5


def test_a_missing_name_is_answered_by_those_there_are(monkeypatch, tmp_path):
    write(tmp_path / "one.safetensors", UNET.graph)
    write(tmp_path / "two.safetensors", UNET.graph)
    (tmp_path / "two.md").write_text("# Two\n", encoding="utf-8")
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    assert nets.available() == ("one", "two")
    assert nets.load("two").card == "# Two\n"
    assert nets.load(tmp_path / "one.safetensors").card == ""
    with pytest.raises(ModelError, match="expected one of one, two, or a file"):
        nets.load("three")


def test_summary_counts_what_there_is():
    summary = UNET.summary((100, 140), backend="numpy")
    graph = UNET.graph
    assert summary.parameters == sum(t.size for node in graph.nodes for t in node.tensors.values())
    assert [layer.op for layer in summary.layers] == [node.op for node in graph.nodes]
    intro, down = summary.layers[:2]
    assert intro.macs == 3 * 4 * 9 * 100 * 140
    assert down.macs == 4 * 8 * 4 * 50 * 70
    assert down.shape == (8, 50, 70)
    assert summary.macs_per_pixel == sum(layer.macs for layer in summary.layers) / 14000
    assert summary.memory == needed_bytes(graph, graph.shapes(100, 140))
    assert dataclasses.asdict(summary)["layers"][0]["name"] == "intro"
    text = str(summary)
    assert "unet: for the tests" in text
    assert max(map(len, text.splitlines())) < 110
    assert WIENER.summary((64, 64)).receptive_field is None
    assert "the whole frame" in str(WIENER.summary((64, 64)))


def test_receptive_field_is_where_changes_show():
    rows, columns = UNET.summary((8, 8)).receptive_field
    image = scene(3, 64, 64)
    plain = UNET(image, channel_axis=0, backend="numpy")
    image[:, 31, 32] += 1
    where = np.argwhere((np.abs(UNET(image, channel_axis=0, backend="numpy") - plain) > 1e-5).any(0))
    extent = where.max(0) - where.min(0) + 1
    assert 10 < extent[0] <= rows
    assert 10 < extent[1] <= columns


def test_memory_of_a_run_is_what_was_said(tmp_path):
    image = scene(3, 200, 260)
    for window in (5, None):
        graph = unet(3, window)
        out = np.empty_like(image)
        tracemalloc.start()
        nets.Model(graph)(image, channel_axis=0, out=out, backend="numpy")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        said = needed_bytes(graph, graph.shapes(200, 260))
        assert said / 2 < peak < said * 1.25 + image.nbytes


def test_a_model_says_what_it_is():
    assert repr(UNET) == "<network 'unet': for the tests>"
    assert (UNET.channels, UNET.takes_psf, UNET.takes_noise, UNET.light) == (3, False, False, "srgb")
    assert (WIENER.channels, WIENER.takes_psf, WIENER.takes_noise) == (1, True, True)
    assert nets.Model(unet(light="linear")).light == "linear"
    assert encode(UNET.graph)
