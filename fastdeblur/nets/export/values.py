"""What a call's arguments stand for while a module is turned into a graph, and the graph as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastdeblur.errors import ModelError
from fastdeblur.nets.graph import Node, make_node
from fastdeblur.nets.layers import LAYERS, FrameError, Shape


class InexpressibleError(Exception):
    """No layer of the model file does this; the text says what it is."""


@dataclass(frozen=True)
class Value:
    """A value of the graph. ``order`` of its axes in PyTorch: "nchw", "nhwc", or "nc" where height and width are 1."""

    number: int
    order: str = "nchw"


@dataclass(frozen=True)
class Channels:
    """Channels first to last (without it) of a value, which no layer has cut out yet."""

    value: Value
    first: int
    last: int


@dataclass(frozen=True)
class Padded:
    """A value with a margin [top, bottom, left, right], which no layer has added yet."""

    value: Value
    margins: tuple[int, int, int, int]
    mode: str  # "zeros" or "reflect"


@dataclass(frozen=True)
class Given:
    """An argument of the network other than its image: "psf" or "noise"."""

    name: str


class Length:
    """The number of an image's rows or columns: another one for every image."""


@dataclass
class Building:
    """The nodes so far, and their values' shapes for the example."""

    shapes: list[Shape]
    nodes: list[Node] = field(default_factory=list)
    name: str = ""  # of the module that is being turned into nodes
    _arrays: dict[int, tuple[Any, Any]] = field(
        default_factory=dict
    )  # by the tensor's identity: it, and its array

    def add(self, op: str, values: Value | Sequence[Value], tensors: Any = None, **attributes: Any) -> Value:
        """One more node; the result's axes are in the first value's order."""
        inputs = [values] if isinstance(values, Value) else list(values)
        held = {k: self._array(v) for k, v in (tensors or {}).items() if v is not None}
        try:
            node = make_node(op, [v.number for v in inputs], attributes, held, self.name[:200])
            shape = LAYERS[op].shape(node, [self.shapes[v.number] for v in inputs])
        except FrameError as error:
            raise InexpressibleError(f"{op} for the example's size: {error}") from None
        except ModelError as error:
            raise InexpressibleError(str(error)) from None
        self.nodes.append(node)
        self.shapes.append(shape)
        return Value(len(self.nodes), inputs[0].order)

    def _array(self, tensor: Any) -> Any:
        """One array for a tensor that several layers share."""
        return self._arrays.setdefault(id(tensor), (tensor, as_array(tensor)))[1]

    def channels(self, value: Value) -> int:
        return self.shapes[value.number][0]

    def value(self, argument: Any) -> Value:
        """A value in the graph, cut out or padded now if need be."""
        if isinstance(argument, Value):
            return argument
        if isinstance(argument, Channels):
            chosen = np.eye(self.channels(argument.value), dtype=np.float32)[argument.first : argument.last]
            return self.add("linear", argument.value, {"weight": chosen})
        if isinstance(argument, Padded):
            return self.padded(argument, argument.value)
        if isinstance(argument, Given):
            raise InexpressibleError(f"the {argument.name} used by anything but a Wiener layer")
        raise InexpressibleError(f"{type(argument).__name__} where an image is expected")

    def padded(self, padding: Padded, value: Value) -> Value:
        c = self.channels(value)
        ones = np.ones((c, 1, 1, 1), np.float32)
        return self.add(
            "conv2d",
            value,
            {"weight": ones},
            padding=list(padding.margins),
            padding_mode=padding.mode,
            groups=c,
        )

    def vector(self, value: Value, constant: Any) -> Any:
        """A constant that is broadcast over height and width, as one number for each of the value's channels."""
        array = as_array(constant, np.float64)
        axes = {"nchw": (1, -1, 1, 1), "nhwc": (1, 1, 1, -1), "nc": (1, -1)}[value.order]
        c = self.channels(value)
        wanted = tuple(c if n == -1 else n for n in axes)
        try:
            if np.broadcast_shapes(array.shape, wanted) != wanted:
                raise ValueError
        except ValueError:
            raise InexpressibleError(
                f"a constant of shape {array.shape}: expected one number, or one for each of the {c} channels"
            ) from None
        return np.ascontiguousarray(np.broadcast_to(array, wanted).reshape(c), np.float32)


def as_array(tensor: Any, dtype: Any = np.float32) -> Any:
    """A NumPy array of a PyTorch tensor or a number."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu().double().numpy()
    return np.ascontiguousarray(tensor, dtype) if np.ndim(tensor) else np.asarray(tensor, dtype)
