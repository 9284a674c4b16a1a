"""PNG: pixels by imagecodecs (Pillow would cut 16-bit colour to 8), other chunks carried over as they are."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from fastdeblur.cli.images import Metadata, Page, Picture, UnreadableError, check_size

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp"
_ZOOM_KEYWORD = b"fastdeblur zoom"

_KEPT = set(b"iCCP sRGB gAMA cHRM cICP mDCV mDCv cLLI cLLi eXIf pHYs sPLT tEXt zTXt iTXt tIME".split())
_SAME_LAYOUT_ONLY = {b"bKGD", b"sBIT"}  # they follow the colour type and the bit depth

Chunk = tuple[bytes, bytes]


def _chunks(data: bytes) -> Iterator[Chunk]:
    """Type and content of each chunk, checked; pixels are skipped over like any other."""
    at = len(SIGNATURE)
    while True:
        if at + 12 > len(data):
            raise UnreadableError("the PNG is truncated")
        length, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + 8 + length]
        if at + 12 + length > len(data):
            raise UnreadableError("the PNG is truncated")
        if zlib.crc32(content, zlib.crc32(kind)) != struct.unpack_from(">I", data, at + 8 + length)[0]:
            raise UnreadableError(f"the PNG is damaged: wrong checksum of its {kind.decode('latin-1')} chunk")
        yield kind, content
        if kind == b"IEND":
            return
        at += 12 + length


def read(path: Path, max_pixels: int) -> Picture:
    import imagecodecs

    data = path.read_bytes()
    chunks = _chunks(data)
    kind, header = next(chunks)
    if kind != b"IHDR" or len(header) != 13:
        raise UnreadableError("the PNG is damaged: it does not begin with an IHDR chunk")
    width, height, depth, colour_type = struct.unpack_from(">IIBB", header)
    check_size(width, height, max_pixels)
    if depth == 1 and colour_type == 0:
        raise UnreadableError("a 1-bit image has no grey levels to deblur")
    others = [chunk for chunk in chunks if chunk[0] not in (b"IDAT", b"IEND")]
    if any(kind == b"acTL" for kind, _ in others):
        raise UnreadableError("an animated PNG is not supported")
    try:
        pixels = imagecodecs.png_decode(data)
    except Exception as error:
        raise UnreadableError(f"the PNG cannot be decoded: {error}") from error
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    alpha = samples - 1 if samples in (2, 4) else None
    written_type = {1: 0, 2: 4, 3: 2, 4: 6}[samples]
    kept = [
        chunk
        for chunk in others
        if chunk[0] in _KEPT or (chunk[0] in _SAME_LAYOUT_ONLY and written_type == colour_type and depth >= 8)
    ]
    page = Page(pixels, colours=3 if samples > 2 else 1, alpha=alpha, gamma=_gamma(kept))
    return Picture(path, "PNG", [page], _metadata(kept))


def _gamma(chunks: list[Chunk]) -> str | float:
    """sRGB, unless a gAMA chunk alone says otherwise: an ICC profile or an sRGB chunk overrules it."""
    found = dict(chunks)
    value = found.get(b"gAMA", b"")
    if b"iCCP" in found or b"sRGB" in found or b"cICP" in found or len(value) != 4:
        return "srgb"
    stored = int(struct.unpack(">I", value)[0])
    if stored == 0 or abs(stored - 45455) <= 500:  # 1/2.2 is how files without an sRGB chunk say sRGB
        return "srgb"
    return 100_000 / stored


def _metadata(chunks: list[Chunk]) -> Metadata:
    metadata = Metadata(native=chunks)
    for kind, content in chunks:
        if kind == b"eXIf":
            metadata.exif = content
        elif kind == b"iCCP":
            metadata.icc = _inflate(content[content.find(b"\0") + 2 :])
        elif kind == b"iTXt" and content.startswith(XMP_KEYWORD + b"\0"):
            flag, rest = content[len(XMP_KEYWORD) + 1], content[len(XMP_KEYWORD) + 3 :]
            text = rest.split(b"\0", 2)[-1]
            metadata.xmp = _inflate(text) if flag else text
        elif kind == b"pHYs" and len(content) == 9 and content[8] == 1:
            x, y = struct.unpack_from(">II", content)
            if x and y:
                metadata.dpi = (x * 0.0254, y * 0.0254)
    return metadata


def enlarged(zoom: int) -> list[Chunk]:
    """Chunks that say that each pixel was repeated so many times along both axes."""
    return [(b"tEXt", _ZOOM_KEYWORD + b"\0" + str(zoom).encode("ascii"))] if zoom > 1 else []


def zoom_of(chunks: list[Chunk]) -> int:
    """What `enlarged` said; 1 for a picture that says nothing."""
    for kind, content in chunks:
        keyword, _, value = content.partition(b"\0")
        if kind == b"tEXt" and keyword == _ZOOM_KEYWORD and re.fullmatch(rb"[1-9]\d{0,2}", value):
            return int(value)
    return 1


def _inflate(data: bytes, limit: int = 1 << 26) -> bytes | None:
    """Decompressed, or None where it is damaged or would grow beyond any sensible size."""
    try:
        inflater = zlib.decompressobj()
        result = inflater.decompress(data, limit)
    except zlib.error:
        return None
    return result if inflater.eof else None


def _made(metadata: Metadata) -> list[Chunk]:
    """Chunks for a picture that was not a PNG."""
    chunks: list[Chunk] = []
    if metadata.icc:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.dpi:
        chunks.append((b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in metadata.dpi), 1)))
    if metadata.xmp:
        chunks.append((b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + metadata.xmp))
    if metadata.exif:
        chunks.append((b"eXIf", metadata.exif))
    return chunks


def write(picture: Picture, path: Path) -> None:
    import imagecodecs

    metadata = picture.metadata
    chunks = metadata.native if picture.format == "PNG" else _made(metadata)
    data = bytes(imagecodecs.png_encode(picture.pages[0].pixels, level=6))
    after_header = len(SIGNATURE) + 12 + 13
    with path.open("wb") as file:
        file.write(data[:after_header])
        for kind, content in chunks:
            file.write(struct.pack(">I", len(content)) + kind + content)
            file.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(kind))))
        file.write(data[after_header:])
