"""A run's results: what they are made of, where they are kept, what they are held against."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCHEMA = 1
FOLDER = Path(__file__).parent / "results"
SHARE = 0.70  # of the baseline's ratio that a ratio must keep

Results = dict[str, Any]


def slug(machine: dict[str, Any]) -> str:
    """The machine's part of a baseline's file name."""
    return re.sub(r"[^a-z0-9]+", "-", f"{machine['cpu']} {machine['isa']}".lower()).strip("-")


def save(results: Results, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new.part")
    temporary.write_text(_text(results) + "\n", encoding="utf-8")
    temporary.replace(path)


def _text(results: Results) -> str:
    """JSON, a list of numbers in one line."""
    rows = re.compile(r"\[\s+(-?[\d][^\[\]{}\":]*?)\s+\]")
    return rows.sub(lambda row: f"[{' '.join(row[1].split())}]", json.dumps(results, indent=1))


def load(path: Path) -> Results:
    results = json.loads(path.read_text(encoding="utf-8"))
    if results.get("schema") != SCHEMA:
        raise ValueError(f"{path.name}: expected schema {SCHEMA}, got {results.get('schema')!r}")
    return dict(results)


def find_baseline(machine: dict[str, Any], folder: Path = FOLDER) -> tuple[Path | None, str]:
    """The committed baseline of the same processor and level, else of the same level, else none; and why
    that one.
    """
    exact = folder / f"baseline-{slug(machine)}.json"
    if exact.exists():
        return exact, "same processor"
    for path in sorted(folder.glob("baseline-*.json")):
        if load(path)["machine"]["isa"] == machine["isa"]:
            return path, f"another processor of the same level, {machine['isa']}"
    return None, "no baseline for this processor or level"


def acceleration_summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """For each kind of acceleration: medians and worst over the scenes."""
    summary = {}
    for kind in dict.fromkeys(row["acceleration"] for row in rows):
        mine = [row for row in rows if row["acceleration"] == kind]
        summary[kind] = {
            "scenes": len(mine),
            "iterations": statistics.median(row["iterations"] for row in mine),
            "iterations_worst": max(row["iterations"] for row in mine),
            "iterations_l2": statistics.median(row["iterations_l2"] for row in mine),
            "passes_ratio": statistics.median(row["passes_ratio"] for row in mine),
            "passes_ratio_worst": min(row["passes_ratio"] for row in mine),
            "passes_ratio_l2": statistics.median(row["passes_ratio_l2"] for row in mine),
            "passes_ratio_l2_worst": min(row["passes_ratio_l2"] for row in mine),
            "time_ratio": statistics.median(row["time_ratio"] for row in mine),
        }
    return summary


def ratios(results: Results) -> Iterator[tuple[str, float, float | None]]:
    """(what, ratio, floor) of everything that has one."""
    for row in results["races"]:
        yield f"{row['case']} against {row['peer']}", row["ratio"], row["floor"]
    best = "ogm"
    for kind, row in results["acceleration_summary"].items():
        floor = results["acceleration_floor"] if kind == best else None
        yield f"richardson-lucy, passes, {kind} against plain", row["passes_ratio"], floor


def under_floor(results: Results) -> list[str]:
    """What the floors and the limits of memory complain about."""
    lines = [
        f"{what}: {ratio:.2f} times, floor {floor:g}"
        for what, ratio, floor in ratios(results)
        if floor is not None and ratio < floor
    ]
    for row in results["memory"]:
        if not row["within_limit"]:
            lines.append(f"{row['call']}: {row['times_padded']:.2f} padded images, at most {row['limit']:g}")
        if not row["within_estimate"]:
            lines.append(f"{row['call']}: {row['measured']} bytes, estimate_memory says {row['estimated']}")
    return lines


def under_baseline(results: Results, baseline: Results) -> list[str]:
    """Ratios that fell under SHARE of the baseline's."""
    before = {what: ratio for what, ratio, _ in ratios(baseline)}
    return [
        f"{what}: {ratio:.2f} times, baseline {before[what]:.2f}"
        for what, ratio, _ in ratios(results)
        if what in before and ratio < SHARE * before[what]
    ]
