"""What methods and networks make of blurred photos: PSNR, SSIM and time, in one table for each kind of blur.

    FASTDEBLUR_DATA=... python benchmarks/quality.py [--out FILE] [--docs FILE] [--sheets FOLDER] [--images N]

- shake: the 24 colour photos of Kodak, each blurred with a random camera shake of its own (`psf.camera_shake`, anxiety 0.005,
  kernels of 9, 11, ..., 21 pixels in turn), 1 % of Gaussian noise. The networks of one kind of blur were trained on the same kind.
- levin: the 12 grey photos of Set12 times the 8 camera-shake kernels that Levin et al. measured, sigma 2.55 and 7.65 of 255.
- gopro: pairs of a GoPro camera, blurred by real motion. Nobody knows their point-spread functions.

Blur acts on the values as they are, as in the field's tables; the convolution is valid, so that light from beyond the frame is in
it, as in a photo. Wiener and Richardson-Lucy are given the true kernel and, for each photo, the best of several balances or numbers
of iterations, which needs the sharp photo: they are at their best. Results are cut to 0..1; PSNR and SSIM are over the whole frame.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.signal import fftconvolve

import fastdeblur
from fastdeblur import nets, psf
from fastdeblur.train.metrics import psnr, ssim
from fastdeblur.train.sheet import write_sheet
from machine import provenance
from results_file import FOLDER, SCHEMA, save

BALANCES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
ITERATIONS = (5, 10, 20, 40, 80)
SIZES = tuple(range(9, 23, 2))
ANXIETY, SHAKE_NOISE = 0.005, 0.01
LEVIN_NOISE = (2.55 / 255, 7.65 / 255)
SHEET_SIDE = 256


@dataclass(frozen=True)
class Case:
    """blurred, sharp: (H, W) or (H, W, 3) in 0..1; kernel and noise where they are known."""

    name: str
    blurred: np.ndarray
    sharp: np.ndarray
    kernel: np.ndarray | None
    noise: float | None

    @property
    def channels(self) -> dict[str, int]:
        return {"channel_axis": -1} if self.sharp.ndim == 3 else {}


Method = Callable[[Case], list[np.ndarray]]


def read(path: Path, mode: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert(mode), np.float32) / np.float32(255)


def blur(name: str, photo: np.ndarray, kernel: np.ndarray, noise: float, seed: int) -> Case:
    axes = (0, 1)
    shaped = kernel.reshape(*kernel.shape, *[1] * (photo.ndim - 2))
    clean = fftconvolve(photo.astype(float), shaped, "valid", axes=axes)
    top, left = (n // 2 for n in kernel.shape)
    sharp = photo[top : top + clean.shape[0], left : left + clean.shape[1]]
    noisy = clean + noise * np.random.default_rng(seed).standard_normal(clean.shape)
    return Case(name, noisy.astype(np.float32), sharp, kernel, noise)


def shake(data: Path) -> Iterator[Case]:
    for k, path in enumerate(sorted((data / "test/kodak24").glob("*.png"))):
        size = SIZES[k % len(SIZES)]
        kernel = psf.camera_shake(size=size, seed=[1, k], anxiety=ANXIETY)
        yield blur(f"{path.stem}, {size} pixels", read(path, "RGB"), kernel, SHAKE_NOISE, k)


def levin(data: Path, noise: float) -> Iterator[Case]:
    kernels = [np.load(path) for path in sorted((data / "kernels/levin09").glob("*.npy"))]
    for path in sorted((data / "test/set12").glob("*.png")):
        photo = read(path, "L")
        for k, kernel in enumerate(kernels):
            yield blur(f"{path.stem}, kernel {k + 1}", photo, kernel, noise, k)


def gopro(data: Path) -> Iterator[Case]:
    for path in sorted((data / "real/pairs_gopro").glob("*_blur.png")):
        sharp = path.with_name(path.name.replace("_blur", "_sharp"))
        yield Case(path.stem.removesuffix("_blur"), read(path, "RGB"), read(sharp, "RGB"), None, None)


def blurred(case: Case) -> list[np.ndarray]:
    return [case.blurred]


def wiener(case: Case) -> list[np.ndarray]:
    return [fastdeblur.wiener(case.blurred, case.kernel, b, **case.channels) for b in BALANCES]


def richardson_lucy(case: Case) -> list[np.ndarray]:
    light = np.maximum(case.blurred, 0)
    return [fastdeblur.richardson_lucy(light, case.kernel, n, **case.channels) for n in ITERATIONS]


def network(name: str) -> Method:
    model = nets.load(name)

    def method(case: Case) -> list[np.ndarray]:
        given: dict[str, Any] = {"noise": case.noise} if model.takes_noise else {}
        if model.takes_psf:
            given["psf"] = case.kernel
        channels = case.channels
        if not channels and model.channels > 1:  # a grey photo for a network of colours
            colour = np.repeat(case.blurred[..., None], model.channels, axis=-1)
            return [model(colour, channel_axis=-1, **given).mean(axis=-1)]
        return [model(case.blurred, **channels, **given)]

    return method


def evaluate(name: str, method: Method, cases: list[Case]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """A row of the table, and the results."""
    rows, results = [], []
    for case in cases:
        began = time.perf_counter()
        tried = [np.clip(result, 0, 1) for result in method(case)]
        seconds = (time.perf_counter() - began) / len(tried)
        pixels = case.sharp.shape[0] * case.sharp.shape[1]
        best = max(tried, key=lambda result: psnr(result, case.sharp))
        rows.append((psnr(best, case.sharp), ssim(best, case.sharp), seconds * 1e6 / pixels))
        results.append(best)
    quality = np.array(rows)
    row = {
        "method": name,
        "psnr": round(float(quality[:, 0].mean()), 3),
        "ssim": round(float(quality[:, 1].mean()), 4),
        "seconds_per_megapixel": round(statistics.median(quality[:, 2]), 3),
        "psnr_each": [round(float(v), 2) for v in quality[:, 0]],
    }
    print(
        f"  {name:<16} {row['psnr']:6.2f} dB  {row['ssim']:.3f}  {row['seconds_per_megapixel']:7.3f} s/MP",
        flush=True,
    )
    return row, results


def run(data: Path, images: int | None, sheets: Path | None) -> dict[str, Any]:
    blind = {name: network(name) for name in ("srcnn", "deblurgan", "nafnet-s")}
    known = {"Wiener": wiener, "Richardson-Lucy": richardson_lucy}
    guided = {"dwdn-s": network("dwdn-s")}
    sets: dict[str, tuple[list[Case], dict[str, Method]]] = {
        "shake": (list(shake(data))[:images], known | blind | guided),
        "gopro": (list(gopro(data))[:images], blind),
    }
    for noise in LEVIN_NOISE:
        sets[f"levin {noise * 255:.2f}"] = (list(levin(data, noise))[:images], known | guided)
    tables = {}
    for title, (cases, methods) in sets.items():
        print(f"{title}: {len(cases)} images")
        rows, shown = [], [[] for _ in cases]
        for name, method in ({"blurred": blurred} | methods).items():
            row, results = evaluate(name, method, cases)
            rows.append(row)
            for pictures, result in zip(shown, results, strict=True):
                pictures.append(result)
        tables[title] = {"cases": [case.name for case in cases], "rows": rows}
        if sheets is not None:
            sheets.mkdir(parents=True, exist_ok=True)
            picked = range(0, len(cases), max(len(cases) // 4, 1))
            pictures = [[_middle(image) for image in [*shown[k], cases[k].sharp]] for k in picked]
            write_sheet(pictures, sheets / f"{title.replace(' ', '-')}.png")
    return tables


def _middle(image: np.ndarray) -> np.ndarray:
    top, left = (max((n - SHEET_SIDE) // 2, 0) for n in image.shape[:2])
    part = image[top : top + SHEET_SIDE, left : left + SHEET_SIDE]
    return part.reshape(*part.shape[:2], -1)


def markdown(tables: dict[str, Any]) -> str:
    titles = {
        "shake": "Synthetic camera shake, 1 % noise, 24 colour photos (Kodak)",
        "gopro": "Real motion blur, 6 pairs of a GoPro camera, 1280 x 720",
        "levin 2.55": "Levin's kernels, sigma 2.55 of 255, 12 grey photos (Set12) times 8 kernels",
        "levin 7.65": "Levin's kernels, sigma 7.65 of 255, 12 grey photos (Set12) times 8 kernels",
    }
    lines = []
    for title, table in tables.items():
        start = table["rows"][0]["psnr"]
        lines += [
            f"**{titles[title]}**",
            "",
            "| method | PSNR, dB | gain, dB | SSIM | s per megapixel |",
            "| --- | --: | --: | --: | --: |",
        ]
        for row in table["rows"]:
            name = (
                f"`{row['method']}`"
                if "-s" in row["method"] or row["method"] in ("srcnn", "deblurgan")
                else row["method"]
            )
            took = "" if row["method"] == "blurred" else f"{row['seconds_per_megapixel']:.3f}"
            lines.append(
                f"| {name} | {row['psnr']:.2f} | {row['psnr'] - start:+.2f} | {row['ssim']:.3f} | {took} |"
            )
        lines.append("")
    return "\n".join(lines)


def write_docs(tables: dict[str, Any], path: Path) -> None:
    """Put the tables between the page's two markers."""
    page = path.read_text(encoding="utf-8")
    new = f"<!-- tables -->\n\n{markdown(tables)}\n<!-- end of tables -->"
    page, count = re.subn(r"<!-- tables -->.*<!-- end of tables -->", lambda _: new, page, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{path}: expected the two markers of the tables")
    path.write_text(page, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=FOLDER / "quality.json")
    parser.add_argument("--docs", type=Path, help="page whose tables to renew")
    parser.add_argument("--sheets", type=Path, help="folder for pictures to look at")
    parser.add_argument("--images", type=int, help="only so many of each set")
    options = parser.parse_args()
    if not (folder := os.environ.get("FASTDEBLUR_DATA")):
        raise SystemExit("FASTDEBLUR_DATA: expected the folder of the test images, got none")
    origin = provenance()
    tables = run(Path(folder), options.images, options.sheets)
    backend = nets.load("srcnn").summary().backend
    save({"schema": SCHEMA, **origin, "network_backend": backend, "sets": tables}, options.out)
    if options.docs:
        write_docs(tables, options.docs)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
