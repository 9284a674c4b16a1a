"""Every layer in plain NumPy: the reference of the other engines, as exact as the dtype of the values that it is given.

A kernel takes its node, the values that it reads (each (channels, height, width)) and what belongs to the run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastdeblur._geometry import Frame
from fastdeblur.backends.numpy_ import NumpyOps

if TYPE_CHECKING:
    from fastdeblur.nets.graph import Node

Array = NDArray[Any]

MOST_LOG_BALANCE = 60.0  # exp of it, and of its negative, is a normal float32


class Run(NamedTuple):
    """What a run has besides its values."""

    psf: NDArray[np.float64] | None  # (h, w), sum 1
    noise: float | None  # in units of value 0 before its normalisation; None: the network does not take it


def tensor(node: Node, name: str, like: Array) -> Array:
    """A tensor in the precision of the values."""
    return node.tensors[name].astype(like.dtype, copy=False)


def plus_bias(node: Node, out: Array) -> Array:
    if "bias" in node.tensors:
        out += tensor(node, "bias", out)[:, None, None]
    return out


def per_channel(values: Array) -> Array:
    return values[:, None, None]


# ------------------------------------------------------------------------------------------- convolutions


def padded(x: Array, padding: list[int], mode: str) -> Array:
    top, bottom, left, right = padding
    if not any(padding):
        return x
    return np.pad(
        x, ((0, 0), (top, bottom), (left, right)), mode="reflect" if mode == "reflect" else "constant"
    )


def conv2d(node: Node, x: Array, run: Run) -> Array:
    """A product of matrices for each tap: no array of all taps is ever made."""
    attributes, weight = node.attributes, tensor(node, "weight", x)
    (sy, sx), groups = attributes["stride"], attributes["groups"]
    o, per_group, kh, kw = weight.shape
    x = padded(x, attributes["padding"], attributes["padding_mode"])
    h, w = (x.shape[1] - kh) // sy + 1, (x.shape[2] - kw) // sx + 1
    out = np.zeros((groups, o // groups, h * w), x.dtype)
    taps = weight.reshape(groups, o // groups, per_group, kh, kw)
    for i in range(kh):
        for j in range(kw):
            part = x[:, i : i + (h - 1) * sy + 1 : sy, j : j + (w - 1) * sx + 1 : sx]
            part = part.reshape(groups, per_group, h * w)
            tap = taps[..., i, j]
            out += tap * part if per_group == 1 else tap @ part
    return plus_bias(node, out.reshape(o, h, w))


def conv_transpose2d(node: Node, x: Array, run: Run) -> Array:
    attributes, weight = node.attributes, tensor(node, "weight", x)
    (sy, sx), groups = attributes["stride"], attributes["groups"]
    top, bottom, left, right = attributes["padding"]
    c, per_group, kh, kw = weight.shape
    _, h, w = x.shape
    full = np.zeros((groups * per_group, (h - 1) * sy + kh, (w - 1) * sx + kw), x.dtype)
    flat = x.reshape(groups, c // groups, h * w)
    taps = weight.reshape(groups, c // groups, per_group, kh, kw).swapaxes(1, 2)
    for i in range(kh):
        for j in range(kw):
            part = (taps[..., i, j] @ flat).reshape(groups * per_group, h, w)
            full[:, i : i + (h - 1) * sy + 1 : sy, j : j + (w - 1) * sx + 1 : sx] += part
    out = full[:, top : full.shape[1] - bottom, left : full.shape[2] - right]
    return plus_bias(node, np.ascontiguousarray(out))


def linear(node: Node, x: Array, run: Run) -> Array:
    weight = tensor(node, "weight", x)
    return plus_bias(node, (weight @ x.reshape(len(x), -1)).reshape(len(weight), *x.shape[1:]))


# --------------------------------------------------------------------------------------------- pointwise


def bias(node: Node, x: Array, run: Run) -> Array:
    return x + per_channel(tensor(node, "bias", x))


def scale(node: Node, x: Array, run: Run) -> Array:
    return x * per_channel(tensor(node, "scale", x))


def relu(node: Node, x: Array, run: Run) -> Array:
    return np.maximum(x, 0)


def leaky_relu(node: Node, x: Array, run: Run) -> Array:
    return np.where(x < 0, x * x.dtype.type(node.attributes["slope"]), x)


def prelu(node: Node, x: Array, run: Run) -> Array:
    return np.where(x < 0, x * per_channel(tensor(node, "slope", x)), x)


def sigmoid_of(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x)), x.dtype)


def sigmoid(node: Node, x: Array, run: Run) -> Array:
    return sigmoid_of(x)


def tanh(node: Node, x: Array, run: Run) -> Array:
    return np.tanh(x)


def gelu(node: Node, x: Array, run: Run) -> Array:
    """Hendrycks and Gimpel 2016, arXiv 1606.08415: x times the normal distribution function of x."""
    if node.attributes["approximate"] == "tanh":
        cubic = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
        return np.asarray(0.5 * x * (1 + np.tanh(cubic)), x.dtype)
    return np.asarray(0.5 * x * (1 + erf(x * math.sqrt(0.5))), x.dtype)


_ERF_STEP, _ERF_END, _ERF_TERMS = 1 / 16, 6.0, 9


@lru_cache(maxsize=1)
def _erf_table() -> NDArray[np.float64]:
    """Taylor coefficients of erf around every node: erf'(a) H_k(a) (-1)^k / (k + 1)! with Hermite's polynomials H_k."""
    a = np.arange(0, _ERF_END + _ERF_STEP, _ERF_STEP)
    slope = 2 / math.sqrt(math.pi) * np.exp(-a * a)
    table, before, hermite = [np.array([math.erf(v) for v in a])], np.zeros_like(a), np.ones_like(a)
    for k in range(_ERF_TERMS):
        table.append(slope * hermite * (-1) ** k / math.factorial(k + 1))
        before, hermite = hermite, 2 * a * hermite - 2 * k * before
    return np.stack(table)


def erf(x: Array) -> NDArray[np.float64]:
    """The error function to double precision; NumPy has none."""
    table = _erf_table()
    size = np.minimum(np.abs(x.astype(np.float64)), _ERF_END)
    node = np.rint(np.where(np.isnan(size), 0, size) / _ERF_STEP).astype(np.int64)
    d = size - node * _ERF_STEP
    total = table[-1][node]
    for coefficients in table[-2::-1]:
        total = total * d + coefficients[node]
    return np.asarray(np.copysign(total, x), np.float64)


def simple_gate(node: Node, x: Array, run: Run) -> Array:
    """Chen et al. 2022, doi:10.1007/978-3-031-20071-7_2."""
    half = len(x) // 2
    return x[:half] * x[half:]


def add(node: Node, x: Array, y: Array, run: Run) -> Array:
    return x + y


def multiply(node: Node, x: Array, y: Array, run: Run) -> Array:
    return x * y


def concat(node: Node, *values: Any) -> Array:
    *arrays, _ = values
    return np.concatenate(arrays)


# ---------------------------------------------------------------------------------- statistics and pooling


def _affine(node: Node, x: Array) -> Array:
    if "weight" in node.tensors:
        x *= per_channel(tensor(node, "weight", x))
    return plus_bias(node, x)


def _normalised(node: Node, x: Array, axes: tuple[int, ...]) -> Array:
    """Statistics in double precision."""
    centred = x - x.mean(axes, dtype=np.float64, keepdims=True)
    variance = np.square(centred).mean(axes, keepdims=True)
    return _affine(node, (centred / np.sqrt(variance + node.attributes["eps"])).astype(x.dtype))


def instance_norm(node: Node, x: Array, run: Run) -> Array:
    """Ulyanov, Vedaldi and Lempitsky 2016, arXiv 1607.08022."""
    return _normalised(node, x, (1, 2))


def layer_norm(node: Node, x: Array, run: Run) -> Array:
    """Ba, Kiros and Hinton 2016, arXiv 1607.06450, over the channels of each pixel."""
    return _normalised(node, x, (0,))


def grid_length(n: int, step: int) -> int:
    """Places on every step-th of n pixels, such that each pixel lies on one or between two."""
    return -(-(n - 1) // step) + 1


def pooled(x: Array, window: list[int] | None, step: Sequence[int] = (1, 1)) -> Array:
    """The mean around each pixel in a window that stays inside the frame, at every step-th pixel; or of the whole frame.

    The former at inference on frames larger than those trained on: Chu et al. 2022, doi:10.1007/978-3-031-20071-7_4.
    """
    if window is None:
        return np.asarray(x.mean((1, 2), dtype=np.float64, keepdims=True), x.dtype)
    result = x.astype(np.float64)
    for axis, k, s in ((1, window[0], step[0]), (2, window[1], step[1])):
        n = x.shape[axis]
        k = min(k, n)
        first = np.clip(np.arange(grid_length(n, s)) * s - k // 2, 0, n - k)
        margin = [(0, 0)] * 3
        margin[axis] = (1, 0)
        sums = np.cumsum(np.pad(result, margin), axis)
        result = (np.take(sums, first + k, axis) - np.take(sums, first, axis)) / k
    return result.astype(x.dtype)


def average_pool(node: Node, x: Array, run: Run) -> Array:
    return pooled(x, node.attributes["window"])


def channel_attention(node: Node, x: Array, run: Run) -> Array:
    """Hu, Shen and Sun 2018, doi:10.1109/CVPR.2018.00745; without squeeze and activation as in NAFNet (see simple_gate)."""
    window, step = node.attributes["window"], node.attributes["step"]
    p = pooled(x, window, step)
    shape = p.shape[1:]
    p = p.reshape(len(x), -1)
    if "squeeze_weight" in node.tensors:
        p = tensor(node, "squeeze_weight", x) @ p
        if "squeeze_bias" in node.tensors:
            p += tensor(node, "squeeze_bias", x)[:, None]
        p = np.maximum(p, 0)
    gate = plus_bias(node, (tensor(node, "weight", x) @ p).reshape(len(x), *shape))
    if node.attributes["activation"] == "sigmoid":
        gate = sigmoid_of(gate)
    if window is not None:
        for axis in (1, 2):
            gate = _between(gate, axis, x.shape[axis], step[axis - 1])
    return x * gate


def _between(x: Array, axis: int, n: int, step: int) -> Array:
    """Values for n pixels of those for every step-th of them."""
    if step == 1:
        return x
    at = np.arange(n)
    return _mixed(x, axis, at // step, at % step / x.dtype.type(step))


def _mixed(x: Array, axis: int, first: Array, share: Array) -> Array:
    """Along an axis, each time what is at ``first`` and a share of the way to the next one, if there is one."""
    along = [1, 1, 1]
    along[axis] = -1
    low, high = np.take(x, first, axis), np.take(x, np.minimum(first + 1, x.shape[axis] - 1), axis)
    return np.asarray(low + share.astype(x.dtype).reshape(along) * (high - low))


# -------------------------------------------------------------------------------------------- resampling


def pixel_shuffle(node: Node, x: Array, run: Run) -> Array:
    """Shi et al. 2016, doi:10.1109/CVPR.2016.207."""
    f = node.attributes["factor"]
    c, h, w = x.shape
    return x.reshape(c // f**2, f, f, h, w).transpose(0, 3, 1, 4, 2).reshape(c // f**2, h * f, w * f)


def pixel_unshuffle(node: Node, x: Array, run: Run) -> Array:
    f = node.attributes["factor"]
    c, h, w = x.shape
    return x.reshape(c, h // f, f, w // f, f).transpose(0, 2, 4, 1, 3).reshape(c * f**2, h // f, w // f)


def resized_length(n: int, factor: float) -> int:
    return n * int(factor) if factor >= 1 else n // round(1 / factor)


def resize(node: Node, x: Array, run: Run) -> Array:
    for axis, factor in ((1, node.attributes["factor"][0]), (2, node.attributes["factor"][1])):
        if factor != 1:
            x = _resized(x, axis, factor, node.attributes["mode"])
    return x


def _resized(x: Array, axis: int, factor: float, mode: str) -> Array:
    n = x.shape[axis]
    at = np.arange(resized_length(n, factor))
    if mode == "nearest":
        return np.take(x, at // int(factor) if factor >= 1 else at * round(1 / factor), axis)
    place = np.clip((at + 0.5) / factor - 0.5, 0, n - 1)
    first = np.floor(place).astype(np.int64)
    return _mixed(x, axis, first, place - first)


# ------------------------------------------------------------------------------------------------ Wiener


def balances(node: Node, run: Run) -> NDArray[np.float64]:
    """The channels' weights of the penalty."""
    balance = np.exp(node.tensors["log_balance"].astype(np.float64))
    return balance if run.noise is None else balance * (run.noise / 0.01) ** 2


def fft_wiener(node: Node, x: Array, run: Run) -> Array:
    """Dong, Roth and Schiele 2021, arXiv 2103.09962: features deblurred by a Wiener filter each."""
    assert run.psf is not None
    ops = NumpyOps(x.dtype)
    frame = Frame.of(x.shape[1:], run.psf.shape, node.attributes["boundary"])
    otf = ops.otf(run.psf.astype(x.dtype), frame)
    power = ops.laplacian_power(frame) if node.attributes["reg"] == "laplacian" else np.ones(1, x.dtype)
    out = np.empty_like(x)
    for channel, balance, into in zip(x, balances(node, run), out, strict=True):
        spectrum = ops.wiener(ops.rfft(ops.extend(channel, frame)), otf, power, float(balance))
        into[...] = ops.crop(ops.irfft(spectrum, frame), frame)
    return out
