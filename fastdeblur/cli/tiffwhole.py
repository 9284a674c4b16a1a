"""Whether a TIFF holds all that it says: tifffile leaves out pages that it cannot find, and only logs that it did."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

from fastdeblur.cli import ome
from fastdeblur.cli.images import UnreadableError

TRUNCATED = "the TIFF is truncated"

# Of each type of tag; other types are private, and their values unknown.
_ITEM_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}


def require_chain(tif: Any) -> int:
    """The number of pages by the chain of their directories, whose tags must lie in the file.

    To be asked first: tifffile follows a circle for ever.
    """
    found: set[int] = set()
    offset = _first(tif)
    while offset:
        if offset in found:
            raise UnreadableError("the TIFF is damaged: its chain of pages runs in a circle")
        found.add(offset)
        offset = _after(tif, offset)
    if not found:
        raise UnreadableError("the TIFF holds no page")
    return len(found)


def require_pages(tif: Any, pages: Sequence[Any], chained: int) -> None:
    """Refuse a file with fewer pages than its chain has, or fewer planes than its metadata say."""
    if len(pages) < chained:
        raise UnreadableError(TRUNCATED)
    said, held = _said(tif, pages), _planes(tif, pages)
    if held < said:
        raise UnreadableError(f"{TRUNCATED}: its metadata say {said} planes, but it holds {held}")


def require_data(page: Any, planes: int = 1) -> None:
    """Refuse a page whose pixels go on beyond the end of the file: tifffile reads zeros there in some layouts.

    planes: how many lie behind one another from the page's first pixel on.
    """
    size, others = page.parent.filehandle.size, (planes - 1) * sum(page.databytecounts)
    ends = [
        offset + count + others for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
    ]
    if max(ends, default=0) > size:
        raise UnreadableError(TRUNCATED)


def _first(tif: Any) -> int:
    tif.filehandle.seek(8 if tif.is_bigtiff else 4)
    return _number(tif, "Q" if tif.is_bigtiff else "I")


def _after(tif: Any, offset: int) -> int:
    """What the directory at an offset says of the next one's place; 0 for the last."""
    if offset >= tif.filehandle.size:
        raise UnreadableError(TRUNCATED)
    count, place = ("Q", "Q") if tif.is_bigtiff else ("H", "I")
    tif.filehandle.seek(offset)
    entries, entry = _number(tif, count), 4 + 2 * struct.calcsize(place)
    if offset + entries * entry >= tif.filehandle.size:
        raise UnreadableError(TRUNCATED)
    directory = tif.filehandle.read(entries * entry)
    for _, kind, items, value in struct.iter_unpack(f"{tif.byteorder}HH{place}{place}", directory):
        size = _ITEM_BYTES.get(kind, 0) * items
        if size > struct.calcsize(place) and value + size > tif.filehandle.size:
            raise UnreadableError(
                TRUNCATED
            )  # tifffile leaves such a tag out, be it the metadata of the whole stack
    return _number(tif, place)


def _number(tif: Any, kind: str) -> int:
    size = struct.calcsize(kind)
    data = tif.filehandle.read(size)
    if len(data) < size:
        raise UnreadableError(TRUNCATED)
    (value,) = struct.unpack(tif.byteorder + kind, data)
    return int(value)


def _planes(tif: Any, pages: Sequence[Any]) -> int:
    """Pages, and planes that follow a lone page without a directory of their own (ImageJ, tifffile)."""
    if len(pages) == 1 and (tif.is_imagej or tif.is_shaped) and not tif.is_ome:
        series = tif.series[0]
        if series.is_truncated:  # what tifffile calls such a page; else it only counts what the metadata say
            return max(1, int(series.size) // max(1, int(pages[0].size)))
    return len(pages)


def _said(tif: Any, pages: Sequence[Any]) -> int:
    """How many planes the metadata promise; 0 where they say nothing."""
    if tif.is_imagej:
        return int((tif.imagej_metadata or {}).get("images", 0))
    if tif.is_ome:
        return ome.planes_said(tif.ome_metadata, tif.filename)
    if tif.is_shaped:
        # One entry for each series; all pages of a series have one size.
        series = [math.prod(said.get("shape", ())) for said in tif.shaped_metadata or ()]
        return math.ceil(series[0] / max(1, pages[0].size)) if len(series) == 1 else 0
    return 0
