"""Weights to begin with, from a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from fastdeblur import nets
from fastdeblur.errors import InvalidArgument
from fastdeblur.nets.model import SUFFIX
from fastdeblur.train.layers import Scale


def begin_with(network: Any, start: str, root: Path) -> None:
    """Give a network the weights of a model file that was exported from one of the same kind.

    start : a name of `nets.available`, or a file below root. The file's layers bear the names of the modules that they came from.
    A `Scale` after a convolution is part of that convolution's weights in a file, and becomes 1 here.

    Raises
    ------
    InvalidArgument
        There is no such file, it is none, or its network is not of this shape.
    """
    try:
        path = Path(start).expanduser()
        graph = nets.load(start if path.name == start and not path.suffix else root / path).graph
    except InvalidArgument as error:
        raise InvalidArgument(
            f"start: expected a network or a file *{SUFFIX}, got {start!r} ({error})"
        ) from error
    unit = (graph.input.scale, graph.input.offset)
    if unit != (network.scale, network.offset):
        raise InvalidArgument(
            f"start: expected a network of images in the model's unit, got {start!r} with scale and offset {unit}"
        )
    parameters = dict(network.named_parameters())
    found = {}
    for node in graph.nodes:
        for name, values in node.tensors.items():
            key = f"{node.name}.{name}"
            if key not in parameters or parameters[key].shape != values.shape:
                shape = " x ".join(map(str, values.shape))
                raise InvalidArgument(
                    f"start: expected a network of the model's shape, got {start!r} with {key} of {shape}"
                )
            found[key] = torch.from_numpy(values)
    for prefix, module in network.named_modules():
        if isinstance(module, Scale):
            found.setdefault(f"{prefix}.scale", torch.ones_like(module.scale))
    if missing := sorted(parameters.keys() - found.keys()):
        raise InvalidArgument(
            f"start: expected a network of the model's shape, got {start!r} without {missing[0]}"
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(found[name])
