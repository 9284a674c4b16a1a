"""TIFF by tifffile: any number of pages, 8 to 32 bits or float, tags carried over byte by byte."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from fastdeblur.cli import exif, ome, tiffstack, tiffwhole
from fastdeblur.cli.images import Metadata, Page, Picture, UnreadableError, check_size

_DTYPES = {"uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64"}

# Tags that say how the pixels are stored, which is written anew; and those with an argument of their own.
_STRUCTURE = {*range(254, 260), *range(262, 267), 273, *range(277, 285), *range(288, 294), 296, 297, 301}
_STRUCTURE |= {*range(317, 326), 330, *range(332, 335), *range(336, 343), 347, *range(512, 516)}
_STRUCTURE |= {*range(517, 522), *range(529, 533), *range(32995, 32999)}
_ARGUMENTS = {270, 305, 306, 34675}
_POINTERS = {34665, 34853}
# tifffile does not write these tags: the one after each holds its place in the directory until it is patched.
_STAND_IN = 1
_XMP = 700
_METAMORPH = {*range(33628, 33632)}

# What an EXIF block made from a TIFF's first page says of the picture besides its Exif and GPS directories.
_DESCRIPTIVE = {270, 271, 272, 274, 305, 306, 315, 316, 33432}

_LOSSLESS = {
    1: None,
    5: "lzw",
    8: "adobe_deflate",
    32946: "adobe_deflate",
    32773: "packbits",
    50000: "zstd",
    34925: "lzma",
}


@dataclass
class _PageTags:
    """How one page was stored."""

    photometric: int
    planar: int = 1
    extrasamples: tuple[int, ...] = ()
    compression: str | None = None
    predictor: int | None = None
    tile: tuple[int, ...] | None = None
    subfiletype: int | None = None
    resolution: tuple[tuple[int, int], tuple[int, int]] | None = None
    resolutionunit: int | None = None
    description: bytes | None = None
    software: bytes | None = None
    datetime: bytes | None = None
    icc: bytes | None = None
    extra: list[tuple[int, int, int, bytes]] = field(default_factory=list)
    directories: dict[int, exif.Directory] = field(default_factory=dict)


@dataclass
class _FileTags:
    byteorder: str
    bigtiff: bool


def read(path: Path, max_pixels: int) -> Picture:
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        with tifffile.TiffFile(path) as tif:
            return _read(tif, path, max_pixels)
    except (UnreadableError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UnreadableError(f"the TIFF cannot be decoded: {error}") from error


def _read(tif: Any, path: Path, max_pixels: int) -> Picture:
    chained = tiffwhole.require_chain(tif)
    stored = [page.aspage() if hasattr(page, "aspage") else page for page in tif.pages]
    for page in stored:
        if page.imagedepth > 1:
            raise UnreadableError(
                f"a page of {page.imagedepth} planes (ImageDepth) is not supported: save each plane as a page first"
            )
    tiffwhole.require_pages(tif, stored, chained)
    notes = []
    if any(page.subifds for page in stored):
        notes.append(f"{path}: sub-images (SubIFDs, such as pyramid levels) are not kept")
    for page in stored:
        check_size(page.imagewidth, page.imagelength, max_pixels)
    whole = cache(partial(_whole_file, tif))
    tags = [_tags(tif, page, whole) for page in stored]
    series = tiffstack.series_of(tif)
    behind = tiffstack.planes_behind(series, stored)
    if behind > 1:
        tiffwhole.require_data(stored[0], behind)
        arrays = list(series[0].asarray().reshape(-1, *stored[0].shape))
        first = tags[0]
        tags = [first] + [
            _PageTags(
                first.photometric,
                first.planar,
                first.extrasamples,
                first.compression,
                first.predictor,
                first.tile,
                first.subfiletype,
                first.resolution,
                first.resolutionunit,
            )
            for _ in arrays[1:]
        ]
        stored = stored * behind
    else:
        for page in stored:
            tiffwhole.require_data(page)
        arrays = [page.asarray() for page in stored]
    if tif.is_stk:  # they count planes behind the page, and point to more
        for each in tags:
            each.extra = [tag for tag in each.extra if tag[0] not in _METAMORPH]
        planes = f"its {behind} planes become pages, and " if behind > 1 else ""
        notes.append(f"{path}: {planes}MetaMorph's tags (times, places, wavelengths) are not kept")
    pages = [_page(*each) for each in zip(stored, arrays, tags, strict=True)]
    stacks = tiffstack.stacks(tif, series, stored, behind)
    return Picture(path, "TIFF", pages, _metadata(tif, tags[0]), stacks=stacks, notes=notes)


def _page(stored: Any, pixels: Any, tags: _PageTags) -> Page:
    import tifffile

    names = tifffile.PHOTOMETRIC
    photometric = stored.photometric
    if stored.bitspersample == 1:
        raise UnreadableError("a 1-bit image has no grey levels to deblur")
    if pixels.dtype.name not in _DTYPES:
        raise UnreadableError(
            f"{pixels.dtype.name} pixels are not supported: expected one of {', '.join(sorted(_DTYPES))}"
        )
    if photometric == names.YCBCR and stored.compression in (6, 7, 34892):
        photometric, tags.photometric = names.RGB, int(names.RGB)  # decoded so by the JPEG library
    if photometric not in (names.MINISBLACK, names.MINISWHITE, names.RGB, names.LINEAR_RAW):
        name = getattr(photometric, "name", photometric)
        raise UnreadableError(f"{name} pixels are not supported: convert the image to grey or RGB first")
    if pixels.ndim not in (2, 3):
        raise UnreadableError(f"a page of shape {pixels.shape} is not supported: expected rows and columns")
    if pixels.ndim == 3 and tags.planar == 2:
        pixels = np.moveaxis(pixels, 0, -1)
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    if samples - len(tags.extrasamples) < 1:
        raise UnreadableError(
            f"the TIFF is damaged: {samples} samples a pixel, of which {len(tags.extrasamples)} are extra"
        )
    # Extra samples of no stated kind are further bands, and light like the others.
    base = samples - len(tags.extrasamples)
    alpha = next((base + i for i, kind in enumerate(tags.extrasamples) if kind in (1, 2)), None)
    return Page(
        np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("="), copy=False)),
        colours=samples if alpha is None else alpha,
        alpha=alpha,
        associated=alpha is not None and tags.extrasamples[alpha - base] == 1,
        inverted=photometric == names.MINISWHITE,
        gamma="srgb" if pixels.dtype == np.uint8 and photometric == names.RGB else 1.0,
        native=tags,
    )


def _whole_file(tif: Any) -> memoryview:
    tif.filehandle.seek(0)
    return memoryview(tif.filehandle.read())


def _tags(tif: Any, page: Any, whole: Callable[[], memoryview]) -> _PageTags:
    found = {tag.code: tag for tag in page.tags}
    order = tif.byteorder

    def raw(code: int) -> bytes | None:
        if code not in found:
            return None
        tag = found[code]
        tif.filehandle.seek(tag.valueoffset)
        return bytes(tif.filehandle.read(tag.valuebytecount))

    def text(code: int) -> bytes | None:
        value = raw(code)
        return None if value is None else value.rstrip(b"\0")

    compression = _LOSSLESS.get(int(page.compression), "adobe_deflate")
    tags = _PageTags(
        photometric=int(page.photometric),
        planar=int(page.planarconfig or 1),
        extrasamples=tuple(int(kind) for kind in page.extrasamples),
        compression=compression,
        predictor=int(page.predictor) if compression in ("lzw", "adobe_deflate", "zstd", "lzma") else None,
        tile=page.tile if page.is_tiled and all(n % 16 == 0 for n in page.tile) else None,
        subfiletype=int(page.subfiletype) or None,
        description=text(270),
        software=text(305),
        datetime=text(306),
        icc=raw(34675),
    )
    if 282 in found and 283 in found:
        x, y = found[282].value, found[283].value
        if len(x) == 2 and len(y) == 2 and x[1] and y[1]:
            tags.resolution = ((int(x[0]), int(x[1])), (int(y[0]), int(y[1])))
            tags.resolutionunit = int(found[296].value) if 296 in found else 2
    for code, tag in found.items():
        if code in _STRUCTURE | _ARGUMENTS | _POINTERS:
            continue
        tags.extra.append((code, int(tag.dtype), tag.count, raw(code) or b""))
    if not tif.is_bigtiff and _POINTERS & set(found):
        everything = whole()
        for code in _POINTERS & set(found):
            with suppress(exif.DamagedError, struct.error):  # what cannot be read cannot be kept
                (offset,) = struct.unpack_from(order + "I", everything, found[code].offset + 8)
                tags.directories[code] = exif.parse(everything, offset, order, 1)
    return tags


def _metadata(tif: Any, first: _PageTags) -> Metadata:
    metadata = Metadata(icc=first.icc, native=_FileTags(tif.byteorder, tif.is_bigtiff))
    block: exif.Directory = {**first.directories}
    for code, kind, count, data in first.extra:
        if code == _XMP:
            metadata.xmp = data.rstrip(b"\0")
        if code in _DESCRIPTIVE:
            block[code] = exif.Value(kind, count, data)
    for code, value in ((270, first.description), (305, first.software), (306, first.datetime)):
        if value:
            block[code] = exif.Value(2, len(value) + 1, value + b"\0")
    if block:
        metadata.exif = exif.pack_block(block, tif.byteorder)
    if first.resolution and first.resolutionunit in (2, 3):
        scale = 1 if first.resolutionunit == 2 else 2.54
        x, y = (n / d * scale for n, d in first.resolution)
        metadata.dpi = (x, y)
    return metadata


def as_float(tags: _PageTags) -> _PageTags:
    """How a page is stored, for pixels that have become float32. Raises ValueError where its metadata cannot follow."""
    description = tags.description
    if description is not None and description.rstrip().endswith(b"OME>"):
        description = ome.as_float(description)
    # The predictor of integers would do for the bits of floats, but badly.
    return replace(tags, predictor=3 if tags.predictor == 2 else tags.predictor, description=description)


def _made(picture: Picture) -> _PageTags:
    """Tags for a picture that was not a TIFF."""
    page, metadata = picture.pages[0], picture.metadata
    predictor = 3 if page.pixels.dtype.kind == "f" else 2
    tags = _PageTags(
        photometric=2 if page.colours == 3 else 1, compression="adobe_deflate", predictor=predictor
    )
    tags.extrasamples = () if page.alpha is None else (2,)
    tags.icc = metadata.icc
    if metadata.dpi:
        x, y = (Fraction(value).limit_denominator(10_000) for value in metadata.dpi)
        tags.resolution = ((x.numerator, x.denominator), (y.numerator, y.denominator))
        tags.resolutionunit = 2
    if metadata.xmp:
        tags.extra.append((_XMP, 1, len(metadata.xmp), metadata.xmp))
    if metadata.exif:
        try:
            block, order = exif.parse_block(metadata.exif)
        except exif.DamagedError:
            return tags
        for code, value in exif.reordered(block, order, "<").items():
            if isinstance(value, dict):
                tags.directories[code] = value
            elif code in (270, 305, 306):
                name = {270: "description", 305: "software", 306: "datetime"}[code]
                setattr(tags, name, value.data.rstrip(b"\0"))
            elif code not in _STRUCTURE:
                tags.extra.append((code, value.type, value.count, value.data))
    return tags


def write(picture: Picture, path: Path) -> None:
    import tifffile

    if picture.format == "TIFF":
        order, big = picture.metadata.native.byteorder, picture.metadata.native.bigtiff
    else:
        order, big = "<", False
    big = big or picture.nbytes > 3_900_000_000
    made = None if picture.format == "TIFF" else _made(picture)
    all_tags: list[_PageTags] = [made or page.native for page in picture.pages]
    with tifffile.TiffWriter(path, byteorder=order, bigtiff=big) as writer:
        for page, tags in zip(picture.pages, all_tags, strict=True):
            separate = tags.planar == 2 and page.pixels.ndim == 3
            pixels = np.moveaxis(page.pixels, -1, 0) if separate else page.pixels
            extra: list[tuple[int, int, int, bytes | int, bool]] = [(*tag, True) for tag in tags.extra]
            if not big:
                extra += [(code + _STAND_IN, 4, 1, 0, True) for code in sorted(tags.directories)]
            writer.write(
                np.ascontiguousarray(pixels),
                photometric=tags.photometric,
                planarconfig=None if page.pixels.ndim == 2 else 2 if separate else 1,
                extrasamples=tags.extrasamples or None,
                compression=tags.compression,
                predictor=tags.predictor if tags.predictor in (2, 3) else None,
                tile=tags.tile,
                subfiletype=tags.subfiletype,
                resolution=tags.resolution,
                resolutionunit=tags.resolutionunit,
                description=tags.description,
                software=tags.software or False,
                datetime=tags.datetime.decode("ascii", "replace") if tags.datetime else None,
                iccprofile=tags.icc,
                metadata=None,
                extratags=extra,
            )
    if not big and any(tags.directories for tags in all_tags):
        _append_directories(path, all_tags, order)


def _append_directories(path: Path, all_tags: list[_PageTags], order: str) -> None:
    """tifffile writes no Exif and GPS directories: append them, and make pointers of the stand-ins."""
    import tifffile

    with tifffile.TiffFile(path) as tif:
        entries = [
            {code: tif.pages[i].aspage().tags[code + _STAND_IN].offset for code in tags.directories}
            for i, tags in enumerate(all_tags)
        ]
    with path.open("rb+") as file:
        for tags, places in zip(all_tags, entries, strict=True):
            for code, directory in tags.directories.items():
                at = file.seek(0, 2)
                if at % 2:
                    file.write(b"\0")
                    at += 1
                file.write(exif.pack(directory, order, at))
                file.seek(places[code])
                file.write(struct.pack(order + "HHII", code, 4, 1, at))
