"""Runs a graph on an image, value after value, each dropped when nothing needs it any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur.nets.graph import Graph
from fastdeblur.nets.layers import LAYERS, Shape
from fastdeblur.nets.reference import Run

Array = NDArray[Any]
Kernels = Mapping[str, Callable[..., Any]]

REFERENCE: Kernels = {op: layer.kernel for op, layer in LAYERS.items()}


def last_uses(graph: Graph) -> list[int]:
    """For each value, the number of the node that needs it last; the result is needed to the end."""
    last = [-1] * (len(graph.nodes) + 1)
    for number, (node, used) in enumerate(zip(graph.nodes, graph.used(), strict=True)):
        for value in node.inputs if used else ():
            last[value] = number
    last[graph.output.value] = len(graph.nodes)
    return last


def execute(
    graph: Graph, image: Array, run: Run, *, dtype: Any = np.float32, kernels: Kernels = REFERENCE
) -> Array:
    """The network's result for (channels, H, W), computed in ``dtype``; the image and the PSF must have been checked."""
    dtype = np.dtype(dtype)
    _, height, width = image.shape
    value = image.astype(dtype) * dtype.type(graph.input.scale) + dtype.type(graph.input.offset)
    values: dict[int, Array] = {0: extended(value, *graph.padded(height, width))}
    last = last_uses(graph)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for number, (node, used) in enumerate(zip(graph.nodes, graph.used(), strict=True)):
            if used:
                values[number + 1] = kernels[node.op](node, *(values[i] for i in node.inputs), run)
            for i in node.inputs:
                if last[i] <= number:
                    values.pop(i, None)
        result = values[graph.output.value][:, :height, :width]
        return np.asarray(result * dtype.type(graph.output.scale) + dtype.type(graph.output.offset))


def extended(value: Array, height: int, width: int) -> Array:
    """Continued at the bottom and the right by reflection, by the border pixel where there is too little to reflect."""
    for axis, n in ((1, height), (2, width)):
        more = n - value.shape[axis]
        if more:
            margin = [(0, 0)] * 3
            margin[axis] = (0, more)
            value = np.pad(value, margin, mode="reflect" if more < value.shape[axis] else "edge")
    return value


def needed_bytes(graph: Graph, shapes: list[Shape], itemsize: int = 4) -> int:
    """Bytes that `execute` takes beyond image and result: the values alive at once, and what a layer needs for its own."""
    size = [int(np.prod(shape, dtype=object)) * itemsize for shape in shapes]
    last, alive, peak = last_uses(graph), size[0], 2 * size[0]
    for number, (node, used) in enumerate(zip(graph.nodes, graph.used(), strict=True)):
        if not used:
            continue
        read = max(size[i] for i in node.inputs)
        alive += size[number + 1]
        # Padded or converted inputs, and a product that is added to the result.
        peak = max(peak, alive + 2 * max(read, size[number + 1]))
        alive -= sum(size[i] for i in set(node.inputs) if last[i] <= number)
    return peak + 2 * size[0]
