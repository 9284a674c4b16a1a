"""Every layer against slow loops and against PyTorch, and the laws that layers hold."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdeblur.nets import reference
from fastdeblur.nets.layers import LAYERS, Reach

from nets_cases import CASES, NOISE, ORACLES, PSF, SHAPES, Case, conv, expected, problem, run_of


def result(node, values, case, dtype=np.float64):
    return LAYERS[node.op].kernel(node, *(v.astype(dtype) for v in values), run_of(case))


def rel(a, b):
    return np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30)


def test_every_layer_has_a_case_and_an_oracle():
    assert {case.op for case in CASES} == set(LAYERS) == set(ORACLES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_reference_is_what_slow_loops_give(case):
    for seed, shape in enumerate(SHAPES):
        node, values = problem(case, shape, seed)
        wanted = expected(node, values)
        got = result(node, values, case)
        assert got.shape == wanted.shape == LAYERS[case.op].shape(node, [v.shape for v in values])
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-10)
        single = result(node, values, case, np.float32)
        assert single.dtype == np.float32
        assert np.abs(single - wanted).max() <= 2e-5 * max(1, np.abs(wanted).max())


def torchs(torch, node, values):
    """The same by PyTorch; None for what it has no function for."""
    f = torch.nn.functional
    a = node.attributes
    t = {name: torch.from_numpy(tensor).double() for name, tensor in node.tensors.items()}
    x, *others = (torch.from_numpy(v)[None] for v in values)

    def padded(value, mode):
        top, bottom, left, right = a["padding"]
        return f.pad(value, (left, right, top, bottom), mode=mode)

    def attention():
        p = x.mean((2, 3), keepdim=True)
        if "squeeze_weight" in t:
            p = f.conv2d(p, t["squeeze_weight"][..., None, None], t.get("squeeze_bias")).relu()
        p = f.conv2d(p, t["weight"][..., None, None], t.get("bias"))
        return x * (p.sigmoid() if a["activation"] == "sigmoid" else p)

    if node.op == "conv2d":
        mode = "constant" if a["padding_mode"] == "zeros" else "reflect"
        return f.conv2d(padded(x, mode), t["weight"], t.get("bias"), a["stride"], groups=a["groups"])
    if node.op == "conv_transpose2d":
        full = f.conv_transpose2d(x, t["weight"], t.get("bias"), a["stride"], groups=a["groups"])
        top, bottom, left, right = a["padding"]
        return full[..., top : full.shape[2] - bottom, left : full.shape[3] - right]
    if a.get("window", 0) is not None and node.op in ("average_pool", "channel_attention"):
        return None
    functions = {
        "linear": lambda: f.conv2d(x, t["weight"][..., None, None], t.get("bias")),
        "relu": lambda: f.relu(x),
        "sigmoid": lambda: torch.sigmoid(x),
        "tanh": lambda: torch.tanh(x),
        "leaky_relu": lambda: f.leaky_relu(x, a["slope"]),
        "prelu": lambda: f.prelu(x, t["slope"]),
        "gelu": lambda: f.gelu(x, approximate=a["approximate"]),
        "layer_norm": lambda: f.layer_norm(
            x.permute(0, 2, 3, 1), x.shape[1:2], t.get("weight"), t.get("bias"), a["eps"]
        ).permute(0, 3, 1, 2),
        "simple_gate": lambda: torch.mul(*x.chunk(2, 1)),
        "average_pool": lambda: f.adaptive_avg_pool2d(x, 1),
        "channel_attention": attention,
        "pixel_shuffle": lambda: f.pixel_shuffle(x, a["factor"]),
        "pixel_unshuffle": lambda: f.pixel_unshuffle(x, a["factor"]),
        "resize": lambda: f.interpolate(x, scale_factor=tuple(map(float, a["factor"])), mode=a["mode"]),
        "add": lambda: x + others[0],
        "multiply": lambda: x * others[0],
        "concat": lambda: torch.cat([x, *others], 1),
    }
    if node.op == "instance_norm" and x.shape[2:].numel() > 1:
        return f.instance_norm(x, weight=t.get("weight"), bias=t.get("bias"), eps=a["eps"])
    return functions[node.op]() if node.op in functions else None


@pytest.mark.parametrize("case", CASES, ids=str)
def test_reference_is_what_pytorch_gives(case):
    torch = pytest.importorskip("torch")
    for seed, shape in enumerate(SHAPES):
        node, values = problem(case, shape, seed)
        wanted = torchs(torch, node, values)
        if wanted is not None:
            np.testing.assert_allclose(result(node, values, case), wanted[0].numpy(), rtol=1e-9, atol=1e-9)


def test_error_function_is_exact_to_double_precision():
    x = np.concatenate([np.linspace(-7, 7, 4001), [0.0, -0.0, 1e-300, 1e30, -1e30]])
    wanted = np.array([math.erf(v) for v in x])
    assert np.abs(reference.erf(x) - wanted).max() <= 4e-16
    assert np.isnan(reference.erf(np.array([np.nan]))).all()


def test_wiener_weighs_by_the_noise_only_where_the_network_takes_it():
    case = next(c for c in CASES if c.op == "fft_wiener")
    node, values = problem(case, (9, 12))
    with_noise, without, same = (
        reference.fft_wiener(node, values[0], reference.Run(PSF, noise)) for noise in (NOISE, None, 0.01)
    )
    assert rel(with_noise, without) > 1e-3
    np.testing.assert_allclose(same, without, rtol=1e-12)


# -------------------------------------------------------------------------------------------------- laws

seeds = st.integers(0, 2**16)
sizes = st.tuples(st.integers(3, 9), st.integers(3, 9))
LINEAR = [
    c
    for c in CASES
    if c.op in ("average_pool", "resize", "pixel_shuffle", "fft_wiener")
    or (c.op in ("conv2d", "conv_transpose2d") and "bias" not in c.tensors)
]


@given(case=st.sampled_from(LINEAR), size=sizes, seed=seeds, factor=st.floats(-3, 3))
def test_linear_layers_are_linear(case, size, seed, factor):
    node, (x,) = problem(case, size, seed)
    y = np.random.default_rng(seed + 1).standard_normal(x.shape)
    both = result(node, [x + factor * y], case)
    apart = result(node, [x], case) + factor * result(node, [y], case)
    np.testing.assert_allclose(both, apart, atol=1e-9 * (1 + np.abs(apart).max()))


@given(size=sizes, seed=seeds, stride=st.integers(1, 3), kernel=st.integers(1, 4))
def test_transposed_convolution_is_the_adjoint(size, seed, stride, kernel):
    """<conv x, y> == <x, conv_transpose y>"""
    rng = np.random.default_rng(seed)
    h, w = (stride * (n - 1) + kernel for n in size)
    forward = Case("conv2d", (3,), {"stride": [stride] * 2}, {"weight": (4, 3, kernel, kernel)})
    node, (x,) = problem(forward, (h, w), seed)
    back = Case("conv_transpose2d", (4,), {"stride": [stride] * 2}, {"weight": (4, 3, kernel, kernel)})
    other, _ = problem(back, size, seed)
    other.tensors["weight"] = node.tensors["weight"]
    y = rng.standard_normal((4, *size))
    left = np.vdot(result(node, [x], forward), y)
    right = np.vdot(x, result(other, [y], back))
    assert abs(left - right) <= 1e-10 * np.linalg.norm(x) * np.linalg.norm(y) * kernel**2


@given(factor=st.integers(1, 3), size=sizes, seed=seeds)
def test_unshuffle_undoes_shuffle(factor, size, seed):
    shuffle = Case("pixel_shuffle", (2 * factor**2,), {"factor": factor})
    node, values = problem(shuffle, size, seed)
    back, _ = problem(Case("pixel_unshuffle", (2,), {"factor": factor}, multiple=factor), size, seed)
    assert (result(back, [result(node, values, shuffle)], shuffle) == values[0]).all()


@pytest.mark.parametrize("case", [c for c in CASES if len(c.channels) == 1], ids=str)
def test_no_layer_looks_farther_than_it_says(case):
    """A change at one place of the input changes the result only where the reach of a pixel covers that place."""
    node, (x,) = problem(case, (24, 24))
    plain = result(node, [x], case)
    reaches = [
        LAYERS[case.op].reach(node, axis, Reach(Fraction(1), Fraction(0), Fraction(0))) for axis in (0, 1)
    ]
    if any(reach.before is None for reach in reaches):
        return
    for place in ((11, 12), (0, 0), (x.shape[1] - 1, 5)):
        changed = x.copy()
        changed[:, place[0], place[1]] += 1
        # Running sums round anew behind the change.
        where = np.argwhere((np.abs(result(node, [changed], case) - plain) > 1e-10).any(0))
        for axis, reach in enumerate(reaches):
            before, after = (math.ceil(max(n, 0)) for n in (reach.before, reach.after))
            at = where[:, axis] * float(reach.step)
            assert (at - before <= place[axis]).all()
            assert (at + after + (reach.step < 1) >= place[axis]).all()


def test_macs_are_those_of_the_loops():
    node, (x,) = problem(conv(6, 4, 3, 2, padding=[1, 1, 0, 1], groups=2), (5, 7))
    shape = LAYERS["conv2d"].shape(node, [x.shape])
    assert LAYERS["conv2d"].macs(node, [x.shape, shape]) == math.prod(shape) * 2 * 3 * 2
