"""Pictures deblurred by `fastdeblur.deblur`: their blur found if nobody knows it, undone, and told about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastdeblur
from fastdeblur import Deblurred
from fastdeblur.cli.images import Page, Picture, split_alpha
from fastdeblur.cli.light import decode, encode, fill_hidden, visible_part
from fastdeblur.errors import InvalidArgument
from fastdeblur.photo import LEAST, check_fits, check_photo


@dataclass(frozen=True)
class Search:
    """What the command line asks for."""

    kind: str
    quality: str
    threads: int
    gamma: str | float | None  # None: each page's own


class Finder:
    """Deblurs pages, each by what it shows itself, or all by a known PSF."""

    def __init__(self, search: Search, psf: NDArray[Any] | None = None):
        self.search = search
        self.psf = psf
        self.found: list[Deblurred | None] = []  # of the last picture's pages; None: too small

    def check(self, picture: Picture, *, volume: bool = False) -> None:
        """Raise what `pages` would for pixels that cannot be worked on, without working on them: InvalidArgument."""
        for number, (page, alone) in enumerate(self._each(picture), 1):
            if alone:
                continue
            colour, _ = split_alpha(page)
            if page.pixels.dtype.kind == "f":  # what alpha and gamma make of it counts
                with np.errstate(over="ignore"):
                    colour = fill_hidden(decode(page, self._gamma(page))[0], visible_part(page))
            try:
                check_photo(colour, -1 if page.colours > 1 else None, small=self.psf is not None)
                if self.psf is not None:
                    check_fits(self.psf, page.pixels.shape[:2])
            except InvalidArgument as error:
                place = f"page {number}: " if len(picture.pages) > 1 else ""
                raise InvalidArgument(f"{place}{error}") from None

    def _gamma(self, page: Page) -> str | float:
        return page.gamma if self.search.gamma is None else self.search.gamma

    def pages(
        self, picture: Picture, callback: Any = None, page_done: Callable[[], None] | None = None
    ) -> Picture:
        """A picture with each page deblurred by itself; the very same pages where there was nothing to undo.

        Of several pages, those in which no blur could be found for their size, such as thumbnails, stay as they are.
        """
        self.found = []
        done = []
        for page, alone in self._each(picture):
            found, result = (None, page) if alone else self._page(page, self._gamma(page), callback)
            self.found.append(found)
            done.append(result)
            if page_done is not None:
                page_done()
        return replace(picture, pages=done)

    def _page(self, page: Page, gamma: str | float, callback: Any) -> tuple[Deblurred, Page]:
        """What was found in a page's light, and the page: the very same where nothing was undone."""
        light, encoding = decode(page, gamma)
        found = fastdeblur.deblur(
            fill_hidden(light, visible_part(page)),
            psf=self.psf,
            kind=self.search.kind,
            quality=self.search.quality,
            gamma="none",
            channel_axis=-1 if page.colours > 1 else None,
            full=True,
            callback=callback,
            n_threads=self.search.threads,
        )
        return found, page if found.method == "none" else encode(page, found.image, encoding)

    def _each(self, picture: Picture) -> Iterator[tuple[Page, bool]]:
        """The pages, and whether each is left alone: too small to find a blur in, unless all of them are."""
        small = [self.psf is None and min(page.pixels.shape[:2]) < LEAST for page in picture.pages]
        return zip(picture.pages, small if not all(small) else [False] * len(small), strict=True)

    @property
    def undone(self) -> bool:
        """Whether the last picture is another one now."""
        return any(found is not None and found.method != "none" for found in self.found)

    def told(self) -> list[str]:
        """A line for each of the last picture's pages: what was found, and what came of it."""
        lines = [_told(found) for found in self.found]
        return lines if len(lines) == 1 else [f"page {i}: {line}" for i, line in enumerate(lines, 1)]


_NAMES = {"motion": "motion", "defocus": "out of focus", "gaussian": "Gaussian blur", "shake": "camera shake"}
_UNITS = {"length": "px", "angle": "°", "radius": "px", "sigma_major": "px", "sigma_minor": "px"}


def _told(found: Deblurred | None) -> str:
    if found is None:
        return f"smaller than {LEAST} x {LEAST} pixels, left as it was"
    if found.kind == "sharp" and found.varies:
        return f"sharp in most parts (confidence {found.confidence:.2f}), blurred in others, nothing undone"
    if found.kind == "sharp":
        return f"sharp (confidence {found.confidence:.2f}), nothing to undo"
    if found.kind == "given":
        return f"noise {100 * found.noise:.2g} % of white, undone by {found.method}"
    if found.kind == "unknown":
        return "no blur found that could be trusted, nothing undone"
    parts = [_NAMES[found.kind]]
    for name, value in found.parameters.items():
        unit = _UNITS[name]
        parts.append(f"{name.replace('_', ' ')} {value:.1f}{'' if unit == '°' else ' '}{unit}")
    if not found.parameters:
        parts.append(f"kernel {found.psf.shape[0]}x{found.psf.shape[1]}")
    parts.append(f"confidence {found.confidence:.2f}")
    if found.varies:
        parts.append("not the same all over the frame")
    return f"{', '.join(parts)}; undone by {found.method}"
