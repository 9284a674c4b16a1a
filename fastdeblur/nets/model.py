"""A network, ready to run, and where it comes from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastdeblur import estimate
from fastdeblur._arrays import DeviceArray
from fastdeblur._checks import (
    AnyArray,
    Layout,
    _available_memory,
    answer,
    as_array,
    as_choice,
    as_count,
    as_number,
    as_out,
    as_psf,
    as_thread_count,
    names_memory_errors,
    require_finite,
    require_memory,
)
from fastdeblur._device import place
from fastdeblur._geometry import Frame
from fastdeblur.errors import InvalidArgument, ModelError, OutOfMemory
from fastdeblur.nets import engines
from fastdeblur.nets import graph as graphs
from fastdeblur.nets.graph import Graph
from fastdeblur.nets.layers import FrameError
from fastdeblur.nets.reference import Run
from fastdeblur.nets.summary import Summary, summarised

WEIGHTS = Path(__file__).parent / "weights"
SUFFIX = ".safetensors"

_LARGEST = 1e12  # of an image in units of its white: squares of what becomes of it still fit in float32
_LEAST_FOR_NOISE = 16  # pixels on an axis
_LEAST_NOISE = 1e-3  # measured: where no noise shows there still is that of rounding to 8 bits


def available() -> tuple[str, ...]:
    """Names of the networks that come with the library."""
    return tuple(sorted(path.stem for path in WEIGHTS.glob(f"*{SUFFIX}")))


def load(name_or_path: str | os.PathLike[str]) -> Model:
    """A network by its name, of those in `available`, or from a file.

    Parameters
    ----------
    name_or_path : str or path
        A text without a directory and a suffix is a name, anything else a file, ``.safetensors``.

    Returns
    -------
    Model

    Raises
    ------
    ModelError, an InvalidArgument
        There is no such network (the message lists those that there are), the file cannot be read, or it is none in the form of
        this version. Files are not trusted: all that one says is checked before it is used, and nothing in it is ever executed.
    """
    given = os.fspath(name_or_path) if isinstance(name_or_path, (str, os.PathLike)) else ""
    if not isinstance(given, str) or not given or "\0" in given:
        raise ModelError(f"name_or_path: expected a network's name or a file, got {name_or_path!r}")
    path = Path(given)
    if isinstance(name_or_path, str) and path.name == given and not path.suffix:
        if given not in available():
            raise ModelError(
                f"name_or_path: expected one of {', '.join(available()) or 'none (no network is installed)'}, or a file "
                f"*{SUFFIX}, got {given!r}"
            )
        path = WEIGHTS / f"{given}{SUFFIX}"
    try:
        graph = graphs.read(path)
        card = path.with_suffix(".md")
        text = card.read_text(encoding="utf-8") if card.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(
            f"name_or_path: {given!r} cannot be read: {reason}; networks that are here: {', '.join(available()) or 'none'}"
        ) from error
    return Model(graph, text)


class Model:
    """A network, ready to run: what `load` and `from_torch` return. Call it with an image."""

    def __init__(self, graph: Graph, card: str = ""):
        self._graph = graph
        self._card = card
        self._fits: tuple[int, int] | None = None  # a frame that the graph is known to run on

    def __repr__(self) -> str:
        return f"<network {self.name!r}: {self._graph.description}>"

    @property
    def name(self) -> str:
        """What it is called."""
        return self._graph.name

    @property
    def description(self) -> str:
        """A line about it."""
        return self._graph.description

    @property
    def graph(self) -> Graph:
        """Its layers and weights."""
        return self._graph

    @property
    def card(self) -> str:
        """What is known of its training, scores, limits and licence, as Markdown; empty if nothing lies beside its file."""
        return self._card

    @property
    def channels(self) -> int:
        """Of the images that it takes; with 1, images of several channels are run channel by channel."""
        return self._graph.input.channels

    @property
    def light(self) -> str:
        """What it takes an image's numbers for: "srgb", as they stand in photos' files, or "linear"."""
        return self._graph.input.light

    @property
    def takes_psf(self) -> bool:
        """Whether it has to be told the point-spread function."""
        return self._graph.input.psf

    @property
    def takes_noise(self) -> bool:
        """Whether it uses the standard deviation of the image's noise."""
        return self._graph.input.noise

    @names_memory_errors
    def __call__(
        self,
        image: ArrayLike,
        psf: ArrayLike | None = None,
        *,
        noise: float | None = None,
        channel_axis: int | None = None,
        out: Any = None,
        n_threads: int = 0,
        backend: str = "auto",
        max_memory: int | None = None,
        device: str | None = None,
        precision: str = "auto",
    ) -> NDArray[np.float32]:
        """The image restored by the network.

        Parameters
        ----------
        image : array, (..., H, W), with channels along ``channel_axis``
            float in 0..1 (values beyond are allowed, nothing is clipped), or uint8, uint16 or bool, of which the largest value
            is white. The numbers are given to the network as they are; it expects sRGB values or linear light, as `light`
            says. Further leading axes are a batch. Any size from one pixel on that the network's
            layers allow. An array on a CUDA device is restored there.
        psf : array, (h, w), optional
            For networks that take one, and only for those: origin at ``shape // 2``, any positive sum. For a network of one
            channel also one PSF per channel, along ``channel_axis``.
        noise : float > 0, optional
            Standard deviation of the image's noise in the image's own unit, for networks that take it. Without it, it is
            measured by `estimate.noise`, for every image of a batch, and taken for 0.001 of white at least.
        channel_axis : int, optional
            Axis of the channels, None for none. Alpha is no channel: pass ``rgba[..., :3]``.
        out : array, optional
            Where to put the result: shape of the image, float32, where the image is, no memory shared with it.
        n_threads : int
            0 for as many as OpenMP would use.
        backend : "auto", "native", "numba", "numpy" or "cuda"
            "auto" takes the best that can; a named one never falls back.
        max_memory : int, optional
            Bytes that may be taken beyond image and result; the frame is then run in tiles, with the same result, where the
            network's layers allow it. Without it, as much as the machine has to spare. On a device the frame is never run in
            tiles: what takes more is an `OutOfMemory`.
        device : "cpu", "cuda", "cuda:1" (and so on), optional
            Where to compute, as in `fastdeblur.wiener`. Without it an array is restored where it is, one in host memory where
            `fastdeblur.set_device` says.
        precision : "auto", "float16", "bfloat16" or "float32"
            Of values and weights on a device; sums are float32. "auto" is float16 there. The CPU knows float32 only.

        Returns
        -------
        array
            float32, shape and unit of the image, of the image's library; computed in float32, on a device in ``precision``,
            whatever the image's precision, since the weights bear no more.

        Raises
        ------
        InvalidArgument
            An argument breaks its rule; the message names argument, rule and value. NaN and infinity are refused.
        Unsupported
            The named backend cannot run.
        DeviceError
            The device cannot be used, or failed while working.
        OutOfMemory
            The machine, the device or ``max_memory`` cannot hold what the network needs, on the CPU even in tiles.
        """
        graph = self._graph
        array, layout, kernels, level = self._checked(image, psf, noise, channel_axis)
        white, (height, width) = _white(array.dtype), layout.spatial
        threads = as_thread_count(n_threads)
        limit = None if max_memory is None else as_count(max_memory, "max_memory", minimum=1)
        ordinal = place(device, backend, array)
        engine = engines.choose(backend, graph, ordinal)
        numbers = as_precision(precision, ordinal)
        if isinstance(engine, engines.CudaEngine):
            assert ordinal is not None
            net = engine.net(graph, ordinal, numbers)
            answered = self._on_device(net, array, layout, kernels, level, out, limit)
            return cast("NDArray[np.float32]", answered)
        assert not isinstance(array, DeviceArray)
        result = cast("NDArray[np.float32]", as_out(out, array.shape, np.dtype(np.float32), image=array))
        limit = self._allow(engine, height, width, threads, limit)

        planes, outs = self._planes(array, layout), self._planes(result, layout)
        for index in np.ndindex(planes.shape[:-3]):
            plane = planes[index].astype(np.float32, copy=False)
            if white != 1:
                plane = plane / np.float32(white)
            psf_index = index[-1] if layout.psf_per_channel else 0
            run = Run(
                None if kernels is None else kernels[psf_index],
                self._level(level, plane, white) if graph.input.noise else None,
            )
            made = np.empty(plane.shape, np.float32)
            engine.run(graph, plane, made, run, threads, limit)
            if not np.isfinite(made).all():
                raise InvalidArgument(
                    f"image: expected values that the network {self.name!r} can work on, got up to {np.abs(plane).max():.3g}, for "
                    f"which its numbers overflow"
                )
            np.multiply(made, np.float32(white), out=outs[index])
        return result

    def _on_device(
        self,
        net: Any,
        array: AnyArray,
        layout: Layout,
        kernels: NDArray[np.float64] | None,
        level: float | None,
        out: Any,
        limit: int | None,
    ) -> Any:
        """A call's result by a `_cuda.CudaNet`."""
        white, (height, width) = _white(array.dtype), layout.spatial
        if limit is not None:
            needed = net.memory(height, width, None if kernels is None else kernels.shape[1:])
            if needed > limit:
                raise OutOfMemory(
                    f"max_memory: the network {self.name!r} takes {needed:,} bytes on the device for a frame of {height} x {width} "
                    f"pixels, and is not run in tiles there; got {limit:,}"
                )
            if net.kept() > limit:  # of a larger frame
                net.release()
        result = as_out(out, array.shape, np.dtype(np.float32), image=array)
        if (
            isinstance(result, DeviceArray)
            and isinstance(array, DeviceArray)
            and result.stream != array.stream
        ):
            result.library.synchronize(result.stream, result.device)  # the work is ordered on the image's
        planes, outs = self._planes(array, layout), self._planes(result, layout)
        for index in np.ndindex(planes.shape[:-3]):
            plane = planes[index]
            noise = None
            if self.takes_noise:
                noise = self._level(level, None if level is not None else _on_host(plane, white), white)
            psf_index = index[-1] if layout.psf_per_channel else 0
            run = Run(None if kernels is None else kernels[psf_index], noise)
            net.run(plane, outs[index], run, white, _LARGEST)
        return answer(result, out)

    @names_memory_errors
    def check(
        self,
        image: ArrayLike,
        psf: ArrayLike | None = None,
        *,
        noise: float | None = None,
        channel_axis: int | None = None,
    ) -> None:
        """Raise the InvalidArgument that a call with these arguments would, without the work."""
        self._checked(image, psf, noise, channel_axis)

    def summary(
        self,
        shape: tuple[int, int] = (1080, 1920),
        *,
        backend: str = "auto",
        n_threads: int = 0,
        device: str | None = None,
        precision: str = "auto",
    ) -> Summary:
        """What the network is and what it costs: layers, parameters, multiply-adds, memory and receptive field.

        Parameters
        ----------
        shape : (height, width)
            Of the image that costs and memory are for.
        backend, n_threads, device, precision
            As in a call; the memory depends on them.

        Returns
        -------
        Summary
            Its fields are the data; printed, it is a table.

        Raises
        ------
        InvalidArgument
            An argument breaks its rule, or the network cannot be run on such an image.
        """
        if not isinstance(shape, (tuple, list)) or len(shape) != 2:
            raise InvalidArgument(f"shape: expected (height, width), got {shape!r}")
        height, width = (as_count(n, "shape", minimum=1) for n in shape)
        self._require_fit(height, width, None)
        threads = as_thread_count(n_threads)
        ordinal = place(device, backend)
        engine = engines.choose(backend, self._graph, ordinal)
        numbers = as_precision(precision, ordinal)
        if isinstance(engine, engines.CudaEngine):
            assert ordinal is not None
            memory = engine.net(self._graph, ordinal, numbers).memory(height, width)
        else:
            memory = engine.memory(self._graph, height, width, threads, None)
        return summarised(self._graph, (height, width), memory, engine.name)

    # ------------------------------------------------------------------------------------------ checks

    def _checked(
        self, image: Any, psf: Any, noise: Any, channel_axis: Any
    ) -> tuple[AnyArray, Layout, NDArray[np.float64] | None, float | None]:
        """The image as an array and how its axes read, the PSFs, and the noise in the image's unit."""
        array = as_array(image, "image")
        _white(array.dtype)
        layout, kernels = self._layout(array, psf, channel_axis)
        height, width = layout.spatial
        if not isinstance(array, DeviceArray):  # a device looks while it reads
            require_finite(array, "image", limit=_LARGEST)
        level = None if noise is None else self._noise(noise)
        if self.takes_noise and noise is None and min(height, width) < _LEAST_FOR_NOISE:
            raise InvalidArgument(
                f"noise: expected a number for a frame of {height} x {width} pixels, too small to measure it in, got None"
            )
        self._require_fit(height, width, kernels)
        return array, layout, kernels, level

    def _layout(
        self, array: AnyArray, psf: Any, channel_axis: Any
    ) -> tuple[Layout, NDArray[np.float64] | None]:
        """How the image's axes read, and the PSFs, each of sum 1."""
        c = self.channels
        axes = "(..., H, W)" if channel_axis is None else "(..., H, W) and channels"
        if array.ndim < 2 + (channel_axis is not None):
            raise InvalidArgument(f"image: expected {axes}, got shape {array.shape}")
        if self.takes_psf and psf is None:
            raise InvalidArgument(f"psf: expected an array, which the network {self.name!r} takes, got None")
        if not self.takes_psf and psf is not None:
            raise InvalidArgument(
                f"psf: expected None for the network {self.name!r}, which finds out itself what blurred the image"
            )
        if c > 1 and channel_axis is None:
            raise InvalidArgument(
                f"channel_axis: expected the axis of the {c} channels that the network {self.name!r} takes, got None"
            )
        kernels = None if psf is None else as_psf(psf)
        layout = Layout.of(array.shape, (1, 1) if kernels is None else kernels.shape, channel_axis)
        if len(layout.spatial) != 2:
            raise InvalidArgument(
                f"psf: expected 2-D (h, w), got shape {None if kernels is None else kernels.shape}"
            )
        if c > 1:
            assert layout.channel_axis is not None
            if array.shape[layout.channel_axis] != c:
                raise InvalidArgument(
                    f"image: expected {c} channels along channel_axis={channel_axis} for the network {self.name!r}, got "
                    f"shape {array.shape}"
                )
            if layout.psf_per_channel:
                raise InvalidArgument(
                    f"psf: expected one PSF (h, w) for all channels of the network {self.name!r}, got shape {np.shape(psf)}"
                )
        return layout, None if kernels is None else layout.psfs(kernels)

    @overload
    def _planes(self, array: NDArray[Any], layout: Layout) -> NDArray[Any]: ...

    @overload
    def _planes(self, array: AnyArray, layout: Layout) -> AnyArray: ...

    def _planes(self, array: AnyArray, layout: Layout) -> AnyArray:
        """A view (*batch, channels, H, W) of what is run at once."""
        view = layout.view(array)
        return view if self.channels > 1 else view[(slice(None),) * (view.ndim - 2) + (np.newaxis,)]

    def _noise(self, noise: Any) -> float:
        if not self.takes_noise:
            raise InvalidArgument(
                f"noise: expected None for the network {self.name!r}, which has no use for it"
            )
        return as_number(noise, "noise", above=True, dtype=np.float32)

    def _level(self, given: float | None, plane: NDArray[np.float32] | None, white: float) -> float:
        """The noise in units of white: the one given, or measured."""
        if given is not None:
            return given / white
        assert plane is not None
        return max(float(np.mean(estimate.noise(plane, channel_axis=0))), _LEAST_NOISE)

    def _require_fit(self, height: int, width: int, kernels: NDArray[np.float64] | None) -> None:
        graph = self._graph
        try:
            if self._fits != (height, width):
                graph.shapes(height, width)
                self._fits = (height, width)
        except FrameError as error:
            raise InvalidArgument(
                f"image: expected a frame that the network {self.name!r} can be run on, got {height} x {width} pixels: {error}"
            ) from None
        if kernels is None:
            return
        for node in graph.nodes:
            if node.op == "fft_wiener":
                Frame.of(graph.padded(height, width), kernels.shape[1:], node.attributes["boundary"])

    def _allow(
        self, engine: engines.Engine, height: int, width: int, threads: int, limit: int | None
    ) -> int | None:
        """The limit to run with: the caller's, or one that the machine sets where it has too little for the whole frame."""
        needed = engine.memory(self._graph, height, width, threads, limit)
        try:
            what = f"the network {self.name!r} on a frame of {height} x {width} pixels"
            kept = engine.kept(self._graph)
            require_memory(needed, what, min(kept, needed))
        except OutOfMemory as error:
            spare = available_memory()
            if limit is not None or spare is None:
                raise
            spare += kept
            try:
                engine.memory(self._graph, height, width, threads, spare)
            except OutOfMemory:
                raise error from None
            return spare
        return limit


def available_memory() -> int | None:
    """Bytes that may be asked for when the machine has too little for all: some are left to others."""
    found = _available_memory()
    return None if found is None else max(1, found * 3 // 4)


def _on_host(plane: AnyArray, white: float) -> NDArray[np.float32]:
    """In units of white, to measure noise in."""
    host = plane.library.to_host(plane) if isinstance(plane, DeviceArray) else plane
    require_finite(host, "image", limit=_LARGEST)
    return host.astype(np.float32, copy=False) / np.float32(white)


def as_precision(value: Any, device: int | None) -> str:
    as_choice(value, "precision", ("auto", "float16", "bfloat16", "float32"))
    if device is None and value not in ("auto", "float32"):
        raise InvalidArgument(f"precision: expected 'float32' (or 'auto') on the CPU, got {value!r}")
    return "float16" if value == "auto" else str(value)


def _white(dtype: np.dtype[Any]) -> float:
    """What stands for white in a dtype."""
    if dtype.kind == "f" or dtype.kind == "b":
        return 1.0
    if dtype in (np.uint8, np.uint16):
        return float(np.iinfo(dtype).max)
    raise InvalidArgument(
        f"image: expected float in 0..1, uint8, uint16 or bool, got {dtype}, whose white nobody knows: divide by it"
    )
