"""Race 10,000 camera shakes against NumPy, one kernel at a time in a pool of four processes.

    python benchmarks/camera_shake.py            # about a minute
    python benchmarks/camera_shake.py --save     # keep the result for this machine

Sides, in turn in one run: `psf.camera_shake` on two threads; a NumPy generator of the same model, kernel by kernel
in `multiprocessing.Pool(4).map`, started before the clock; and the package's NumPy reference, which moves all
particles of a group at once, in one process.
"""

from __future__ import annotations

import threads  # noqa: F401  (before NumPy and everything else that starts threads)

# isort: split
import argparse
import datetime as dt
import math
import multiprocessing
import statistics
import sys
from pathlib import Path

import numpy as np

import machine
import results_file
from fastdeblur import psf
from interleave import once
from threads import THREADS

KERNELS = 10_000
SIZE = 31
STEPS = 512
ROUNDS = 4
LIMIT = 0.5  # seconds, on two cores
FLOOR = 50.0  # times faster than the pool


def one_kernel(seed: int) -> np.ndarray:
    """A kernel as a NumPy script makes it: a loop over the steps, points shared out among four pixels each."""
    rng = np.random.default_rng(seed)
    anxiety, length = 0.005, SIZE - 1
    velocity = np.exp(2j * np.pi * rng.random())
    pull = anxiety * 0.7 * 2000 * 64 * rng.random() / STEPS
    reversal = anxiety * 0.2 * 2000 * rng.random() / STEPS
    noise = anxiety * 10 * math.sqrt(2000) * rng.random() / math.sqrt(STEPS)
    disturbance = noise * rng.standard_normal((STEPS, 2)) @ [1, 1j]
    turns = rng.random(STEPS) < reversal
    place = np.zeros(STEPS + 1, complex)
    for i in range(STEPS):
        if turns[i]:
            velocity *= -np.exp(1j * (rng.random() - 0.5))
        velocity += disturbance[i] - pull * place[i]
        velocity /= abs(velocity)
        place[i + 1] = place[i] + velocity / STEPS
    place = length * (place - place.mean())
    x, y = place.real + SIZE // 2, place.imag + SIZE // 2
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    u, v = x - left, y - top
    kernel = np.zeros((SIZE + 1, SIZE + 1))
    for dy, dx, weight in (
        (0, 0, (1 - u) * (1 - v)),
        (0, 1, u * (1 - v)),
        (1, 0, (1 - u) * v),
        (1, 1, u * v),
    ):
        np.add.at(kernel, (top + dy, left + dx), weight)
    kernel = kernel[:SIZE, :SIZE]
    return kernel / kernel.sum()


def measure() -> dict[str, list[float]]:
    """Seconds of each side, round by round; the order turns round, so that its bias cancels."""
    times: dict[str, list[float]] = {"ours": [], "one thread": [], "pool": [], "reference": []}
    with multiprocessing.get_context("fork").Pool(4) as pool:
        sides = {
            "ours": lambda: psf.camera_shake(KERNELS, size=SIZE, seed=0, backend="native", n_threads=THREADS),
            "one thread": lambda: psf.camera_shake(KERNELS, size=SIZE, seed=0, backend="native", n_threads=1),
            "pool": lambda: pool.map(one_kernel, range(KERNELS)),
            "reference": lambda: psf.camera_shake(KERNELS, size=SIZE, seed=0, backend="numpy"),
        }
        pool.map(one_kernel, range(64))
        for k in range(ROUNDS):
            for name in sides if k % 2 == 0 else reversed(sides):
                if name == "reference" and k > 1:
                    continue
                if name in ("ours", "one thread"):
                    sides[name]()  # awake threads, mapped memory
                times[name].append(once(sides[name]))
                print(f"{name}: {times[name][-1]:.3f} s", file=sys.stderr, flush=True)
    return times


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--save", action="store_true", help="keep the result for this machine")
    options = parser.parse_args()
    commit, disturbed = machine.commit(), machine.disturbance()
    times = measure()
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["pool"] / medians["ours"]
    results = {
        "schema": results_file.SCHEMA,
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "commit": commit,
        "quiet": not disturbed,
        "machine": machine.describe(),
        "versions": machine.versions(),
        "kernels": KERNELS,
        "size": SIZE,
        "steps": STEPS,
        "seconds": times,
        "median": medians,
        "ratio_pool": ratio,
        "ratio_reference": medians["reference"] / medians["ours"],
    }
    for name, value in medians.items():
        print(f"{name:12} {value:8.3f} s")
    print(f"{ratio:.0f} times faster than the pool, {results['ratio_reference']:.0f} than the reference")
    if disturbed:
        print(f"not a quiet machine: {disturbed}")
    name = f"camera-shake-{results_file.slug(dict(results['machine']))}.json"
    if options.save:
        results_file.save(results, Path(results_file.FOLDER) / name)
    return 0 if medians["ours"] <= LIMIT and ratio >= FLOOR else 1


if __name__ == "__main__":
    sys.exit(main())
