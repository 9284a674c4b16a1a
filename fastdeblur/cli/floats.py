"""`--dtype float32`: results in the file's numbers, not cut and to 24 bits, and a word where they are cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from fastdeblur.cli import tiff
from fastdeblur.cli.failure import UsageError
from fastdeblur.cli.images import Page, Picture, format_of

# Of shares up to this nothing is said: the few brightest points of a photo.
_FEW = 0.001


def require_tiff(out: Path) -> None:
    """Refuse a format that holds no floats."""
    if format_of(out) != "TIFF":
        raise UsageError(
            f"--dtype: float32 needs a TIFF, a name ending in .tif or .tiff: {format_of(out)} holds integers: {out}"
        )


def as_float32(picture: Picture) -> Picture:
    """The same numbers as float32, to its 24 bits, whatever the dtype was; what white was among them is kept. Raises UsageError."""
    try:
        return replace(picture, pages=[_as_float32(page, picture.format) for page in picture.pages])
    except ValueError as error:
        raise UsageError(f"--dtype: {picture.path}: {error}") from error


def cut_note(picture: Picture) -> str | None:
    """What to say of a result that was cut at the top of its dtype's range; None where it is not worth a word."""
    cut, below = (sum(page.cut[i] for page in picture.pages) for i in (0, 1))
    if cut <= _FEW * below:
        return None
    page = picture.pages[0]
    way_out = "" if _why_not(page) else "; --dtype float32 keeps them, in a TIFF"
    return (
        f"{picture.path}: {cut} values ({cut / below:.2%}) became brighter than {page.pixels.dtype.name} holds, "
        f"and were cut{way_out}"
    )


def _as_float32(page: Page, kind: str) -> Page:
    if page.pixels.dtype == np.float32:
        return page
    if why := _why_not(page):
        raise ValueError(why)
    with np.errstate(over="ignore"):
        pixels = page.pixels.astype(np.float32)
    if not np.isfinite(pixels).all():
        raise ValueError(f"expected values that float32 holds, got up to {np.abs(page.pixels).max():.3g}")
    return replace(
        page,
        pixels=pixels,
        peak=page.white,
        native=tiff.as_float(page.native) if kind == "TIFF" else page.native,
    )


def _why_not(page: Page) -> str | None:
    """Why a page's numbers would have another meaning as float32; None if they would not."""
    if page.pixels.dtype.kind == "f":
        return None
    if page.alpha is not None:
        return (
            "float32 is for pictures without alpha, of which floats hold shares of 1, not of the file's white"
        )
    if page.inverted:
        return "float32 is for pictures whose 0 is black; here it is white (MINISWHITE)"
    return None
