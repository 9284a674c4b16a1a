"""A traced module, call by call, as the nodes of a graph."""

from __future__ import annotations

import operator
import traceback
from typing import Any

import torch
from torch import fx, nn

from fastdeblur.errors import Unsupported
from fastdeblur.nets.export import modules
from fastdeblur.nets.export.functions import FUNCTIONS
from fastdeblur.nets.export.trace import Tracer, place, source_line
from fastdeblur.nets.export.values import Building, Given, InexpressibleError, Value
from fastdeblur.nets.graph import Node
from fastdeblur.nets.layers import Shape

# PyTorch's names of arguments that our converters call otherwise.
_RENAMED = {"input": "x", "tensors": "values", "other": "y", "split_size": "split_size_or_sections"}
_IN_PLACE = (operator.iadd, operator.isub, operator.imul, operator.itruediv)


def convert(module: nn.Module, shape: Shape, others: int) -> tuple[list[Node], int]:
    """The module's nodes, and the number of the value that it returns. Raises Unsupported, naming what has no layer.

    shape: of an image that it takes; others: how many arguments follow the image, of PSF and noise.
    """
    module, calls = _trace(module.eval(), others)
    g = Building([shape])
    known: dict[fx.Node, Any] = {}
    names = ["image", "psf", "noise"]
    for call in calls.nodes:
        g.name = str(call.target) if call.op == "call_module" else call.meta.get("module", "")
        try:
            if call.op == "placeholder":
                name = names.pop(0) if len(names) > 2 - others else ""
                known[call] = Value(0) if name == "image" else Given(name) if name else None
            elif call.op == "get_attr":
                known[call] = operator.attrgetter(str(call.target))(module)
            elif call.op == "output":
                return g.nodes, _result(g, known, call)
            else:
                known[call] = _call(module, g, known, call)
        except InexpressibleError as error:
            where = place(call)
            raise Unsupported(f"module: no layer for {error}{f' ({where})' if where else ''}") from None
    raise AssertionError("a traced module without an output")


def _trace(module: nn.Module, others: int) -> tuple[nn.Module, fx.Graph]:
    """The module, or one that holds it where it is a layer by itself, and its calls."""
    tracer = Tracer(modules.describes)
    if tracer.is_leaf_module(module, ""):
        alone = nn.Module()
        alone.add_module("module", module)
        calls = fx.Graph()
        given = [calls.placeholder(name) for name in ("image", "psf", "noise")[: 1 + others]]
        calls.output(calls.call_module("module", tuple(given)))
        return alone, calls
    try:
        return module, tracer.trace(module, _concrete(module, others))
    except fx.proxy.TraceError as error:
        line = source_line(traceback.extract_tb(error.__traceback__))
        raise Unsupported(
            f"module: its course must not depend on the image or its size ({line or error})"
        ) from error
    except Exception as error:
        raise Unsupported(f"module: cannot be traced: {type(error).__name__}: {error}") from error


def _concrete(module: nn.Module, others: int) -> dict[str, Any]:
    """Arguments that are not given are what their defaults are, so that nothing hangs on them."""
    import inspect

    parameters = list(inspect.signature(module.forward).parameters.values())
    return {p.name: p.default for p in parameters[1 + others :] if p.default is not inspect.Parameter.empty}


def _result(g: Building, known: dict[fx.Node, Any], call: fx.Node) -> int:
    result = fx.node.map_arg(call.args[0], lambda n: known[n])
    value = g.value(result)
    if value.order != "nchw":
        raise InexpressibleError(f"a result with axes in the order {value.order}")
    return value.number


def _call(module: nn.Module, g: Building, known: dict[fx.Node, Any], call: fx.Node) -> Any:
    args = [_looked_up(a, known) for a in call.args]
    kwargs = {_RENAMED.get(k, k): _looked_up(a, known) for k, a in call.kwargs.items()}
    in_place = call.target in _IN_PLACE or bool(call.kwargs.get("inplace"))
    if call.op == "call_module":
        child = module.get_submodule(str(call.target))
        result = modules.convert(child, g, *args, *kwargs.values())
        in_place = bool(getattr(child, "inplace", False))
    elif not _holds_values([args, kwargs]):
        return _constant(call, known)
    else:
        converter = FUNCTIONS.get(call.target)
        if converter is None:
            raise InexpressibleError(_named(call))
        try:
            result = converter(g, *args, **kwargs)
        except TypeError as error:
            raise InexpressibleError(f"{_named(call)} with these arguments ({error})") from None
        in_place |= call.op == "call_method" and str(call.target).endswith("_")
    if in_place and isinstance(call.args[0], fx.Node):
        known[call.args[0]] = result
    return result


def _looked_up(argument: Any, known: dict[fx.Node, Any]) -> Any:
    if isinstance(argument, fx.Node):
        return known[argument]
    if isinstance(argument, (tuple, list)):
        return type(argument)(_looked_up(a, known) for a in argument)
    if isinstance(argument, slice):
        return slice(*(_looked_up(a, known) for a in (argument.start, argument.stop, argument.step)))
    return argument


def _holds_values(argument: Any) -> bool:
    """Whether anything in an argument is no constant."""
    if isinstance(argument, (tuple, list)):
        return any(map(_holds_values, argument))
    if isinstance(argument, dict):
        return any(map(_holds_values, argument.values()))
    if isinstance(argument, slice):
        return _holds_values([argument.start, argument.stop, argument.step])
    return not (
        argument is None
        or isinstance(
            argument, (int, float, str, torch.Tensor, torch.dtype, torch.device, torch.memory_format)
        )
        or argument is Ellipsis
    )


def _constant(call: fx.Node, known: dict[fx.Node, Any]) -> Any:
    """What a call makes of parameters and numbers alone is a constant."""
    args = [_looked_up(a, known) for a in call.args]
    kwargs = {k: _looked_up(a, known) for k, a in call.kwargs.items()}
    with torch.no_grad():
        if call.op == "call_method":
            return getattr(args[0], str(call.target))(*args[1:], **kwargs)
        assert callable(call.target)
        return call.target(*args, **kwargs)


def _named(call: fx.Node) -> str:
    target: Any = call.target
    if call.op == "call_method":
        return f"Tensor.{target}"
    return str(getattr(target, "__name__", target))
