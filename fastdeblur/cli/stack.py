"""Stacks: pages of a picture that lie along named axes, and the volumes that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Place = tuple[int, ...]

#: Axes that are no depth, by the letters of tifffile, ImageJ and OME.
_NO_DEPTH = {
    "A": "angles",
    "C": "channels",
    "E": "wavelengths",
    "H": "lifetimes",
    "L": "exposures",
    "M": "tiles of a mosaic",
    "P": "positions or phases",
    "R": "regions",
    "T": "times",
    "V": "events",
}


@dataclass(frozen=True)
class Stack:
    """An array of planes. axes: their letters, outermost first, such as "TZ"; "I" and "Q" are axes without a name.

    pages: for each place its page in the picture; the planes of a set of files that are elsewhere have none.
    """

    axes: str
    shape: tuple[int, ...]
    pages: dict[Place, int]

    @classmethod
    def of(cls, axes: str, shape: Sequence[int], pages: dict[int, int]) -> Stack:
        """From places that are counted through, the last axis the quickest. Axes of length 1 are left out."""
        kept = [(axis, length) for axis, length in zip(axes, shape, strict=True) if length > 1]
        lengths = tuple(length for _, length in kept)
        places = {_place(number, lengths): page for number, page in pages.items()}
        return cls("".join(axis for axis, _ in kept), lengths, places)


def _place(number: int, shape: tuple[int, ...]) -> Place:
    place = []
    for length in reversed(shape):
        number, index = divmod(number, length)
        place.append(index)
    return tuple(reversed(place))


def volumes(stack: Stack) -> list[list[int]]:
    """For each volume in the stack, its pages from front to back. Raises ValueError where they are none."""
    depth = _depth(stack)
    found: dict[Place, list[int]] = {}
    for place, page in sorted(stack.pages.items()):
        found.setdefault(place[:depth] + place[depth + 1 :], []).append(page)
    for pages in found.values():
        if len(pages) < stack.shape[depth]:
            raise ValueError(
                f"expected all {stack.shape[depth]} planes of each volume, got {len(pages)} of one"
            )
    return list(found.values())


def _depth(stack: Stack) -> int:
    """Which of the axes is the depth: the one named Z, or the only one if it has no name."""
    axes, shape = stack.axes, stack.shape
    if not axes:
        raise ValueError("expected several planes, got 1")
    if "Z" in axes:
        return axes.index("Z")
    if len(axes) > 1:
        raise ValueError(f"expected one stack axis, or one named Z, got axes {axes!r} of lengths {shape}")
    if axes in _NO_DEPTH:
        raise ValueError(
            f"expected pages along a depth (axis Z), but its metadata call them {_NO_DEPTH[axes]} (axis {axes})"
        )
    return 0
