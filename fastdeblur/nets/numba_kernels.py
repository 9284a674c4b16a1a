"""Layers in numba where that beats NumPy: convolutions, and what is pointwise. The rest is the reference's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur.backends import numba_
from fastdeblur.nets import reference
from fastdeblur.nets.execute import REFERENCE, Kernels
from fastdeblur.nets.graph import Node
from fastdeblur.nets.reference import Run, tensor

Array = NDArray[Any]


@lru_cache(maxsize=2)
def _compiled(parallel: bool) -> Any:
    import math

    import numba

    def jit(function: Callable[..., Any]) -> Any:
        function.__qualname__ += "_parallel" if parallel else "_serial"
        compiled: Any = numba.njit(parallel=parallel, error_model="numpy", nogil=True)(function)
        with suppress(RuntimeError):  # there is nowhere to keep it
            compiled.enable_caching()
        return compiled

    @jit
    def conv(x, weight, bias, sy, sx, per_group_out, out):  # type: ignore[no-untyped-def]
        # x is padded. The innermost loop runs along a row, and the same for every number of threads.
        o, per_group, kh, kw = weight.shape
        h, w = out.shape[1:]
        for job in numba.prange(o * h):
            k, i = job // h, job % h
            first = (k // per_group_out) * per_group
            row = out[k, i]
            row[:] = bias[k]
            for c in range(per_group):
                for dy in range(kh):
                    source = x[first + c, i * sy + dy]
                    for dx in range(kw):
                        tap = weight[k, c, dy, dx]
                        if sx == 1:
                            for j in range(w):
                                row[j] += tap * source[j + dx]
                        else:
                            for j in range(w):
                                row[j] += tap * source[j * sx + dx]

    @jit
    def gelu(x, out):  # type: ignore[no-untyped-def]
        half = x.dtype.type(0.5)
        for i in numba.prange(x.size):
            out[i] = half * x[i] * (1 + math.erf(x[i] * 0.7071067811865476))

    @jit
    def layer_norm(x, weight, bias, eps, out):  # type: ignore[no-untyped-def]
        c, n = x.shape
        for block in numba.prange((n + 255) // 256):
            for j in range(block * 256, min(n, block * 256 + 256)):
                total = 0.0
                for k in range(c):
                    total += x[k, j]
                mean = total / c
                squares = 0.0
                for k in range(c):
                    squares += (x[k, j] - mean) ** 2
                gain = 1 / math.sqrt(squares / c + eps)
                for k in range(c):
                    out[k, j] = (x[k, j] - mean) * gain * weight[k] + bias[k]

    return SimpleNamespace(conv=conv, gelu=gelu, layer_norm=layer_norm)


class _Threads:
    """The kernels on so many threads; numba's pool takes one caller at a time."""

    def __init__(self, n_threads: int):
        self.n_threads = n_threads

    def call(self, name: str, *arguments: Any) -> None:
        numba_.in_turn(lambda parallel: getattr(_compiled(parallel), name)(*arguments), self.n_threads)

    def conv2d(self, node: Node, x: Array, run: Run) -> Array:
        weight = np.ascontiguousarray(tensor(node, "weight", x))
        o, per_group, kh, kw = weight.shape
        if per_group > 1 and o > 1 and kh * kw == 1:  # BLAS does these
            return reference.conv2d(node, x, run)
        (sy, sx), groups = node.attributes["stride"], node.attributes["groups"]
        x = np.ascontiguousarray(
            reference.padded(x, node.attributes["padding"], node.attributes["padding_mode"])
        )
        out = np.empty((o, (x.shape[1] - kh) // sy + 1, (x.shape[2] - kw) // sx + 1), x.dtype)
        bias = tensor(node, "bias", x) if "bias" in node.tensors else np.zeros(o, x.dtype)
        self.call("conv", x, weight, bias, sy, sx, o // groups, out)
        return out

    def gelu(self, node: Node, x: Array, run: Run) -> Array:
        if node.attributes["approximate"] == "tanh":
            return reference.gelu(node, x, run)
        out = np.empty(x.shape, x.dtype)
        self.call("gelu", np.ascontiguousarray(x).ravel(), out.ravel())
        return out

    def layer_norm(self, node: Node, x: Array, run: Run) -> Array:
        c = len(x)
        weight = tensor(node, "weight", x) if "weight" in node.tensors else np.ones(c, x.dtype)
        bias = tensor(node, "bias", x) if "bias" in node.tensors else np.zeros(c, x.dtype)
        out = np.empty(x.shape, x.dtype)
        flat = np.ascontiguousarray(x).reshape(c, -1)
        self.call("layer_norm", flat, weight, bias, node.attributes["eps"], out.reshape(c, -1))
        return out


def kernels(n_threads: int) -> Kernels:
    """The table for so many threads; 0 for all."""
    own = _Threads(n_threads)
    return {**REFERENCE, "conv2d": own.conv2d, "gelu": own.gelu, "layer_norm": own.layer_norm}
