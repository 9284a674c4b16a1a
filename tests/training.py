"""What the tests of the training share: invented photos, and small configurations."""

from __future__ import annotations

import copy

import numpy as np
from PIL import Image

CONFIG = {
    "name": "small",
    "description": "A test",
    "seed": 3,
    "checkpoint_every": 4,
    "model": {"kind": "nafnet", "width": 8, "down": [1], "middle": 1, "up": [0], "window": 48},
    "data": {
        "folders": ["photos"],
        "crop": 32,
        "batch": 4,
        "psf": {"sizes": [5, 9]},
        "degradation": {"noise": [0.0, 0.02]},
    },
    "optimiser": {"steps": 10, "warmup": 2},
    "loss": {"psnr": 1.0},
    "validation": {"folders": ["other"], "every": 5, "images": 2, "crop": 48},
}


def config(**changes):
    """The configuration with changes; a key "a.b" is b in table a, a value None takes the key out."""
    values = copy.deepcopy(CONFIG)
    for key, value in changes.items():
        *path, last = key.replace("__", ".").split(".")
        table = values
        for name in path:
            table = table.setdefault(name, {})
        if value is None:
            table.pop(last)
        else:
            table[last] = value
    return values


def photo(seed, height=112, width=120, channels=3):
    """Overlapping discs and boxes of plain colours, as a photo has objects; 8 bits."""
    rng = np.random.default_rng(seed)
    image = np.empty((height, width, channels))
    image[:] = rng.random(channels)
    rows, columns = np.mgrid[:height, :width]
    for _ in range(60):
        y, x = rng.random(2) * (height, width)
        size = 3 + 20 * rng.random() ** 2
        if rng.random() < 0.5:
            inside = (rows - y) ** 2 + (columns - x) ** 2 < size**2
        else:
            inside = (abs(rows - y) < size) & (abs(columns - x) < size * rng.random())
        image[inside] = rng.random(channels)
    return np.rint(255 * image).astype(np.uint8)


def write_photos(folder, seeds, **shape):
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        Image.fromarray(photo(seed, **shape)).save(folder / f"{seed:03d}.png")
