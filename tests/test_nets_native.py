"""Networks on the compiled core against the reference in float64."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdeblur import _isa
from fastdeblur.errors import ModelError, OutOfMemory
from fastdeblur.nets.execute import execute
from fastdeblur.nets.graph import Graph, Input, Output, make_node
from fastdeblur.nets.layers import LAYERS
from fastdeblur.nets.reference import Run

import nets_cases

REQUIRED = "native" in os.environ.get("FASTDEBLUR_REQUIRE", "")
pytestmark = pytest.mark.skipif(bool(_isa.why_not()) and not REQUIRED, reason=_isa.why_not() or "never")

PSF = np.random.default_rng(1).random((5, 8))
PSF /= PSF.sum()
FRAMES = [(33, 47), (16, 16), (1, 1), (5, 130), (97, 3)]


def graph(*nodes, channels=3, multiple_of=(1, 1), psf=False, noise=False, output=None):
    return Graph(
        "test",
        "a network of the tests",
        Input(channels, 1.5, -0.25, psf=psf, noise=noise),
        Output(len(nodes) if output is None else output, 0.5, 0.1),
        multiple_of,
        tuple(nodes),
    )


def tensors(rng, **shapes):
    """Weights of about 1 over the number of numbers that they gather."""
    made = {}
    for name, shape in shapes.items():
        gathered = np.prod(shape[1:]) if len(shape) > 1 else 1
        made[name] = (rng.standard_normal(shape) / np.sqrt(gathered)).astype(np.float32)
    return made


def test_what_a_run_leaves_to_the_next_is_counted_once(monkeypatch):
    from fastdeblur.nets import model as models

    rng = np.random.default_rng(2)
    nodes = (
        make_node("conv2d", [0], {"padding": [1, 1, 1, 1]}, tensors(rng, weight=(16, 1, 3, 3))),
        make_node("instance_norm", [1]),
        make_node("conv2d", [2], {"padding": [1, 1, 1, 1]}, tensors(rng, weight=(1, 16, 3, 3))),
    )
    model = models.Model(graph(*nodes, channels=1))
    image = rng.random((200, 180), np.float32)
    asked = []
    monkeypatch.setattr(models, "require_memory", lambda needed, what, kept: asked.append((needed, kept)))
    for _ in range(2):
        model(image, backend="native", n_threads=1)
    (needed, nothing), (again, kept) = asked
    assert nothing == 0
    assert again == needed
    assert 4 * 16 * image.size <= kept <= needed
    # Where memory is limited, nothing larger than the frame needs is taken over.
    from fastdeblur.nets.engines import ENGINES

    engine = next(e for e in ENGINES if e.name == "native")
    limit = engine.memory(model.graph, 196, 180, 1, None)
    model(image[:196], backend="native", n_threads=1, max_memory=limit)
    assert engine.kept(model.graph) <= limit
    assert engine.kept(model.graph) < kept


@pytest.mark.parametrize(("taps", "has"), [(3, True), (5, False)])
def test_each_thread_s_room_for_winograd_s_products_is_counted(taps, has):
    from fastdeblur.nets._native import NativeNet

    weights = tensors(np.random.default_rng(3), weight=(16, 16, taps, taps))
    net = NativeNet(graph(make_node("conv2d", [0], {"padding": [taps // 2] * 4}, weights), channels=16))
    one, two = (net.memory(16, 40, threads, 0) for threads in (1, 2))  # one band, so one job
    assert (two > one) == has


def test_a_limit_holds_for_the_plans_of_wiener_filters_too():
    from fastdeblur.nets._native import NativeNet

    values = tensors(np.random.default_rng(3), log_balance=(1,))
    net = NativeNet(graph(make_node("fft_wiener", [0], {}, values), channels=1, psf=True))
    whole = net.memory(200, 300, 1, 0)
    assert net.memory(200, 300, 1, whole) <= whole
    with pytest.raises(
        OutOfMemory, match=r"max_memory: expected at least (\d+) bytes for this frame, got 1000"
    ) as caught:
        net.memory(200, 300, 1, 1000)
    least = int(str(caught.value).split()[4])
    assert 2 * 4 * 200 * 300 < net.memory(200, 300, 1, least) <= least
    image = np.random.default_rng(4).random((1, 200, 300), np.float32)
    with pytest.raises(OutOfMemory, match=f"at least {least} bytes for this frame, got {least - 1}"):
        net.run(image, np.empty_like(image), PSF, 0.0, 1, least - 1)


def with_a_long_skip(skip):
    rng = np.random.default_rng(6)
    same = {"padding": [1, 1, 1, 1]}
    nodes = [
        make_node("conv2d", [0], same, tensors(rng, weight=(16, 3, 3, 3))),
        make_node("conv2d", [1], {"stride": [2, 2]}, tensors(rng, weight=(32, 16, 2, 2))),
    ]
    for _ in range(3):
        nodes.append(make_node("instance_norm", [len(nodes)]))
        nodes.append(make_node("conv2d", [len(nodes)], same, tensors(rng, weight=(32, 32, 3, 3))))
    nodes.append(
        make_node("conv_transpose2d", [len(nodes)], {"stride": [2, 2]}, tensors(rng, weight=(32, 16, 2, 2)))
    )
    if skip:
        nodes.append(make_node("add", [len(nodes), 1]))
    nodes.append(make_node("conv2d", [len(nodes)], same, tensors(rng, weight=(3, 16, 3, 3))))
    return graph(*nodes, multiple_of=(2, 2))


def test_a_skip_that_is_cheap_to_make_again_is_not_kept():
    from fastdeblur.nets._native import NativeNet

    height, width = 300, 400
    long, none = (NativeNet(with_a_long_skip(skip)).memory(height, width, 1, 0) for skip in (True, False))
    assert long - none < 4 * 16 * height * width / 4  # of the skip's bytes
    for frame in [*FRAMES[:2], FRAMES[3], (98, 64)]:
        compare(with_a_long_skip(True), frame, tolerance=1e-5)


def test_what_a_wiener_filter_read_makes_room_for_what_follows():
    from fastdeblur.nets._native import NativeNet

    rng = np.random.default_rng(8)
    same = {"padding": [1, 1, 1, 1]}
    nodes = [
        make_node("conv2d", [0], same, tensors(rng, weight=(16, 1, 3, 3))),
        make_node("fft_wiener", [1], {}, tensors(rng, log_balance=(16,))),
        make_node("conv2d", [2], same, tensors(rng, weight=(16, 16, 3, 3))),
        make_node("instance_norm", [3]),
        make_node("conv2d", [4], same, tensors(rng, weight=(1, 16, 3, 3))),
    ]
    net = NativeNet(graph(*nodes, channels=1, psf=True))
    value = 4 * 16 * 400 * 600
    filters = net._wiener_memory(400, 600)
    assert net.memory(400, 600, 1, 0) - filters < 2.4 * value  # two at a time: never three
    alone = NativeNet(graph(*nodes[:2], conv(rng, 2, 1, 16, 3), channels=1, psf=True))
    assert alone.memory(400, 600, 1, 0) - filters < 1.4 * value  # and here one


def run_native(network, image, psf=None, noise=None, threads=1, limit=0):
    from fastdeblur.nets._native import NativeNet

    out = np.full(image.shape, np.nan, np.float32)
    NativeNet(network).run(image, out, psf, noise or 0.0, threads, limit)
    return out


def compare(network, shape, psf=None, noise=None, tolerance=3e-6):
    image = np.random.default_rng(0).random((network.input.channels, *shape), dtype=np.float32)
    wanted = execute(network, image, Run(psf, noise), dtype=np.float64)
    one = run_native(network, image, psf, noise)
    assert np.linalg.norm(one - wanted) <= tolerance * np.linalg.norm(wanted)
    for threads in (2, 3):
        np.testing.assert_array_equal(run_native(network, image, psf, noise, threads), one)


def layer(op, inputs, attributes=None, tensors=None):
    return make_node(op, inputs, attributes or {}, tensors or {})


def conv(rng, value, o, c, k, padding=None, **attributes):
    around = [k // 2, k - 1 - k // 2] * 2 if padding is None else [padding] * 4
    groups = attributes.get("groups", 1)
    weights = tensors(rng, weight=(o, c // groups, k, k), bias=(o,))
    return layer("conv2d", [value], {"padding": around, **attributes}, weights)


def chains():
    """Networks that put layers together in the ways that the engine treats apart."""
    rng = np.random.default_rng(7)

    def t(**shapes):
        return tensors(rng, **shapes)

    yield (
        "fused activation",
        graph(conv(rng, 0, 17, 3, 3), layer("relu", [1]), conv(rng, 2, 3, 17, 5)),
    )
    yield (
        "reflected and with zeros from one value",
        graph(
            conv(rng, 0, 9, 3, 3),
            conv(rng, 1, 9, 9, 3, padding_mode="reflect"),
            conv(rng, 1, 9, 9, 5),
            layer("multiply", [2, 3]),
            conv(rng, 4, 3, 9, 1),
        ),
    )
    yield (
        "groups, depthwise and residuals",
        graph(
            conv(rng, 0, 16, 3, 3),
            conv(rng, 1, 16, 16, 3, groups=16),
            conv(rng, 2, 16, 16, 3, groups=2),
            layer("add", [1, 3]),
            conv(rng, 4, 32, 16, 3, groups=4),
            conv(rng, 5, 3, 32, 1),
            layer("add", [6, 0]),
        ),
    )
    yield (
        "wide enough for chunks",
        graph(
            conv(rng, 0, 72, 3, 3),
            layer("gelu", [1]),
            conv(rng, 2, 40, 72, 3),
            conv(rng, 3, 3, 40, 3),
            layer("tanh", [4]),
        ),
    )
    yield (
        "down and up",
        graph(
            conv(rng, 0, 24, 3, 3, stride=[2, 2]),
            layer(
                "conv_transpose2d",
                [1],
                {"stride": [2, 2], "padding": [1] * 4},
                t(weight=(24, 8, 4, 4), bias=(8,)),
            ),
            layer("linear", [2], {}, t(weight=(3, 8))),
            multiple_of=(2, 2),
        ),
    )
    yield (
        "channels moved",
        graph(
            conv(rng, 0, 12, 3, 3),
            layer("layer_norm", [1], {}, t(weight=(12,), bias=(12,))),
            layer("simple_gate", [2]),
            conv(rng, 3, 12, 6, 1),
            layer("pixel_shuffle", [4]),
            layer("pixel_unshuffle", [5]),
            layer("concat", [6, 1, 0]),
            layer("linear", [7], {}, t(weight=(3, 27))),
        ),
    )
    yield (
        "sums over the frame",
        graph(
            conv(rng, 0, 16, 3, 3),
            layer("instance_norm", [1], {}, t(weight=(16,), bias=(16,))),
            layer("sigmoid", [2]),
            layer("channel_attention", [3], {}, t(weight=(16, 16), bias=(16,))),
            layer("average_pool", [4]),
            layer("linear", [5], {}, t(weight=(16, 16))),
            layer("tanh", [6]),
            layer("multiply", [4, 7]),
            layer("linear", [8], {}, t(weight=(3, 16))),
        ),
    )
    yield (
        "windows",
        graph(
            conv(rng, 0, 16, 3, 3),
            layer("average_pool", [1], {"window": [7, 9]}),
            layer("multiply", [1, 2]),
            layer(
                "channel_attention",
                [3],
                {"window": [40, 8], "activation": "sigmoid"},
                t(weight=(16, 4), squeeze_weight=(4, 16), bias=(16,)),
            ),
            layer("linear", [4], {}, t(weight=(3, 16))),
        ),
    )
    nodes = [conv(rng, 0, 16, 3, 3), conv(rng, 1, 24, 16, 2, padding=0, stride=[2, 2])]
    for number in range(4):
        before = len(nodes)
        nodes += [
            layer("layer_norm", [before]),
            conv(rng, before + 1, 48, 24, 1),
            conv(rng, before + 2, 48, 48, 3, groups=48),
            layer("simple_gate", [before + 3]),
            layer(
                "channel_attention",
                [before + 4],
                {"window": [40, 24], "step": [[10, 6], [7, 8], [40, 24], [3, 64]][number]},
                t(weight=(24, 24), bias=(24,)),
            ),
            layer("add", [before, before + 5]),
        ]
    nodes += [
        layer("linear", [len(nodes)], {}, t(weight=(64, 24))),
        layer("pixel_shuffle", [len(nodes) + 1]),
        layer("add", [len(nodes) + 2, 1]),
        layer("linear", [len(nodes) + 3], {}, t(weight=(3, 16))),
    ]
    yield "attention at every few pixels", graph(*nodes, multiple_of=(2, 2))
    yield (
        "resized",
        graph(
            layer("resize", [0], {"factor": [0.5, 0.5], "mode": "bilinear"}),
            layer("prelu", [1], {}, t(slope=(3,))),
            layer("resize", [2], {"factor": [2, 2], "mode": "bilinear"}),
            layer("bias", [3], {}, t(bias=(3,))),
            layer("scale", [4], {}, t(scale=(3,))),
            layer("leaky_relu", [5], {"slope": 0.2}),
            multiple_of=(2, 2),
        ),
    )
    yield (
        "a U of three scales",
        graph(
            conv(rng, 0, 8, 3, 3),
            conv(rng, 1, 16, 8, 3, stride=[2, 2]),
            conv(rng, 2, 32, 16, 3, stride=[2, 2]),
            layer("instance_norm", [3]),
            layer("resize", [4], {"factor": [2, 2], "mode": "nearest"}),
            layer("concat", [5, 2]),
            conv(rng, 6, 32, 48, 3),
            layer("pixel_shuffle", [7]),
            layer("add", [8, 1]),
            conv(rng, 9, 3, 8, 3),
            multiple_of=(4, 4),
        ),
    )
    yield ("nothing at all", graph())


CHAINS = dict(chains())


@pytest.mark.parametrize("shape", FRAMES, ids=str)
@pytest.mark.parametrize("name", CHAINS)
def test_chains(name, shape):
    if name == "reflected and with zeros from one value" and min(shape) < 2:
        return  # nothing to reflect
    compare(CHAINS[name], shape)


def enclosed(case, shape):
    """The case's layer between an image and a result of the image's shape, or None for what needs no layer's size."""
    rng = np.random.default_rng(3)
    node, values = nets_cases.problem(case, shape)
    size = values[0].shape[1:]
    nodes, inputs = [], []
    for value in values:
        nodes.append(layer("linear", [0], {}, tensors(rng, weight=(len(value), 3))))
        if value.shape[1:] != size:
            nodes.append(layer("average_pool", [len(nodes)]))
        inputs.append(len(nodes))
    nodes.append(make_node(case.op, inputs, dict(node.attributes), dict(node.tensors)))
    made = LAYERS[case.op].shape(nodes[-1], [value.shape for value in values])
    nodes.append(layer("sigmoid", [len(nodes)]))
    if made[1:] != size:  # what is left of it is its mean
        nodes.append(layer("average_pool", [len(nodes)]))
    nodes.append(layer("linear", [len(nodes)], {}, tensors(rng, weight=(3, made[0]))))
    nodes.append(layer("add", [0, len(nodes)]))
    psf = LAYERS[case.op].needs_psf
    return graph(*nodes, psf=psf, noise=psf, multiple_of=(case.multiple,) * 2), size


@pytest.mark.parametrize("shape", [(5, 7), (24, 50)], ids=str)
@pytest.mark.parametrize("case", nets_cases.CASES, ids=str)
def test_every_layer(case, shape):
    network, size = enclosed(case, shape)
    if LAYERS[case.op].needs_psf:
        compare(network, size, nets_cases.PSF, nets_cases.NOISE, tolerance=2e-5)
    else:
        compare(network, size)


@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
def test_wiener_between_layers(boundary):
    rng = np.random.default_rng(5)
    balance = {"log_balance": rng.standard_normal(12).astype(np.float32) - 3}
    network = graph(
        conv(rng, 0, 12, 3, 3),
        layer("fft_wiener", [1], {"boundary": boundary, "reg": "laplacian"}, balance),
        layer("instance_norm", [2]),
        conv(rng, 2, 3, 12, 3),
        layer("linear", [3], {}, tensors(rng, weight=(3, 12))),
        layer("add", [4, 5]),
        psf=True,
        noise=True,
    )
    compare(network, (61, 90), PSF, 0.02, tolerance=1e-5)


WIDE = [1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 130, 255, 257]
WIDE_CONVOLUTIONS = {
    "16 to 16": {"o": 16, "c": 16, "kernel": (3, 3), "padding": (1, 1, 1, 1)},
    "16 to 20, the last block not full": {"o": 20, "c": 16, "kernel": (3, 3), "padding": (1, 1, 1, 1)},
    "more than the cache holds at once": {"o": 64, "c": 128, "kernel": (3, 3), "padding": (1, 1, 1, 1)},
    "24 to 40, five blocks": {"o": 40, "c": 24, "kernel": (3, 3), "padding": (1, 1, 1, 1)},
    "reflected": {"o": 32, "c": 32, "kernel": (3, 3), "padding": (1, 1, 1, 1), "padding_mode": "reflect"},
    "no padding": {"o": 16, "c": 16, "kernel": (3, 3), "padding": (0, 0, 0, 0)},
    "uneven padding": {"o": 16, "c": 32, "kernel": (3, 3), "padding": (2, 0, 0, 2)},
    "wide padding": {"o": 16, "c": 16, "kernel": (3, 3), "padding": (2, 2, 2, 2)},
    "two rows": {"o": 16, "c": 16, "kernel": (2, 3), "padding": (0, 1, 1, 1)},
    "five rows": {"o": 16, "c": 16, "kernel": (5, 3), "padding": (2, 2, 1, 1)},
    "two groups": {"o": 32, "c": 32, "kernel": (3, 3), "padding": (1, 1, 1, 1), "groups": 2},
}


@pytest.mark.parametrize("width", WIDE)
@pytest.mark.parametrize("name", WIDE_CONVOLUTIONS)
def test_many_channels(name, width):
    """Rows of three taps and 16 or more channels, which Winograd's products make."""
    case = dict(WIDE_CONVOLUTIONS[name])
    o, c, (rows, columns) = case.pop("o"), case.pop("c"), case.pop("kernel")
    top, bottom, left, right = padding = case.pop("padding")
    height = 11
    if width + left + right < columns or (case.get("padding_mode") and width < 2):
        return  # no output pixel, or nothing to reflect
    rng = np.random.default_rng(width)
    weights = tensors(rng, weight=(o, c // case.get("groups", 1), rows, columns), bias=(o,))
    nodes = [
        layer("linear", [0], {}, tensors(rng, weight=(c, 3))),
        layer("conv2d", [1], {"padding": list(padding), **case}, weights),
        layer("gelu", [2]),
    ]
    if (top + bottom, left + right) == (rows - 1, columns - 1):
        compare(graph(*nodes, layer("linear", [3], {}, tensors(rng, weight=(3, o)))), (height, width))
    else:  # another size than the image's: its mean, added to the image
        nodes.append(layer("average_pool", [3]))
        nodes.append(layer("linear", [4], {}, tensors(rng, weight=(3, o))))
        compare(graph(*nodes, layer("add", [0, 5])), (height, width))


def test_strips_do_not_change_a_bit():
    """Fours of pixels are the frame's, not the strip's, so that narrower strips round alike."""
    from fastdeblur.nets._native import NativeNet

    rng = np.random.default_rng(4)
    network = graph(conv(rng, 0, 32, 3, 3), conv(rng, 1, 48, 32, 3), conv(rng, 2, 3, 48, 3))
    image = rng.random((3, 90, 1003), dtype=np.float32)
    whole, net = run_native(network, image), NativeNet(network)
    free = least = net.memory(90, 1003, 1, 0)
    with suppress(OutOfMemory):
        while True:
            least = net.memory(90, 1003, 1, int(least * 0.8))
    assert least < 0.8 * free
    np.testing.assert_array_equal(run_native(network, image, limit=least), whole)


def test_memory_of_one_run_in_the_next():
    """Frames of other sizes in between, and runs at once on one network."""
    from fastdeblur.nets._native import NativeNet

    network = CHAINS["a U of three scales"]
    net = NativeNet(network)
    rng = np.random.default_rng(6)
    images = [rng.random((3, h, w), dtype=np.float32) for h, w in [(40, 52), (8, 12), (64, 100), (40, 52)]]
    wanted = [run_native(network, image) for image in images]

    def run(k):
        out = np.full(images[k].shape, np.nan, np.float32)
        net.run(images[k], out, None, 0.0, 1, 0)
        np.testing.assert_array_equal(out, wanted[k])

    for k in (0, 1, 2, 3, 0):
        run(k)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, [0, 1, 2, 3] * 8))


def test_wiener_as_the_result():
    balance = {"log_balance": np.full(3, -3.0, np.float32)}
    compare(graph(layer("fft_wiener", [0], {}, balance), psf=True), (40, 31), PSF, tolerance=1e-5)


def least_of(network, height, width, threads=1):
    from fastdeblur.nets._native import NativeNet

    with pytest.raises(OutOfMemory) as caught:
        NativeNet(network).memory(height, width, threads, 1)
    return int(re.search(r"at least (\d+)", str(caught.value))[1])


def least_memory(net, enough):
    with suppress(OutOfMemory):
        while True:
            enough = net.memory(260, 300, 1, int(enough * 0.7))
    return enough


@pytest.mark.parametrize(
    "name",
    [
        "a U of three scales",
        "windows",
        "attention at every few pixels",
        "down and up",
        "wide enough for chunks",
    ],
)
def test_less_memory_same_result(name):
    """Narrower strips, and where values would be kept whole, making them again: within rounding of sums over the frame."""
    from fastdeblur.nets._native import NativeNet

    network = CHAINS[name]
    image = np.random.default_rng(2).random((3, 260, 300), dtype=np.float32)
    net = NativeNet(network)
    free, whole = net.memory(260, 300, 1, 0), run_native(network, image)
    with pytest.raises(OutOfMemory, match=r"max_memory: expected at least \d+ bytes"):
        net.memory(260, 300, 1, 1000)
    least = least_memory(net, free)
    assert least < free
    for share in (0.0, 0.3, 0.6, 0.9):
        limit = int(least + share * (free - least))
        assert net.memory(260, 300, 1, limit) <= limit
        np.testing.assert_allclose(run_native(network, image, limit=limit), whole, rtol=1e-5, atol=1e-6)


def test_attention_at_every_few_pixels_keeps_next_to_nothing_where_memory_is_short():
    from fastdeblur.nets._native import NativeNet

    network = CHAINS["attention at every few pixels"]
    free = NativeNet(network).memory(1040, 1200, 1, 0)
    value = 4 * 24 * 520 * 600  # bytes of one of those that would be kept
    assert free > 4 * value
    assert least_of(network, 1040, 1200) < value


@st.composite
def plans(draw):
    """Networks that ask much of the planner: skips, filters and sums over the frame, at several scales."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    nodes = [conv(rng, 0, 9, 1, 3)]
    at = {1: [1], 2: [], 4: []}  # values of nine channels by scale

    def add(scale, node):
        nodes.append(node)
        at[scale].append(len(nodes))

    def one(scale):
        return draw(st.sampled_from(at[scale]))

    for _ in range(draw(st.integers(2, 9))):
        scale = draw(st.sampled_from([s for s in at if at[s]]))
        kind = draw(st.sampled_from(["norm", "attention", "wiener", "add", "down", "up", "conv", "both"]))
        value = one(scale)
        if kind == "norm":
            add(scale, layer("instance_norm", [value]))
        elif kind == "attention":
            window, step = draw(
                st.sampled_from([([8, 8], [4, 4]), ([20, 9], [10, 3]), ([5, 5], [2, 2]), ([6, 300], [1, 40])])
            )
            add(
                scale,
                layer(
                    "channel_attention",
                    [value],
                    {"window": window, "step": step},
                    tensors(rng, weight=(9, 9)),
                ),
            )
        elif kind == "wiener" and scale == 1:
            add(scale, layer("fft_wiener", [value], {}, {"log_balance": np.full(9, -2, np.float32)}))
        elif kind == "both" and scale == 1:  # of one value, which others may read as well
            for balance in (-2, -3):
                add(scale, layer("fft_wiener", [value], {}, {"log_balance": np.full(9, balance, np.float32)}))
        elif kind == "down" and scale < 4:
            add(2 * scale, conv(rng, value, 9, 9, 2, padding=0, stride=[2, 2]))
        elif kind == "up" and scale > 1:
            add(scale // 2, layer("resize", [value], {"factor": [2, 2], "mode": "bilinear"}))
        elif kind == "add":
            add(scale, layer("add", [value, one(scale)]))
        else:
            mode = draw(st.sampled_from(["zeros", "reflect"]))
            add(scale, conv(rng, value, 9, 9, draw(st.sampled_from([1, 3, 5])), padding_mode=mode))
    for scale in (4, 2):  # everything bears on the result
        if at[scale]:
            for value in at[scale][1:]:
                add(scale, layer("add", [at[scale][-1], value]))
            add(scale // 2, layer("resize", [at[scale][-1]], {"factor": [2, 2]}))
    for value in at[1][1:-1]:
        add(1, layer("add", [at[1][-1], value]))
    nodes.append(conv(rng, at[1][-1], 1, 9, 3))
    filtered = any(node.op == "fft_wiener" for node in nodes)
    return graph(*nodes, channels=1, multiple_of=(4, 4), psf=filtered)


@settings(deadline=None, max_examples=60)
@given(network=plans(), shape=st.tuples(st.integers(20, 90), st.integers(20, 200)), threads=st.integers(1, 3))
def test_every_limit_gives_the_same_result(network, shape, threads):
    from fastdeblur.nets._native import NativeNet

    net = NativeNet(network)
    image = np.random.default_rng(1).random((1, *shape), dtype=np.float32)
    wanted = execute(network, image, Run(PSF, None), dtype=np.float64)
    whole = run_native(network, image, PSF, threads=threads)
    assert np.linalg.norm(whole - wanted) <= 1e-4 * np.linalg.norm(wanted)
    free = net.memory(*shape, threads, 0)
    least = least_of(network, *shape, threads)
    assert net.memory(*shape, threads, least) <= least
    for limit in np.linspace(1, least - 1, 3).astype(int):  # whatever is asked for, it is the least
        with pytest.raises(OutOfMemory, match=f"at least {least} bytes"):
            net.memory(*shape, threads, int(limit))
    for limit in np.linspace(least, free, 12).astype(int):
        assert net.memory(*shape, threads, int(limit)) <= limit
        out = run_native(network, image, PSF, threads=threads, limit=int(limit))
        assert np.linalg.norm(out - whole) <= 1e-5 * np.linalg.norm(whole), limit


@pytest.mark.parametrize("right", [3, 41, 1001])
@pytest.mark.parametrize("reflected", [True, False])
def test_margins_of_values_beside_a_wiener_filter(right, reflected):
    """What a filter read and what it made have margins of their own, unless they share their memory."""
    rng = np.random.default_rng(5)
    wide = tensors(rng, weight=(8, 8, 1, right))
    nodes = [
        conv(rng, 0, 8, 1, 3),
        conv(rng, 1, 8, 8, 3, padding_mode="reflect") if reflected else layer("relu", [1]),
        layer("fft_wiener", [1], {}, {"log_balance": np.full(8, -2, np.float32)}),
        layer("conv2d", [3], {"padding": [0, 0, right // 2, right - 1 - right // 2]}, wide),
        layer("add", [4, 2]),
        conv(rng, 5, 1, 8, 1),
    ]
    for shape in ((12, 10), (40, 70)):
        compare(graph(*nodes, channels=1, psf=True), shape, PSF, tolerance=2e-5)


@pytest.mark.parametrize("skips", [False, True])
def test_planning_takes_no_time_to_speak_of(skips):
    from fastdeblur.nets._native import NativeNet

    count = 300
    nodes = [layer("linear", [0], {}, {"weight": np.ones((1, 1), np.float32)})]
    for _ in range(count):
        nodes.append(layer("instance_norm", [len(nodes)]))
    for k in range(count if skips else 0):
        nodes.append(layer("add", [len(nodes), 1 + k]))
    net = NativeNet(graph(*nodes, channels=1))
    start = time.perf_counter()
    for width in (64, 2000):
        net.memory(64, width, 2, 0)
        with pytest.raises(OutOfMemory):
            net.memory(64, width, 2, 1000)
    assert time.perf_counter() - start < 60  # once hours


@pytest.mark.parametrize("rows", [200, 77])
def test_windows_are_the_same_to_the_bit_for_any_number_of_threads(rows):
    """Even where sums in double precision round."""
    rng = np.random.default_rng(3)
    nodes = [
        layer("average_pool", [0], {"window": [7, 9]}),
        layer("channel_attention", [1], {"window": [20, 20], "step": [2, 2]}, tensors(rng, weight=(3, 3))),
        layer("channel_attention", [2], {"window": [24, 24], "step": [6, 6]}, tensors(rng, weight=(3, 3))),
    ]
    image = rng.random((3, rows, 160), dtype=np.float32)
    image[:, rows // 3, 40] = 1e10
    one = run_native(graph(*nodes), image)
    for threads in (2, 3, 4):
        np.testing.assert_array_equal(run_native(graph(*nodes), image, threads=threads), one)


def test_a_wiener_filter_s_result_takes_the_place_of_what_it_read():
    """Where nothing else reads it; channels beyond a register's, filters in a row and of one value."""
    rng = np.random.default_rng(9)

    def wiener(value, channels):
        return layer(
            "fft_wiener", [value], {}, {"log_balance": rng.uniform(-5, -2, channels).astype(np.float32)}
        )

    row = [
        conv(rng, 0, 9, 1, 5),
        wiener(1, 9),
        conv(rng, 2, 9, 9, 3),
        wiener(3, 9),
        wiener(4, 9),
        conv(rng, 5, 1, 9, 3),
    ]
    both = [
        conv(rng, 0, 9, 1, 3),
        wiener(1, 9),
        wiener(1, 9),
        layer("multiply", [2, 3]),
        layer("add", [4, 1]),
        conv(rng, 5, 1, 9, 3),
    ]
    for nodes in (row, both):
        network = graph(*nodes, channels=1, psf=True)
        compare(network, (45, 70), PSF, tolerance=1e-5)
        image = rng.random((1, 45, 70), dtype=np.float32)
        np.testing.assert_allclose(
            run_native(network, image, PSF, limit=least_of(network, 45, 70)),
            run_native(network, image, PSF),
            rtol=1e-5,
        )


def test_memory_does_not_grow_with_the_frame():
    from fastdeblur.nets._native import NativeNet

    net = NativeNet(CHAINS["wide enough for chunks"])
    assert net.memory(8000, 800, 1, 0) <= 1.1 * net.memory(1000, 800, 1, 0)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("name", ["a U of three scales", "attention at every few pixels", "windows"])
def test_memory_is_what_a_run_takes(name, limited):
    code = f"""
        import numpy as np
        from fastdeblur import nets
        from fastdeblur.nets._native import NativeNet
        from test_nets_native import CHAINS, least_of
        network = CHAINS[{name!r}]
        net = NativeNet(network)
        image = np.random.default_rng(0).random((3, 1500, 2000), dtype=np.float32)
        out = np.zeros_like(image)
        net.run(image[:, :64, :64], np.zeros((3, 64, 64), np.float32), None, 0.0, 1, 0)

        def peak():  # of this program alone: getrusage's is inherited
            lines = open("/proc/self/status").read().splitlines()
            return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

        limit = least_of(network, 1500, 2000) if {limited} else 0
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak begins anew
        before = peak()
        said = net.memory(1500, 2000, 1, limit)
        net.run(image, out, None, 0.0, 1, limit)
        print(peak() - before, said)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    took, said = map(int, done.stdout.split())
    assert took <= 1.1 * said + 2e6
    assert limited or took >= 0.8 * said


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_random_networks(data):
    """Layers at random on values at random."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    nodes, channels = [], [3]
    for _ in range(data.draw(st.integers(1, 7))):
        value = int(rng.integers(len(channels)))
        c = channels[value]
        kind = data.draw(st.sampled_from(["conv", "norm", "act", "pool", "add", "gate"]))
        if kind == "conv":
            o, k = int(rng.integers(1, 30)), int(rng.integers(1, 6))
            nodes.append(conv(rng, value, o, c, k))
            channels.append(o)
        elif kind == "gate" and c % 2 == 0:
            nodes.append(layer("simple_gate", [value]))
            channels.append(c // 2)
        elif kind == "add":
            others = [i for i, n in enumerate(channels) if n == c]
            nodes.append(layer("add", [value, int(rng.choice(others))]))
            channels.append(c)
        else:
            op = {"norm": "layer_norm", "act": "leaky_relu", "pool": "average_pool", "gate": "instance_norm"}[
                kind
            ]
            nodes.append(layer(op, [value], {"window": [5, 6]} if kind == "pool" else {}))
            channels.append(c)
    nodes.append(layer("linear", [len(nodes)], {}, tensors(rng, weight=(3, channels[-1]))))
    nodes.append(layer("tanh", [len(nodes)]))
    shape = (data.draw(st.integers(1, 70)), data.draw(st.integers(1, 70)))
    compare(graph(*nodes), shape, tolerance=2e-5)


def test_any_strides():
    rng = np.random.default_rng(0)
    network = CHAINS["fused activation"]
    image = rng.random((40, 30, 3), dtype=np.float32)
    wanted = run_native(network, np.ascontiguousarray(np.moveaxis(image, -1, 0)))
    np.testing.assert_array_equal(run_native(network, np.moveaxis(image, -1, 0)), wanted)
    turned = np.moveaxis(image, -1, 0)[:, ::-1, ::-1]
    np.testing.assert_array_equal(
        run_native(network, turned), run_native(network, np.ascontiguousarray(turned))
    )


def test_what_the_core_refuses():
    """It trusts no graph, not even one that Python has checked."""
    core = _isa.load_core()

    def net(*nodes, output=None, channels=3):
        return core.Net(
            nodes=list(nodes),
            output=len(nodes) if output is None else output,
            channels=channels,
            input_scale_offset=(1.0, 0.0),
            output_scale_offset=(1.0, 0.0),
            multiple_of=(1, 1),
        )

    weight = np.zeros((3, 3, 3, 3), np.float32)
    good = {"stride": [1, 1], "padding": [1] * 4, "padding_mode": "zeros", "groups": 1}
    net(("conv2d", [0], good, {"weight": weight}))
    for broken, match in [
        (("conv3d", [0], {}, {}), "op"),
        (("relu", [1], {}, {}), "inputs"),
        (("relu", [-1], {}, {}), "inputs"),
        (("add", [0], {}, {}), "inputs"),
        (("conv2d", [0], good, {}), "weight"),
        (("conv2d", [0], {}, {"weight": weight}), "stride"),
        (("conv2d", [0], good | {"groups": 2}, {"weight": weight}), "groups"),
        (("conv2d", [0], good | {"groups": 0}, {"weight": weight}), "groups"),
        (("conv2d", [0], good | {"stride": [0, 1]}, {"weight": weight}), "stride"),
        (("conv2d", [0], good | {"padding": [1, 1, 1]}, {"weight": weight}), "padding"),
        (("conv2d", [0], good | {"padding": [-1, 1, 1, 1]}, {"weight": weight}), "padding"),
        (("pixel_shuffle", [0], {"factor": 1 << 20}, {}), "factor"),
        (("resize", [0], {"factor": [np.nan, 1.0], "mode": "nearest"}, {}), "factor"),
        (("average_pool", [0], {"window": [0, 3]}, {}), "window"),
        (("average_pool", [0], {"window": [3, 3], "step": [0, 1]}, {}), "step"),
        (
            (
                "channel_attention",
                [0],
                {"window": None, "step": [2, 1], "activation": "none"},
                {"weight": np.zeros((3, 3), np.float32)},
            ),
            "step",
        ),
    ]:
        with pytest.raises(ValueError, match=match):
            net(broken)
    with pytest.raises(ValueError, match="output"):
        net(output=1)
    with pytest.raises(ValueError, match="channels"):
        net(channels=0)
    wrong = net(("conv2d", [0], good, {"weight": np.zeros((3, 4, 3, 3), np.float32)}))
    with pytest.raises(ValueError, match="weight"):
        wrong.memory(8, 8, 1, 0)
    out = np.zeros((3, 8, 8), np.float32)
    for image in (np.zeros((2, 8, 8), np.float32), np.zeros((3, 8, 8)), np.zeros((8, 8), np.float32)):
        with pytest.raises(ValueError, match="image"):
            net().run(image, out, None, 1, 0)
    with pytest.raises(ValueError, match="out"):
        net().run(out, np.zeros((3, 8, 9), np.float32), None, 1, 0)


def test_errors_are_the_networks_own():
    from fastdeblur.nets._native import NativeNet

    network = graph(layer("relu", [0]))
    object.__setattr__(network.nodes[0], "op", "nothing")
    with pytest.raises(ModelError, match="op"):
        NativeNet(network)
