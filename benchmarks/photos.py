"""The one call for a blurred photo, `fastdeblur.deblur`: what it gains, and what it leaves alone.

    FASTDEBLUR_DATA=... python benchmarks/photos.py [--out FILE] [--minutes N]

Three parts, all by `deblur(photo, channel_axis=-1, full=True)`, with nothing told: pairs of a blurred and a sharp frame of a moving
camera (real, blurred otherwise in each part of the frame); sharp photos, which should come back as they were; and sharp photos
blurred in linear light by a motion, a defocus, a Gaussian and a measured camera shake, given noise and rounded to 8 bits. PSNR
(dB) and SSIM are those of the 8-bit grey results before and after, at the best whole-pixel shift, borders of 24 pixels left out. A
run that ends after so many minutes goes on from FILE when it is started again.

Then the same blurred photos with the true PSF given, by every method that takes one, with its default parameters: PSNR of the whole
frames, no shift allowed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
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
    for kind, name, kernel, noise in synthetic(folder):
        yield kind, Path(name).stem, lambda n=name, k=kernel, s=noise: blurred(read(folder / n), k, s)


def synthetic(folder: Path) -> Iterator[tuple[str, str, np.ndarray, float]]:
    """Kind of blur, photo, kernel, and noise in linear light."""
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
            yield kind, name, kernel, (0.001, 0.003, 0.008)[i % 3]


def blurred(photo: np.ndarray, kernel: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    photo = photo[40:440, 60:500]
    light = _light.decode_srgb(photo / 255)
    h, w = kernel.shape
    y = np.stack([fftconvolve(light[..., c], kernel, "valid") for c in range(3)], -1)
    y += noise * np.random.default_rng(0).standard_normal(y.shape)
    sharp = photo[h // 2 : h // 2 + y.shape[0], w // 2 : w // 2 + y.shape[1]]
    return as_photo(y), sharp


Light = Callable[[np.ndarray, np.ndarray], np.ndarray]
GIVEN: dict[str, Light] = {
    "wiener 0.01": lambda light, psf: fastdeblur.wiener(light, psf, 0.01, channel_axis=-1),
    "wiener 0.01, reflect": lambda light, psf: fastdeblur.wiener(
        light, psf, 0.01, boundary="reflect", channel_axis=-1
    ),
    "richardson_lucy 30": lambda light, psf: fastdeblur.richardson_lucy(light, psf, 30, channel_axis=-1),
    "hyper-laplacian": lambda light, psf: fastdeblur.deblur(light, psf, channel_axis=-1),
    "dwdn-s": lambda light, psf: fastdeblur.nets.load("dwdn-s")(light, psf, channel_axis=-1),
}


def with_the_psf(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for kind, name, kernel, noise in synthetic(folder):
        photo, sharp = blurred(read(folder / name), kernel, noise)
        light = _light.decode_srgb(photo / 255).astype(np.float32)
        row: dict[str, Any] = {"part": kind, "photo": Path(name).stem, "blurred": psnr(photo, sharp)}
        with warnings.catch_warnings():
            # Measured shakes lie a little off their origin.
            warnings.simplefilter("ignore", fastdeblur.PSFWarning)
            for method, restore in GIVEN.items():
                row[method] = psnr(as_photo(restore(light, kernel)), sharp)
        rows.append(row)
        print(row, flush=True)
    for method in GIVEN:
        gains = [row[method] - row["blurred"] for row in rows]
        print(f"{method}, PSF given: mean gain {np.mean(gains):.2f} dB, worst {min(gains):.2f} dB")
    return rows


def psnr(photo: np.ndarray, sharp: np.ndarray) -> float:
    return round(float(-10 * np.log10(np.mean((photo / 255 - sharp / 255) ** 2))), 2)


def as_photo(light: np.ndarray) -> np.ndarray:
    return np.rint(255 * _light.encode_srgb(np.clip(light, 0, 1))).astype(np.uint8)


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
    results = {"schema": SCHEMA, **source, "cases": rows}
    done = {(row["part"], row["photo"]) for row in rows}
    begun = time.perf_counter()
    for part, name, make in cases(Path(os.environ["FASTDEBLUR_DATA"])):
        if (part, name) in done:
            continue
        if time.perf_counter() - begun > 60 * arguments.minutes:
            print(f"not all done: go on with --resume --out {arguments.out}")
            return 0
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
        save(results, arguments.out)
    for part in ("pair", "motion", "defocus", "gaussian", "shake"):
        gains = [row["psnr"][1] - row["psnr"][0] for row in rows if row["part"] == part]
        if gains:
            print(f"{part}: mean gain {np.mean(gains):.2f} dB, worst {min(gains):.2f} dB, of {len(gains)}")
    sharp = [row["same"] for row in rows if row["part"] == "sharp"]
    print(f"sharp photos left as they were: {sum(sharp)} of {len(sharp)}")
    results["with_the_psf"] = with_the_psf(Path(os.environ["FASTDEBLUR_DATA"]))
    save(results, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
