"""What a network is and what it costs, as data and as a table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from fastdeblur.nets.graph import Graph
from fastdeblur.nets.layers import LAYERS, Shape


@dataclass(frozen=True)
class LayerSummary:
    """A layer's place, result and cost."""

    op: str
    name: str
    inputs: tuple[int, ...]
    """Of the values it reads; 0 is the image, and layer k (from 1) makes value k."""
    shape: Shape
    """(channels, height, width) of the result."""
    parameters: int
    macs: int
    """Multiplications with weights, each with its addition."""


@dataclass(frozen=True)
class Summary:
    """What `Model.summary` says; printing it gives a table."""

    name: str
    description: str
    frame: tuple[int, int]
    """(height, width) that shapes, costs and memory are for."""
    layers: tuple[LayerSummary, ...]
    parameters: int
    macs_per_pixel: float
    """Of the frame; Fourier transforms are not counted."""
    memory: int
    """Bytes that a run takes beyond image and result."""
    backend: str
    """Whose memory that is."""
    receptive_field: tuple[int, int] | None
    """(rows, columns) of the image that bear on a pixel of the result, at most; None: all."""

    def __str__(self) -> str:
        head = ("", "layer", "reads", "result", "parameters", "MAC/pixel", "module")
        pixels = self.frame[0] * self.frame[1]
        rows = [
            (
                f"{number}",
                layer.op,
                ", ".join(map(str, layer.inputs)),
                " x ".join(map(str, layer.shape)),
                f"{layer.parameters:,}" if layer.parameters else "",
                f"{layer.macs / pixels:,.1f}" if layer.macs else "",
                layer.name,
            )
            for number, layer in enumerate(self.layers, 1)
        ]
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        lines = []
        for row in (head, *rows):
            cells = [
                text.ljust(width) if i in (1, 2, 6) else text.rjust(width)
                for i, (text, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        lines.insert(1, "-" * max(map(len, lines)))
        field = "the whole frame" if self.receptive_field is None else "{} x {}".format(*self.receptive_field)
        height, width = self.frame
        title = f"{self.name}: {self.description}" if self.description else self.name
        return "\n".join(
            [
                title,
                "",
                *lines,
                "",
                f"parameters       {self.parameters:,}",
                f"MAC per pixel    {self.macs_per_pixel:,.0f}",
                f"receptive field  {field}",
                f"memory           {self.memory / 1e6:,.0f} MB for {height} x {width} pixels ({self.backend})",
            ]
        )


def summarised(graph: Graph, frame: tuple[int, int], memory: int, backend: str) -> Summary:
    """Of a graph for a frame that it can be run on."""
    shapes = graph.shapes(*frame)
    layers = []
    for node, shape in zip(graph.nodes, shapes[1:], strict=True):
        read = [shapes[i] for i in node.inputs]
        layers.append(
            LayerSummary(
                node.op,
                node.name,
                tuple(node.inputs),
                shape,
                sum(int(t.size) for t in node.tensors.values()),
                LAYERS[node.op].macs(node, [*read, shape]),
            )
        )
    distinct = {id(t): int(t.size) for node in graph.nodes for t in node.tensors.values()}
    fields = []
    for axis in (0, 1):
        reach = graph.reaches(axis)[graph.output.value]
        if reach.before is not None and reach.after is not None:
            fields.append(
                math.ceil(max(reach.before, Fraction(0))) + math.ceil(max(reach.after, Fraction(0))) + 1
            )
    return Summary(
        graph.name,
        graph.description,
        frame,
        tuple(layers),
        sum(distinct.values()),
        sum(layer.macs for layer in layers) / (frame[0] * frame[1]),
        memory,
        backend,
        (fields[0], fields[1]) if len(fields) == 2 else None,
    )
