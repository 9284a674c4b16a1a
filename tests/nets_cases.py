"""One table of layers' configurations, with slow oracles, that the tests of all engines for networks share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fastdeblur
from fastdeblur.nets import graph as graphs
from fastdeblur.nets.layers import LAYERS
from fastdeblur.nets.reference import Run

SHAPES = [(5, 7), (8, 6), (1, 1), (13, 1)]
PSF = np.array([[0.0, 0.2, 0.1], [0.1, 0.3, 0.1], [0.0, 0.1, 0.1]])
NOISE = 0.02


@dataclass(frozen=True)
class Case:
    """A layer: the shapes of its inputs without height and width, and of its tensors."""

    op: str
    channels: tuple[int, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, tuple[int, ...]] = field(default_factory=dict)
    least: int = 1  # pixels on an axis that the layer needs
    multiple: int = 1  # of height and width
    broadcast: tuple[str, ...] = ("chw",)  # of the second input

    def __str__(self) -> str:
        parts = [f"{k}={v}" for k, v in self.attributes.items()]
        parts += [f"{k}{v}" for k, v in self.tensors.items()]
        return "-".join([self.op, *map(str, self.channels), *parts]).replace(" ", "")


def conv(o, c, kh, kw, bias=True, least=1, **attributes):
    groups = attributes.get("groups", 1)
    tensors = {"weight": (o, c // groups, kh, kw)}
    if bias:
        tensors["bias"] = (o,)
    return Case("conv2d", (c,), attributes, tensors, least)


def transposed(o, c, kh, kw, bias=True, least=1, **attributes):
    groups = attributes.get("groups", 1)
    tensors = {"weight": (c, o // groups, kh, kw)}
    if bias:
        tensors["bias"] = (o,)
    return Case("conv_transpose2d", (c,), attributes, tensors, least)


CASES = [
    conv(4, 3, 3, 3, padding=[1, 1, 1, 1]),
    conv(5, 1, 9, 9, padding=[4, 4, 4, 4]),
    conv(3, 7, 1, 1, bias=False),
    conv(8, 8, 3, 3, padding=[1, 1, 1, 1], groups=8),
    conv(6, 4, 3, 2, padding=[1, 1, 0, 1], groups=2),
    conv(12, 4, 3, 3, padding=[1, 1, 1, 1], groups=4),
    conv(9, 3, 5, 3, stride=[2, 3], padding=[2, 2, 1, 1]),
    conv(4, 2, 2, 2, bias=False, stride=[2, 2], least=2),
    conv(3, 3, 3, 3, least=3),
    conv(3, 2, 3, 5, padding=[1, 1, 2, 2], padding_mode="reflect", least=3),
    conv(2, 2, 4, 4, padding=[0, 3, 2, 1], padding_mode="reflect", least=4),
    transposed(3, 4, 2, 2, stride=[2, 2]),
    transposed(4, 6, 3, 3, stride=[2, 2], padding=[1, 0, 1, 0], groups=2),
    transposed(6, 3, 4, 3, bias=False, stride=[2, 1], padding=[1, 1, 1, 1], groups=3),
    transposed(2, 2, 3, 3, padding=[2, 1, 1, 1], least=3),
    Case("linear", (5,), {}, {"weight": (3, 5), "bias": (3,)}),
    Case("linear", (3,), {}, {"weight": (8, 3)}),
    Case("bias", (3,), {}, {"bias": (3,)}),
    Case("scale", (3,), {}, {"scale": (3,)}),
    Case("relu", (3,)),
    Case("sigmoid", (3,)),
    Case("tanh", (3,)),
    Case("leaky_relu", (3,)),
    Case("leaky_relu", (3,), {"slope": 0.2}),
    Case("prelu", (3,), {}, {"slope": (1,)}),
    Case("prelu", (3,), {}, {"slope": (3,)}),
    Case("gelu", (3,)),
    Case("gelu", (3,), {"approximate": "tanh"}),
    Case("instance_norm", (3,)),
    Case("instance_norm", (3,), {"eps": 1e-3}, {"weight": (3,), "bias": (3,)}),
    Case("layer_norm", (9,)),
    Case("layer_norm", (1,)),
    Case("layer_norm", (8,), {"eps": 1e-2}, {"weight": (8,), "bias": (8,)}),
    Case("simple_gate", (6,)),
    Case("average_pool", (3,)),
    Case("average_pool", (3,), {"window": [3, 4]}),
    Case("average_pool", (2,), {"window": [1, 100]}),
    Case("average_pool", (2,), {"window": [6, 2]}),
    Case("channel_attention", (4,), {}, {"weight": (4, 4), "bias": (4,)}),
    Case("channel_attention", (4,), {"window": [3, 5]}, {"weight": (4, 4)}),
    Case(
        "channel_attention",
        (8,),
        {"activation": "sigmoid"},
        {"weight": (8, 2), "bias": (8,), "squeeze_weight": (2, 8), "squeeze_bias": (2,)},
    ),
    Case(
        "channel_attention",
        (3,),
        {"activation": "sigmoid", "window": [2, 2]},
        {"weight": (3, 5), "squeeze_weight": (5, 3)},
    ),
    Case("channel_attention", (4,), {"window": [4, 6], "step": [2, 3]}, {"weight": (4, 4), "bias": (4,)}),
    Case("channel_attention", (2,), {"window": [3, 40], "step": [1, 5]}, {"weight": (2, 2)}),
    Case(
        "channel_attention",
        (9,),
        {"activation": "sigmoid", "window": [5, 2], "step": [4, 1]},
        {"weight": (9, 2), "squeeze_weight": (2, 9)},
    ),
    Case("pixel_shuffle", (8,)),
    Case("pixel_shuffle", (9,), {"factor": 3}),
    Case("pixel_unshuffle", (3,), multiple=2),
    Case("pixel_unshuffle", (1,), {"factor": 3}, multiple=3),
    Case("resize", (3,)),
    Case("resize", (3,), {"factor": [3, 1]}),
    Case("resize", (3,), {"factor": [0.5, 1 / 3]}, least=3),
    Case("resize", (3,), {"mode": "bilinear"}),
    Case("resize", (3,), {"mode": "bilinear", "factor": [3, 0.5]}, least=2),
    Case("resize", (2,), {"mode": "bilinear", "factor": [1 / 3, 4]}, least=3),
    Case("add", (3, 3)),
    Case("multiply", (3, 3)),
    Case("add", (3, 1), broadcast=("chw", "hw")),
    Case("multiply", (3, 3), broadcast=("chw", "c")),
    Case("add", (3, 1), broadcast=("chw", "")),
    Case("concat", (3, 1, 4)),
    *(
        Case("fft_wiener", (3,), {"boundary": boundary, "reg": reg}, {"log_balance": (3,)})
        for boundary in ("reflect", "edge", "zero", "periodic")
        for reg in ("identity", "laplacian")
    ),
]


def problem(case, shape, seed=0):
    """(node, values in float64) of a case on the next larger frame that it allows."""
    rng = np.random.default_rng(seed)
    size = tuple(-(-max(n, case.least) // case.multiple) * case.multiple for n in shape)
    values = []
    for i, c in enumerate(case.channels):
        axes = case.broadcast[min(i, len(case.broadcast) - 1)]
        values.append(rng.standard_normal((c, *(size if "h" in axes else (1, 1)))))
    scale = {"log_balance": -3.0}
    tensors = {
        name: (rng.standard_normal(each) * 0.5 + scale.get(name, 0.0)).astype(np.float32)
        for name, each in case.tensors.items()
    }
    return graphs.make_node(case.op, list(range(len(values))), case.attributes, tensors), values


def run_of(case):
    return Run(PSF, NOISE) if LAYERS[case.op].needs_psf else Run(None, None)


def expected(node, values):
    """The layer's result in float64, by the slow oracle of its name."""
    t = {name: tensor.astype(np.float64) for name, tensor in node.tensors.items()}
    return ORACLES[node.op](node.attributes, t, *values)


# ------------------------------------------------------------------------------------------ slow oracles


def at(x, c, i, j, mode):
    """A pixel, also beyond the frame."""
    _, h, w = x.shape
    if mode == "reflect":
        i, j = abs(i), abs(j)
        i, j = min(i, 2 * (h - 1) - i), min(j, 2 * (w - 1) - j)
    return x[c, i, j] if 0 <= i < h and 0 <= j < w else 0.0


def conv2d(a, t, x):
    weight, (sy, sx), (top, bottom, left, right) = t["weight"], a["stride"], a["padding"]
    o, per_group, kh, kw = weight.shape
    _, h, w = x.shape
    out = np.zeros((o, (h + top + bottom - kh) // sy + 1, (w + left + right - kw) // sx + 1))
    for k, i, j in np.ndindex(out.shape):
        first = k // (o // a["groups"]) * per_group
        out[k, i, j] = t["bias"][k] if "bias" in t else 0
        for c, u, v in np.ndindex(per_group, kh, kw):
            y, z = i * sy + u - top, j * sx + v - left
            out[k, i, j] += weight[k, c, u, v] * at(x, first + c, y, z, a["padding_mode"])
    return out


def conv_transpose2d(a, t, x):
    weight, (sy, sx), (top, bottom, left, right) = t["weight"], a["stride"], a["padding"]
    channels, per_group, kh, kw = weight.shape
    _, h, w = x.shape
    o = per_group * a["groups"]
    out = np.zeros((o, (h - 1) * sy + kh - top - bottom, (w - 1) * sx + kw - left - right))
    if "bias" in t:
        out += t["bias"][:, None, None]
    for c, i, j in np.ndindex(x.shape):
        first = c // (channels // a["groups"]) * per_group
        for k, u, v in np.ndindex(per_group, kh, kw):
            y, z = i * sy + u - top, j * sx + v - left
            if 0 <= y < out.shape[1] and 0 <= z < out.shape[2]:
                out[first + k, y, z] += weight[c, k, u, v] * x[c, i, j]
    return out


def linear(a, t, x):
    out = np.einsum("oc,chw->ohw", t["weight"], x)
    return out + t["bias"][:, None, None] if "bias" in t else out


def each(function):
    return lambda a, t, x: np.vectorize(lambda v: function(a, v), otypes=[float])(x)


def prelu(a, t, x):
    slope = np.broadcast_to(t["slope"], (len(x),))
    return np.stack([np.where(p < 0, s * p, p) for p, s in zip(x, slope, strict=True)])


def gelu(a, x):
    if a["approximate"] == "tanh":
        return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def normalised(a, t, x, groups):
    out = np.empty_like(x)
    for group in groups:
        out[group] = (x[group] - np.mean(x[group])) / math.sqrt(np.var(x[group]) + a["eps"])
    for name, combine in (("weight", np.multiply), ("bias", np.add)):
        if name in t:
            out = combine(out, t[name][:, None, None])
    return out


def instance_norm(a, t, x):
    return normalised(a, t, x, range(len(x)))


def layer_norm(a, t, x):
    return normalised(a, t, x, [(slice(None), i, j) for i, j in np.ndindex(x.shape[1:])])


def average_pool(a, t, x):
    if a["window"] is None:
        return np.array([[[math.fsum(p.ravel()) / p.size]] for p in x])
    steps = a.get("step", [1, 1])
    out = np.empty((len(x), *(math.ceil((n - 1) / s) + 1 for n, s in zip(x.shape[1:], steps, strict=True))))
    for c, i, j in np.ndindex(out.shape):
        part = x[c]
        places = (i * steps[0], j * steps[1])
        for axis, (n, k, place) in enumerate(zip(x.shape[1:], a["window"], places, strict=True)):
            k = min(k, n)
            first = min(max(place - k // 2, 0), n - k)
            part = np.take(part, range(first, first + k), axis)
        out[c, i, j] = part.mean()
    return out


def channel_attention(a, t, x):
    p = average_pool(a, t, x)
    if "squeeze_weight" in t:
        squeeze = {"weight": t["squeeze_weight"]}
        if "squeeze_bias" in t:
            squeeze["bias"] = t["squeeze_bias"]
        p = np.maximum(linear(a, squeeze, p), 0)
    p = linear(a, t, p)
    factors = 1 / (1 + np.exp(-p)) if a["activation"] == "sigmoid" else p
    if a["window"] is None or a["step"] == [1, 1]:
        return x * factors
    out = np.empty_like(x)
    for c, i, j in np.ndindex(x.shape):
        # Weighted by how near each of the four places around is.
        out[c, i, j] = sum(
            x[c, i, j] * factors[c, y, z] * near_y * near_z
            for y, near_y in beside(i, a["step"][0])
            for z, near_z in beside(j, a["step"][1])
        )
    return out


def beside(i, step):
    """The places on every step-th pixel that bear on pixel i, and their weights."""
    before, away = divmod(i, step)
    return [(before, 1 - away / step)] + ([(before + 1, away / step)] if away else [])


def pixel_shuffle(a, t, x):
    f = a["factor"]
    c, h, w = x.shape
    out = np.empty((c // f**2, h * f, w * f))
    for k, i, j in np.ndindex(out.shape):
        out[k, i, j] = x[k * f * f + (i % f) * f + j % f, i // f, j // f]
    return out


def pixel_unshuffle(a, t, x):
    f = a["factor"]
    c, h, w = x.shape
    out = np.empty((c * f**2, h // f, w // f))
    for k, i, j in np.ndindex(out.shape):
        out[k, i, j] = x[k // f**2, i * f + k % f**2 // f, j * f + k % f]
    return out


def resize(a, t, x):
    size = [math.floor(n * f + 1e-9) for n, f in zip(x.shape[1:], a["factor"], strict=True)]
    out = np.empty((len(x), *size))
    for k, i, j in np.ndindex(out.shape):
        if a["mode"] == "nearest":
            y, z = (math.floor(n / f + 1e-9) for n, f in zip((i, j), a["factor"], strict=True))
            out[k, i, j] = x[k, y, z]
            continue
        places = []
        for n, f, length in zip((i, j), a["factor"], x.shape[1:], strict=True):
            place = min(max((n + 0.5) / f - 0.5, 0), length - 1)
            low = math.floor(place)
            places.append([(low, 1 - (place - low)), (min(low + 1, length - 1), place - low)])
        out[k, i, j] = sum(p * q * x[k, y, z] for y, p in places[0] for z, q in places[1])
    return out


def fft_wiener(a, t, x):
    balance = np.exp(t["log_balance"]) * (NOISE / 0.01) ** 2
    return np.stack(
        [
            fastdeblur.wiener(p, PSF, b, reg=a["reg"], boundary=a["boundary"], backend="numpy")
            for p, b in zip(x, balance, strict=True)
        ]
    )


ORACLES = {
    "conv2d": conv2d,
    "conv_transpose2d": conv_transpose2d,
    "linear": linear,
    "bias": lambda a, t, x: np.stack([p + b for p, b in zip(x, t["bias"], strict=True)]),
    "scale": lambda a, t, x: np.stack([p * s for p, s in zip(x, t["scale"], strict=True)]),
    "relu": each(lambda a, v: max(v, 0.0)),
    "sigmoid": each(lambda a, v: 1 / (1 + math.exp(-v))),
    "tanh": each(lambda a, v: math.tanh(v)),
    "leaky_relu": each(lambda a, v: v if v > 0 else a["slope"] * v),
    "prelu": prelu,
    "gelu": each(gelu),
    "instance_norm": instance_norm,
    "layer_norm": layer_norm,
    "simple_gate": lambda a, t, x: np.stack([x[i] * x[i + len(x) // 2] for i in range(len(x) // 2)]),
    "average_pool": average_pool,
    "channel_attention": channel_attention,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "resize": resize,
    "add": lambda a, t, x, y: x + np.broadcast_to(y, x.shape),
    "multiply": lambda a, t, x, y: x * np.broadcast_to(y, x.shape),
    "concat": lambda a, t, *values: np.array([p for value in values for p in value]),
    "fft_wiener": fft_wiener,
}
