"""How the pages of a TIFF lie, by what OME, ImageJ, tifffile and the makers of microscopes say in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastdeblur.cli import ome
from fastdeblur.cli.images import UnreadableError
from fastdeblur.cli.stack import Stack

# tifffile's kinds of series that say nothing of the axes.
_PLAIN = {"generic", "uniform", "nih"}
# Those that write one directory for a whole stack of contiguous planes.
_LONE = {"imagej", "shaped", "stk"}


def series_of(tif: Any) -> list[Any]:
    """tifffile's series; none for OME, whose sets it would follow into other files, and none where they are damaged."""
    if tif.is_ome:
        return []
    try:
        return list(tif.series)
    except Exception as error:
        if tif.is_imagej or tif.is_shaped or tif.is_stk or isinstance(error, MemoryError):
            raise
        return []


def planes_behind(series: Sequence[Any], pages: Sequence[Any]) -> int:
    """How many planes the file's lone page stands for; 1 where each has a page of its own.

    Refuses a file with planes that reading its pages would leave out.
    """
    for each in series:
        planes = _planes(each)
        if planes <= len(_listed(each)):
            continue
        if len(pages) == 1 and each.is_truncated and each.kind in _LONE:
            return planes
        if each.is_truncated or (len(pages) == 1 and _are_there(pages[0], planes)):
            raise UnreadableError(
                f"{planes} planes lie behind page {each.keyframe.index + 1} without pages of their own, which is not "
                f"supported for {'several pages' if len(pages) > 1 else each.kind}: save each as a page first"
            )
    return 1


def stacks(tif: Any, series: Sequence[Any], pages: Sequence[Any], behind: int) -> list[Stack]:
    """The stacks that a file's pages make; one without a name where nothing is said. A page in none is no plane.

    behind: how many planes a lone page stands for, each of which is a page by now.
    """
    if tif.is_ome:
        return ome.stacks(tif.ome_metadata, tif.filename, len(pages))
    if series and all(each.kind in _PLAIN for each in series):
        return [Stack.of("I", (len(pages),), {i: i for i in range(len(pages))})]
    numbers: dict[tuple[str, int], int] = {}
    for number, page in enumerate(pages):
        numbers |= dict.fromkeys(_names(page), number)
    found = []
    for each in series:
        outer = _outer(each)
        own = {i: i for i in range(behind)} if behind > 1 else _own(tif, each, numbers)
        if own and outer is not None and not each.keyframe.is_reduced:  # a thumbnail is no plane
            found.append(Stack.of(*outer, own))
    return found


def _planes(series: Any) -> int:
    return int(series.size // max(1, math.prod(series.keyframe.shape)))


def _listed(series: Any) -> list[Any]:
    """A series' pages; its first one where it counts more than the file has, which is where planes lie behind it."""
    try:
        return list(series)
    except IndexError:
        return [series[0]]


def _are_there(page: Any, planes: int) -> bool:
    """Whether the file is large enough for so many planes behind one another."""
    if page.compression != 1 or not page.dataoffsets:
        return False
    return bool(page.dataoffsets[0] + planes * page.nbytes <= page.parent.filehandle.size)


def _outer(series: Any) -> tuple[str, tuple[int, ...]] | None:
    """The axes that the planes run along, and their lengths: those before the ones of a page."""
    planes, product, axes, shape = _planes(series), 1, "", []
    for axis, length in zip(series.axes, series.shape, strict=True):
        if product == planes:
            break
        product *= length
        axes += axis
        shape.append(length)
    return (axes, tuple(shape)) if product == planes else None


def _own(tif: Any, series: Any, numbers: dict[tuple[str, int], int]) -> dict[int, int]:
    """The file's page for each plane that has one; a series may lack planes, or have them in other files."""
    pages = _listed(series)
    if len(pages) != _planes(series):
        return {}
    own: dict[int, int] = {}
    for plane, page in enumerate(pages):
        if page is not None and page.parent is tif:
            own |= [(plane, numbers[name]) for name in _names(page)[:1] if name in numbers]
    return own


def _names(page: Any) -> list[tuple[str, int]]:
    """Where its directory lies, and where its pixels do: some pages tifffile knows by an index of pixels alone."""
    names = [("directory", int(page.offset))] if page.offset else []
    return names + [("pixels", int(at)) for at in page.dataoffsets[:1] if at]
