"""From a file's pixels to deblurred ones: linear light, alpha, the solver, and back to the file's dtype."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur import Deconvolver, Iteration, _light
from fastdeblur._problem import Problem
from fastdeblur.backends import Plane
from fastdeblur.cli.images import Page, Picture, Pixels, join, split_alpha
from fastdeblur.ops import CHECKS

Floats = NDArray[np.floating]

_BOUNDARY = {"wiener": "reflect", "richardson_lucy": "unknown"}


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
    gamma: str | float | None  # None: the picture's own


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
        boundary = settings.boundary or _BOUNDARY[method]
        gamma = picture.gamma if settings.gamma is None else settings.gamma
        for indices in volume_order(picture) if volume else [[i] for i in range(len(picture.pages))]:
            pages = [picture.pages[i] for i in indices]
            first, _ = split_alpha(pages[0])
            problem = Problem(
                (len(pages), *first.shape) if volume else first.shape,
                self.psf,
                _precision(first.dtype),
                channel_axis=-1 if pages[0].colours > 1 else None,
                n_threads=settings.threads,
                backend=settings.backend,
            )
            problem.backend(method, boundary)
            frame = problem.frame(boundary)
            for page in pages:
                if page.pixels.dtype.kind == "u":
                    continue  # light that is never negative, and never too much
                visible = _visible(page)
                light = fill_hidden(_decode(page, gamma)[0], visible)
                if visible is not None:
                    visible = np.broadcast_to(
                        visible.reshape(visible.shape + (1,) * (light.ndim - 2)), light.shape
                    )
                CHECKS[method](Plane(light, light, 0, visible), frame, problem.dtype)

    def pages(self, picture: Picture, callback: Callable[[Iteration], Any] | None = None) -> Picture:
        """A picture with each page deblurred by itself."""
        gamma = picture.gamma if self.settings.gamma is None else self.settings.gamma
        done = []
        for page in picture.pages:
            light, encoding = _decode(page, gamma)
            visible = _visible(page)
            light = self._solve(fill_hidden(light, visible), visible, page.colours > 1, callback)
            done.append(replace(page, pixels=_encode(page, light, encoding)))
        return replace(picture, pages=done)

    def volume(self, picture: Picture, callback: Callable[[Iteration], Any] | None = None) -> Picture:
        """A picture with its pages deblurred as a volume, or as several where it has further axes."""
        gamma = picture.gamma if self.settings.gamma is None else self.settings.gamma
        order = volume_order(picture)
        done: list[Page] = list(picture.pages)
        for indices in order:
            pages = [picture.pages[i] for i in indices]
            decoded = [_decode(page, gamma) for page in pages]
            masks = [_visible(page) for page in pages]
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
                done[i] = replace(page, pixels=_encode(page, plane, encoding))
        return replace(picture, pages=done)

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
    axes, shape = picture.stack_axes, picture.stack_shape
    if len(picture.pages) < 2:
        raise ValueError("expected several pages, got 1")
    first = picture.pages[0]
    for page in picture.pages:
        same = page.pixels.shape == first.pixels.shape and page.pixels.dtype == first.pixels.dtype
        if not same:
            raise ValueError("expected pages of one shape and dtype")
    depth = axes.find("Z") if "Z" in axes else 0
    if "Z" not in axes and len(axes) > 1:
        raise ValueError(f"expected one stack axis, or one named Z, got axes {axes!r} of lengths {shape}")
    indices = np.moveaxis(np.arange(len(picture.pages)).reshape(shape), depth, -1)
    return [list(map(int, row)) for row in indices.reshape(-1, shape[depth])]


@dataclass(frozen=True)
class _Encoding:
    """How `_decode` got from the file's values to light."""

    gamma: str | float
    scale: float


def _precision(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What holds the file's numbers: float32 up to 24 bits."""
    wide = dtype.itemsize >= 8 or (dtype.kind in "iu" and dtype.itemsize >= 4)
    return np.dtype(np.float64 if wide else np.float32)


def _decode(page: Page, gamma: str | float) -> tuple[Floats, _Encoding]:
    """Colour as straight (not premultiplied) light. Values of a gamma-encoded integer page become 0..1."""
    colour, alpha = split_alpha(page)
    dtype = colour.dtype
    values: Floats = colour.astype(_precision(dtype))
    top = float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0
    if page.inverted:
        values = top - values
    if page.associated and alpha is not None:
        share = _share(alpha, values)
        values = np.where(share > 0, values / np.where(share > 0, share, 1), values).astype(values.dtype)
    encoding = _Encoding(gamma, 1.0 if gamma == 1.0 else top)
    if gamma != 1.0:
        values = _light.decode(values / values.dtype.type(top), gamma)
    return values, encoding


def _encode(page: Page, light: Floats, encoding: _Encoding) -> Pixels:
    """The page's pixels with this colour: rounded and cut to the dtype's range, here and nowhere before."""
    original, alpha = split_alpha(page)
    dtype = original.dtype
    top = float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0
    values = light
    if encoding.gamma != 1.0:
        values = _light.encode(light, encoding.gamma) * light.dtype.type(encoding.scale)
    if page.associated and alpha is not None:
        values = values * _share(alpha, values)
    if page.inverted:
        values = top - values
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if dtype.itemsize >= 4:  # float32 cannot hold the largest value: rounding up would overflow
            values = values.astype(np.float64)
        result = np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
    else:
        limit = np.finfo(dtype).max
        result = np.clip(values, -limit, limit).astype(dtype)
    if alpha is not None:
        hidden = alpha == 0
        result[hidden] = original[hidden]
    return join(page, result)


def _share(alpha: Pixels, like: Floats) -> Floats:
    """Alpha as 0..1 that multiplies colour."""
    top = float(np.iinfo(alpha.dtype).max) if alpha.dtype.kind in "iu" else 1.0
    share = alpha.astype(like.dtype) / like.dtype.type(top)
    return share[..., None] if like.ndim > alpha.ndim else share


def _visible(page: Page) -> Floats | None:
    """1 where the page has a colour at all, 0 where it is wholly transparent; None if that is nowhere.

    A half-transparent pixel's colour is as good as any: the picture was blurred, and cut out afterwards.
    """
    _, alpha = split_alpha(page)
    if alpha is None or (alpha > 0).all() or not (alpha > 0).any():
        return None
    return (alpha > 0).astype(np.float32)


def fill_hidden(light: Floats, visible: Floats | None) -> Floats:
    """Replace what is wholly transparent by a smooth continuation of what is not.

    The colour stored under alpha 0 is arbitrary, and must not be smeared into the picture. Averages over
    ever larger squares, weighted by opacity, are taken until every square has some light (Gortler et al.
    1996, pull-push, doi:10.1145/237170.237200).
    """
    if visible is None or not (visible <= 0).any():
        return light
    weight = visible if light.ndim == visible.ndim else visible[..., None]
    filled = _pull_push(light * weight, np.broadcast_to(weight, light.shape).astype(light.dtype))
    return np.where(weight > 0, light, filled).astype(light.dtype)


def _pull_push(total: Floats, weight: Floats) -> Floats:
    average: Floats = total / np.where(weight > 0, weight, 1)
    if (weight > 0).all() or max(total.shape[:2]) == 1:
        return average
    coarse = _pull_push(_halve(total), _halve(weight))
    rows, columns = total.shape[:2]
    fine = coarse.repeat(2, axis=0)[:rows].repeat(2, axis=1)[:, :columns]
    return np.where(weight > 0, average, fine)


def _halve(array: Floats) -> Floats:
    """Sums over squares of two by two."""
    odd = [(0, array.shape[0] % 2), (0, array.shape[1] % 2)] + [(0, 0)] * (array.ndim - 2)
    array = np.pad(array, odd)
    rows = array[0::2] + array[1::2]
    return rows[:, 0::2] + rows[:, 1::2]
