"""What numbers of 16 bits, which a device computes with, do to the networks that come with the library."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fastdeblur import nets
from fastdeblur.nets.execute import REFERENCE, execute
from fastdeblur.nets.reference import Run
from test_gpu_nets import SHIPPED, away, options_of, scene


def float16(x):
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(np.float64)


def bfloat16(x):
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16
    return rounded.astype(np.uint32).view(np.float32).astype(np.float64)


def before_filters(graph):
    """Values that a Wiener filter reads, and what they are made of: these keep 32 bits."""
    exact = set()
    for number, node in reversed(list(enumerate(graph.nodes))):
        if node.op == "fft_wiener" or number + 1 in exact:
            exact.update(node.inputs)
    return exact


def rounded_run(graph, image, run, rounded):
    """The reference with all other values, and weights, rounded."""
    exact = before_filters(graph)
    nodes = tuple(
        node
        if number + 1 in exact
        else replace(
            node,
            tensors={
                name: rounded(np.asarray(t, np.float64)).astype(np.float32) if "weight" in name else t
                for name, t in node.tensors.items()
            },
        )
        for number, node in enumerate(graph.nodes)
    )
    numbers = {id(node): number + 1 for number, node in enumerate(nodes)}

    def rounds(kernel):
        def made(node, *arguments):
            result = np.asarray(kernel(node, *arguments))
            return result if numbers[id(node)] in exact else rounded(result)

        return made

    if 0 not in exact:
        value = rounded(image.astype(np.float64) * graph.input.scale + graph.input.offset)
        image = (value - graph.input.offset) / graph.input.scale
    kernels = {op: rounds(kernel) for op, kernel in REFERENCE.items()}
    return execute(replace(graph, nodes=nodes), image, run, dtype=np.float64, kernels=kernels)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", nets.available())
def test_numbers_of_16_bits_will_do(name, precision):
    model = nets.load(name)
    options = options_of(model)
    psf = options.get("psf")
    run = Run(None if psf is None else psf / psf.sum(), options.get("noise"))
    for size in [(37, 53), (64, 64)]:
        image = scene(model.channels, *size)
        planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
        expected = execute(model.graph, planes, run, dtype=np.float64)
        result = rounded_run(model.graph, planes, run, {"float16": float16, "bfloat16": bfloat16}[precision])
        distance = away(result, expected)
        assert distance <= SHIPPED[precision]
