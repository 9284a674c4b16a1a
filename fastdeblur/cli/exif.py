"""EXIF blocks: directories of tags, read with their types and packed again at another place and byte order.

Only what moving EXIF between TIFF, JPEG and PNG takes: TIFF 6.0 (Adobe, 1992), Exif 2.32 (CIPA DC-008).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Union

POINTERS = {34665, 34853, 40965}  # Exif, GPS, Interoperability: their values are directories
MAKER_NOTE = 37500

_SIZE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_WORD = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4}


@dataclass
class Value:
    """A tag's content as it lies in the file, in the byte order of its directory."""

    type: int
    count: int
    data: bytes


Directory = dict[int, Union[Value, "Directory"]]


class DamagedError(ValueError):
    """The block does not hold what its offsets promise."""


def parse_block(block: bytes) -> tuple[Directory, str]:
    """First directory of an EXIF block (a small TIFF), and its byte order, "<" or ">"."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8 or struct.unpack_from(order + "H", block, 2)[0] != 42:
        raise DamagedError("not an EXIF block")
    return parse(block, struct.unpack_from(order + "I", block, 4)[0], order), order


def parse(data: bytes | memoryview, offset: int, order: str, depth: int = 0) -> Directory:
    """The directory at an offset and those below it."""
    directory: Directory = {}
    try:
        (count,) = struct.unpack_from(order + "H", data, offset)
        for i in range(count):
            at = offset + 2 + 12 * i
            tag, kind, n = struct.unpack_from(order + "HHI", data, at)
            size = _SIZE.get(kind, 0) * n
            if size == 0:
                continue
            (pointer,) = struct.unpack_from(order + "I", data, at + 8)
            if tag in POINTERS and depth < 2:
                directory[tag] = parse(data, pointer, order, depth + 1)
                continue
            start = at + 8 if size <= 4 else pointer
            content = bytes(data[start : start + size])
            if len(content) != size:
                raise DamagedError(f"tag {tag} lies outside the block")
            directory[tag] = Value(kind, n, content)
    except struct.error as error:
        raise DamagedError("a directory lies outside the block") from error
    return directory


def reordered(directory: Directory, source: str, target: str) -> Directory:
    """The same values in another byte order. A maker note stays: its layout is the camera maker's secret."""
    if source == target:
        return directory
    result: Directory = {}
    for tag, value in directory.items():
        if isinstance(value, dict):
            result[tag] = reordered(value, source, target)
        else:
            word = _WORD.get(value.type, 1)
            data = value.data
            swapped = (
                b"".join(data[i : i + word][::-1] for i in range(0, len(data), word)) if word > 1 else data
            )
            result[tag] = Value(value.type, value.count, swapped)
    return result


def pack(directory: Directory, order: str, offset: int) -> bytes:
    """The directory and those below it as bytes that will lie at an even `offset` in their file."""
    entries, extra = [], b""
    extra_at = offset + 2 + 12 * len(directory) + 4
    for tag, value in sorted(directory.items()):
        here = extra_at + len(extra)
        if isinstance(value, dict):
            entries.append(struct.pack(order + "HHII", tag, 4, 1, here))
            extra += pack(value, order, here)
        elif len(value.data) <= 4:
            entries.append(
                struct.pack(order + "HHI", tag, value.type, value.count) + value.data.ljust(4, b"\0")
            )
        else:
            entries.append(struct.pack(order + "HHII", tag, value.type, value.count, here))
            extra += value.data
        extra += b"\0" * (len(extra) % 2)
    return struct.pack(order + "H", len(entries)) + b"".join(entries) + b"\0\0\0\0" + extra


def pack_block(directory: Directory, order: str) -> bytes:
    """A whole EXIF block."""
    return (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8) + pack(directory, order, 8)
