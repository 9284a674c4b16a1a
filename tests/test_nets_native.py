"""Networks on the compiled core against the reference in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdeblur import _isa
from fastdeblur.errors import ModelError
from fastdeblur.nets.graph import make_node
from fastdeblur.nets.layers import LAYERS
from nets_graphs import CHAINS, FRAMES, NEEDS_CORE, PSF, compare, conv, graph, layer, run_native, tensors

import nets_cases

pytestmark = NEEDS_CORE


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


WIDE_TRANSPOSED = {
    "twice as large": {"o": 16, "c": 32, "kernel": (4, 4), "stride": [2, 2], "padding": [1, 1, 1, 1]},
    "the last block not full": {
        "o": 20,
        "c": 16,
        "kernel": (4, 4),
        "stride": [2, 2],
        "padding": [1, 1, 1, 1],
    },
    "in chunks": {"o": 64, "c": 128, "kernel": (4, 4), "stride": [2, 2], "padding": [1, 1, 1, 1]},
    "moved to the left": {"o": 16, "c": 16, "kernel": (4, 4), "stride": [2, 2], "padding": [0, 2, 2, 0]},
    "moved to the right": {"o": 16, "c": 16, "kernel": (4, 4), "stride": [2, 2], "padding": [2, 0, 0, 2]},
    "three times": {"o": 24, "c": 16, "kernel": (6, 6), "stride": [3, 3], "padding": [2, 1, 1, 2]},
    "rows as they are": {"o": 16, "c": 16, "kernel": (3, 4), "stride": [1, 2], "padding": [1, 1, 1, 1]},
    "columns as they are": {"o": 16, "c": 16, "kernel": (4, 2), "stride": [2, 1], "padding": [1, 1, 0, 1]},
}


@pytest.mark.parametrize("width", WIDE)
@pytest.mark.parametrize("name", WIDE_TRANSPOSED)
def test_many_channels_transposed(name, width):
    """Kernels twice as wide as their stride: two taps for each of its phases, which Winograd's products make."""
    case = dict(WIDE_TRANSPOSED[name])
    o, c, kernel = case.pop("o"), case.pop("c"), case.pop("kernel")
    down, across = case["stride"]
    rng = np.random.default_rng(width)
    back = tensors(rng, weight=(3, o, down, across))
    nodes = [
        layer("linear", [0], {}, tensors(rng, weight=(c, 3))),
        layer("conv_transpose2d", [1], case, tensors(rng, weight=(c, o, *kernel), bias=(o,))),
        layer("leaky_relu", [2], {"slope": 0.5}),
        layer("conv2d", [3], {"stride": case["stride"]}, back),
    ]
    compare(graph(*nodes), (9, width))


def test_wiener_as_the_result():
    balance = {"log_balance": np.full(3, -3.0, np.float32)}
    compare(graph(layer("fft_wiener", [0], {}, balance), psf=True), (40, 31), PSF, tolerance=1e-5)


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
