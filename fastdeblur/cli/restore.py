"""From a file's pixels to deblurred ones with a known PSF: linear light, the solver, and back to the file's dtype."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur import Deconvolver, Iteration
from fastdeblur._geometry import DEFAULT_BOUNDARY
from fastdeblur._problem import Problem
from fastdeblur.backends import Plane
from fastdeblur.cli.images import Page, Picture, split_alpha
from fastdeblur.cli.light import Floats, decode, encode, fill_hidden, precision, visible_part
from fastdeblur.cli.stack import Stack, volumes
from fastdeblur.errors import InvalidArgument
from fastdeblur.ops import CHECKS


@dataclass(frozen=True)
class Settings:
    """What the command line asks for."""

    method: str
    balance: float
    num_iter: int
    boundary: str | None
    acceleration: str | None
    background: float
    tol: float | None
    threads: int
    backend: str
    gamma: str | float | None  # None: each page's own
    device: str | None = None


class Restorer:
    """Deblurs pages and volumes; those in a row that have one shape and precision share one plan."""

    def __init__(self, settings: Settings, psf: NDArray[Any]):
        self.settings = settings
        self.psf = psf
        # The last one only: a folder of pictures that are all cropped differently must not fill the memory.
        self._plan: tuple[tuple[Any, ...], Deconvolver] | None = None

    def check(self, picture: Picture, *, volume: bool = False) -> None:
        """Raise what `pages` or `volume` would, without restoring anything: ValueError, or a FastdeblurError."""
        settings = self.settings
        method = settings.method.replace("-", "_")
        boundary = settings.boundary or DEFAULT_BOUNDARY[method]
        for indices in volume_order(picture) if volume else [[i] for i in range(len(picture.pages))]:
            pages = [picture.pages[i] for i in indices]
            if any(self._gamma(page) != self._gamma(pages[0]) for page in pages):
                raise InvalidArgument("expected pages of one gamma in a volume, got sRGB and linear ones")
            first, _ = split_alpha(pages[0])
            problem = Problem(
                (len(pages), *first.shape) if volume else first.shape,
                self.psf,
                precision(first.dtype),
                channel_axis=-1 if pages[0].colours > 1 else None,
                n_threads=settings.threads,
                backend=settings.backend,
                device=settings.device,
            )
            problem.backend(method, boundary)
            frame = problem.frame(boundary)
            for page in pages:
                if page.pixels.dtype.kind == "u":
                    continue  # light that is never negative, and never too much
                visible = visible_part(page)
                light = fill_hidden(decode(page, self._gamma(page))[0], visible)
                if visible is not None:
                    visible = np.broadcast_to(
                        visible.reshape(visible.shape + (1,) * (light.ndim - 2)), light.shape
                    )
                CHECKS[method](Plane(light, light, 0, visible), frame, problem.dtype)

    def pages(self, picture: Picture, callback: Callable[[Iteration], Any] | None = None) -> Picture:
        """A picture with each page deblurred by itself."""
        done = []
        for page in picture.pages:
            light, encoding = decode(page, self._gamma(page))
            visible = visible_part(page)
            light = self._solve(fill_hidden(light, visible), visible, page.colours > 1, callback)
            done.append(encode(page, light, encoding))
        return replace(picture, pages=done)

    def volume(self, picture: Picture, callback: Callable[[Iteration], Any] | None = None) -> Picture:
        """A picture with its pages deblurred as a volume, or as several where it has further axes."""
        order = volume_order(picture)
        done: list[Page] = list(picture.pages)
        for indices in order:
            pages = [picture.pages[i] for i in indices]
            decoded = [decode(page, self._gamma(page)) for page in pages]
            masks = [visible_part(page) for page in pages]
            visible = None
            if any(mask is not None for mask in masks):
                visible = np.stack(
                    [
                        np.ones(p.pixels.shape[:2]) if m is None else m
                        for p, m in zip(pages, masks, strict=True)
                    ]
                )
            light = np.stack(
                [fill_hidden(each, mask) for (each, _), mask in zip(decoded, masks, strict=True)]
            )
            light = self._solve(light, visible, pages[0].colours > 1, callback)
            for i, page, (_, encoding), plane in zip(indices, pages, decoded, light, strict=True):
                done[i] = encode(page, plane, encoding)
        return replace(picture, pages=done)

    def _gamma(self, page: Page) -> str | float:
        return page.gamma if self.settings.gamma is None else self.settings.gamma

    def _solve(
        self,
        light: Floats,
        visible: Floats | None,
        channels: bool,
        callback: Callable[[Iteration], Any] | None,
    ) -> Floats:
        settings = self.settings
        axis = -1 if channels else None
        key = (light.shape, light.dtype, axis)
        if self._plan is None or self._plan[0] != key:
            self._plan = None  # free it before the next one is made
            made = Deconvolver(
                light.shape,
                self.psf,
                dtype=light.dtype,
                boundary=settings.boundary,
                channel_axis=axis,
                n_threads=settings.threads,
                backend=settings.backend,
                device=settings.device,
            )
            self._plan = key, made
        plan = self._plan[1]
        if settings.method == "wiener":
            return plan.wiener(light, settings.balance)
        return plan.richardson_lucy(
            light,
            settings.num_iter,
            acceleration=settings.acceleration,
            background=settings.background,
            weights=visible,
            tol=settings.tol,
            callback=callback,
        )


def volume_order(picture: Picture) -> list[list[int]]:
    """For each volume in the picture, the indices of its pages from front to back. Raises ValueError."""
    if len(picture.pages) < 2:
        raise ValueError("expected several pages, got 1")
    order: list[list[int]] = []
    for number, stack in enumerate(picture.stacks, 1):
        order += _volumes(stack, f"series {number}: " if len(picture.stacks) > 1 else "")
    times = Counter(index for indices in order for index in indices)
    for index in range(len(picture.pages)):
        if times[index] != 1:
            said = (
                f"put page {index + 1} at {times[index]} places"
                if times[index]
                else f"leave out page {index + 1}"
            )
            raise ValueError(f"expected each page to be one plane of a stack, but its metadata {said}")
    for indices in order:
        pages = [picture.pages[index].pixels for index in indices]
        if any(page.shape != pages[0].shape or page.dtype != pages[0].dtype for page in pages):
            raise ValueError("expected pages of one shape and dtype")
    return order


def _volumes(stack: Stack, place: str) -> list[list[int]]:
    try:
        return volumes(stack)
    except ValueError as error:
        raise ValueError(f"{place}{error}") from None
