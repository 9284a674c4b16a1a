"""A page's colour as linear light, without what is hidden under alpha 0, and back to the file's numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur import _light
from fastdeblur.cli.images import Page, Pixels, join, split_alpha

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Encoding:
    """How `decode` got from the file's values to light."""

    gamma: str | float
    scale: float


def precision(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What holds the file's numbers: float32 up to 24 bits."""
    wide = dtype.itemsize >= 8 or (dtype.kind in "iu" and dtype.itemsize >= 4)
    return np.dtype(np.float64 if wide else np.float32)


def decode(page: Page, gamma: str | float) -> tuple[Floats, Encoding]:
    """Colour as straight (not premultiplied) light. Values of a gamma-encoded integer page become 0..1."""
    colour, alpha = split_alpha(page)
    dtype = colour.dtype
    values: Floats = colour.astype(precision(dtype))
    top = page.white
    if page.inverted:
        values = top - values
    if page.associated and alpha is not None:
        share = _share(alpha, values)
        values = np.where(share > 0, values / np.where(share > 0, share, 1), values).astype(values.dtype)
    encoding = Encoding(gamma, 1.0 if gamma == 1.0 else top)
    if gamma != 1.0:
        values = _light.decode(values / values.dtype.type(top), gamma)
    return values, encoding


def encode(page: Page, light: Floats, encoding: Encoding) -> Page:
    """The page with this colour: rounded and cut to the dtype's range, here and nowhere before."""
    original, alpha = split_alpha(page)
    dtype = original.dtype
    values = light
    if encoding.gamma != 1.0:
        values = _light.encode(light, encoding.gamma) * light.dtype.type(encoding.scale)
    if page.associated and alpha is not None:
        values = values * _share(alpha, values)
    if page.inverted:
        values = page.white - values
    cut = (0, 0)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if dtype.itemsize >= 4:  # float32 cannot hold the largest value: rounding up would overflow
            values = values.astype(np.float64)
        values = np.rint(values)
        below = original > limits.min if page.inverted else original < limits.max
        if alpha is not None:
            below[alpha == 0] = False
        beyond = values < limits.min if page.inverted else values > limits.max
        cut = int(np.count_nonzero(beyond & below)), int(np.count_nonzero(below))
        result = np.clip(values, limits.min, limits.max).astype(dtype)
    else:
        limit = np.finfo(dtype).max
        result = np.clip(values, -limit, limit).astype(dtype)
    if alpha is not None:
        hidden = alpha == 0
        result[hidden] = original[hidden]
    return replace(page, pixels=join(page, result), cut=cut)


def _share(alpha: Pixels, like: Floats) -> Floats:
    """Alpha as 0..1 that multiplies colour."""
    top = float(np.iinfo(alpha.dtype).max) if alpha.dtype.kind in "iu" else 1.0
    share = alpha.astype(like.dtype) / like.dtype.type(top)
    return share[..., None] if like.ndim > alpha.ndim else share


def visible_part(page: Page) -> Floats | None:
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
