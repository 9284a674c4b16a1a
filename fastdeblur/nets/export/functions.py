"""Functions, tensor methods and operators as layers. A converter takes the graph and the call's arguments as PyTorch names them."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from fastdeblur.nets.export.values import (
    Building,
    Channels,
    Given,
    InexpressibleError,
    Length,
    Padded,
    Value,
    as_array,
)


def _two(value: Any) -> tuple[int, int]:
    return (int(value), int(value)) if np.ndim(value) == 0 else (int(value[0]), int(value[1]))


def _dilated(weight: Any, dilation: Any) -> Any:
    """The kernel with zeros between its taps."""
    dy, dx = _two(dilation)
    if (dy, dx) == (1, 1):
        return weight
    array = as_array(weight)
    o, c, kh, kw = array.shape
    wide = np.zeros((o, c, (kh - 1) * dy + 1, (kw - 1) * dx + 1), np.float32)
    wide[..., ::dy, ::dx] = array
    return wide


def _image(g: Building, x: Any) -> Value:
    """A value with axes (N, C, H, W)."""
    value = g.value(x)
    if value.order != "nchw":
        raise InexpressibleError(f"axes in the order {value.order.upper()}: expected NCHW")
    return value


# ------------------------------------------------------------------------------------------- convolutions


def conv2d(
    g: Building,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
) -> Value:
    kernel = _dilated(weight, dilation)
    kh, kw = kernel.shape[2:]
    if padding == "same":
        margins = [(kh - 1) // 2, kh // 2, (kw - 1) // 2, kw // 2]
    else:
        py, px = (0, 0) if padding == "valid" else _two(padding)
        margins = [py, py, px, px]
    if not any(margins):
        padding_mode = "zeros"
    if padding_mode not in ("zeros", "reflect"):
        raise InexpressibleError(f"a convolution with padding_mode={padding_mode!r}")
    if isinstance(x, Padded):
        if any(margins) and padding_mode != x.mode:
            x = g.value(x)
        elif not any(margins) or x.mode == "zeros":
            margins = [a + b for a, b in zip(margins, x.margins, strict=True)]
            x, padding_mode = x.value, x.mode
    return g.add(
        "conv2d",
        _image(g, x),
        {"weight": kernel, "bias": bias},
        stride=list(_two(stride)),
        padding=margins,
        padding_mode=padding_mode,
        groups=groups,
    )


def conv_transpose2d(
    g: Building,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Value:
    (py, px), (oy, ox) = _two(padding), _two(output_padding)
    cut = [py, py - oy, px, px - ox]
    if min(cut) < 0:
        raise InexpressibleError(
            f"a transposed convolution with output_padding {output_padding} > padding {padding}"
        )
    tensors = {"weight": _dilated(weight, dilation), "bias": bias}
    return g.add(
        "conv_transpose2d", _image(g, x), tensors, stride=list(_two(stride)), padding=cut, groups=groups
    )


def linear(g: Building, x: Any, weight: Any, bias: Any = None) -> Value:
    value = g.value(x)
    if value.order == "nchw":
        raise InexpressibleError("a linear layer along the columns: expected channels in the last axis")
    return g.add("linear", value, {"weight": weight, "bias": bias})


# --------------------------------------------------------------------------------------------- pointwise


def _pointwise(op: str) -> Callable[..., Value]:
    def convert(g: Building, x: Any, inplace: bool = False) -> Value:
        return g.add(op, g.value(x))

    return convert


relu, sigmoid, tanh = _pointwise("relu"), _pointwise("sigmoid"), _pointwise("tanh")


def leaky_relu(g: Building, x: Any, negative_slope: float = 0.01, inplace: bool = False) -> Value:
    return g.add("leaky_relu", g.value(x), slope=float(negative_slope))


def prelu(g: Building, x: Any, weight: Any) -> Value:
    return g.add("prelu", g.value(x), {"slope": weight})


def gelu(g: Building, x: Any, approximate: str = "none") -> Value:
    return g.add("gelu", g.value(x), approximate=approximate)


def silu(g: Building, x: Any, inplace: bool = False) -> Value:
    value = g.value(x)
    return g.add("multiply", [value, g.add("sigmoid", value)])


def clamp(g: Building, x: Any, min: Any = None, max: Any = None) -> Value:  # noqa: A002
    """min(max(x, a), b) = b - relu((b - a) - relu(x - a))"""
    value = g.value(x)
    if min is None or max is None:
        if max is None:
            return plus(g, relu(g, plus(g, value, -float(min))), float(min))
        return minus(g, float(max), relu(g, minus(g, float(max), value)))
    above = relu(g, plus(g, value, -float(min)))
    return minus(g, float(max), relu(g, minus(g, float(max) - float(min), above)))


def relu6(g: Building, x: Any, inplace: bool = False) -> Value:
    return clamp(g, x, 0.0, 6.0)


def _is_constant(argument: Any) -> bool:
    return isinstance(argument, (int, float, torch.Tensor, np.ndarray))


def times(g: Building, x: Any, y: Any) -> Value:
    if isinstance(x, Channels) and isinstance(y, Channels) and x.value == y.value:
        half = g.channels(x.value) // 2
        if {(x.first, x.last), (y.first, y.last)} == {(0, half), (half, 2 * half)}:
            return g.add("simple_gate", x.value)
    if _is_constant(x):
        x, y = y, x
    value = g.value(x)
    if _is_constant(y):
        return g.add("scale", value, {"scale": g.vector(value, y)})
    return _both(g, "multiply", value, g.value(y))


def plus(g: Building, x: Any, y: Any, *, alpha: float = 1) -> Value:
    if alpha != 1:
        y = y * alpha if _is_constant(y) else times(g, y, alpha)
    if _is_constant(x):
        x, y = y, x
    value = g.value(x)
    if _is_constant(y):
        return g.add("bias", value, {"bias": g.vector(value, y)})
    return _both(g, "add", value, g.value(y))


def _both(g: Building, op: str, x: Value, y: Value) -> Value:
    """Of two values the one that is broadcast comes second."""
    if x.order != y.order:
        raise InexpressibleError(f"{op} of values with axes in the orders {x.order} and {y.order}")
    if np.prod(g.shapes[x.number]) < np.prod(g.shapes[y.number]):
        x, y = y, x
    return g.add(op, [x, y])


def minus(g: Building, x: Any, y: Any, *, alpha: float = 1) -> Value:
    return plus(g, x, y, alpha=-alpha)


def reversed_minus(g: Building, x: Any, y: Any) -> Value:
    return minus(g, y, x)


def divided(g: Building, x: Any, y: Any) -> Value:
    if not _is_constant(y):
        raise InexpressibleError("a division by what depends on the image")
    return times(g, x, 1 / as_array(y, np.float64))


def negated(g: Building, x: Any) -> Value:
    return times(g, x, -1.0)


def power(g: Building, x: Any, exponent: Any) -> Value:
    if not _is_constant(exponent) or float(exponent) != 2:
        raise InexpressibleError(f"a power of {exponent}: only squares can be expressed")
    value = g.value(x)
    return g.add("multiply", [value, value])


def cat(g: Building, values: Any, dim: int = 0) -> Value:
    parts = [g.value(v) for v in values]
    axis = _channel_axis(parts[0])
    if dim % len(parts[0].order) != axis or any(p.order != parts[0].order for p in parts):
        raise InexpressibleError(f"torch.cat along axis {dim}: expected the channels' axis, {axis}")
    return parts[0] if len(parts) == 1 else g.add("concat", parts)


# ------------------------------------------------------------------------------------- norms and pooling


def batch_norm(
    g: Building,
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Value:
    """With the statistics of the training: a factor and a bias."""
    if training or running_mean is None:
        raise InexpressibleError(
            "batch normalisation by the batch's own statistics: call module.eval() first"
        )
    value = g.value(x)
    gain = 1 / np.sqrt(as_array(running_var, np.float64) + eps)
    if weight is not None:
        gain = gain * as_array(weight, np.float64)
    shift = -as_array(running_mean, np.float64) * gain
    if bias is not None:
        shift = shift + as_array(bias, np.float64)
    return g.add("bias", g.add("scale", value, {"scale": gain}), {"bias": shift})


def instance_norm(
    g: Building,
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Value:
    if not use_input_stats:
        return batch_norm(g, x, running_mean, running_var, weight, bias, False, momentum, eps)
    return g.add("instance_norm", _image(g, x), {"weight": weight, "bias": bias}, eps=float(eps))


def group_norm(
    g: Building, x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Value:
    value = _image(g, x)
    if num_groups != g.channels(value):
        raise InexpressibleError(
            f"group normalisation of {g.channels(value)} channels in {num_groups} groups: expected as many groups as channels"
        )
    return g.add("instance_norm", value, {"weight": weight, "bias": bias}, eps=float(eps))


def layer_norm(
    g: Building, x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Value:
    value = g.value(x)
    if value.order == "nchw" or tuple(normalized_shape) != (g.channels(value),):
        raise InexpressibleError(
            f"layer normalisation over {tuple(normalized_shape)}: expected over the channels of each pixel, in the last axis"
        )
    return g.add("layer_norm", value, {"weight": weight, "bias": bias}, eps=float(eps))


def mean(g: Building, x: Any, dim: Any = None, keepdim: bool = False) -> Value:
    value = g.value(x)
    spatial = {"nchw": {2, 3}, "nhwc": {1, 2}}.get(value.order)
    axes = {d % 4 for d in (dim if isinstance(dim, (tuple, list)) else [dim])} if dim is not None else None
    if spatial is None or axes != spatial:
        raise InexpressibleError(f"a mean over the axes {dim}: expected over height and width")
    made = g.add("average_pool", value)
    return made if keepdim else Value(made.number, "nc")


def adaptive_avg_pool2d(g: Building, x: Any, output_size: Any) -> Value:
    if _sizes(output_size) != (1, 1):
        raise InexpressibleError(f"adaptive pooling to {output_size}: expected to 1")
    return g.add("average_pool", _image(g, x))


def _sizes(value: Any) -> tuple[Any, ...]:
    return (value, value) if not isinstance(value, (tuple, list)) else tuple(value)


def avg_pool2d(
    g: Building,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    """A convolution of every channel by itself."""
    padded = any(_two(padding))
    if ceil_mode or (padded and not count_include_pad):
        raise InexpressibleError("average pooling that counts other pixels at the borders")
    value = _image(g, x)
    kh, kw = _two(kernel_size)
    c = g.channels(value)
    weight = np.full((c, 1, kh, kw), 1 / (divisor_override or kh * kw), np.float32)
    return conv2d(g, value, weight, None, stride or kernel_size, padding, groups=c)


# -------------------------------------------------------------------------------------------- resampling


def pixel_shuffle(g: Building, x: Any, upscale_factor: int) -> Value:
    return g.add("pixel_shuffle", _image(g, x), factor=upscale_factor)


def pixel_unshuffle(g: Building, x: Any, downscale_factor: int) -> Value:
    return g.add("pixel_unshuffle", _image(g, x), factor=downscale_factor)


def interpolate(
    g: Building,
    x: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Value:
    if scale_factor is None:
        raise InexpressibleError("interpolation to a given size: expected scale_factor")
    if mode not in ("nearest", "bilinear") or align_corners or antialias:
        raise InexpressibleError(
            f"interpolation with mode={mode!r}, align_corners={align_corners}, antialias={antialias}"
        )
    return g.add("resize", _image(g, x), factor=[float(s) for s in _sizes(scale_factor)], mode=mode)


def pad(g: Building, x: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Any:
    margins = [int(n) for n in pad]
    if len(margins) == 2:
        margins += [0, 0]
    if len(margins) != 4 or min(margins) < 0 or mode not in ("constant", "reflect") or value not in (None, 0):
        raise InexpressibleError(f"padding by {tuple(pad)} with mode={mode!r} and value={value}")
    left, right, top, bottom = margins
    return Padded(_image(g, x), (top, bottom, left, right), "reflect" if mode == "reflect" else "zeros")


# ------------------------------------------------------------------------------------------- axes and parts


def _channel_axis(value: Value) -> int:
    return value.order.index("c")


def permute(g: Building, x: Any, *dims: Any) -> Value:
    value = g.value(x)
    axes = [int(d) % 4 for d in (dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims)]
    if len(axes) == 4 == len(value.order):
        order = "".join(value.order[a] for a in axes)
        if order in ("nchw", "nhwc"):
            return Value(value.number, order)
    raise InexpressibleError(f"axes reordered as {tuple(dims)}: expected NCHW to NHWC, or back")


def chunk(g: Building, x: Any, chunks: int, dim: int = 0) -> Any:
    value = g.value(x)
    size = -(-g.channels(value) // chunks)
    return split(g, value, size, dim)


def split(g: Building, x: Any, split_size_or_sections: Any, dim: int = 0) -> Any:
    value = g.value(x)
    axis, c = _channel_axis(value), g.channels(value)
    if dim % len(value.order) != axis:
        raise InexpressibleError(f"parts along axis {dim}: expected the channels' axis, {axis}")
    sizes = split_size_or_sections
    if isinstance(sizes, int):
        sizes = [min(sizes, c - first) for first in range(0, c, sizes)]
    ends = np.cumsum([0, *sizes]).tolist()
    return tuple(Channels(value, a, b) for a, b in itertools.pairwise(ends))


def getitem(g: Building, x: Any, index: Any) -> Any:
    if isinstance(x, (tuple, list)):
        return x[index]
    value = g.value(x)
    items = index if isinstance(index, tuple) else (index,)
    if value.order == "nc" and items == (slice(None), slice(None), None, None):
        return Value(value.number)
    axis = _channel_axis(value)
    items = tuple(i for i in items if i is not Ellipsis) if items and items[-1] is Ellipsis else items
    whole = [i for a, i in enumerate(items) if a != axis]
    if len(items) > axis and all(i == slice(None) for i in whole) and isinstance(items[axis], slice):
        first, last, step = items[axis].indices(g.channels(value))
        if step == 1 and first < last:
            return Channels(value, first, last)
    raise InexpressibleError(f"an index {index}: expected a range of channels")


def narrow(g: Building, x: Any, dim: int, start: int, length: int) -> Any:
    value = g.value(x)
    if dim % len(value.order) != _channel_axis(value):
        raise InexpressibleError(f"a part along axis {dim}: expected of the channels")
    return Channels(value, start, start + length)


def flatten(g: Building, x: Any, start_dim: int = 0, end_dim: int = -1) -> Value:
    value = g.value(x)
    if (
        value.order == "nchw"
        and start_dim == 1
        and end_dim in (-1, 3)
        and g.shapes[value.number][1:] == (1, 1)
    ):
        return Value(value.number, "nc")
    raise InexpressibleError("flattening of what is no average over the frame")


def view(g: Building, x: Any, *shape: Any) -> Value:
    value = g.value(x)
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    c = g.channels(value)
    if g.shapes[value.number][1:] == (1, 1) and all(isinstance(n, int) for n in sizes):
        if len(sizes) == 4 and sizes[0] in (1, -1) and sizes[1] in (c, -1) and sizes[2:] == (1, 1):
            return Value(value.number)
        if len(sizes) == 2 and sizes[0] in (1, -1) and sizes[1] in (c, -1):
            return Value(value.number, "nc")
    raise InexpressibleError(f"a view of shape {tuple('?' if isinstance(n, Length) else n for n in sizes)}")


def size(g: Building, x: Any, dim: int | None = None) -> Any:
    """Height and width stay unknown: the network is for images of every size."""
    if isinstance(x, Given):
        raise InexpressibleError(f"the size of the {x.name}")
    value = g.value(x)
    lengths: dict[str, Any] = {"n": 1, "c": g.channels(value), "h": Length(), "w": Length()}
    known = tuple(lengths[axis] for axis in value.order)
    return known if dim is None else known[dim]


def get_attribute(g: Building, x: Any, name: str) -> Any:
    if name == "shape":
        return size(g, x)
    raise InexpressibleError(f"the attribute {name!r} of a value")


def same(g: Building, x: Any, *_: Any, **__: Any) -> Any:
    return x


# By the function itself, or by the tensor method's name.
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    operator.getitem: getitem,
    getattr: get_attribute,
    operator.neg: negated,
    operator.pow: power,
    torch.rsub: reversed_minus,
    F.batch_norm: batch_norm,
    F.instance_norm: instance_norm,
    F.layer_norm: layer_norm,
    F.group_norm: group_norm,
    F.interpolate: interpolate,
    F.pad: pad,
    F.adaptive_avg_pool2d: adaptive_avg_pool2d,
    F.relu6: relu6,
    F.hardtanh: clamp,
    F.linear: linear,
    F.dropout: same,
    "size": size,
    "view": view,
    "reshape": view,
    "contiguous": same,
    "clone": same,
    "detach": same,
    "float": same,
    "to": same,
}
for _names, _converter in (
    ("conv2d", conv2d),
    ("conv_transpose2d", conv_transpose2d),
    ("relu relu_", relu),
    ("sigmoid sigmoid_", sigmoid),
    ("tanh tanh_", tanh),
    ("leaky_relu leaky_relu_", leaky_relu),
    ("prelu", prelu),
    ("gelu", gelu),
    ("silu", silu),
    ("clamp clip clamp_", clamp),
    ("mul multiply mul_ imul", times),
    ("add add_ iadd", plus),
    ("sub subtract sub_ isub", minus),
    ("div true_divide truediv divide div_ itruediv", divided),
    ("neg negative", negated),
    ("pow", power),
    ("square", lambda g, x: power(g, x, 2)),
    ("cat concat", cat),
    ("mean", mean),
    ("avg_pool2d", avg_pool2d),
    ("pixel_shuffle", pixel_shuffle),
    ("pixel_unshuffle", pixel_unshuffle),
    ("permute", permute),
    ("chunk", chunk),
    ("split", split),
    ("narrow", narrow),
    ("flatten", flatten),
):
    for _name in _names.split():
        FUNCTIONS[_name] = _converter
        for _home in (torch, F, operator):
            if hasattr(_home, _name):
                FUNCTIONS[getattr(_home, _name)] = _converter
