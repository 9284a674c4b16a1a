"""The one call for a blurred photo, `fastdeblur.deblur`: what it gains, and what it leaves alone.

    FASTDEBLUR_DATA=... python benchmarks/photos.py [--out FILE] [--minutes N]

Three parts, all by `deblur(photo, channel_axis=-1, full=True)`, with nothing told: pairs of a blurred and a sharp frame of a moving
camera (real, blurred otherwise in each part of the frame); sharp photos, which should come back as they were; and sharp photos
blurred in linear light by a motion, a defocus, a Gaussian and a measured camera shake, given noise and rounded to 8 bits. PSNR
(dB) and SSIM are those of the 8-bit grey results before and after, at the best whole-pixel shift, borders of 24 pixels left out. A
run that ends after so many minutes goes on from FILE when it is started again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.signal import fftconvolve
from skimage.metrics import structural_similarity

import fastdeblur
from fastdeblur import _light, psf
from machine import provenance
from results_file import FOLDER, SCHEMA, load, save

BORDER, REACH = 24, 8
PHOTOS = tuple(f"test/kodak24/kodim{i:02d}.png" for i in range(2, 25, 2))
Case = tuple[str, str, Callable[[], tuple[np.ndarray, np.ndarray]]]


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def quality(photo: np.ndarray, sharp: np.ndarray) -> tuple[float, float]:
    """(PSNR, SSIM) of the mean of the channels at the best shift."""
    grey, truth = (a.astype(np.float64).mean(2) for a in (photo, sharp))
    inner = (slice(BORDER, -BORDER),) * 2
    errors = {
        (i, j): float(np.mean((np.roll(grey, (i, j), (0, 1)) - truth)[inner] ** 2))
        for i in range(-REACH, REACH + 1)
        for j in range(-REACH, REACH + 1)
    }
    best = min(errors, key=lambda shift: errors[shift])
    moved = np.roll(grey, best, (0, 1))[inner]
    ssim = structural_similarity(moved, truth[inner], data_range=255)
    return round(float(10 * np.log10(255**2 / errors[best])), 2), round(float(ssim), 4)


def cases(folder: Path) -> Iterator[Case]:
    for path in sorted((folder / "real/pairs_gopro").glob("*_blur.png")):
        truth = path.with_name(path.name.replace("_blur", "_sharp"))
        yield "pair", path.stem.removesuffix("_blur"), lambda p=path, t=truth: (read(p), read(t))
    for name in PHOTOS:
        yield "sharp", Path(name).stem, lambda n=name: (read(folder / n),) * 2
    shakes = sorted((folder / "kernels/levin09").glob("*.npy"))
    for i, name in enumerate(PHOTOS[::2]):
        rng = np.random.default_rng(i)
        kernels = {
            "motion": psf.motion(rng.uniform(6, 24), rng.uniform(0, 180)),
            "defocus": psf.defocus(rng.uniform(2, 6)),
            "gaussian": psf.gaussian(rng.uniform(1, 2.5)),
            "shake": np.load(shakes[i % len(shakes)]),
        }
        for kind, kernel in kernels.items():
            noise = (0.001, 0.003, 0.008)[i % 3]
            yield kind, Path(name).stem, lambda n=name, k=kernel, s=noise: blurred(read(folder / n), k, s)


def blurred(photo: np.ndarray, kernel: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    photo = photo[40:440, 60:500]
    light = _light.decode_srgb(photo / 255)
    h, w = kernel.shape
    y = np.stack([fftconvolve(light[..., c], kernel, "valid") for c in range(3)], -1)
    y += noise * np.random.default_rng(0).standard_normal(y.shape)
    sharp = photo[h // 2 : h // 2 + y.shape[0], w // 2 : w // 2 + y.shape[1]]
    return np.rint(255 * _light.encode_srgb(np.clip(y, 0, 1))).astype(np.uint8), sharp


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=FOLDER / "photos.json")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--resume", action="store_true", help="go on with OUT, begun by this very commit")
    arguments = parser.parse_args()
    if "FASTDEBLUR_DATA" not in os.environ:
        print("FASTDEBLUR_DATA: expected the folder of test data, not set", file=sys.stderr)
        return 2
    source = provenance()
    rows: list[dict[str, Any]] = []
    if arguments.resume:
        begun_before = load(arguments.out)
        if begun_before["commit"] != source["commit"]:
            print(f"--resume: {arguments.out} is of another commit", file=sys.stderr)
            return 2
        rows = begun_before["cases"]
    done = {(row["part"], row["photo"]) for row in rows}
    begun = time.perf_counter()
    for part, name, make in cases(Path(os.environ["FASTDEBLUR_DATA"])):
        if (part, name) in done:
            continue
        if time.perf_counter() - begun > 60 * arguments.minutes:
            break
        photo, sharp = make()
        cpu = time.process_time()
        found = fastdeblur.deblur(photo, channel_axis=-1, full=True)
        cpu = time.process_time() - cpu
        scores = None
        if part != "sharp":
            scores = list(zip(quality(photo, sharp), quality(found.image, sharp), strict=True))
        row = {
            "part": part,
            "photo": name,
            "kind": found.kind,
            "confidence": round(found.confidence, 3),
            "varies": found.varies,
            "undone": found.method != "none",
            "same": bool(np.array_equal(found.image, photo)),
            "psnr": scores and scores[0],
            "ssim": scores and scores[1],
            "cpu_seconds": round(cpu, 1),
        }
        rows.append(row)
        print(row, flush=True)
        results = {
            "schema": SCHEMA,
            **source,
            "cases": rows,
        }
        save(results, arguments.out)
    for part in ("pair", "motion", "defocus", "gaussian", "shake"):
        gains = [row["psnr"][1] - row["psnr"][0] for row in rows if row["part"] == part]
        if gains:
            print(f"{part}: mean gain {np.mean(gains):.2f} dB, worst {min(gains):.2f} dB, of {len(gains)}")
    sharp = [row["same"] for row in rows if row["part"] == "sharp"]
    print(f"sharp photos left as they were: {sum(sharp)} of {len(sharp)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
