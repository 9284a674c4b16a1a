"""Folders of photos, kept in memory as they are in their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur.errors import InvalidArgument

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


def image_files(folder: Path) -> list[Path]:
    """The images below a folder, sorted by path."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def read_image(path: Path, channels: int) -> NDArray[np.uint8]:
    """(H, W, channels), 8 bits; colour becomes grey by the weights of Rec. 601, as everywhere in this field."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            array: NDArray[np.uint8] = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    except OSError as error:
        raise InvalidArgument(f"data: expected images, got {path} ({error})") from error
    return array.reshape(*array.shape[:2], channels)


class Images:
    """Photos in memory, (H, W, channels) of 8 bits each.

    Parameters
    ----------
    files : image files.
    channels : 1 or 3.
    smallest : photos with fewer rows or columns are left out; ``left_out`` says how many.
    """

    def __init__(self, files: Sequence[Path], channels: int, smallest: int) -> None:
        arrays: list[NDArray[Any]] = [read_image(path, channels) for path in files]
        self.arrays = [array for array in arrays if min(array.shape[:2]) >= smallest]
        self.left_out = len(arrays) - len(self.arrays)
        if not self.arrays:
            raise InvalidArgument(
                f"data: expected images of at least {smallest} pixels on each side, got none among {len(arrays)} files"
            )
        areas = np.array([array.shape[0] * array.shape[1] for array in self.arrays], float)
        self._share = np.cumsum(areas) / areas.sum()

    def crop(self, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
        """A square at a random place, every place of every photo as likely, in one of its eight attitudes."""
        which = min(int(np.searchsorted(self._share, rng.random(), side="right")), len(self.arrays) - 1)
        array = self.arrays[which]
        top, left = (int(rng.integers(n - size + 1)) for n in array.shape[:2])
        return attitude(array[top : top + size, left : left + size], int(rng.integers(8)))


def attitude(array: NDArray[Any], number: int) -> NDArray[Any]:
    """One of a square's eight: flipped on either axis, transposed."""
    if number & 1:
        array = array[::-1]
    if number & 2:
        array = array[:, ::-1]
    return array.swapaxes(0, 1) if number & 4 else array
