"""Modules that are a layer, or two: for each class what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from fastdeblur.nets.export import functions as f
from fastdeblur.nets.export.values import Building, Given, InexpressibleError

METHOD = "fastdeblur_layer"  # of a module: returns (op, attributes, tensors by their role)

# Layers that PyTorch lacks, as the training code has them.
_OURS: dict[str, Callable[[Any], Any]] = {
    "fastdeblur.train.layers.ChannelAttention": lambda m: (
        "channel_attention",
        {"window": None if m.window is None else list(m.window), "step": list(m.step)},
        {"weight": m.weight, "bias": m.bias},
    ),
    "fastdeblur.train.layers.WienerLayer": lambda m: (
        "fft_wiener",
        {"boundary": m.boundary, "reg": m.reg},
        {"log_balance": m.log_balance},
    ),
}


def describes(module: nn.Module) -> bool:
    """Whether a module says by itself which layer it is."""
    return hasattr(module, METHOD) or _name(module) in _OURS


def _name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def convert(module: nn.Module, g: Building, *arguments: Any) -> Any:
    """The nodes of a call of a module."""
    if describes(module):
        says = getattr(module, METHOD, None)
        op, attributes, tensors = says() if says is not None else _OURS[_name(module)](module)
        others = arguments[1:]
        if op == "fft_wiener":
            if (
                not others
                or others[0] != Given("psf")
                or any(o not in (None, Given("noise")) for o in others[1:])
            ):
                raise InexpressibleError(
                    "a Wiener layer with another PSF or noise than the network's arguments"
                )
        elif others:
            raise InexpressibleError(f"{op} with further arguments")
        return g.add(op, g.value(arguments[0]), tensors, **attributes)
    for kind in type(module).__mro__:
        if kind in MODULES:
            return MODULES[kind](module, g, *arguments)
    raise InexpressibleError(f"{_name(module)}")


def _convolution(m: Any, g: Building, x: Any) -> Any:
    return f.conv2d(
        g, x, m.weight, m.bias, m.stride, m.padding, m.dilation, m.groups, padding_mode=m.padding_mode
    )


def _transposed(m: Any, g: Building, x: Any) -> Any:
    return f.conv_transpose2d(
        g, x, m.weight, m.bias, m.stride, m.padding, m.output_padding, m.groups, m.dilation
    )


def _batch_norm(m: Any, g: Building, x: Any) -> Any:
    return f.batch_norm(g, x, m.running_mean, m.running_var, m.weight, m.bias, m.training, 0.0, m.eps)


def _instance_norm(m: Any, g: Building, x: Any) -> Any:
    if m.track_running_stats:
        return _batch_norm(m, g, x)
    return f.instance_norm(g, x, weight=m.weight, bias=m.bias, eps=m.eps)


def _layer_norm(m: Any, g: Building, x: Any) -> Any:
    return f.layer_norm(g, x, m.normalized_shape, m.weight, m.bias, m.eps)


def _upsample(m: Any, g: Building, x: Any) -> Any:
    return f.interpolate(g, x, m.size, m.scale_factor, m.mode, m.align_corners)


def _same(m: Any, g: Building, x: Any) -> Any:
    return x


def _function(function: Callable[..., Any], *names: str) -> Callable[..., Any]:
    """A module that is a function of its attributes."""

    def convert_module(m: Any, g: Building, x: Any) -> Any:
        return function(g, x, *(getattr(m, name) for name in names))

    return convert_module


MODULES: dict[type, Callable[..., Any]] = {
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _transposed,
    nn.Linear: _function(f.linear, "weight", "bias"),
    nn.BatchNorm2d: _batch_norm,
    nn.InstanceNorm2d: _instance_norm,
    nn.LayerNorm: _layer_norm,
    nn.GroupNorm: _function(f.group_norm, "num_groups", "weight", "bias", "eps"),
    nn.ReLU: _function(f.relu),
    nn.ReLU6: _function(f.relu6),
    nn.LeakyReLU: _function(f.leaky_relu, "negative_slope"),
    nn.PReLU: _function(f.prelu, "weight"),
    nn.GELU: _function(f.gelu, "approximate"),
    nn.Sigmoid: _function(f.sigmoid),
    nn.Tanh: _function(f.tanh),
    nn.SiLU: _function(f.silu),
    nn.Hardtanh: _function(f.clamp, "min_val", "max_val"),
    nn.AdaptiveAvgPool2d: _function(f.adaptive_avg_pool2d, "output_size"),
    nn.AvgPool2d: _function(
        f.avg_pool2d,
        "kernel_size",
        "stride",
        "padding",
        "ceil_mode",
        "count_include_pad",
        "divisor_override",
    ),
    nn.PixelShuffle: _function(f.pixel_shuffle, "upscale_factor"),
    nn.PixelUnshuffle: _function(f.pixel_unshuffle, "downscale_factor"),
    nn.Upsample: _upsample,
    nn.ZeroPad2d: lambda m, g, x: f.pad(g, x, m.padding),
    nn.ReflectionPad2d: lambda m, g, x: f.pad(g, x, m.padding, "reflect"),
    nn.Flatten: _function(f.flatten, "start_dim", "end_dim"),
    nn.Identity: _same,
    nn.Dropout: _same,
    nn.Dropout2d: _same,
}
