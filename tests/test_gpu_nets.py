"""Networks on a real GPU: every layer's cases, and the networks that come with the library; skipped where there is none."""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest

import fastdeblur
from conftest import need
from fastdeblur import InvalidArgument, nets
from fastdeblur.nets.execute import execute
from fastdeblur.nets.graph import Graph, Input, Output, make_node
from fastdeblur.nets.layers import LAYERS
from test_gpu_arrays import Library

import nets_cases

# Relative L2 distance from the reference. These graphs have no skip from the image, so that what is compared is the layer's own
# values: bfloat16 rounds each of them, and each weight, by up to 2**-9. The reference with such roundings is up to 8e-3 away.
LAYER = {"float16": 5e-3, "bfloat16": 2e-2, "float32": 2e-5}
# Networks that restore images: what is asked of them in both types of 16 bits.
SHIPPED = {"float16": 5e-3, "bfloat16": 5e-3, "float32": 1e-4}
FRAMES = [(5, 7), (40, 67)]  # less than a tile; several, the last ones not full


@pytest.fixture(autouse=True)
def gpu():
    return need("cuda")


@cache
def library():
    """CuPy, or else torch: the one that is here and sees the device, or None."""
    if find_spec("cupy"):
        return Library("cupy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Library("torch") if find_spec("torch") and import_module("torch").cuda.is_available() else None


def away(result, expected):
    return np.linalg.norm(result.astype(np.float64) - expected) / np.linalg.norm(expected)


# ------------------------------------------------------------------------------------------------- layers


class Building:
    """A graph's nodes as they are added, with weights of about 1 over the number of values that they gather."""

    def __init__(self, seed=3):
        self.nodes, self.rng = [], np.random.default_rng(seed)

    def add(self, op, inputs, attributes=None, tensors=None):
        self.nodes.append(make_node(op, inputs, attributes or {}, tensors or {}))
        return len(self.nodes)

    def weights(self, *shape, gathered):
        return {"weight": (self.rng.standard_normal(shape) / np.sqrt(gathered)).astype(np.float32)}

    def linear(self, value, o, c):
        return self.add("linear", [value], None, self.weights(o, c, gathered=c))

    def model(self, multiple_of=(1, 1), **given):
        result = Output(len(self.nodes), 0.5, 0.1)
        graph = Graph("layers", "", Input(3, 1.5, -0.25, **given), result, multiple_of, tuple(self.nodes))
        return nets.Model(graph)

    def back_to(self, size, value, made):
        """Three channels of the frame's size, to which all of ``made`` contributes: its channels, height and width."""
        channels, *now = made
        if now == list(size):
            return self.linear(value, 3, channels)
        pairs = list(zip(now, size, strict=True))
        if all(m % n == 0 for m, n in pairs):
            taps = [m // n for m, n in pairs]
            weights = self.weights(3, channels, *taps, gathered=channels * taps[0] * taps[1])
            return self.add("conv2d", [value], {"stride": taps}, weights)
        if all(n % m == 0 for m, n in pairs) and now != [1, 1]:
            taps = [n // m for m, n in pairs]
            weights = self.weights(channels, 3, *taps, gathered=channels)
            return self.add("conv_transpose2d", [value], {"stride": taps}, weights)
        # No layers bring it back on frames of every size. Means, of what depends on each value's neighbours.
        weights = self.weights(16, channels, 3, 3, gathered=9 * channels)
        value = self.add("relu", [self.add("conv2d", [value], {"padding": [1, 1, 1, 1]}, weights)])
        value = self.linear(self.add("average_pool", [value]), 3, 16)
        nothing = self.add("linear", [0], None, {"weight": np.zeros((3, 3), np.float32)})
        return self.add("add", [nothing, value])


def enclosed(case, shape):
    """The case's layer between layers that make its inputs of an image and an image of its result; and the frame."""
    node, values = nets_cases.problem(case, shape)
    size = values[0].shape[1:]
    building, inputs = Building(), []
    for value in values:
        inputs.append(building.linear(0, len(value), 3))
        if value.shape[1:] != size:
            inputs[-1] = building.add("average_pool", [inputs[-1]])
    at = building.add(case.op, inputs, dict(node.attributes), dict(node.tensors))
    made = LAYERS[case.op].shape(building.nodes[-1], [value.shape for value in values])
    building.back_to(size, at, made)
    psf = LAYERS[case.op].needs_psf
    return building.model((case.multiple,) * 2, psf=psf, noise=psf), size


@pytest.mark.parametrize("shape", FRAMES, ids=str)
@pytest.mark.parametrize("case", nets_cases.CASES, ids=str)
def test_every_layer(case, shape):
    model, size = enclosed(case, shape)
    image = np.random.default_rng(0).standard_normal((3, *size)).astype(np.float32)
    run = nets_cases.run_of(case)
    expected = execute(model.graph, image, run, dtype=np.float64)
    for precision, limit in LAYER.items():
        options = {"channel_axis": 0, "psf": run.psf, "noise": run.noise, "precision": precision}
        result = model(image, device="cuda", **options)
        assert result.dtype == np.float32
        assert away(result, expected) <= limit, precision
        if there := library():
            given = there.put(image)
            made = model(given, **options)
            assert type(made) is type(given)
            np.testing.assert_array_equal(there.get(made), result)


# ---------------------------------------------------------------------------------- networks that come with it


def scene(channels, height, width):
    """Waves and an edge with a little noise, (H, W, C) in 0..1; of one channel, (H, W)."""
    y, x = np.mgrid[:height, :width]
    planes = [0.5 + 0.3 * np.sin(x / (7 + k)) * np.cos(y / (11 + k)) for k in range(channels)]
    image = np.stack(planes, -1)
    image[:, width // 2 :] *= 0.6
    image += np.random.default_rng(0).normal(0, 0.01, image.shape)
    image = np.clip(image, 0, 1).astype(np.float32)
    return image if channels > 1 else image[..., 0]


def options_of(model):
    given = {"channel_axis": -1 if model.channels > 1 else None}
    if model.takes_psf:
        given["psf"] = fastdeblur.psf.motion(9, 30)
    if model.takes_noise:
        given["noise"] = 0.01
    return given


@pytest.mark.parametrize("precision", SHIPPED)
@pytest.mark.parametrize("name", nets.available())
def test_networks_that_come_with_it(name, precision):
    """Frames of alternating sizes, so that what is kept of one must not show in the next; then one already seen."""
    model, first = nets.load(name), {}
    options = options_of(model)
    for size in [(37, 53), (130, 203), (37, 53), (64, 64), (130, 203), (130, 203)]:
        image = scene(model.channels, *size)
        result = model(image, device="cuda", precision=precision, **options)
        if size in first:
            np.testing.assert_array_equal(result, first[size])
            continue
        first[size] = result
        assert away(result, model(image, device="cpu", **options)) <= SHIPPED[precision]
        if there := library():
            made = model(there.put(image), precision=precision, **options)
            np.testing.assert_array_equal(there.get(made), result)


@pytest.mark.parametrize("precision", SHIPPED)
def test_bytes_and_a_batch(precision):
    name = next(name for name in nets.available() if nets.load(name).channels == 3)
    model = nets.load(name)
    options = options_of(model)
    images = np.stack([scene(3, 48, 61), scene(3, 48, 61)[::-1]])
    images = (255 * images).astype(np.uint8)
    result = model(images, device="cuda", precision=precision, **options)
    assert result.dtype == np.float32
    assert away(result, model(images, device="cpu", **options)) <= SHIPPED[precision]


# ------------------------------------------------------------------------------------------ what cannot be used


@pytest.mark.parametrize("precision", LAYER)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bad_pixel(value, precision):
    building = Building()
    building.linear(0, 3, 3)
    model, image = building.model(), scene(3, 40, 67)
    options = {"channel_axis": -1, "precision": precision}
    good = model(image, device="cuda", **options)
    bad = image.copy()
    bad[4, 7, 1] = value
    says = f"image: expected finite values.* got {value} at index"
    with pytest.raises(InvalidArgument, match=rf"{says} \(4, 7, 1\)"):  # seen on the host
        model(bad, device="cuda", **options)
    if there := library():
        with pytest.raises(
            InvalidArgument, match=rf"{says} \(1, 4, 7\)"
        ):  # seen by the device, in its planes
            model(there.put(bad), **options)
    np.testing.assert_array_equal(model(image, device="cuda", **options), good)


@pytest.mark.parametrize("after", [None, "relu", "sigmoid"])
def test_an_overflow_of_float16(after):
    """Told also where a ReLU or a sigmoid would make a good number of it; where the numbers fit, they are right."""
    building = Building()
    for weight in (3e4, -1e-3):  # what lies between them is kept in 16 bits
        building.add("linear", [len(building.nodes)], None, {"weight": np.full((3, 3), weight, np.float32)})
    if after is not None:
        building.add(after, [2])
    model, image = building.model(), 10 * scene(3, 40, 67)
    says = "its numbers overflow in float16; precision='float32' may bear them"
    with pytest.raises(InvalidArgument, match=says):
        model(image, channel_axis=-1, device="cuda")
    if there := library():
        with pytest.raises(InvalidArgument, match=says):
            model(there.put(image), channel_axis=-1)
    expected = model(image, channel_axis=-1, device="cpu")
    for precision in ("bfloat16", "float32"):
        result = model(image, channel_axis=-1, device="cuda", precision=precision)
        assert away(result, expected) <= LAYER[precision]


def test_an_overflow_of_float32():
    building = Building()
    large = {"weight": np.full((3, 3), 1e38, np.float32)}
    building.add("linear", [0], None, large)
    model, image = building.model(), 1e3 * scene(3, 40, 67)
    for precision in ("bfloat16", "float32"):
        with pytest.raises(InvalidArgument, match=f"its numbers overflow in {precision}"):
            model(image, channel_axis=-1, device="cuda", precision=precision)
