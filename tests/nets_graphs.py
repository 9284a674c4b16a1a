"""Networks that put layers together, and the compiled core's results beside the reference's in float64."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest

from fastdeblur import _isa
from fastdeblur.errors import OutOfMemory
from fastdeblur.nets.execute import execute
from fastdeblur.nets.graph import Graph, Input, Output, make_node
from fastdeblur.nets.reference import Run

REQUIRED = "native" in os.environ.get("FASTDEBLUR_REQUIRE", "")
NEEDS_CORE = pytest.mark.skipif(bool(_isa.why_not()) and not REQUIRED, reason=_isa.why_not() or "never")

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


def least_of(network, height, width, threads=1):
    from fastdeblur.nets._native import NativeNet

    with pytest.raises(OutOfMemory) as caught:
        NativeNet(network).memory(height, width, threads, 1)
    return int(re.search(r"at least (\d+)", str(caught.value))[1])
