"""What a network is: values made by layers from values before them; and the file that holds one (docs/model-format.md)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur.errors import ModelError
from fastdeblur.nets import container, rules
from fastdeblur.nets.container import short
from fastdeblur.nets.layers import LAYERS, MOST_CHANNELS, FrameError, Reach, Shape
from fastdeblur.nets.reference import MOST_LOG_BALANCE

FORMAT, VERSION = "fastdeblur.net", 1
KEY = "fastdeblur.graph"
LIGHTS = ("srgb", "linear")
MOST_NODES = 10_000
MOST_BYTES = 1 << 31  # of a file
_LARGE = 1 << 20  # pixels on an axis of a frame that must not be too small for any network
_MOST_TEXT = 2_000  # characters of a name or description


@dataclass(frozen=True, eq=False)
class Node:
    """A layer in its place. ``inputs`` are values' numbers; attributes have their defaults filled in; tensors are float32."""

    op: str
    inputs: list[int]
    attributes: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True)
class Input:
    """What the image must be, and how value 0 is made of it: image * scale + offset."""

    channels: int
    scale: float = 1.0
    offset: float = 0.0
    psf: bool = False
    noise: bool = False
    light: str = "srgb"  # what the image's numbers are, "srgb" or "linear"


@dataclass(frozen=True)
class Output:
    """Which value is the result, and how the image is made of it: value * scale + offset."""

    value: int
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, eq=False)
class Graph:
    """A network, checked: one that was made is one that some frame can be run through. Raises ModelError."""

    name: str
    description: str
    input: Input
    output: Output
    multiple_of: tuple[int, int]
    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        _check(self)

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """The size up to the next multiples that the network wants."""
        a, b = self.multiple_of
        return -(-height // a) * a, -(-width // b) * b

    def shapes(self, height: int, width: int) -> list[Shape]:
        """Of every value, for an image of this size. Raises FrameError where the network cannot be run on it."""
        frame = self.padded(height, width)
        shapes: list[Shape] = [(self.input.channels, *frame)]
        for number, node in enumerate(self.nodes):
            layer = LAYERS[node.op]
            try:
                shape = layer.shape(node, [shapes[i] for i in node.inputs])
            except (FrameError, ModelError) as error:
                raise type(error)(f"{where(number, node)}: {error}") from None
            if layer.needs_psf and shape[1:] != frame:
                raise FrameError(
                    f"{where(number, node)}: its value has {shape[1]} x {shape[2]} pixels for an image of {frame[0]} x {frame[1]}"
                )
            shapes.append(shape)
        made, wanted = shapes[self.output.value], shapes[0]
        if made[0] != wanted[0]:
            raise ModelError(
                f"output: expected a value with the image's {wanted[0]} channels, got one with {made[0]}"
            )
        if made != wanted:
            raise FrameError(
                f"its result has {made[1]} x {made[2]} pixels for an image of {wanted[1]} x {wanted[2]}"
            )
        return shapes

    def reaches(self, axis: int) -> list[Reach]:
        """On an axis (0: rows), what every value depends on."""
        found = [Reach(*map(Fraction, (1, 0, 0)))]
        for node in self.nodes:
            parts = [LAYERS[node.op].reach(node, axis, found[i]) for i in node.inputs]
            before = [part.before for part in parts]
            after = [part.after for part in parts]
            whole = None in before or None in after
            found.append(
                Reach(
                    parts[0].step,
                    None if whole else max(b for b in before if b is not None),
                    None if whole else max(a for a in after if a is not None),
                )
            )
        return found

    def used(self) -> list[bool]:
        """For each node, whether the result depends on it."""
        wanted = {self.output.value}
        for number in range(len(self.nodes), 0, -1):
            if number in wanted:
                wanted.update(self.nodes[number - 1].inputs)
        return [number + 1 in wanted for number in range(len(self.nodes))]


def where(number: int, node: Node) -> str:
    """A node in a message."""
    return f"node {number} ({node.op}{f', {short(node.name)}' if node.name else ''})"


def make_node(
    op: Any,
    inputs: Any,
    attributes: dict[str, Any] | None = None,
    tensors: dict[str, NDArray[np.float32]] | None = None,
    name: str = "",
) -> Node:
    """A node with its defaults filled in, checked as far as it can be without the others. Raises ModelError."""
    if not isinstance(op, str) or op not in LAYERS:
        raise ModelError(f"op: expected one of {', '.join(LAYERS)}, got {short(op)}")
    layer, given = LAYERS[op], dict(attributes or {})
    filled: dict[str, Any] = {}
    for key, rule in layer.attributes.items():
        value = given.pop(key, rule.default)
        try:
            filled[key] = rule.accept(value)
        except ValueError:
            raise ModelError(f"{op}: {key}: expected {rule.expected}, got {short(value)}") from None
    if given:
        raise ModelError(f"{op}: has no attribute {short(next(iter(given)))}")
    held = dict(tensors or {})
    for role in layer.tensors:
        if not role.endswith("?") and role not in held:
            raise ModelError(f"{op}: {role}: expected a tensor, got none")
    known = {role.rstrip("?") for role in layer.tensors}
    if unknown := held.keys() - known:
        raise ModelError(f"{op}: has no tensor {short(min(unknown))}")
    least, most = layer.inputs
    if (
        not isinstance(inputs, (list, tuple))
        or not least <= len(inputs) <= most
        or any(type(i) is not int for i in inputs)
    ):
        number = f"{least}" if least == most else f"at least {least}"
        raise ModelError(f"{op}: inputs: expected {number} of the values' numbers, got {short(inputs)}")
    return Node(op, list(inputs), filled, held, name)


def _check(graph: Graph) -> None:
    """That the graph holds together, and that there is a frame it can be run on."""
    if len(graph.nodes) > MOST_NODES:
        raise ModelError(f"nodes: expected at most {MOST_NODES}, got {len(graph.nodes)}")
    if not 1 <= graph.input.channels <= MOST_CHANNELS:
        raise ModelError(f"input.channels: expected 1 to {MOST_CHANNELS}, got {graph.input.channels}")
    if graph.input.light not in LIGHTS:
        raise ModelError(f"input.light: expected one of {', '.join(LIGHTS)}, got {short(graph.input.light)}")
    for number, node in enumerate(graph.nodes):
        if any(not 0 <= i <= number for i in node.inputs):
            raise ModelError(
                f"{where(number, node)}: inputs: expected values made before, 0 to {number}, got {short(node.inputs)}"
            )
        if node.op == "fft_wiener" and abs(node.tensors["log_balance"]).max() > MOST_LOG_BALANCE:
            raise ModelError(
                f"{where(number, node)}: log_balance: expected values within +-{MOST_LOG_BALANCE:g}"
            )
    if not 0 <= graph.output.value <= len(graph.nodes):
        raise ModelError(f"output.value: expected 0 to {len(graph.nodes)}, got {short(graph.output.value)}")
    takes_psf = any(LAYERS[node.op].needs_psf for node in graph.nodes)
    if graph.input.psf != takes_psf:
        raise ModelError(
            f"input.psf: expected {str(takes_psf).lower()} for a graph with{'' if takes_psf else 'out'} fft_wiener"
        )
    if graph.input.noise and not takes_psf:
        raise ModelError("input.noise: expected false for a graph in which no layer takes the noise")
    _require_frame(graph, _LARGE)
    _require_frame(graph, _LARGE - 1)


def _require_frame(graph: Graph, size: int) -> None:
    try:
        graph.shapes(size, size)
    except FrameError as error:
        raise ModelError(
            f"expected a network for frames of every size from some size on, but of {size} x {size} pixels: {error}"
            f"{'; multiple_of says what sizes it is for, and others are continued' if size % 2 else ''}"
        ) from None


# ---------------------------------------------------------------------------------------------- the file


def read(path: str | os.PathLike[str]) -> Graph:
    """The network in a file. Raises ModelError, with the file's name, for what is none, and OSError."""
    path = Path(path)
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    try:
        if len(data) > MOST_BYTES:
            raise ModelError(f"model file: expected at most {MOST_BYTES} bytes")
        return decode(data)
    except ModelError as error:
        raise ModelError(f"{path.name}: {error}") from None


def decode(data: bytes) -> Graph:
    """The network in a file's bytes. Raises ModelError."""
    tensors, metadata = container.unpack(data)
    if KEY not in metadata:
        raise ModelError(f"model file: expected {KEY!r} in its metadata: it holds tensors, but no graph")
    said = _object(container.parse(metadata[KEY], "graph"), "graph")
    if said.get("format") != FORMAT:
        raise ModelError(f"graph.format: expected {FORMAT!r}, got {short(said.get('format'))}")
    version = said.get("version")
    if type(version) is not int or version != VERSION:
        raise ModelError(
            f"graph.version: expected {VERSION}, got {short(version)}; another release may read it"
        )
    _keys(
        said,
        "graph",
        ("format", "version", "name", "description", "input", "output", "multiple_of", "nodes"),
        optional=("description", "multiple_of"),
    )
    source = _keys(
        said["input"],
        "input",
        ("channels", "scale", "offset", "psf", "noise", "light"),
        optional=("scale", "offset", "psf", "noise", "light"),
    )
    target = _keys(said["output"], "output", ("value", "scale", "offset"), optional=("scale", "offset"))
    multiple = said.get("multiple_of", [1, 1])
    try:
        multiple = rules.pair().accept(multiple)
    except ValueError:
        raise ModelError(f"multiple_of: expected {rules.pair().expected}, got {short(multiple)}") from None
    listed = said["nodes"]
    if not isinstance(listed, list) or len(listed) > MOST_NODES:
        raise ModelError(f"nodes: expected a list of at most {MOST_NODES} nodes, got {short(listed)}")
    used: set[str] = set()
    nodes = tuple(_decode_node(number, node, tensors, used) for number, node in enumerate(listed))
    graph = Graph(
        _text(said["name"], "name", least=1),
        _text(said.get("description", ""), "description"),
        Input(
            _integer(source["channels"], "input.channels"),
            _number(source.get("scale", 1.0), "input.scale"),
            _number(source.get("offset", 0.0), "input.offset"),
            _truth(source.get("psf", False), "input.psf"),
            _truth(source.get("noise", False), "input.noise"),
            source.get("light", "srgb"),
        ),
        Output(
            _integer(target["value"], "output.value"),
            _number(target.get("scale", 1.0), "output.scale"),
            _number(target.get("offset", 0.0), "output.offset"),
        ),
        (multiple[0], multiple[1]),
        nodes,
    )
    if unused := tensors.keys() - used:
        raise ModelError(f"tensor {short(min(unused))}: expected a node that uses it")
    return graph


def _decode_node(number: int, said: Any, tensors: container.Tensors, used: set[str]) -> Node:
    place = f"node {number}"
    _keys(
        said,
        place,
        ("op", "inputs", "attributes", "tensors", "name"),
        optional=("attributes", "tensors", "name"),
    )
    held = {}
    for role, name in _object(said.get("tensors", {}), f"{place}: tensors").items():
        if not isinstance(name, str) or name not in tensors:
            raise ModelError(f"{place}: {short(role)}: expected the name of a tensor, got {short(name)}")
        used.add(name)
        held[role] = tensors[name]
    attributes = _object(said.get("attributes", {}), f"{place}: attributes")
    try:
        return make_node(
            said["op"], said["inputs"], attributes, held, _text(said.get("name", ""), f"{place}: name")
        )
    except ModelError as error:
        raise ModelError(f"{place}: {error}") from None


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ModelError(f"{what}: expected an object, got {short(value)}")
    return value


def _keys(value: Any, what: str, known: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, Any]:
    given = _object(value, what)
    for key in given:
        if key not in known:
            raise ModelError(f"{what}: expected keys {', '.join(known)}, got {short(key)}")
    for key in known:
        if key not in given and key not in optional:
            raise ModelError(f"{what}: expected the key {key!r}, which is missing")
    return given


def _text(value: Any, what: str, least: int = 0) -> str:
    if not isinstance(value, str) or not least <= len(value) <= _MOST_TEXT or not value.isprintable():
        raise ModelError(
            f"{what}: expected a line of {least} to {_MOST_TEXT} printable characters, got {short(value)}"
        )
    return value


def _integer(value: Any, what: str) -> int:
    if type(value) is not int:
        raise ModelError(f"{what}: expected an integer, got {short(value)}")
    return value


def _number(value: Any, what: str) -> float:
    if not rules.is_number(value):
        raise ModelError(f"{what}: expected a number within +-{rules.LARGEST:g}, got {short(value)}")
    return float(value)


def _truth(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise ModelError(f"{what}: expected true or false, got {short(value)}")
    return value


def encode(graph: Graph, dtype: str = "float32") -> bytes:
    """A file's bytes; weights as "float16" or "float32". Raises ModelError for a dtype that cannot hold them."""
    if dtype not in ("float16", "float32"):
        raise ModelError(f"dtype: expected 'float16' or 'float32', got {short(dtype)}")
    tensors: container.Tensors = {}
    names: dict[int, str] = {}  # by identity: nodes may share a tensor
    nodes = []
    for number, node in enumerate(graph.nodes):
        roles = {}
        for role, values in node.tensors.items():
            if id(values) not in names:
                names[id(values)] = f"{number}.{role}"
                tensors[names[id(values)]] = values
            roles[role] = names[id(values)]
        defaults = LAYERS[node.op].attributes
        attributes = {key: v for key, v in node.attributes.items() if v != defaults[key].default}
        optional = {"attributes": attributes, "tensors": roles, "name": node.name}
        nodes.append({"op": node.op, "inputs": node.inputs} | {k: v for k, v in optional.items() if v})
    source, target = graph.input, graph.output
    text = {
        "format": FORMAT,
        "version": VERSION,
        "name": graph.name,
        "description": graph.description,
        "input": {
            "channels": source.channels,
            "scale": source.scale,
            "offset": source.offset,
            "psf": source.psf,
            "noise": source.noise,
            "light": source.light,
        },
        "output": {"value": target.value, "scale": target.scale, "offset": target.offset},
        "multiple_of": list(graph.multiple_of),
        "nodes": nodes,
    }
    return container.pack(tensors, {KEY: json.dumps(text, separators=(",", ":"))}, dtype)


def write(path: str | os.PathLike[str], graph: Graph, dtype: str = "float32") -> None:
    """Put a network into a file, whole or not at all."""
    data = encode(graph, dtype)
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
