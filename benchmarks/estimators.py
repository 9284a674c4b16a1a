"""How often `fastdeblur.estimate` is right, on photos that it was not tuned on.

    FASTDEBLUR_DATA=folder python benchmarks/estimators.py motion defocus gaussian noise kind [--save] [--cases 200]
    FASTDEBLUR_DATA=folder python benchmarks/estimators.py motion defocus gaussian noise kind --times

Each case: a random photo, blurred by `fastdeblur.psf` in linear convolution, of which the valid part is kept; Gaussian noise of
sigma 0 to 0.02 on the scale of 0 to 1; rounded and clipped to 8 bits. The same seed gives the same cases. `--save` writes
`results/estimators-NAME.json`; `--times` adds the seconds for a photo of a megapixel to it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import time
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.signal

import estimate_data
import machine
import results_file
from fastdeblur import estimate, psf

Row = dict[str, Any]

SEED = 20_000
TOLERANCE = {
    "motion": "angle within 3 degrees and length within 1.5 px",
    "defocus": "radius within 0.5 px",
    "gaussian": "sigma within 15 %",
    "noise": "sigma within 15 %",
    "kind": "kind",
}
KINDS = ("sharp", "motion", "defocus", "gaussian", "shake", "unknown")


@cache
def shakes() -> list[np.ndarray]:
    """The eight measured kernels of Levin et al. 2009."""
    return [np.load(p) for p in sorted((estimate_data.folder() / "kernels/levin09").glob("*.npy"))]


def observe(
    photo: np.ndarray, kernel: np.ndarray | None, sigma: float, rng: np.random.Generator
) -> np.ndarray:
    """What a camera of 8 bits would give."""
    if kernel is not None:
        photo = scipy.signal.oaconvolve(photo, kernel, mode="valid")
    noisy = photo + sigma * rng.standard_normal(photo.shape)
    return (np.clip(np.rint(noisy * 255), 0, 255) / 255).astype(np.float32)


def draw(blur: str, rng: np.random.Generator) -> tuple[np.ndarray | None, list[float]]:
    """A random kernel and its parameters."""
    if blur == "motion":
        length, angle = rng.uniform(5, 40), rng.uniform(0, 180)
        return psf.motion(length, angle), [length, angle]
    if blur == "defocus":
        radius = rng.uniform(1.5, 12)
        return psf.defocus(radius), [radius]
    if blur == "gaussian":
        sigma = float(np.exp(rng.uniform(np.log(0.8), np.log(5))))
        return psf.gaussian(sigma), [sigma]
    if blur == "shake":
        index = int(rng.integers(len(shakes())))
        return shakes()[index], [index]
    return None, []


def judge_motion(y: np.ndarray, truth: list[float]) -> Row:
    found = estimate.motion(y)
    turn = (found.angle - truth[1] + 90) % 180 - 90
    return {
        "found": [found.length, found.angle],
        "error": [found.length - truth[0], turn],
        "confidence": found.confidence,
        "right": abs(found.length - truth[0]) <= 1.5 and abs(turn) <= 3,
        # Lines that stay in their row or column of pixels make one kernel, whatever their angle.
        "one_row": min(abs(np.sin(np.deg2rad(truth[1]))), abs(np.cos(np.deg2rad(truth[1])))) * truth[0] <= 1,
    }


def judge_defocus(y: np.ndarray, truth: list[float]) -> Row:
    found = estimate.defocus(y)
    error = found.radius - truth[0]
    return {
        "found": [found.radius],
        "error": [error],
        "confidence": found.confidence,
        "right": abs(error) <= 0.5,
    }


def judge_gaussian(y: np.ndarray, truth: list[float]) -> Row:
    found = estimate.gaussian(y)
    error = found.sigma / truth[0] - 1
    return {
        "found": [found.sigma_major, found.sigma_minor, found.angle],
        "error": [error],
        "confidence": found.confidence,
        "right": abs(error) <= 0.15,
    }


JUDGES: dict[str, Callable[[np.ndarray, list[float]], Row]] = {
    "motion": judge_motion,
    "defocus": judge_defocus,
    "gaussian": judge_gaussian,
}


def case(name: str, number: int) -> Row:
    """One random case of an estimator."""
    rng = np.random.default_rng([SEED, sorted(TOLERANCE).index(name), number])
    photos = estimate_data.test_photos()
    path = photos[int(rng.integers(len(photos)))]
    sigma = rng.uniform(0, 0.02)
    photo = estimate_data.grey(path)
    row: Row = {"photo": f"{path.parent.name}/{path.name}", "noise": sigma}
    begin = 0.0
    if name in JUDGES:
        kernel, truth = draw(name, rng)
        y = observe(photo, kernel, sigma, rng)
        begin = time.perf_counter()
        row |= {"truth": truth} | JUDGES[name](y, truth)
    elif name == "noise":
        blur = str(rng.choice(["none", "gaussian"]))
        y = observe(photo, psf.gaussian(1.5) if blur == "gaussian" else None, sigma, rng)
        truth = [float(np.hypot(sigma, 1 / np.sqrt(12) / 255))]
        begin = time.perf_counter()
        found = estimate.noise(y)
        error = found / truth[0] - 1
        row |= {"blur": blur, "truth": truth, "found": [found], "error": [error], "right": abs(error) <= 0.15}
    else:
        blur = KINDS[number % len(KINDS)]
        kernel, truth = draw(blur, rng)
        if blur == "unknown":
            photo = np.full_like(photo, rng.uniform(0.3, 0.7))
            sigma = rng.uniform(0.005, 0.1)
        y = observe(photo, kernel, sigma, rng)
        begin = time.perf_counter()
        kind = estimate.kind(y)
        row |= {
            "blur": blur,
            "truth": truth,
            "found": kind.kind,
            "varies": kind.varies,
            "confidence": kind.confidence,
            "right": kind.kind == blur,
        }
    row |= {"shape": list(y.shape), "seconds": time.perf_counter() - begin}
    return {
        k: float(v) if isinstance(v, np.floating) else bool(v) if isinstance(v, np.bool_) else v
        for k, v in row.items()
    }


def by_confidence(rows: list[Row]) -> list[Row]:
    """How often the estimates of like confidence are right."""
    edges = [0, 0.1, 0.5, 0.8, 0.95, 1.0001]
    bins = []
    for low, high in pairwise(edges):
        mine = [row["right"] for row in rows if low <= row["confidence"] < high]
        if mine:
            bins.append({"from": low, "to": min(high, 1), "cases": len(mine), "right": sum(mine) / len(mine)})
    return bins


def summarise(name: str, rows: list[Row]) -> Row:
    summary: Row = {"right": sum(row["right"] for row in rows) / len(rows)}
    if name == "motion":
        told = [row["right"] for row in rows if not row["one_row"]]
        summary["right_where_the_angle_shows"] = sum(told) / len(told)
    if name != "noise":
        summary["by_confidence"] = by_confidence(rows)
    if name in ("kind", "noise"):
        for blur in dict.fromkeys(row["blur"] for row in rows):
            mine = [row for row in rows if row["blur"] == blur]
            summary[blur] = {"cases": len(mine), "right": sum(row["right"] for row in mine) / len(mine)}
            if name == "kind":
                summary[blur]["found"] = {k: sum(row["found"] == k for row in mine) for k in KINDS}
                summary[blur]["varies"] = sum(row["varies"] for row in mine) / len(mine)
    if name != "kind":
        errors = np.abs([row["error"] for row in rows])
        summary["median_error"] = np.median(errors, 0).tolist()
        summary["error_of_90_percent"] = np.quantile(errors, 0.9, 0).tolist()
    return summary


def megapixel(name: str) -> Row:
    """What a photo of a megapixel takes: medians of three calls, by the clock and of all threads together."""
    from PIL import Image

    rng = np.random.default_rng([SEED, sorted(TOLERANCE).index(name)])
    with Image.open(estimate_data.test_photos()[-1]) as file:
        photo = np.asarray(file.convert("L").resize((1200, 900)), np.float32) / np.float32(255)
    y = observe(photo, draw("motion" if name == "kind" else name, rng)[0], 0.01, rng)
    seconds, cpu_seconds = [], []
    for _ in range(3):
        begin, cpu = time.perf_counter(), time.process_time()
        getattr(estimate, name)(y)
        seconds.append(time.perf_counter() - begin)
        cpu_seconds.append(time.process_time() - cpu)
    return {
        "shape": list(y.shape),
        "seconds": round(float(np.median(seconds)), 2),
        "cpu_seconds": round(float(np.median(cpu_seconds)), 2),
        "disturbance": machine.disturbance(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", choices=sorted(TOLERANCE))
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--save", action="store_true")
    parser.add_argument(
        "--minutes", type=float, default=1e9, help="stop, keep what is done, and go on there at the next call"
    )
    parser.add_argument(
        "--times", action="store_true", help="only add the time for a megapixel to the saved results"
    )
    arguments = parser.parse_args()
    commit = machine.commit()
    for name in arguments.names:
        path = results_file.FOLDER / f"estimators-{name}.json"
        if arguments.times:
            results = results_file.load(path) | {"megapixel": megapixel(name)}
            print(name, results["megapixel"], flush=True)
            results_file.save(results, path)
            continue
        begin = time.monotonic()
        kept = results_file.FOLDER / f"estimators-{name}.part"
        rows = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else []
        for number in range(len(rows), arguments.cases):
            if time.monotonic() - begin > 60 * arguments.minutes:
                kept.write_text(json.dumps(rows), encoding="utf-8")
                return
            rows.append(case(name, number))
            row = rows[-1]
            if not row["right"]:
                print(number, {k: v for k, v in row.items() if k not in ("right", "shape")}, flush=True)
        kept.unlink(missing_ok=True)
        summary = summarise(name, rows)
        print(name, summary, flush=True)
        if arguments.save:
            results = {
                "schema": results_file.SCHEMA,
                "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
                "commit": commit,
                "machine": machine.describe(),
                "versions": machine.versions(),
                "estimator": name,
                "right_means": TOLERANCE[name],
                "seed": SEED,
                "summary": summary,
                "cases": rows,
            }
            results_file.save(results, path)


if __name__ == "__main__":
    main()
