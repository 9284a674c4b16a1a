"""Blind kernel estimation: error ratios over sharp photographs x measured camera-shake kernels, and times.

    FASTDEBLUR_DATA=... python benchmarks/blind.py [--out FILE] [--images N] [--unknown-size]

A case blurs the middle of a photograph of the test set with a kernel (valid convolution, 255 x 255 pixels left), adds 1 %
of Gaussian noise, estimates the kernel, and deblurs with it and with the true one by the same solver and settings. The error
ratio (Levin, Weiss, Durand and Freeman 2009, doi:10.1109/CVPR.2009.5206815) is the squared error of the former over that of
the latter, each at its best shift, borders of 20 pixels left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.signal import fftconvolve

from fastdeblur import estimate
from fastdeblur.estimate._nonblind import hyper_laplacian
from machine import provenance
from results_file import FOLDER, SCHEMA, save

SIDE, NOISE, BORDER, SEED = 255, 0.01, 20, 0
LIMITS = (1.5, 2.0, 3.0, 4.0, 5.0)
PHOTOS = (
    "test/kodak24/kodim01.png",
    "test/kodak24/kodim05.png",
    "test/kodak24/kodim08.png",
    "test/kodak24/kodim14.png",
    "test/kodak24/kodim22.png",
    "test/set14/barbara.png",
    "test/set14/lenna.png",
    "test/set14/monarch.png",
)


def photo(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("L"), np.float64) / 255


def middle(image: np.ndarray, height: int, width: int) -> np.ndarray:
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def shifted_error(result: np.ndarray, sharp: np.ndarray) -> float:
    """Sum of squares inside the borders at the best shift, to a quarter of a pixel."""
    padded = np.pad(np.asarray(result, np.float64), 16, mode="edge")
    spectrum = np.fft.rfft2(padded)
    rows = np.fft.fftfreq(padded.shape[0])[:, np.newaxis]
    columns = np.fft.rfftfreq(padded.shape[1])
    inside = (slice(BORDER, -BORDER),) * 2

    def error(down: float, across: float) -> float:
        turn = np.exp(2j * np.pi * (rows * down + columns * across))
        moved = np.fft.irfft2(spectrum * turn, s=padded.shape)[16:-16, 16:-16]
        return float(((moved - sharp)[inside] ** 2).sum())

    window = np.outer(np.hanning(sharp.shape[0]), np.hanning(sharp.shape[1]))
    spectra = [np.fft.rfft2((a - a.mean()) * window) for a in (result, sharp)]
    likeness = np.fft.irfft2(spectra[0] * spectra[1].conj(), s=sharp.shape)
    peak = np.unravel_index(int(likeness.argmax()), sharp.shape)
    at = tuple(float((p + n // 2) % n - n // 2) for p, n in zip(peak, sharp.shape, strict=True))
    if max(abs(a) for a in at) > BORDER:
        at = (0.0, 0.0)
    best = error(*at)
    for step in (0.5, 0.25):
        around = [(at[0] + a * step, at[1] + b * step) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        errors = [error(*place) for place in around]
        if min(errors) < best:
            best, at = min(errors), around[int(np.argmin(errors))]
    return best


def run_case(sharp: np.ndarray, kernel: np.ndarray, seed: int, unknown_size: bool) -> dict[str, Any]:
    n = SIDE + kernel.shape[0] - 1
    truth = middle(middle(sharp, n, n), SIDE, SIDE)
    blurred = fftconvolve(middle(sharp, n, n), kernel, "valid")
    blurred = (blurred + np.random.default_rng(seed).normal(0, NOISE, blurred.shape)).astype(np.float32)
    begin, cpu = time.perf_counter(), time.process_time()
    found = estimate.kernel(blurred, None if unknown_size else kernel.shape[0])
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    errors = [shifted_error(hyper_laplacian(blurred, k, NOISE), truth) for k in (found.psf, kernel)]
    return {
        "ratio": round(errors[0] / errors[1], 3),
        "confidence": round(found.confidence, 3),
        "size": found.psf.shape,
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu, 3),
    }


def time_large(folder: Path, kernel: np.ndarray) -> dict[str, Any]:
    """A photograph of a megapixel and a 35 x 35 frame."""
    names = sorted((folder / "train/sunhays80").iterdir())
    image = np.asarray(Image.open(names[0]).convert("L").resize((1200, 900)), np.float64) / 255
    blurred = fftconvolve(image, kernel, "valid")
    blurred = blurred + np.random.default_rng(SEED).normal(0, NOISE, blurred.shape)
    begin, cpu = time.perf_counter(), time.process_time()
    estimate.kernel(blurred.astype(np.float32), 35)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    return {"shape": blurred.shape, "size": 35, "seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=FOLDER / "blind.json")
    parser.add_argument("--images", type=int, default=len(PHOTOS))
    parser.add_argument(
        "--unknown-size", action="store_true", help="leave the kernel's size to the estimator"
    )
    arguments = parser.parse_args()
    if "FASTDEBLUR_DATA" not in os.environ:
        print("FASTDEBLUR_DATA: expected the folder of test data, not set", file=sys.stderr)
        return 2
    folder = Path(os.environ["FASTDEBLUR_DATA"])
    kernels = [np.load(path) for path in sorted((folder / "kernels/levin09").glob("*.npy"))]
    source = provenance()
    rows = []
    for i, name in enumerate(PHOTOS[: arguments.images]):
        sharp = photo(folder / name)
        for j, kernel in enumerate(kernels):
            case = run_case(sharp, kernel, SEED + 100 * i + j, arguments.unknown_size)
            rows.append({"image": name, "kernel": j + 1, **case})
        print(name, *(row["ratio"] for row in rows[-len(kernels) :]), flush=True)
    ratios = np.array([row["ratio"] for row in rows])
    table = {f"{limit:g}": round(float((ratios <= limit).mean()), 3) for limit in LIMITS}
    results = {
        "schema": SCHEMA,
        **source,
        "side": SIDE,
        "noise": NOISE,
        "size": "estimated" if arguments.unknown_size else "known",
        "share_within_ratio": table,
        "median_ratio": round(float(np.median(ratios)), 3),
        "median_seconds": statistics.median(row["seconds"] for row in rows),
        "median_cpu_seconds": statistics.median(row["cpu_seconds"] for row in rows),
        "large": time_large(folder, kernels[3]),
        "cases": rows,
    }
    save(results, arguments.out)
    print(
        "share within ratio:", table, "median seconds:", results["median_seconds"], "large:", results["large"]
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
