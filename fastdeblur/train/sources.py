"""The batches that a configuration asks for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import DataLoader

from fastdeblur.errors import InvalidArgument
from fastdeblur.train.config import Config
from fastdeblur.train.data.batch import Batch, Source
from fastdeblur.train.data.folders import Images, image_files
from fastdeblur.train.data.paired import LAYOUTS, Pair, Paired, read_pair
from fastdeblur.train.data.synthetic import Synthetic

_VALIDATION_SEED = 1 << 32  # beside those of runs


def training_source(config: Config, root: Path, channels: int) -> Source:
    """What [data] describes; relative folders are below root."""
    data = config.data
    if data.kind == "paired":
        pairs = _pairs("data.folders", data.folders, root, data.layout)
        return Paired(pairs, channels=channels, crop=data.crop, batch=data.batch, seed=config.seed)
    largest = data.crop + _reach(config)
    smallest = largest * (2 if data.degradation.reduced else 1)
    images = Images(_files("data.folders", data.folders, root), channels, smallest)
    if images.left_out:
        warnings.warn(
            f"data.folders: {images.left_out} of {images.left_out + len(images.arrays)} photos are left out, with fewer than "
            f"{smallest} pixels on a side, which the crop, the largest kernel and data.degradation.reduced need",
            stacklevel=2,
        )
    return Synthetic(images, data.psf, data.degradation, crop=data.crop, batch=data.batch, seed=config.seed)


def validation_batches(config: Config, root: Path, channels: int) -> list[Batch]:
    """Pairs, one in each batch, always the same."""
    plan, data = config.validation, config.data
    if not plan.folders:
        return []
    if data.kind == "paired":
        pairs = _pairs("validation.folders", plan.folders, root, data.layout)
        chosen = pairs[:: max(len(pairs) // plan.images, 1)][: plan.images]
        return [_whole(pair, channels, plan.crop) for pair in chosen]
    files = _files("validation.folders", plan.folders, root)
    images = Images(files, channels, plan.crop + _reach(config))
    source = Synthetic(
        images, data.psf, _unreduced(data.degradation), crop=plan.crop, batch=1, seed=_VALIDATION_SEED
    )
    return [source[k] for k in range(plan.images)]


def batches(source: Source, first: int, end: int, workers: int) -> Iterator[Batch]:
    """Batches first, ..., end - 1, made ahead by other processes if there are workers."""
    if workers == 0:
        return (source[k] for k in range(first, end))
    loader: Any = DataLoader(
        cast(Any, source),
        batch_size=None,
        sampler=range(first, end),
        num_workers=workers,
        worker_init_fn=_one_thread,
    )
    return iter(loader)


def _reach(config: Config) -> int:
    """By how many pixels a photo must be larger than a crop of it, for the largest kernel to fit."""
    return max(2 * (psfs.sizes[1] // 2) for psfs in config.data.psf)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def _unreduced(how: Any) -> Any:
    from dataclasses import replace

    return replace(how, reduced=0.0)


def _whole(pair: Pair, channels: int, crop: int) -> Batch:
    """The middle of a pair."""
    tensors = []
    for array in read_pair(pair, channels):
        top, left = (max((n - crop) // 2, 0) for n in array.shape[:2])
        part = array[top : top + crop, left : left + crop].transpose(2, 0, 1)[None]
        tensors.append(torch.from_numpy(part.copy()).float() / 255)
    return Batch(tensors[0], tensors[1], None, torch.zeros(1))


def _files(key: str, folders: tuple[str, ...], root: Path) -> list[Path]:
    return [file for folder in _existing(key, folders, root) for file in _some(key, folder)]


def _some(key: str, folder: Path) -> list[Path]:
    files = image_files(folder)
    if not files:
        raise InvalidArgument(f"{key}: expected images in each folder, got none in {folder}")
    return files


def _pairs(key: str, folders: tuple[str, ...], root: Path, layout: str) -> list[Pair]:
    pairs = [pair for folder in _existing(key, folders, root) for pair in LAYOUTS[layout](folder)]
    if not pairs:
        raise InvalidArgument(
            f"{key}: expected pairs in the layout {layout!r}, got none in {', '.join(folders)}"
        )
    return pairs


def _existing(key: str, folders: tuple[str, ...], root: Path) -> list[Path]:
    found = []
    for folder in folders:
        path = root / Path(folder).expanduser()
        if not path.is_dir():
            raise InvalidArgument(f"{key}: expected existing folders, got {path}")
        found.append(path)
    return found
