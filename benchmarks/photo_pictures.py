"""The pictures in docs/photos.md, and the numbers in their captions.

    python benchmarks/photo_pictures.py [FOLDER]

Two of scikit-image's photos, blurred in linear light with 0.4 % of noise and rounded to 8 bits, and its moved clock, each by
`deblur(photo, channel_axis=-1)` with nothing told; side by side with the result and the truth. PSNR is that of the 8-bit grey
values at the best whole-pixel shift, as in photos.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

import fastdeblur
from fastdeblur import psf
from photos import blurred, quality

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"
NOISE, WIDTH, GAP = 0.004, 320, 4


def show(name: str, pictures: list[np.ndarray], folder: Path) -> None:
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)][:-1]
    strip = Image.fromarray(np.concatenate(parts, 1))
    width = WIDTH * len(pictures)
    strip = strip.resize((width, round(strip.height * width / strip.width)), Image.Resampling.LANCZOS)
    strip.save(folder / f"photo-{name}.jpg", quality=88, optimize=True)


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    cases = {
        "astronaut": (data.astronaut(), psf.camera_shake(size=23, seed=3)),
        "coffee": (data.coffee(), psf.defocus(4.5)),
    }
    for name, (photo, kernel) in cases.items():
        seen, truth = blurred(photo, kernel, NOISE)
        found = fastdeblur.deblur(seen, channel_axis=-1, full=True)
        before, after = quality(seen, truth), quality(found.image, truth)
        print(f"{name}: {found.kind} {found.parameters}, PSNR and SSIM {before}, {after}")
        show(name, [seen, found.image, truth], folder)
    clock = np.stack([data.clock()] * 3, -1)
    found = fastdeblur.deblur(clock, channel_axis=-1, full=True)
    print(f"clock: {found.kind} {found.parameters}")
    show("clock", [clock, found.image], folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
