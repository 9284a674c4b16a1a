"""The table of layers: for each operation what it takes, what comes out, its kernel, its cost and how far it looks.

A new layer is a row here and a kernel in every engine that shall have it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from fastdeblur.errors import ModelError
from fastdeblur.nets import reference, rules
from fastdeblur.nets.rules import Attribute

if TYPE_CHECKING:
    from fastdeblur.nets.graph import Node

Shape = tuple[int, int, int]  # channels, height, width

MOST_CHANNELS = 1 << 16
MOST_PIXELS = 1 << 31  # on an axis


class FrameError(Exception):
    """A layer cannot be applied for a frame of this size, though it might be for another one; the text says why."""


class Reach(NamedTuple):
    """On one axis: how many image pixels there are to a value's pixel, and which of them bear on it, in image pixels.

    The value's pixel i depends on no image pixels but those from ``step * i - before`` to ``step * i + after``; None: on all.
    """

    step: Fraction
    before: Fraction | None
    after: Fraction | None

    def over(self, before: Fraction | int, after: Fraction | int, step: Fraction | int = 1) -> Reach:
        """Through a layer whose result's pixel i takes pixels from ``step * i - before`` to ``step * i + after`` of this value."""
        if self.before is None or self.after is None:
            return self._replace(step=self.step * step)
        return Reach(self.step * step, self.before + before * self.step, self.after + after * self.step)

    def everywhere(self) -> Reach:
        return Reach(self.step, None, None)


def _nothing(node: Node, shapes: list[Shape]) -> int:
    return 0


def _in_place(node: Node, axis: int, reach: Reach) -> Reach:
    return reach


def _everywhere_alike(node: Node, axis: int) -> int:
    return 1


@dataclass(frozen=True)
class Layer:
    """A row. ``shape`` raises ModelError where no frame could do, FrameError where this one cannot."""

    kernel: Callable[..., Any]
    shape: Callable[[Node, list[Shape]], Shape]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    tensors: tuple[str, ...] = ()  # those that may be missing end in "?"
    inputs: tuple[int, int] = (1, 1)
    macs: Callable[[Node, list[Shape]], int] = (
        _nothing  # multiplications with weights; shapes: inputs', then the result's
    )
    reach: Callable[[Node, int, Reach], Reach] = _in_place  # axis 0: rows, 1: columns
    grid: Callable[[Node, int], int] = (
        _everywhere_alike  # pixels that its input must begin at a multiple of, if it is a part of a frame
    )
    needs_psf: bool = False


# ---------------------------------------------------------------------------------- what shape rules share


def _expect(node: Node, name: str, shape: tuple[int | None, ...], what: str) -> None:
    """A tensor, if the node has it, of this shape; None: any size."""
    if name not in node.tensors:
        return
    got = node.tensors[name].shape
    if len(got) != len(shape) or any(n not in (None, m) for n, m in zip(shape, got, strict=True)):
        raise ModelError(f"{name}: expected shape {what}, got {got}")


def _channels(node: Node, c: int, *names: str) -> None:
    for name in names:
        _expect(node, name, (c,), f"({c},), a value for each channel")


def _same(*per_channel: str) -> Callable[[Node, list[Shape]], Shape]:
    """The result is like the input; the named tensors hold a number for each channel."""

    def shape(node: Node, shapes: list[Shape]) -> Shape:
        _channels(node, shapes[0][0], *per_channel)
        return shapes[0]

    return shape


def _sized(c: int, h: int, w: int) -> Shape:
    if c > MOST_CHANNELS:
        raise ModelError(f"expected at most {MOST_CHANNELS} channels, got {c}")
    if max(h, w) > MOST_PIXELS:
        raise FrameError(f"its result would have more than {MOST_PIXELS} pixels on an axis")
    return c, h, w


# ------------------------------------------------------------------------------------------- convolutions


def _kernel_axis(node: Node, axis: int) -> tuple[int, int, int, int]:
    """(kernel, stride, padding before, padding after) on an axis."""
    padding = node.attributes["padding"]
    return (
        node.tensors["weight"].shape[2 + axis],
        node.attributes["stride"][axis],
        padding[2 * axis],
        padding[2 * axis + 1],
    )


def _expect_taps(node: Node) -> None:
    height, width = node.tensors["weight"].shape[2:]
    if height * width > rules.MOST_STEP:
        raise ModelError(
            f"weight: expected a kernel of at most {rules.MOST_STEP} taps, got {height} x {width}"
        )


def _conv2d(node: Node, shapes: list[Shape]) -> Shape:
    (c, *size), groups = shapes[0], node.attributes["groups"]
    _expect(node, "weight", (None, None, None, None), "(O, C/groups, kh, kw)")
    _expect_taps(node)
    o, per_group, *_ = node.tensors["weight"].shape
    if c % groups or o % groups or per_group != c // groups:
        raise ModelError(
            f"weight: expected shape (O, C/groups, kh, kw) for C={c} channels in groups={groups}, O a multiple of it, "
            f"got {node.tensors['weight'].shape}"
        )
    _channels(node, o, "bias")
    result = []
    for axis, n in enumerate(size):
        k, stride, before, after = _kernel_axis(node, axis)
        if node.attributes["padding_mode"] == "reflect" and max(before, after) >= n:
            raise FrameError(
                f"it reflects {max(before, after)} pixels at a border, more than {n} pixels have"
            )
        if n + before + after < k:
            raise FrameError(f"its kernel of {k} pixels is larger than the {n + before + after} there are")
        result.append((n + before + after - k) // stride + 1)
    return _sized(o, result[0], result[1])


def _conv2d_macs(node: Node, shapes: list[Shape]) -> int:
    return int(node.tensors["weight"].size) * shapes[-1][1] * shapes[-1][2]


def _conv2d_reach(node: Node, axis: int, reach: Reach) -> Reach:
    k, stride, before, _ = _kernel_axis(node, axis)
    return reach.over(before, k - 1 - before, stride)


def _conv_transpose2d(node: Node, shapes: list[Shape]) -> Shape:
    (c, *size), groups = shapes[0], node.attributes["groups"]
    _expect(node, "weight", (c, None, None, None), "(C, O/groups, kh, kw)")
    _expect_taps(node)
    if c % groups:
        raise ModelError(f"groups: expected a divisor of the {c} channels, got {groups}")
    o = node.tensors["weight"].shape[1] * groups
    _channels(node, o, "bias")
    result = []
    for axis, n in enumerate(size):
        k, stride, before, after = _kernel_axis(node, axis)
        length = (n - 1) * stride + k - before - after
        if length < 1:
            raise FrameError(f"it cuts {before + after} pixels off, all that there are")
        result.append(length)
    return _sized(o, result[0], result[1])


def _conv_transpose2d_macs(node: Node, shapes: list[Shape]) -> int:
    return int(node.tensors["weight"].size) * shapes[0][1] * shapes[0][2]


def _conv_transpose2d_reach(node: Node, axis: int, reach: Reach) -> Reach:
    k, stride, before, _ = _kernel_axis(node, axis)
    return reach.over(
        max(Fraction(k - 1 - before, stride), Fraction(0)), Fraction(before, stride), Fraction(1, stride)
    )


def _linear(node: Node, shapes: list[Shape]) -> Shape:
    c, h, w = shapes[0]
    _expect(node, "weight", (None, c), f"(O, {c})")
    o = node.tensors["weight"].shape[0]
    _channels(node, o, "bias")
    return _sized(o, h, w)


_CONVOLUTION = {"stride": rules.pair(rules.MOST_STEP), "padding": rules.margins(), "groups": rules.count(1)}


# -------------------------------------------------------------------------------- pointwise, and statistics


def _prelu(node: Node, shapes: list[Shape]) -> Shape:
    c = shapes[0][0]
    if node.tensors["slope"].shape not in ((1,), (c,)):
        raise ModelError(f"slope: expected shape (1,) or ({c},), got {node.tensors['slope'].shape}")
    return shapes[0]


def _simple_gate(node: Node, shapes: list[Shape]) -> Shape:
    c, h, w = shapes[0]
    if c % 2:
        raise ModelError(f"expected an even number of channels, got {c}")
    return c // 2, h, w


def _broadcast(node: Node, shapes: list[Shape]) -> Shape:
    x, y = shapes
    c, h, w = x
    allowed = (x, (c, 1, 1), (1, h, w), (1, 1, 1))
    if y not in allowed:
        raise _mismatch(
            f"expected a second value of shape {', '.join(map(str, dict.fromkeys(allowed)))}, got {y}",
            y[0] in (1, c),
        )
    return x


def _concat(node: Node, shapes: list[Shape]) -> Shape:
    sizes = {shape[1:] for shape in shapes}
    if len(sizes) > 1:
        raise FrameError(f"it joins values of the same height and width, not {', '.join(map(str, shapes))}")
    return _sized(sum(shape[0] for shape in shapes), *shapes[0][1:])


def _mismatch(text: str, could_fit: bool) -> Exception:
    """Heights and widths that depend on the frame may agree for another one."""
    return FrameError(text) if could_fit else ModelError(text)


def _pool(node: Node, shapes: list[Shape]) -> Shape:
    c, h, w = shapes[0]
    return (c, 1, 1) if node.attributes["window"] is None else (c, h, w)


def _window_reach(node: Node, axis: int, reach: Reach) -> Reach:
    """A window is moved by up to half of its size at the frame's borders."""
    window = node.attributes["window"]
    return reach.everywhere() if window is None else reach.over(window[axis] - 1, window[axis] - 1)


def _attention_reach(node: Node, axis: int, reach: Reach) -> Reach:
    """Between two places of the grid the factors of both bear on a pixel."""
    wide = _window_reach(node, axis, reach)
    aside = _attention_grid(node, axis) - 1
    return wide.over(aside, aside)


def _attention_grid(node: Node, axis: int) -> int:
    return int(node.attributes["step"][axis])


def _everywhere(node: Node, axis: int, reach: Reach) -> Reach:
    return reach.everywhere()


def _attention(node: Node, shapes: list[Shape]) -> Shape:
    if node.attributes["window"] is None and node.attributes["step"] != [1, 1]:
        raise ModelError("step: has no meaning without a window")
    c = shapes[0][0]
    s = c
    if "squeeze_weight" in node.tensors:
        _expect(node, "squeeze_weight", (None, c), f"(S, {c})")
        s = node.tensors["squeeze_weight"].shape[0]
        _channels(node, s, "squeeze_bias")
    elif "squeeze_bias" in node.tensors:
        raise ModelError("squeeze_bias: has no meaning without squeeze_weight")
    _expect(node, "weight", (c, s), f"({c}, {s})")
    _channels(node, c, "bias")
    return shapes[0]


def _attention_macs(node: Node, shapes: list[Shape]) -> int:
    _, h, w = shapes[0]
    step = node.attributes["step"]
    places = 1
    if node.attributes["window"] is not None:
        places = reference.grid_length(h, step[0]) * reference.grid_length(w, step[1])
    return places * sum(int(t.size) for name, t in node.tensors.items() if name.endswith("weight"))


# -------------------------------------------------------------------------------------------- resampling


def _shuffle(node: Node, shapes: list[Shape]) -> Shape:
    c, h, w = shapes[0]
    f = node.attributes["factor"]
    if c % f**2:
        raise ModelError(f"factor: expected {c} channels to be a multiple of its square, got {f}")
    return _sized(c // f**2, h * f, w * f)


def _shuffle_reach(node: Node, axis: int, reach: Reach) -> Reach:
    f = node.attributes["factor"]
    return reach.over(Fraction(f - 1, f), 0, Fraction(1, f))


def _unshuffle(node: Node, shapes: list[Shape]) -> Shape:
    c, h, w = shapes[0]
    f = node.attributes["factor"]
    if h % f or w % f:
        raise FrameError(f"it expects a height and width that are multiples of {f}, not {h} x {w}")
    return _sized(c * f**2, h // f, w // f)


def _unshuffle_reach(node: Node, axis: int, reach: Reach) -> Reach:
    f = node.attributes["factor"]
    return reach.over(0, f - 1, f)


def _resize(node: Node, shapes: list[Shape]) -> Shape:
    c, h, w = shapes[0]
    size = [reference.resized_length(n, f) for n, f in zip((h, w), node.attributes["factor"], strict=True)]
    if min(size) < 1:
        raise FrameError(f"{h} x {w} pixels are too few for factors {node.attributes['factor']}")
    return _sized(c, size[0], size[1])


def _resize_reach(node: Node, axis: int, reach: Reach) -> Reach:
    factor = node.attributes["factor"][axis]
    if factor == 1:
        return reach
    step = 1 / Fraction(int(factor)) if factor >= 1 else Fraction(round(1 / factor))
    if node.attributes["mode"] == "nearest":
        return reach.over(max(1 - step, Fraction(0)), 0, step)
    # Of the two pixels beside (i + 1/2) step - 1/2.
    return reach.over(max((3 - step) / 2, Fraction(0)), (step + 1) / 2, step)


LAYERS: dict[str, Layer] = {
    "conv2d": Layer(
        reference.conv2d,
        _conv2d,
        _CONVOLUTION | {"padding_mode": rules.choice("zeros", "reflect")},
        ("weight", "bias?"),
        macs=_conv2d_macs,
        reach=_conv2d_reach,
    ),
    "conv_transpose2d": Layer(
        reference.conv_transpose2d,
        _conv_transpose2d,
        _CONVOLUTION,
        ("weight", "bias?"),
        macs=_conv_transpose2d_macs,
        reach=_conv_transpose2d_reach,
    ),
    "linear": Layer(reference.linear, _linear, {}, ("weight", "bias?"), macs=_conv2d_macs),
    "bias": Layer(reference.bias, _same("bias"), {}, ("bias",)),
    "scale": Layer(reference.scale, _same("scale"), {}, ("scale",)),
    "relu": Layer(reference.relu, _same()),
    "sigmoid": Layer(reference.sigmoid, _same()),
    "tanh": Layer(reference.tanh, _same()),
    "leaky_relu": Layer(reference.leaky_relu, _same(), {"slope": rules.number(0.01)}),
    "prelu": Layer(reference.prelu, _prelu, {}, ("slope",)),
    "gelu": Layer(reference.gelu, _same(), {"approximate": rules.choice("none", "tanh")}),
    "instance_norm": Layer(
        reference.instance_norm,
        _same("weight", "bias"),
        {"eps": rules.number(1e-5, 1e-30)},
        ("weight?", "bias?"),
        reach=_everywhere,
    ),
    "layer_norm": Layer(
        reference.layer_norm,
        _same("weight", "bias"),
        {"eps": rules.number(1e-6, 1e-30)},
        ("weight?", "bias?"),
    ),
    "simple_gate": Layer(reference.simple_gate, _simple_gate),
    "average_pool": Layer(reference.average_pool, _pool, {"window": rules.window()}, reach=_window_reach),
    "channel_attention": Layer(
        reference.channel_attention,
        _attention,
        {
            "window": rules.window(),
            "step": rules.pair(rules.MOST_STEP),
            "activation": rules.choice("none", "sigmoid"),
        },
        ("weight", "bias?", "squeeze_weight?", "squeeze_bias?"),
        macs=_attention_macs,
        reach=_attention_reach,
        grid=_attention_grid,
    ),
    "pixel_shuffle": Layer(
        reference.pixel_shuffle, _shuffle, {"factor": rules.count(2)}, reach=_shuffle_reach
    ),
    "pixel_unshuffle": Layer(
        reference.pixel_unshuffle, _unshuffle, {"factor": rules.count(2)}, reach=_unshuffle_reach
    ),
    "resize": Layer(
        reference.resize,
        _resize,
        {"factor": rules.factors(), "mode": rules.choice("nearest", "bilinear")},
        reach=_resize_reach,
    ),
    "add": Layer(reference.add, _broadcast, inputs=(2, 2)),
    "multiply": Layer(reference.multiply, _broadcast, inputs=(2, 2)),
    "concat": Layer(reference.concat, _concat, inputs=(2, rules.MOST_STEP)),
    "fft_wiener": Layer(
        reference.fft_wiener,
        _same("log_balance"),
        {
            "boundary": rules.choice("reflect", "edge", "zero", "periodic"),
            "reg": rules.choice("identity", "laplacian"),
        },
        ("log_balance",),
        reach=_everywhere,
        needs_psf=True,
    ),
}
