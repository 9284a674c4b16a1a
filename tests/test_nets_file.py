"""The model file: what is written is read back, and what is wrong with one is said, whatever that is."""

from __future__ import annotations

import itertools
import json
import random
import re
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdeblur.errors import InvalidArgument, ModelError
from fastdeblur.nets import container
from fastdeblur.nets.execute import execute
from fastdeblur.nets.graph import (
    KEY,
    MOST_NODES,
    Graph,
    Input,
    Output,
    decode,
    encode,
    make_node,
    read,
    write,
)
from fastdeblur.nets.layers import FrameError
from fastdeblur.nets.reference import Run

from nets_cases import PSF, conv, problem


def small(seed=0):
    """A network with a skip, a shared tensor and a Wiener step."""
    rng = np.random.default_rng(seed)

    def t(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    shared = t(4)
    nodes = (
        make_node(
            "conv2d", [0], {"padding": [1, 1, 1, 1]}, {"weight": t(4, 2, 3, 3), "bias": shared}, "first"
        ),
        make_node("leaky_relu", [1], {"slope": 0.25}),
        make_node("fft_wiener", [2], {"reg": "laplacian"}, {"log_balance": t(4)}),
        make_node("conv2d", [3], {"stride": [2, 2]}, {"weight": t(8, 4, 2, 2)}),
        make_node("resize", [4], {"factor": [2.0, 2.0], "mode": "bilinear"}),
        make_node("linear", [5], {}, {"weight": t(4, 8), "bias": shared}),
        make_node("average_pool", [6]),
        make_node("multiply", [6, 7]),
        make_node("concat", [8, 1]),
        make_node("linear", [9], {}, {"weight": t(2, 8)}),
    )
    return Graph("small", "a line", Input(2, 2.0, -1.0, True, True), Output(10, 0.5, 0.5), (2, 2), nodes)


def run(graph, image, dtype=np.float64):
    return execute(graph, image, Run(PSF, 0.02), dtype=dtype)


IMAGE = np.random.default_rng(5).random((2, 9, 12)).astype(np.float32)


def parts(data):
    """(header, bytes of the tensors)"""
    (length,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header, body):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def changed(edit=None, edit_header=None, graph=None):
    """The small network's file after a change to its graph's JSON, or to the header's."""
    header, body = parts(encode(graph or small()))
    said = json.loads(header["__metadata__"][KEY])
    if edit is not None:
        said = edit(said) or said
    header["__metadata__"][KEY] = said if isinstance(said, str) else json.dumps(said)
    if edit_header is not None:
        header = edit_header(header) or header
    return joined(header, body)


# ------------------------------------------------------------------------------------------- there and back


def test_what_is_written_is_read_back(tmp_path):
    graph = small()
    write(tmp_path / "a.safetensors", graph)
    again = read(tmp_path / "a.safetensors")
    assert encode(again) == encode(graph)
    assert (again.name, again.description, again.input, again.output) == (
        graph.name,
        graph.description,
        graph.input,
        graph.output,
    )
    assert [(n.op, n.inputs, n.attributes, n.name) for n in again.nodes] == [
        (n.op, n.inputs, n.attributes, n.name) for n in graph.nodes
    ]
    assert again.nodes[0].tensors["bias"] is again.nodes[5].tensors["bias"]
    assert (run(again, IMAGE) == run(graph, IMAGE)).all()
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_half_precision_rounds_the_weights_and_nothing_else(tmp_path):
    graph = small()
    write(tmp_path / "half.safetensors", graph, "float16")
    again = read(tmp_path / "half.safetensors")
    for a, b in zip(again.nodes, graph.nodes, strict=True):
        for name, tensor in a.tensors.items():
            assert tensor.dtype == np.float32
            assert (tensor == b.tensors[name].astype(np.float16)).all()


def test_bfloat16_is_the_upper_half_of_float32():
    values = np.array([1.5, -2.0, 0.0078125, 3e38], np.float32)
    stored = (values.view(np.uint32) >> 16).astype("<u2")
    header = {"a": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}
    tensors, _ = container.unpack(joined(header, stored.tobytes()))
    assert (tensors["a"].view(np.uint32) == (values.view(np.uint32) & 0xFFFF0000)).all()


def test_the_official_reader_reads_it(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    write(tmp_path / "a.safetensors", small())
    tensors = safetensors.load_file(tmp_path / "a.safetensors")
    assert (tensors["0.weight"] == small().nodes[0].tensors["weight"]).all()


def test_weights_that_half_precision_cannot_hold_are_refused(tmp_path):
    graph = small()
    graph.nodes[0].tensors["weight"][0, 0, 0, 0] = 1e6
    with pytest.raises(ModelError, match="float16 can hold"):
        write(tmp_path / "a.safetensors", graph, "float16")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ModelError, match="dtype"):
        encode(graph, "int8")


def test_example_of_the_documentation_is_read():
    text = """{
  "format": "fastdeblur.net", "version": 1, "name": "tiny", "description": "One line for people.",
  "input": {"channels": 3, "scale": 2.0, "offset": -1.0, "psf": false, "noise": false},
  "output": {"value": 3, "scale": 0.5, "offset": 0.5}, "multiple_of": [1, 1],
  "nodes": [
    {"op": "conv2d", "inputs": [0], "attributes": {"stride": [1, 1], "padding": [4, 4, 4, 4]},
     "tensors": {"weight": "a.weight", "bias": "a.bias"}},
    {"op": "relu", "inputs": [1]},
    {"op": "conv2d", "inputs": [2], "attributes": {"padding": [1, 1, 1, 1]}, "tensors": {"weight": "b.weight"}}
  ]}"""
    tensors = {
        "a.weight": np.ones((8, 3, 9, 9), np.float32),
        "a.bias": np.zeros(8, np.float32),
        "b.weight": np.ones((3, 8, 3, 3), np.float32),
    }
    graph = decode(container.pack(tensors, {KEY: text}, "float32"))
    assert [node.op for node in graph.nodes] == ["conv2d", "relu", "conv2d"]


# -------------------------------------------------------------------------------------------- what is wrong


def setting(*path_and_value):
    *path, key, value = path_and_value

    def edit(said):
        place = said
        for step in path:
            place = place[step]
        if value is REMOVED:
            del place[key]
        else:
            place[key] = value

    return edit


REMOVED = object()

GRAPHS = [
    (setting("format", "other"), "graph.format"),
    (setting("version", 2), "graph.version: expected 1, got 2"),
    (setting("version", True), "graph.version"),
    (setting("version", REMOVED), "graph.version"),
    (setting("more", 1), "got 'more'"),
    (setting("nodes", REMOVED), "'nodes', which is missing"),
    (setting("nodes", {}), "nodes: expected a list"),
    (setting("nodes", [{}] * (MOST_NODES + 1)), "at most"),
    (setting("nodes", []), "output.value"),
    (setting("name", ""), "name: expected a line"),
    (setting("name", "two\nlines"), "name: expected a line"),
    (setting("description", "x" * 3000), "description"),
    (setting("multiple_of", [2]), "multiple_of: expected two integers"),
    (setting("multiple_of", [0, 2]), "multiple_of"),
    (setting("multiple_of", [1, 1]), "for frames of every size"),
    (setting("input", 3), "input: expected an object"),
    (setting("input", "channels", 0), "input.channels"),
    (setting("input", "channels", 2.0), "input.channels: expected an integer"),
    (setting("input", "channels", 1 << 40), "input.channels"),
    (setting("input", "channels", 3), "weight"),
    (setting("input", "scale", "1"), "input.scale"),
    (setting("input", "scale", 1e31), "input.scale"),
    (setting("input", "psf", False), "input.psf: expected true"),
    (setting("input", "psf", 1), "input.psf: expected true or false"),
    (setting("input", "light", "dark"), "input.light"),
    (setting("input", "light", []), "input.light"),
    (setting("input", "more", []), "got 'more'"),
    (setting("output", "value", 11), "output.value: expected 0 to 10"),
    (setting("output", "value", -1), "output.value"),
    (setting("output", "value", 9), "channels, got one with 8"),
    (setting("output", "value", 7), "output"),
    (setting("nodes", 3, 5), "node 3: expected an object"),
    (setting("nodes", 3, "op", "exec"), "node 3: op: expected one of conv2d"),
    (setting("nodes", 3, "op", ["conv2d"]), "op: expected one of"),
    (setting("nodes", 3, "more", 1), "got 'more'"),
    (setting("nodes", 3, "inputs", [4]), "values made before, 0 to 3"),
    (setting("nodes", 3, "inputs", [-1]), "values made before"),
    (setting("nodes", 3, "inputs", [10**30]), "values made before"),
    (setting("nodes", 3, "inputs", []), "inputs: expected 1"),
    (setting("nodes", 3, "inputs", [3, 3]), "inputs: expected 1"),
    (setting("nodes", 3, "inputs", ["3"]), "inputs: expected 1"),
    (setting("nodes", 3, "inputs", [True]), "inputs: expected 1"),
    (setting("nodes", 3, "inputs", None), "inputs: expected 1"),
    (setting("nodes", 3, "attributes", {"strides": [2, 2]}), "has no attribute 'strides'"),
    (setting("nodes", 3, "attributes", [2, 2]), "attributes: expected an object"),
    (setting("nodes", 3, "attributes", {"stride": [-2, 2]}), "stride: expected two integers"),
    (setting("nodes", 3, "attributes", {"stride": [2, 1 << 40]}), "stride"),
    (setting("nodes", 3, "attributes", {"stride": 2}), "stride"),
    (setting("nodes", 3, "attributes", {"padding": [1, 1]}), "padding: expected four integers"),
    (setting("nodes", 3, "attributes", {"padding": [1, 1, 1, -1]}), "padding"),
    (setting("nodes", 3, "attributes", {"padding_mode": "wrap"}), "padding_mode: expected one of zeros, reflect"),
    (setting("nodes", 3, "attributes", {"groups": 0}), "groups"),
    (setting("nodes", 3, "attributes", {"groups": 3}), "in groups=3"),
    (setting("nodes", 3, "tensors", {}), "weight: expected a tensor, got none"),
    (setting("nodes", 3, "tensors", "weight", "none"), "expected the name of a tensor, got 'none'"),
    (setting("nodes", 3, "tensors", "weight", ["a"]), "expected the name of a tensor"),
    (setting("nodes", 3, "tensors", "weights", "3.weight"), "has no tensor 'weights'"),
    (setting("nodes", 3, "tensors", "weight", "0.bias"), "weight: expected shape (O, C/groups, kh, kw)"),
    (setting("nodes", 3, "tensors", "bias", "0.bias"), "bias: expected shape (8,)"),
    (setting("nodes", 1, "attributes", "slope", "a"), "slope: expected a number"),
    (setting("nodes", 1, "attributes", "slope", 1e300), "slope"),
    (setting("nodes", 4, "attributes", "factor", [2, 0.4]), "factor: expected two whole numbers"),
    (setting("nodes", 4, "attributes", "factor", [2, 0]), "factor"),
    (setting("nodes", 4, "attributes", "factor", [2, 1e-12]), "factor"),
    (setting("nodes", 4, "attributes", "factor", [4, 2]), "joins values of the same height"),
    (setting("nodes", 4, "attributes", "factor", [1 << 16, 2]), "factor: expected two whole numbers up to 4096"),
    (setting("nodes", 4, "attributes", "mode", "cubic"), "mode"),
    (setting("nodes", 7, "inputs", [6, 4]), "second value"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "says"), GRAPHS, ids=[says for _, says in GRAPHS])
def test_what_is_wrong_in_a_graph_is_said(edit, says):
    with pytest.raises(ModelError, match=re.escape(says)) as caught:
        decode(changed(edit))
    assert len(str(caught.value)) < 600
    assert isinstance(caught.value, InvalidArgument)


NESTED = "[" * 100_000 + "]" * 100_000
TEXTS = [
    ("", "JSON"),
    ("[]", "graph: expected an object"),
    ('{"format": "fastdeblur.net", "format": "fastdeblur.net"}', "'format' twice"),
    ('{"version": NaN}', "which has no NaN"),
    ('{"version": -Infinity}', "which has no -Infinity"),
    ('{"version": ' + "9" * 10_000 + "}", "JSON"),
    (NESTED, "nested too deeply"),
    ('{"a":' * 50_000 + "1" + "}" * 50_000, "nested too deeply"),
    ("\x00", "JSON"),
    # Found in time that grows as the text does, not as its square.
    ("{" + ",".join(f'"k{i}":1' for i in range(300_000)) + ',"k299999":2}', "'k299999' twice"),
]


def attention(attributes):
    node = make_node("channel_attention", [0], attributes, {"weight": np.ones((1, 1), np.float32)})
    return Graph("net", "", Input(1), Output(1), (1, 1), (node,))


def test_numbers_that_no_engine_bears_are_refused():
    """By the rules of the file, so that every engine says the same."""
    wide = {"weight": np.ones((1, 1, 1, 4097), np.float32)}
    for op in ("conv2d", "conv_transpose2d"):
        with pytest.raises(ModelError, match="weight: expected a kernel of at most 4096 taps, got 1 x 4097"):
            Graph("net", "", Input(1), Output(1), (1, 1), (make_node(op, [0], {}, wide),))
    for key, value in (("stride", [4097, 1]), ("padding", [0, 0, 4097, 0])):
        with pytest.raises(ModelError, match=f"{key}: expected .* to 4096"):
            make_node("conv2d", [0], {key: value}, {"weight": np.ones((1, 1, 3, 3), np.float32)})
    up, down = ({"factor": [f, 1], "mode": "nearest"} for f in (4096, 1 / 4096))
    nodes = (make_node("resize", [0], up), make_node("resize", [1], down))
    with pytest.raises(ModelError, match="more than 2147483648 pixels"):
        Graph("net", "", Input(1), Output(2), (1, 1), nodes)
    for attributes, says in (
        ({"step": [2, 2]}, "step: has no meaning without a window"),
        ({"window": [9, 9], "step": [0, 2]}, "step: expected two integers from 1 to 4096"),
        ({"window": [9, 9], "step": [2, 4097]}, "step: expected two integers from 1 to 4096"),
    ):
        with pytest.raises(ModelError, match=says):
            attention(attributes)


@pytest.mark.parametrize(("text", "says"), TEXTS, ids=[says for _, says in TEXTS])
def test_a_text_that_is_no_graph_is_refused(text, says):
    with pytest.raises(ModelError, match=re.escape(says)):
        decode(changed(lambda _: text or " "))


def entry(header, key, value, name="0.weight"):
    header[name][key] = value


HEADERS = [
    (lambda h: entry(h, "dtype", "I8"), "quantised weights need a later version"),
    (lambda h: entry(h, "dtype", "F64"), "expected dtype F16, BF16, F32"),
    (lambda h: entry(h, "dtype", ["F32"]), "expected dtype"),
    (lambda h: entry(h, "dtype", "F16"), "takes 144 bytes"),
    (lambda h: entry(h, "shape", [4, 2, 3, 4]), "data_offsets"),
    (lambda h: entry(h, "shape", [1 << 62, 1 << 62, 4]), "expected a shape"),
    (lambda h: entry(h, "shape", [1 << 47] * 8), "data_offsets"),
    (lambda h: entry(h, "shape", [0, 1 << 40]), "expected a shape"),
    (lambda h: entry(h, "shape", [-4, -2, 3, 3]), "expected a shape"),
    (lambda h: entry(h, "shape", [4.0, 2, 3, 3]), "expected a shape"),
    (lambda h: entry(h, "shape", [1] * 9), "at most 8 axes"),
    (lambda h: entry(h, "shape", "4233"), "expected a shape"),
    (lambda h: entry(h, "data_offsets", [0]), "data_offsets [begin, end]"),
    (lambda h: entry(h, "data_offsets", [288, 0]), "data_offsets"),
    (lambda h: entry(h, "data_offsets", [-288, 0]), "data_offsets"),
    (lambda h: entry(h, "data_offsets", [1 << 60, (1 << 60) + 288]), "data_offsets"),
    (lambda h: entry(h, "data_offsets", [4, 292]), "no gaps, no overlaps"),
    (lambda h: h.update({"twin": h["0.weight"]}), "no gaps, no overlaps"),
    (lambda h: h.pop("9.weight") and None, "follow the header"),
    (lambda h: h.update({"9.weight": {}}), "expected dtype, shape and data_offsets"),
    (lambda h: h.update({"9.weight": 3}), "expected dtype, shape and data_offsets"),
    (lambda h: h.update({"__metadata__": {}}), "it holds tensors, but no graph"),
    (lambda h: h.update({"__metadata__": 3}), "object of strings"),
    (lambda h: h.update({"__metadata__": {KEY: {}}}), "object of strings"),
    (lambda h: [h], "expected an object"),
]


@pytest.mark.parametrize(("edit", "says"), HEADERS, ids=[says for _, says in HEADERS])
def test_what_is_wrong_in_a_header_is_said(edit, says):
    with pytest.raises(ModelError, match=re.escape(says)):
        decode(changed(edit_header=edit))


def test_sizes_that_no_file_has_are_refused():
    data = encode(small())
    for length in (0, 7):
        with pytest.raises(ModelError, match="at least 8 bytes"):
            decode(data[:length])
    for said in (1 << 60, (1 << 64) - 1, len(data) - 7, 200_000_000):
        with pytest.raises(ModelError, match="header is said to have"):
            decode(struct.pack("<Q", said) + data[8:])
    with pytest.raises(ModelError, match="follow the header"):
        decode(data + b"\0")
    with pytest.raises(ModelError, match="follow the header"):
        decode(data[:-1])
    with pytest.raises(ModelError, match="UTF-8"):
        decode(joined(b'{"\xff": 1}', b""))


def test_a_tensor_that_no_node_uses_is_refused():
    def edit(said):
        said["nodes"].pop()
        said["output"]["value"] = 0

    with pytest.raises(ModelError, match="expected a node that uses it"):
        decode(changed(edit))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_are_finite(bad):
    header, body = parts(encode(small()))
    body = np.frombuffer(body, "<f4").copy()
    body[5] = bad
    with pytest.raises(ModelError, match="finite"):
        decode(joined(header, body.tobytes()))


def test_balances_stay_in_range():
    make = small().nodes
    make[2].tensors["log_balance"][0] = 1000
    with pytest.raises(ModelError, match="log_balance"):
        Graph("a", "", Input(2, psf=True), Output(10), (2, 2), make)


def test_channels_stay_in_bounds():
    """A hundred doublings of the channels: refused by their number, not by the memory that they would take."""
    nodes = [make_node("concat", [i, i]) for i in range(100)]
    with pytest.raises(ModelError, match="at most 65536 channels"):
        Graph("wide", "", Input(1), Output(100), (1, 1), tuple(nodes))


def test_a_file_is_named_in_its_error(tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"^broken.safetensors: model file"):
        read(tmp_path / "broken.safetensors")


# ------------------------------------------------------------------------------------------------- fuzzing

NUMBERS = [
    0,
    -1,
    1,
    2,
    3,
    7,
    255,
    65536,
    1 << 31,
    1 << 62,
    -(1 << 63),
    0.5,
    1e308,
    1e-320,
    True,
    None,
    "",
    [],
    {},
]


def holds(data):
    """Read it: either it is a network that works, or ModelError says why not."""
    said = ""
    try:
        graph = decode(data)
    except ModelError as error:
        said = str(error)
    if said:
        assert said.isprintable()
        assert len(said) < 2000
        return False
    try:
        shapes = graph.shapes(6, 6)
    except FrameError:
        return True
    if max(np.prod(shape, dtype=float) for shape in shapes) < 1e5:
        result = run(graph, np.zeros((graph.input.channels, 6, 6), np.float32), np.float32)
        assert result.shape == (graph.input.channels, 6, 6)
    return True


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def mutated(rng, data):
    """A file with something changed: bytes, or what its JSON says."""
    kind = rng.randrange(8)
    if kind < 2:
        out = bytearray(data)
        for _ in range(rng.randrange(1, 6)):
            out[rng.randrange(len(out) if kind else 600)] = rng.randrange(256)
        return bytes(out)
    if kind == 2:
        return data[: rng.randrange(len(data))]
    if kind == 3:
        at = rng.randrange(len(data))
        return data[:at] + rng.randbytes(rng.randrange(1, 40)) + data[at:]
    header, body = parts(data)
    said = json.loads(header["__metadata__"][KEY])
    for _ in range(rng.randrange(1, 3)):
        target = header if kind == 4 else said
        path = rng.choice([p for p in places(target) if p and p[0] != "__metadata__"])
        place = target
        for step in path[:-1]:
            place = place[step]
        if kind == 7 and isinstance(place, list):
            place.insert(path[-1], place[rng.randrange(len(place))])
        elif rng.random() < 0.2:
            del place[path[-1]]
        else:
            place[path[-1]] = rng.choice(NUMBERS)
    header["__metadata__"][KEY] = json.dumps(said)
    return joined(header, body)


def test_thousands_of_mutated_files_are_read_or_refused():
    rng, data = random.Random(7), encode(small(), "float16")
    outcomes = [holds(mutated(rng, data)) for _ in range(4000)]
    assert 50 < sum(outcomes) < 3000  # both happen


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60)
@given(value=json_values, key=st.sampled_from(["nodes", "input", "output", "name", "multiple_of", "node"]))
def test_any_json_in_place_of_a_part_is_refused_or_harmless(value, key):
    def edit(said):
        if key == "node":
            said["nodes"][3] = value
        else:
            said[key] = value

    holds(changed(edit))


@settings(max_examples=150)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    assert not holds(data)
    assert not holds(struct.pack("<Q", len(data)) + data)


def test_many_small_frames_of_a_network_with_everything():
    graph = small()
    for h, w in itertools.product((1, 2, 3, 5), (1, 2, 7)):
        assert run(graph, IMAGE[:, :h, :w]).shape == (2, h, w)


def test_a_frame_too_small_is_said_by_the_layer():
    node, _ = problem(conv(1, 1, 3, 3, padding=[2, 2, 2, 2], padding_mode="reflect"), (5, 5))
    back, _ = problem(conv(1, 1, 3, 3), (5, 5))
    graph = Graph("r", "", Input(1), Output(2), (1, 1), (node, make_node("conv2d", [1], {}, back.tensors)))
    with pytest.raises(FrameError, match=r"node 0 \(conv2d\): it reflects 2 pixels"):
        graph.shapes(2, 5)
