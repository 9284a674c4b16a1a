"""Pictures restored by a trained network."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur import _light, nets
from fastdeblur._checks import as_thread_count
from fastdeblur._device import place
from fastdeblur.cli.failure import UsageError
from fastdeblur.cli.images import Page, Picture
from fastdeblur.cli.light import Encoding, Floats, decode, encode, fill_hidden, visible_part
from fastdeblur.errors import InvalidArgument, OutOfMemory
from fastdeblur.nets import engines
from fastdeblur.nets.model import as_precision

# In units of white: a float picture beyond is one whose white is another number.
_BRIGHTEST = 4.0

MB = 1_000_000  # of --max-memory


class Network:
    """Runs a network on pages, on the numbers that it was trained on: sRGB in 0..1, or linear light."""

    def __init__(
        self,
        name: str,
        psf: NDArray[Any] | None,
        *,
        threads: int,
        backend: str,
        gamma: str | float | None,  # None: each page's own
        device: str | None = None,
        precision: str = "auto",
        noise: float | None = None,  # of the numbers that the network takes, in units of white
        max_memory: int | None = None,
    ):
        try:
            self.model = nets.load(name)
        except InvalidArgument as error:
            raise type(error)(str(error).replace("name_or_path:", "--model:", 1)) from None
        if noise is not None and not self.model.takes_noise:
            raise InvalidArgument(f"--noise: has no meaning for the network {self.model.name!r}")
        self._noise, self._max_memory = noise, max_memory
        ordinal = place(device, backend)
        self._engine = engines.choose(backend, self.model.graph, ordinal)
        as_precision(precision, ordinal)
        self._device, self._precision = device, precision
        self.psf = psf
        self._threads = threads
        self._backend = backend
        self._gamma = gamma

    def check(self, picture: Picture, *, volume: bool = False) -> None:
        """Raise what `pages` would, without running the network: InvalidArgument, or UsageError of an option."""
        for number, page in enumerate(picture.pages, 1):
            place = f"page {number}: " if len(picture.pages) > 1 else ""
            self._check(page, place)
            self._check_memory(page, f"{picture.path}: {place}")

    def _check(self, page: Page, place: str) -> None:
        values, _, _ = self._values(page)
        try:
            if page.pixels.dtype.kind == "f" and np.abs(values).max() > _BRIGHTEST:
                raise InvalidArgument(
                    f"image: expected a float picture whose white is 1, got one as bright as {np.abs(values).max():.3g}"
                )
            self.model.check(values, self.psf, noise=self._noise, channel_axis=self._axis(values))
        except InvalidArgument as error:
            raise InvalidArgument(f"{place}{error}") from None

    def _check_memory(self, page: Page, place: str) -> None:
        """Refuse a --max-memory that the network cannot keep within, in its unit. On a device only the run can tell."""
        if self._max_memory is None or isinstance(self._engine, engines.CudaEngine):
            return
        height, width = page.pixels.shape[:2]
        try:
            self._engine.memory(
                self.model.graph, height, width, as_thread_count(self._threads), self._max_memory
            )
        except OutOfMemory as error:
            reason = str(error).removeprefix("max_memory: ")
            if needed := re.match(r"expected at least (\d+) bytes", reason):
                reason = (
                    f"expected at least {-(-int(needed[1]) // MB)} MB for a frame of {height} x {width} pixels, "
                    f"got {self._max_memory // MB}"
                )
            raise UsageError(f"--max-memory: {place}{reason}") from None

    def pages(self, picture: Picture, page_done: Callable[[], None] | None = None) -> Picture:
        """A picture with each page restored by itself."""
        done = []
        for page in picture.pages:
            values, encoding, white = self._values(page)
            result: Floats = self.model(
                values,
                self.psf,
                channel_axis=self._axis(values),
                n_threads=self._threads,
                backend=self._backend,
                noise=self._noise,
                max_memory=self._max_memory,
                device=self._device,
                precision=self._precision,
            ).astype(values.dtype)
            if page.colours == 1 and self.model.channels > 1:
                result = result.mean(-1)
            light = _light.decode_srgb(result) if self.model.light == "srgb" else result
            done.append(encode(page, light * light.dtype.type(white), encoding))
            if page_done is not None:
                page_done()
        return replace(picture, pages=done)

    def _values(self, page: Page) -> tuple[Floats, Encoding, float]:
        """What the network takes, and what leads back: the encoding, and what white is in its light."""
        light, encoding = decode(page, page.gamma if self._gamma is None else self._gamma)
        white = page.white if encoding.gamma == 1.0 else 1.0
        light = fill_hidden(light, visible_part(page)) / light.dtype.type(white)
        values = _light.encode_srgb(light) if self.model.light == "srgb" else light
        if page.colours == 1 and self.model.channels > 1:  # grey is as red as it is green and blue
            values = np.repeat(values[..., np.newaxis], self.model.channels, -1)
        return values, encoding, white

    def _axis(self, values: Floats) -> int | None:
        return -1 if values.ndim == 3 else None
