"""From a PyTorch module to a model file: traced, turned into layers, simplified, and compared with the module."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur._checks import as_choice, as_number
from fastdeblur.errors import InvalidArgument, Unsupported
from fastdeblur.nets import graph as graphs
from fastdeblur.nets.execute import execute
from fastdeblur.nets.export.fold import folded
from fastdeblur.nets.graph import Graph, Input, Output
from fastdeblur.nets.layers import FrameError
from fastdeblur.nets.reference import Run

if TYPE_CHECKING:
    from fastdeblur.nets.model import Model

_NOISE = 0.02  # of the comparison, where a noise is taken


def from_torch(
    module: Any,
    example: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    description: str = "",
    scale: float = 1.0,
    offset: float = 0.0,
    out_scale: float = 1.0,
    out_offset: float = 0.0,
    multiple_of: int | tuple[int, int] | None = None,
    light: str = "srgb",
    dtype: str = "float32",
    sizes: Sequence[tuple[int, int]] | None = None,
    tolerance: float = 1e-4,
) -> Model:
    """A network in fastdeblur's own form from a PyTorch module, and a file of it.

    The module is traced (torch.fx) as it is when evaluating, each call becomes a layer of the model file, factors, biases and
    batch normalisations go into the convolutions beside them, and the result is compared with the module on random images.

    Parameters
    ----------
    module : torch.nn.Module
        Takes an image (1, C, H, W), then a PSF (1, h, w) and a noise (1,) if it uses them, and returns an image of the same shape.
        Its course must not depend on the image or on its size. Modules that PyTorch lacks can say what they are by a method
        ``fastdeblur_layer()`` that returns (op, attributes, tensors) of the model file.
    example : tensor (1, C, H, W), or a tuple of it, a PSF and a noise
        What the module can be called with. Only shapes are looked at, and how many arguments there are.
    path : path, optional
        The file to write, whole or not at all: ``.safetensors``.
    name, description : str
        What the network is called, and a line about it. Without a name it is called like the file, or like the module's class.
    scale, offset, out_scale, out_offset : float
        What the module takes is ``image * scale + offset`` of an image in 0..1; the restored image is ``result * out_scale +
        out_offset``.
    multiple_of : int or pair, optional
        What height and width must be multiples of (the image is continued up to there); the module's attribute of that name if
        it has one, else 1.
    light : "srgb" or "linear"
        What the numbers of the images are that the module was trained on.
    dtype : "float32" or "float16"
        Of the weights in the file; the comparison is made before they are rounded to it.
    sizes : sequence of (H, W), optional
        Of the random images; without them, the example's size and others around it.
    tolerance : float
        Largest relative difference (L2) from the module that is accepted.

    Returns
    -------
    Model
        As `load` makes it from the file, the weights rounded to ``dtype``.

    Raises
    ------
    Unsupported
        Something in the module has no layer: the message names it, its module and its line. Or PyTorch is not installed.
    InvalidArgument
        An argument breaks its rule, or the network's results differ from the module's.
    """
    try:
        import torch
    except ImportError as error:
        raise Unsupported("module: nets.from_torch needs PyTorch, which is not installed") from error

    from fastdeblur.nets.export.convert import convert

    if not isinstance(module, torch.nn.Module):
        raise InvalidArgument(f"module: expected a torch.nn.Module, got {type(module).__name__}")
    arguments = _as_arguments(example)
    dtype = as_choice(dtype, "dtype", ("float32", "float16"))
    light = as_choice(light, "light", graphs.LIGHTS)
    tolerance = as_number(tolerance, "tolerance")
    numbers = {"scale": scale, "offset": offset, "out_scale": out_scale, "out_offset": out_offset}
    for key, value in numbers.items():
        as_number(value, key, minimum=-1e30)
    multiple = _as_pair(getattr(module, "multiple_of", 1) if multiple_of is None else multiple_of)
    if name is None:
        name = type(module).__name__ if path is None else Path(os.fspath(path)).stem
    if not isinstance(name, str) or not name.isprintable() or not name:
        raise InvalidArgument(f"name: expected printable characters, got {name!r}")

    image = arguments[0]
    mode = module.training
    try:
        module.eval()
        nodes, output = convert(module, tuple(image.shape[1:]), len(arguments) - 1)
        nodes, output = folded(nodes, output)
        graph = Graph(
            name,
            " ".join(description.split()),
            Input(image.shape[1], float(scale), float(offset), len(arguments) > 1, len(arguments) > 2, light),
            Output(output, float(out_scale), float(out_offset)),
            multiple,
            tuple(nodes),
        )
        _compare(module, graph, arguments, sizes or _sizes(image.shape[2:], multiple), tolerance)
    finally:
        module.train(mode)

    from fastdeblur.nets.model import Model

    if path is not None:
        graphs.write(path, graph, dtype)
    return Model(graphs.decode(graphs.encode(graph, dtype)))


def _as_arguments(example: Any) -> tuple[Any, ...]:
    import torch

    arguments = tuple(example) if isinstance(example, (tuple, list)) else (example,)
    if not 1 <= len(arguments) <= 3 or not isinstance(arguments[0], torch.Tensor):
        raise InvalidArgument("example: expected a tensor, or a tuple of image, PSF and noise")
    shape = tuple(arguments[0].shape)
    if len(shape) != 4 or shape[0] != 1:
        raise InvalidArgument(f"example: expected an image of shape (1, C, H, W), got {shape}")
    if len(arguments) > 1 and (not isinstance(arguments[1], torch.Tensor) or arguments[1].ndim not in (2, 3)):
        raise InvalidArgument("example: expected a PSF of shape (1, h, w) after the image")
    return arguments


def _as_pair(value: Any) -> tuple[int, int]:
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or not all(type(n) is int and n >= 1 for n in pair):
        raise InvalidArgument(f"multiple_of: expected one or two integers >= 1, got {value!r}")
    return pair[0], pair[1]


def _sizes(shape: tuple[int, ...], multiple: tuple[int, int]) -> list[tuple[int, int]]:
    """The example's, one that is neither square nor even, and a longer one; all of the multiples that the module wants."""
    height, width = shape

    def up(n: int, m: int) -> int:
        return -(-n // m) * m

    wanted = [(height, width), (height + 7, width + 12), (height * 2 // 3, width * 3 // 2 + 1)]
    return [(up(max(h, 1), multiple[0]), up(max(w, 1), multiple[1])) for h, w in wanted]


def _compare(
    module: Any, graph: Graph, arguments: tuple[Any, ...], sizes: Sequence[tuple[int, int]], tolerance: float
) -> None:
    """That the reference in double precision gives what the module gives."""
    import torch

    rng = np.random.default_rng(0)
    like = next(iter(module.parameters()), arguments[0])
    source, target = graph.input, graph.output
    compared = 0
    for height, width in sizes:
        image = _scene(rng, source.channels, height, width)
        others: list[Any] = []
        psf = None
        if len(arguments) > 1:
            psf = rng.random(tuple(arguments[1].shape[-2:])) ** 4
            psf /= psf.sum()
            others = [torch.from_numpy(psf[np.newaxis]).to(like)]
        if len(arguments) > 2:
            others.append(torch.full((1,), _NOISE).to(like))
        try:
            graph.shapes(height, width)
        except FrameError:
            continue
        value = torch.from_numpy(image[np.newaxis]).to(like) * source.scale + source.offset
        with torch.no_grad():
            given = module(value, *others)
        wanted = given[0].cpu().double().numpy() * target.scale + target.offset
        run = Run(psf, _NOISE if len(arguments) > 2 else None)
        got = execute(graph, image, run, dtype=np.float64)
        if got.shape != wanted.shape:
            raise InvalidArgument(f"module: expected a result of shape {got.shape}, got {wanted.shape}")
        norm = float(np.linalg.norm(wanted)) or 1.0
        difference = float(np.linalg.norm(got - wanted)) / norm
        if not difference <= tolerance:
            raise InvalidArgument(
                f"module: expected the network's result within {tolerance:g} of the module's, got {difference:.3g} for an image of "
                f"{height} x {width} pixels"
            )
        compared += 1
    if not compared:
        raise InvalidArgument("sizes: expected at least one that the network can be run on")


def _scene(rng: np.random.Generator, channels: int, height: int, width: int) -> NDArray[np.float64]:
    """In 0..1, with structure of every scale."""
    scene = rng.random((channels, height, width))
    for cell in (4, 16):
        coarse = rng.random((channels, -(-height // cell), -(-width // cell)))
        scene += 2 * coarse.repeat(cell, 1).repeat(cell, 2)[:, :height, :width]
    return np.asarray(scene / scene.max())
