"""Photos for the estimators: which ones they were tuned on, and which ones are reported on."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np


def folder() -> Path:
    """The folder that FASTDEBLUR_DATA names."""
    name = os.environ.get("FASTDEBLUR_DATA", "")
    if not name or not Path(name).is_dir():
        raise SystemExit("FASTDEBLUR_DATA: expected a folder with train/ and test/, got " + repr(name))
    return Path(name)


def _photos(part: str) -> list[Path]:
    return sorted(p for p in (folder() / part).iterdir() if p.suffix in (".png", ".jpg"))


def tuning_photos() -> list[Path]:
    """What the prior was learnt from and all choices were made on."""
    return _photos("train/bsds500")[0::4] + _photos("train/sunhays80")[0::2]


def test_photos() -> list[Path]:
    """What is reported on: all of test/, and photos of train/ that nothing was tuned on."""
    tests = [p for part in ("kodak24", "cbsd68", "set14", "set12", "set5") for p in _photos(f"test/{part}")]
    return tests + _photos("train/sunhays80")[1::2]


@lru_cache(maxsize=64)
def grey(path: Path) -> np.ndarray:
    """The mean of the channels, float32, 0 to 1."""
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"), np.float32).mean(2) / np.float32(255)
