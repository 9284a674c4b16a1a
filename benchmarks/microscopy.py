"""Race gibson_lanni against vectorised NumPy, and save the result with its machine.

    python benchmarks/microscopy.py          # about a minute; prints, and writes results/microscopy-PROCESSOR.json
    python benchmarks/microscopy.py --dry    # writes nothing

Two peers. "reference" is `backend="numpy"`: the same integrals over the same pixels, matrix products by NumPy's BLAS on
the same number of threads; its result must agree to 1e-6 (relative L2). "sampled" is the series as it is usually
programmed: SciPy's Bessel functions, a least-squares fit in each call, 100 terms, profiles at two samples per pixel,
linear interpolation at the pixels' centres; what that leaves out shows in `peer_error`.

Exit status: 0, or 1 where the reference is less than FLOOR times slower.
"""

from __future__ import annotations

import threads

# isort: split
import argparse
import datetime as dt
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

import machine
import results_file
from fastdeblur import psf
from interleave import race

FLOOR = 5.0
BUDGET = 6.0  # seconds for each race
SHAPE = (64, 128, 128)
BASE = {"shape": SHAPE, "wavelength": 0.52, "pixel_size": 0.1, "z_step": 0.1}
CASES = {
    "oil objective, matched": BASE | {"na": 1.4, "ns": 1.518},
    "water objective, 2 micrometres deep": BASE
    | {"na": 1.2, "ns": 1.33, "ni": 1.33, "depth": 2.0, "tg": 173.0, "tg0": 170.0},
    "oil objective, 2 micrometres deep in water": BASE | {"na": 1.4, "ns": 1.33, "depth": 2.0},
    "oil objective, confocal": BASE | {"na": 1.4, "ns": 1.518, "excitation": 0.488},
}


def sampled(
    *, shape: tuple[int, int, int], wavelength: float, na: float, ns: float, pixel_size: float, z_step: float,
    depth: float = 0.0, ni: float = 1.518, ti0: float = 150.0, ng: float = 1.5255, tg: float = 170.0, tg0: float = 170.0,
) -> np.ndarray[Any, Any]:  # fmt: skip
    """The Bessel series of Li, Xue and Blu, point-sampled; nominal focus."""
    d, h, w = shape
    k, aperture, terms = 2 * np.pi / wavelength, min(1.0, ns / na), 100
    rho = np.linspace(0, aperture, 1000)
    z = (np.arange(d) - d // 2) * z_step

    def root(n: float) -> np.ndarray[Any, Any]:
        return np.sqrt(np.maximum(n * n - (na * rho) ** 2, 0))

    fixed = depth * (root(ns) - root(ni)) + tg * root(ng) - tg0 * root(ng)
    phase = k * (fixed[:, np.newaxis] - np.outer(root(ni), z))
    scales = 3.0 * np.arange(1, terms + 1) - 2
    basis = special.j0(np.outer(rho, scales))
    coefficients = np.linalg.lstsq(basis, np.exp(1j * phase), rcond=None)[0]
    reach = int(np.ceil(2 * np.hypot(h // 2, w // 2))) + 2
    beta = k * na * pixel_size / 2 * np.arange(reach)[:, np.newaxis]
    edge = scales * aperture
    integrals = scales * special.j1(edge) * special.j0(beta * aperture) * aperture
    integrals = integrals - beta * special.j0(edge) * special.j1(beta * aperture) * aperture
    profile = np.abs(integrals / (scales**2 - beta**2) @ coefficients) ** 2
    distance = 2 * np.hypot(*np.ogrid[-(h // 2) : h - h // 2, -(w // 2) : w - w // 2])
    volume = np.stack([np.interp(distance, np.arange(reach), profile[:, i]) for i in range(d)])
    return volume / volume.sum()


def measure(name: str, case: dict[str, Any]) -> list[dict[str, Any]]:
    def ours() -> np.ndarray[Any, Any]:
        return psf.gibson_lanni(**case, focus="nominal", n_threads=threads.THREADS, backend="native")

    def reference() -> np.ndarray[Any, Any]:
        return psf.gibson_lanni(**case, focus="nominal", backend="numpy")

    peers = {"reference": reference}
    if "excitation" not in case:
        peers["sampled"] = lambda: sampled(**case)
    exact = reference()
    rows = []
    for peer, call in peers.items():
        result = race(ours, call, BUDGET)
        low, high = result.spread
        errors = [float(np.linalg.norm(v - exact) / np.linalg.norm(exact)) for v in (ours(), call())]
        if errors[0] > 1e-6:
            raise SystemExit(f"{name}: ours differs from the reference by {errors[0]:.2g}")
        rows.append(
            {
                "case": name, "peer": peer, "ours_ms": 1e3 * result.ours_median, "peer_ms": 1e3 * result.peer_median,
                "ratio": result.ratio, "low": low, "high": high, "rounds": len(result.ours),
                "ours_error": errors[0], "peer_error": errors[1], "floor": FLOOR if peer == "reference" else None,
            }
        )  # fmt: skip
        print(
            f"{name}: {rows[-1]['ours_ms']:.1f} ms, {result.ratio:.1f} times faster than {peer}", flush=True
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dry", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    disturbed = machine.disturbance()
    commit = machine.commit()
    rows = [row for name, case in CASES.items() for row in measure(name, case)]
    results = {
        "schema": results_file.SCHEMA,
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "commit": commit,
        "quiet": not disturbed,
        "disturbed_after": machine.disturbance(),
        "machine": machine.describe(),
        "versions": machine.versions(),
        "shape": SHAPE,
        "races": rows,
    }
    if not options.dry:
        name = f"microscopy-{results_file.slug(results['machine'])}.json"
        results_file.save(results, results_file.FOLDER / name)
    return int(any(row["floor"] and row["ratio"] < row["floor"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
