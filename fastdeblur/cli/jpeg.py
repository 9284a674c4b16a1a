"""JPEG by Pillow: grey and RGB, EXIF, ICC profile, XMP, IPTC, comment and resolution carried over."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from fastdeblur.cli.images import Metadata, Page, Picture, UnreadableError, check_size

QUALITY = 95
_EXIF_HEADER = b"Exif\0\0"


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
            segments = [bytes(content) for name, content in getattr(image, "applist", []) if name == "APP13"]
            several = getattr(image, "n_frames", 1) > 1
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
        native={"comment": information.get("comment"), "iptc": segments},
    )
    page = Page(pixels, colours=1 if pixels.ndim == 2 else 3)
    notes = [f"{path}: only the first of its pictures is kept"] if several else []
    return Picture(path, "JPEG", [page], "srgb", metadata, notes=notes)


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
    if metadata.xmp:
        options["xmp"] = metadata.xmp
    if metadata.dpi:
        options["dpi"] = tuple(round(value) for value in metadata.dpi)
    if picture.format == "JPEG":
        if metadata.native["comment"]:
            options["comment"] = metadata.native["comment"]
        options["extra"] = b"".join(
            b"\xff\xed" + struct.pack(">H", len(content) + 2) + content for content in metadata.native["iptc"]
        )
    Image.fromarray(np.ascontiguousarray(picture.pages[0].pixels)).save(path, "JPEG", **options)
