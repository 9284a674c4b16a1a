"""A PyTorch module as a list of calls, each with the place in the source that made it."""

from __future__ import annotations

import os
import traceback
from typing import Any

import torch
from torch import fx

_TORCH = os.path.dirname(torch.__file__) + os.sep
_HERE = os.path.abspath(__file__)
_TRACED_FROM = os.path.join(os.path.dirname(_HERE), "convert.py")


class Tracer(fx.Tracer):
    """Modules of PyTorch's own and those that say which layer they are stay calls; all else is traced through."""

    def __init__(self, describes: Any) -> None:
        super().__init__()
        self._describes = describes

    def is_leaf_module(self, m: torch.nn.Module, module_qualified_name: str) -> bool:
        return bool(self._describes(m)) or bool(super().is_leaf_module(m, module_qualified_name))

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        stack = list(self.module_stack)
        node.meta["module"] = stack[-1] if stack else ""
        node.meta["line"] = source_line(traceback.extract_stack())
        return node


def source_line(stack: traceback.StackSummary) -> str:
    """The innermost line of the module's own code, as "file:line: text"; empty where only PyTorch's code made the call."""
    for frame in reversed(stack):
        if frame.filename == _TRACED_FROM:
            break
        if not frame.filename.startswith((_TORCH, _HERE, "<")):
            return f"{os.path.basename(frame.filename)}:{frame.lineno}: {frame.line}"
    return ""


def place(node: fx.Node) -> str:
    """Where a call is, in a message."""
    module = str(node.target) if node.op == "call_module" else node.meta.get("module", "")
    parts = [f"module {module!r}" if module else "", node.meta.get("line", "")]
    return ", ".join(part for part in parts if part)
