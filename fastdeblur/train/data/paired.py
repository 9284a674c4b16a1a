"""Blurred and sharp photos of the same scene, in the layouts of the usual data sets."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastdeblur.errors import InvalidArgument
from fastdeblur.train.data.batch import Batch
from fastdeblur.train.data.folders import attitude, image_files, read_image


@dataclass(frozen=True)
class Pair:
    blurred: Path
    sharp: Path


def gopro_pairs(folder: Path) -> list[Pair]:
    """``.../blur/NAME`` beside ``.../sharp/NAME``. Nah, Kim and Lee 2017, doi:10.1109/CVPR.2017.35."""
    return [
        Pair(file, other)
        for file in image_files(folder)
        if file.parent.name == "blur" and (other := file.parent.parent / "sharp" / file.name).is_file()
    ]


def realblur_pairs(folder: Path) -> list[Pair]:
    """The lists ``*_list.txt`` of the data set, each line a sharp and a blurred file, or without lists ``.../blur/blur_N`` beside
    ``.../gt/gt_N``. Rim, Lee, Won and Cho 2020, doi:10.1007/978-3-030-58595-2_12.
    """
    lists = sorted(folder.glob("*_list.txt"))
    if lists:
        found = []
        for line in (line for file in lists for line in file.read_text(encoding="utf-8").splitlines()):
            words = line.split()
            if len(words) < 2:
                continue
            pair = Pair(folder / words[1], folder / words[0])
            if not (pair.blurred.is_file() and pair.sharp.is_file()):
                raise InvalidArgument(
                    f"data.folders: expected the files of each line of {lists[0].name}, got {line!r}"
                )
            found.append(pair)
        return found
    return [
        Pair(file, other)
        for file in image_files(folder)
        if file.parent.name == "blur"
        and (other := file.parent.parent / "gt" / re.sub(r"^blur_", "gt_", file.name)).is_file()
    ]


def suffix_pairs(folder: Path) -> list[Pair]:
    """``NAME_blur.EXT`` beside ``NAME_sharp.EXT``."""
    return [
        Pair(file, other)
        for file in image_files(folder)
        if file.stem.endswith("_blur")
        and (other := file.with_name(f"{file.stem.removesuffix('_blur')}_sharp{file.suffix}")).is_file()
    ]


LAYOUTS: dict[str, Callable[[Path], list[Pair]]] = {
    "gopro": gopro_pairs,
    "realblur": realblur_pairs,
    "suffix": suffix_pairs,
}


class Paired:
    """Batch k of a seed: crops at the same place of both photos. Files are read when they are needed."""

    def __init__(self, pairs: list[Pair], *, channels: int, crop: int, batch: int, seed: int) -> None:
        if not pairs:
            raise InvalidArgument("data.folders: expected pairs in the layout of data.layout, got none")
        self.pairs = pairs
        self.channels = channels
        self.crop = crop
        self.batch = batch
        self.seed = seed

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step])
        chosen = [self._crop(rng, self._pair(step * self.batch + k)) for k in range(self.batch)]
        blurred, sharp = (_stacked([pair[side] for pair in chosen]) for side in (0, 1))
        return Batch(blurred, sharp, None, torch.zeros(self.batch))

    def _pair(self, place: int) -> Pair:
        """Every pair once in each round, in a new order each round."""
        turn, within = divmod(place, len(self.pairs))
        order = np.random.default_rng([self.seed, 1 << 40, turn]).permutation(len(self.pairs))
        return self.pairs[order[within]]

    def _crop(self, rng: np.random.Generator, pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        blurred, sharp = read_pair(pair, self.channels)
        if min(blurred.shape[:2]) < self.crop:
            raise InvalidArgument(
                f"data.crop: expected at most {min(blurred.shape[:2])} for {pair.blurred}, got {self.crop}"
            )
        top, left = (int(rng.integers(n - self.crop + 1)) for n in blurred.shape[:2])
        number = int(rng.integers(8))
        place = (slice(top, top + self.crop), slice(left, left + self.crop))
        return attitude(blurred[place], number), attitude(sharp[place], number)


def read_pair(pair: Pair, channels: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    blurred, sharp = read_image(pair.blurred, channels), read_image(pair.sharp, channels)
    if blurred.shape != sharp.shape:
        raise InvalidArgument(
            f"data.folders: expected pairs of one size, got {blurred.shape[:2]} in {pair.blurred} and "
            f"{sharp.shape[:2]} in {pair.sharp}"
        )
    return blurred, sharp


def _stacked(arrays: list[NDArray[np.uint8]]) -> Tensor:
    whole = np.stack(arrays).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(whole, np.float32) / np.float32(255))
