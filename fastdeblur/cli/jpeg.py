"""JPEG by Pillow: grey and RGB, EXIF, ICC profile, XMP, IPTC, comment and resolution carried over."""

from __future__ import annotations

import re
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from fastdeblur.cli.images import Metadata, Page, Picture, UnreadableError, check_size

QUALITY = 95
_EXIF_HEADER = b"Exif\0\0"
_XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
_MORE_XMP_HEADER = b"http://ns.adobe.com/xmp/extension/\0"  # what is beyond 64 KB (XMP part 3, 1.1.3.1)

# A segment's content: its length takes two of 65535 bytes.
_MOST_IN_SEGMENT = 65533
_MOST_ROWS = 65500  # libjpeg's JPEG_MAX_DIMENSION

# Segments that are written again, or say only how the pixels or the pictures behind them are stored.
_KNOWN = {
    "APP0": (b"JFIF\0", b"JFXX\0"),
    "APP1": (_EXIF_HEADER, _XMP_HEADER, _MORE_XMP_HEADER),
    "APP2": (b"ICC_PROFILE\0", b"MPF\0"),
    "APP12": (b"Ducky",),
    "APP13": (b"",),
    "APP14": (b"Adobe",),
    "COM": (b"",),
}
# What ends a scan: no stuffed 0, no restart and no fill byte.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")


def read(path: Path, max_pixels: int) -> Picture:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's bomb warning: the limit is checked here
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = Image.open(path, formats=["JPEG"])
            finally:
                Image.MAX_IMAGE_PIXELS = limit
        with image:
            check_size(*image.size, max_pixels)
            if image.mode not in ("L", "RGB"):
                raise UnreadableError(
                    f"a {image.mode} JPEG is not supported: convert it to grey or RGB first"
                )
            pixels = np.array(image)
            information: dict[Any, Any] = dict(image.info)
            segments = [(str(name), bytes(content)) for name, content in getattr(image, "applist", [])]
            several = getattr(image, "n_frames", 1) > 1
        data = path.read_bytes()
    except UnidentifiedImageError as error:
        raise UnreadableError("the JPEG cannot be decoded: it is damaged or truncated") from error
    except UnreadableError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UnreadableError(f"the JPEG cannot be decoded: {error}") from error
    exif = information.get("exif") or None
    metadata = Metadata(
        exif=exif.removeprefix(_EXIF_HEADER) if exif else None,
        icc=information.get("icc_profile") or None,
        xmp=information.get("xmp") or None,
        dpi=_dpi(information.get("dpi")),
        native={
            "comment": information.get("comment"),
            "iptc": [content for name, content in segments if name == "APP13"],
            "more_xmp": [
                content
                for name, content in segments
                if name == "APP1" and content.startswith(_MORE_XMP_HEADER)
            ],
        },
    )
    page = Page(pixels, colours=1 if pixels.ndim == 2 else 3, gamma="srgb")
    notes = [f"{path}: {lost}" for lost in _lost(data, segments, several)]
    return Picture(path, "JPEG", [page], metadata, notes=notes)


def _lost(data: bytes, segments: list[tuple[str, bytes]], several: bool) -> list[str]:
    """What the file holds beside a picture and the metadata that are kept, a sentence for each."""
    lost = []
    pictures, end = _pictures(data)
    if several or pictures > 1:
        lost.append("only the first of its pictures is kept")
    behind = len(data[end:].strip(b"\0\r\n")) if pictures else 0
    if behind:
        lost.append(f"{behind} bytes behind the picture, such as the video of a motion photo, are not kept")
    others = {name for name, content in segments if not content.startswith(_KNOWN.get(name, ()))}
    if "APP11" in others:
        lost.append("its JUMBF boxes (APP11), such as C2PA's content credentials, are not kept")
    others.discard("APP11")
    if others:
        names = ", ".join(sorted(others, key=lambda name: int(name.removeprefix("APP"))))
        lost.append(f"what other programs or the camera's maker stored in its segments {names} is not kept")
    return lost


def _pictures(data: bytes) -> tuple[int, int]:
    """How many whole pictures follow one another in the file, zeros between them, and where the last one ends."""
    count, end, start = 0, 0, 0
    while data.startswith(b"\xff\xd8\xff", start):
        stop = _end(data, start)
        if stop is None:
            break
        count, end = count + 1, stop
        following = re.compile(rb"\0*").match(data, stop)
        start = following.end() if following else stop
    return count, end


def _end(data: bytes, start: int) -> int | None:
    """Where the picture that starts here ends; None if it does not. Segments are stepped over: they may hold thumbnails."""
    at = start + 2
    while marker := _MARKER.search(data, at):
        at = marker.end()
        if marker[1] == b"\xd9":
            return at
        if marker[1] != b"\x01":  # TEM has no length
            at += int.from_bytes(data[at : at + 2], "big")
    return None


def why_not(picture: Picture) -> str | None:
    """What of a picture of 8-bit grey or RGB no JPEG can hold; None if it can."""
    rows, columns = picture.pages[0].pixels.shape[:2]
    if max(rows, columns) > _MOST_ROWS:
        return f"at most {_MOST_ROWS} rows and columns, but {picture.path} has {rows} x {columns}"
    metadata = picture.metadata
    for name, block, header in (("EXIF", metadata.exif, _EXIF_HEADER), ("XMP", metadata.xmp, _XMP_HEADER)):
        most = _MOST_IN_SEGMENT - len(header)
        if block and len(block) > most:
            return f"at most {most} bytes of {name}, but {picture.path} has {len(block)}"
    return None


def more_xmp(picture: Picture) -> bool:
    """Whether a JPEG has more XMP than the one segment that goes to other formats."""
    return picture.format == "JPEG" and bool(picture.metadata.native["more_xmp"])


def _dpi(value: Any) -> tuple[float, float] | None:
    if not value:
        return None
    x, y = (float(each) for each in value)
    return (x, y) if 0 < x < 1e6 and 0 < y < 1e6 else None


def write(picture: Picture, path: Path) -> None:
    from PIL import Image

    metadata = picture.metadata
    options: dict[str, Any] = {"quality": QUALITY, "subsampling": 0, "optimize": True}
    if metadata.exif:
        options["exif"] = _EXIF_HEADER + metadata.exif
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if metadata.dpi:
        options["dpi"] = tuple(round(value) for value in metadata.dpi)
    extra = _segment(0xE1, _XMP_HEADER + metadata.xmp) if metadata.xmp else b""
    if picture.format == "JPEG":
        if metadata.native["comment"]:
            options["comment"] = metadata.native["comment"]
        # Behind the XMP that names it.
        extra += b"".join(_segment(0xE1, content) for content in metadata.native["more_xmp"])
        extra += b"".join(_segment(0xED, content) for content in metadata.native["iptc"])
    options["extra"] = extra
    Image.fromarray(np.ascontiguousarray(picture.pages[0].pixels)).save(path, "JPEG", **options)


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
