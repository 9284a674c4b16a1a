"""Two claims about how deblurring fails, put to the test: a wrong angle, and noise.

    FASTDEBLUR_DATA=folder python benchmarks/failure_claims.py --save    # a quarter of an hour; --minutes 2: in pieces
    python benchmarks/failure_claims.py --plot                           # docs/images/failure-*.png, from the saved result

Twelve photos under straight motion of known length and angle, with white Gaussian noise; SNR is the variance of the blurred
photo over that of the noise. `--save` writes `results/failure-claims.json`; `docs/failures.md` says what it shows.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np

import failure_cases as cases
import machine
import results_file

Row = dict[str, Any]

NAME = "failure-claims"
CLAIMED_ANGLE = 15  # degrees, from which on PSNR is said to have fallen
CLAIMED_FALL = 30  # per cent of it


def crossing(errors: Sequence[float], gains: Sequence[float], level: float) -> float | None:
    """The first error at which the gain, linear in between, is down to a level; None if it stays above."""
    for k in range(len(errors)):
        if gains[k] <= level:
            if k == 0:
                return float(errors[0])
            share = (gains[k - 1] - level) / (gains[k - 1] - gains[k])
            return float(errors[k - 1] + share * (errors[k] - errors[k - 1]))
    return None


def line_end(length: float, degrees: float) -> float:
    """How far, in pixels, the end of a line about its middle moves when it turns."""
    return float(length * np.sin(np.deg2rad(degrees) / 2))


def gather(rows: list[Row], by: Sequence[str]) -> list[Row]:
    """One row of each condition: PSNR and SSIM of each series, a list over the photos."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in by), []).append(row)
    gathered = []
    for condition, mine in groups.items():
        mine = sorted(mine, key=lambda row: row["photo"])
        series = [name for name, value in mine[0].items() if isinstance(value, list)]
        group: Row = dict(zip(by, condition, strict=True))
        group["psnr"] = {name: [round(row[name][0], 2) for row in mine] for name in series}
        group["ssim"] = {name: [round(row[name][1], 3) for row in mine] for name in series}
        if any(len(mine[0][name]) > 2 for name in series):
            solved = [name for name in series if len(mine[0][name]) > 2]
            group["parameter"] = {name: [float(f"{row[name][2]:.3g}") for row in mine] for name in solved}
            group["strength"] = {name: [row[name][3] for row in mine] for name in solved if "after" in name}
        gathered.append(group)
    return gathered


def medians(group: Row, score: str = "psnr") -> dict[str, float]:
    return {name: float(np.median(values)) for name, values in group[score].items()}


def gains(group: Row, series: str) -> list[float]:
    """Photo by photo, dB above the blurred one."""
    return np.subtract(group["psnr"][series], group["psnr"]["blurred"]).tolist()


def after_denoising(group: Row, solver: str, choice: str) -> list[float]:
    """PSNR with the denoiser that was best for each photo."""
    mine = [values for name, values in group["psnr"].items() if name.startswith(f"{solver}, {choice}, after")]
    return np.max(mine, 0).tolist()


def angle_summary(groups: list[Row]) -> list[Row]:
    """What the claimed angle costs, and which errors are tolerable: medians over the photos."""
    summary = []
    for snr, length, solver, choice in product(
        cases.KERNEL_SNRS, cases.LENGTHS, cases.SOLVERS, ("best", "kept")
    ):
        series = f"{solver}, {choice}"
        mine = [g for g in groups if (g["snr"], g["length"], g["wrong"]) == (snr, length, "angle")]
        mine.sort(key=lambda g: g["error"])
        exact, wrong = mine[0], next(g for g in mine if g["error"] == CLAIMED_ANGLE)
        before, after = (np.array(g["psnr"][series]) for g in (exact, wrong))
        errors = [g["error"] for g in mine]
        curve = [float(np.median(gains(g, series))) for g in mine]
        row: Row = {"snr": snr, "length": length, "solver": solver, "parameter": choice}
        row["psnr_exact"] = float(np.median(before))
        row["psnr_wrong"] = float(np.median(after))
        row["psnr_blurred"] = float(np.median(exact["psnr"]["blurred"]))
        row["loss_db"] = float(np.median(before - after))
        row["fall_percent"] = float(np.median(100 * (1 - after / before)))
        row["fall_percent_worst"] = float(np.max(100 * (1 - after / before)))
        for name, level in (("half_lost", curve[0] / 2), ("all_lost", 0.0)):
            at = crossing(errors, curve, level)
            row[f"{name}_degrees"] = at
            row[f"{name}_pixels"] = None if at is None else line_end(length, at)
        summary.append({k: round(v, 2) if isinstance(v, float) else v for k, v in row.items()})
    return summary


def length_summary(groups: list[Row]) -> list[Row]:
    """At which error of the length, in pixels, too short (< 0) and too long, half of the median gain is lost."""
    summary = []
    for snr, length, solver in product(cases.KERNEL_SNRS, cases.LENGTHS, cases.SOLVERS):
        curve = {
            g["error"]: float(np.median(gains(g, f"{solver}, best")))
            for g in groups
            if (g["snr"], g["length"]) == (snr, length) and (g["wrong"] == "length" or g["error"] == 0)
        }
        row: Row = {"snr": snr, "length": length, "solver": solver}
        for side in (-1, 1):
            errors = sorted((e for e in curve if e * side >= 0), key=abs)
            at = crossing(np.abs(errors).tolist(), [curve[e] for e in errors], curve[0] / 2)
            row["too_short" if side < 0 else "too_long"] = None if at is None else round(side * at, 2)
        summary.append(row)
    return summary


def noise_summary(groups: list[Row]) -> list[Row]:
    """What denoising first gains, and what matching the parameter gains: medians over the photos, in dB."""
    summary = []
    for group, solver in product(groups, cases.SOLVERS):
        fixed, matched = (np.array(group["psnr"][f"{solver}, {c}"]) for c in ("fixed", "matched"))
        first = {c: np.array(after_denoising(group, solver, c)) for c in ("fixed", "matched")}
        blurred = np.array(group["psnr"]["blurred"])
        differences = {
            "fixed_gain": fixed - blurred,
            "matched_gain": matched - blurred,
            "denoised_fixed_gain": first["fixed"] - blurred,
            "denoised_matched_gain": first["matched"] - blurred,
            "denoised_only_gain": np.array(group["psnr"]["denoised only"]) - blurred,
            "denoising_first_fixed": first["fixed"] - fixed,
            "denoising_first_matched": first["matched"] - matched,
            "matching_instead_of_denoising": matched - first["fixed"],
        }
        row: Row = {"snr": group["snr"], "solver": solver}
        row |= {name: round(float(np.median(d)), 2) for name, d in differences.items()}
        summary.append(row)
    return summary


def pieces() -> dict[str, Callable[[], list[Row]]]:
    """All the work, in pieces of some seconds, by name."""
    work: dict[str, Callable[[], list[Row]]] = {}
    for photo in cases.PHOTOS:
        for length, snr in product(cases.LENGTHS, cases.KERNEL_SNRS):
            work[f"wrong {photo} {length} {snr}"] = partial(cases.wrong_kernels, photo, length, snr)
        for snr in cases.SNRS:
            work[f"noise {photo} {snr}"] = partial(cases.noise_level, photo, snr)
    return work


def measure(minutes: float) -> dict[str, list[Row]] | None:
    """All rows; None if the time was not enough, and what is done is kept for the next call."""
    begin = time.monotonic()
    kept = results_file.FOLDER / f"{NAME}.part"
    done: dict[str, list[Row]] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    work = pieces()
    for name, run in work.items():
        if name in done:
            continue
        if time.monotonic() - begin > 60 * minutes:
            print(f"{len(done)} of {len(work)} pieces", flush=True)
            return None
        done[name] = run()
        kept.write_text(json.dumps(done), encoding="utf-8")
    return {
        part: [row for name in work if name.startswith(part) for row in done[name]]
        for part in ("wrong", "noise")
    }


def assemble(rows: dict[str, list[Row]], commit: str) -> Row:
    wrong = gather(rows["wrong"], ("snr", "length", "wrong", "error"))
    noise = gather(rows["noise"], ("snr",))
    return {
        "schema": results_file.SCHEMA,
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "commit": commit,
        "machine": machine.describe() | {"threads": 1},
        "versions": machine.versions(),
        "photos": list(cases.PHOTOS),
        "side": cases.SIDE,
        "border": cases.BORDER,
        "seed": cases.SEED,
        "parameters": {
            "wiener": [float(f"{b:.3g}") for b in cases.BALANCES],
            "richardson_lucy": list(cases.ITERATIONS),
            "hyper_laplacian": list(cases.NOISE_SIGMAS),
            "hyper_laplacian, wrong kernels": list(cases.LESS_NOISE_SIGMAS),
        },
        "angle_summary": angle_summary(wrong),
        "length_summary": length_summary(wrong),
        "noise_summary": noise_summary(noise),
        "wrong_kernels": wrong,
        "noise": noise,
    }


def show(results: Row) -> None:
    for part in ("angle_summary", "length_summary", "noise_summary"):
        names = list(results[part][0])
        print(*names, sep="\t")
        for row in results[part]:
            print(*(row[name] for name in names), sep="\t")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--save", action="store_true", help="keep the result")
    parser.add_argument(
        "--minutes", type=float, default=1e9, help="stop, keep what is done, and go on there at the next call"
    )
    parser.add_argument("--plot", action="store_true", help="draw the saved result; measure nothing")
    arguments = parser.parse_args()
    path = results_file.FOLDER / f"{NAME}.json"
    if arguments.plot:
        import failure_plots

        for drawn in failure_plots.draw(results_file.load(path)):
            print(drawn.name, drawn.stat().st_size)
        return
    commit = machine.commit()
    rows = measure(arguments.minutes)
    if rows is None:
        return
    results = assemble(rows, commit)
    show(results)
    if arguments.save:
        results_file.save(results, path)
        (results_file.FOLDER / f"{NAME}.part").unlink()


if __name__ == "__main__":
    main()
