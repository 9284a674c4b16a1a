"""OME-XML, the first description of an OME-TIFF: which plane of which image each page of the file is.

https://docs.openmicroscopy.org/ome-model/6.3.1/ome-tiff/specification.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from fastdeblur.cli.stack import Stack

_PIXELS = re.compile(rb"<(?:\w+:)?Pixels\b[^>]*>")
_TYPE = re.compile(rb"""(\s(?:Pixel)?Type\s*=\s*)("[^"]*"|'[^']*')""")
_BITS = re.compile(rb"""\sSignificantBits\s*=\s*("[^"]*"|'[^']*')""")


@dataclass(frozen=True)
class _Run:
    """Pages in a row, and the plane that the first one is; None where the image has no such plane."""

    page: int
    count: int
    plane: int | None


@dataclass(frozen=True)
class _Image:
    axes: str  # outermost first
    shape: tuple[int, ...]
    runs: list[_Run]  # of this file; others are in other files of a set


def planes_said(xml: str | None, name: str) -> int:
    """How many pages the metadata name in the file of this name; 0 where they cannot be read."""
    root = _root(xml)
    if root is None:
        return 0
    return max((run.page + run.count for image in _images(root, name) for run in image.runs), default=0)


def stacks(xml: str | None, name: str, pages: int) -> list[Stack]:
    """A stack for each image that has planes among the pages of the file of this name."""
    root = _root(xml)
    # What else runs along Z than the depth is not followed.
    if root is None or root.find(".//{*}ModuloAlongZ") is not None:
        return []
    found = []
    for image in _images(root, name):
        planes = math.prod(image.shape)
        own: dict[int, int] = {}
        for run in image.runs:
            if run.plane is not None and run.page >= 0:
                count = min(run.count, planes - run.plane, pages - run.page)
                own |= {run.plane + i: run.page + i for i in range(count)}
        if own:
            found.append(Stack.of(image.axes, image.shape, own))
    return found


def as_float(xml: bytes) -> bytes:
    """The same metadata, of float32 pixels. Raises ValueError where they are in another file of the set."""
    if re.search(rb"<(?:\w+:)?BinaryOnly\b", xml):
        raise ValueError("its OME metadata are in another file, which would go on naming another dtype")

    def typed(pixels: re.Match[bytes]) -> bytes:
        return _TYPE.sub(rb'\1"float"', _BITS.sub(b"", pixels[0]))

    return _PIXELS.sub(typed, xml)


def _root(xml: str | None) -> ET.Element | None:
    try:
        return ET.fromstring(xml or "")
    except ET.ParseError:
        return None


def _images(root: ET.Element, name: str) -> Iterator[_Image]:
    """The images whose description can be read."""
    for pixels in root.iterfind(".//{*}Pixels"):
        try:
            image = _image(pixels, root.get("UUID"), name)
        except ValueError:  # what should be a number is none
            continue
        if min(image.shape) > 0:
            yield image


def _image(pixels: ET.Element, uuid: str | None, name: str) -> _Image:
    order = pixels.get("DimensionOrder", "XYZCT")
    axes = order[:1:-1] if sorted(order[2:]) == ["C", "T", "Z"] else "TCZ"
    # SizeC counts samples; those of one channel lie in one page.
    channels = len(pixels.findall("{*}Channel")) or int(pixels.get("SizeC", 1))
    shape = tuple(channels if axis == "C" else int(pixels.get(f"Size{axis}", 1)) for axis in axes)
    runs = []
    for data in pixels.iterfind("{*}TiffData"):
        if _is_here(data.find("{*}UUID"), uuid, name):
            lone = 1 if "IFD" in data.attrib else math.prod(shape)
            first = [int(data.get(f"First{axis}", 0)) for axis in axes]
            runs.append(
                _Run(int(data.get("IFD", 0)), int(data.get("PlaneCount", lone)), _plane(first, shape))
            )
    return _Image(axes, shape, runs)


def _is_here(there: ET.Element | None, uuid: str | None, name: str) -> bool:
    """Whether an element speaks of this file: those of a set have a UUID each, and names that a copy may have lost."""
    if there is None:
        return True
    if uuid is None:
        return there.get("FileName", "").lower() == name.lower()
    return (there.text or "").strip() == uuid


def _plane(place: list[int], shape: tuple[int, ...]) -> int | None:
    plane = 0
    for index, length in zip(place, shape, strict=True):
        if not 0 <= index < length:
            return None
        plane = plane * length + index
    return plane
