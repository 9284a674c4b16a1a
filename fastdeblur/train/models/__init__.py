"""The networks that can be trained, and their arguments as a configuration gives them.

Nothing here imports PyTorch until a network is made: a configuration is checked without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastdeblur.errors import InvalidArgument
from fastdeblur.train.rules import Rule, count, either, known_keys, one_of, several

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Model:
    """Where a network's class is, which arguments it takes, and what its files say of it."""

    module: str
    cls: str
    arguments: Mapping[str, Rule]
    takes_psf: bool


_COLOURS = one_of(1, 3)
_U = {
    "width": count(1),
    "down": several(count(0), least=1),
    "middle": count(0),
    "up": several(count(0), least=1),
    "window": either(count(1), 0),
}

MODELS = {
    "srcnn": Model("srcnn", "SRCNN", {"channels": _COLOURS, "widths": several(count(1), least=2)}, False),
    "deblurgan": Model(
        "deblurgan", "DeblurGAN", {"channels": _COLOURS, "width": count(1), "blocks": count(0)}, False
    ),
    "nafnet": Model("nafnet", "NAFNet", {"channels": _COLOURS, **_U}, False),
    "dwdn": Model("dwdn", "DWDN", _U, True),
}


def check_model(values: Any) -> None:
    """Raises InvalidArgument unless [model] names a network and gives it arguments that it takes."""
    if not isinstance(values, Mapping):
        raise InvalidArgument(f"model: expected a table, got {values!r}")
    if "kind" not in values:
        raise InvalidArgument(f"model.kind: expected one of {', '.join(MODELS)}, got none")
    kind = one_of(*MODELS)("model.kind", values["kind"])
    arguments = MODELS[kind].arguments
    known_keys("model.", list(values), ["kind", *arguments])
    for name, value in values.items():
        if name != "kind":
            arguments[name](f"model.{name}", value)
    if kind == "srcnn" and len(values.get("widths", (0, 0))) != 2:
        raise InvalidArgument(f"model.widths: expected two widths, got {values['widths']!r}")
    if "down" in arguments and len(values.get("down", (0,))) != len(values.get("up", (0,))):
        raise InvalidArgument(
            f"model.up: expected as many scales as model.down ({len(values['down'])}), got {values['up']!r}"
        )
    if ("down" in values) != ("up" in values):
        raise InvalidArgument("model.up: expected together with model.down, got one of the two")


def takes_psf(values: Mapping[str, Any]) -> bool:
    """Whether the network of [model] needs the PSF."""
    return MODELS[values["kind"]].takes_psf


def make(values: Mapping[str, Any]) -> nn.Module:
    """The network of [model], with fresh weights from PyTorch's generator."""
    model = MODELS[values["kind"]]
    arguments = {name: value for name, value in values.items() if name != "kind"}
    if arguments.get("window") == 0:
        arguments["window"] = None
    network: nn.Module = getattr(import_module(f"{__name__}.{model.module}"), model.cls)(**arguments)
    return network
