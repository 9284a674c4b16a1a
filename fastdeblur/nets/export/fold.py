"""What need not be a layer of its own: factors and biases go into the convolution before (or after) them, dead layers go."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur.nets.graph import Node

Array = NDArray[Any]

_LINEAR = ("conv2d", "conv_transpose2d", "linear")


def folded(nodes: list[Node], output: int) -> tuple[list[Node], int]:
    """Nodes that compute the same, and the number of the result's value."""
    nodes, output = alive(nodes, output)
    while (fewer := _step(nodes, output)) is not None:
        nodes, output = alive(*fewer)
    return nodes, output


def alive(nodes: list[Node], output: int) -> tuple[list[Node], int]:
    """Without the nodes that the result does not depend on."""
    wanted = {output}
    for number in range(len(nodes), 0, -1):
        if number in wanted:
            wanted.update(nodes[number - 1].inputs)
    place = {0: 0}
    kept = []
    for number, node in enumerate(nodes, 1):
        if number in wanted:
            kept.append(replace(node, inputs=[place[i] for i in node.inputs]))
            place[number] = len(kept)
    return kept, place[output]


def _step(nodes: list[Node], output: int) -> tuple[list[Node], int] | None:
    """One node less to compute, or None."""
    uses = Counter(i for node in nodes for i in node.inputs)
    uses[output] += 1
    for number, node in enumerate(nodes, 1):
        source = node.inputs[0]
        if _does_nothing(node):
            return _redirected(nodes, output, number, source)
        if source == 0 or uses[source] > 1:
            continue
        before = nodes[source - 1]
        if (merged := _merged(before, node)) is not None:
            changed = [*nodes]
            changed[source - 1] = merged
            return _redirected(changed, output, number, source)
        if before.op == "scale" and node.op in ("conv2d", "linear") and len(node.inputs) == 1:
            changed = [*nodes]
            changed[number - 1] = _scaled_inputs(node, before.tensors["scale"])
            return _redirected(changed, output, source, before.inputs[0])
    return None


def _redirected(nodes: list[Node], output: int, gone: int, to: int) -> tuple[list[Node], int]:
    """Whoever reads a value reads another one instead."""
    changed = [replace(node, inputs=[to if i == gone else i for i in node.inputs]) for node in nodes]
    return changed, to if output == gone else output


def _does_nothing(node: Node) -> bool:
    if node.op == "scale":
        return bool((node.tensors["scale"] == 1).all())
    if node.op == "bias":
        return bool((node.tensors["bias"] == 0).all())
    return node.op == "resize" and all(f == 1 for f in node.attributes["factor"])


def _merged(before: Node, node: Node) -> Node | None:
    """The node before, that also does what the node does; None if it cannot."""
    if node.op == "scale":
        factor = node.tensors["scale"].astype(np.float64)
        if before.op == "scale":
            return _with(before, scale=before.tensors["scale"] * factor)
        if before.op in _LINEAR:
            tensors = {"weight": _scaled_outputs(before, factor)}
            if "bias" in before.tensors:
                tensors["bias"] = before.tensors["bias"] * factor
            return _with(before, **tensors)
    if node.op == "bias" and (before.op in _LINEAR or before.op == "bias"):
        return _with(before, bias=before.tensors.get("bias", 0) + node.tensors["bias"].astype(np.float64))
    return None


def _with(node: Node, **tensors: Array) -> Node:
    made = {name: np.ascontiguousarray(values, np.float32) for name, values in tensors.items()}
    return replace(node, tensors=node.tensors | made)


def _scaled_outputs(node: Node, factor: Array) -> Array:
    weight = node.tensors["weight"]
    if node.op != "conv_transpose2d":
        return np.asarray(weight * factor.reshape(-1, *[1] * (weight.ndim - 1)))
    groups = node.attributes["groups"]
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    return np.asarray((grouped * factor.reshape(groups, 1, -1, 1, 1)).reshape(weight.shape))


def _scaled_inputs(node: Node, factor: Array) -> Node:
    weight = node.tensors["weight"]
    if node.op == "linear":
        return _with(node, weight=weight * factor.astype(np.float64))
    groups = node.attributes["groups"]
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    scaled = grouped * factor.astype(np.float64).reshape(groups, 1, -1, 1, 1)
    return _with(node, weight=scaled.reshape(weight.shape))
