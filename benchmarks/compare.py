"""Race fastdeblur against its peers, and hold the ratios against the committed baseline.

    python benchmarks/compare.py            # about five minutes on a quiet machine
    python benchmarks/compare.py --quick    # about two, fewer rounds and scenes, without the optional peers
    python benchmarks/compare.py --floors   # also demand the floors and the limits of memory
    python benchmarks/compare.py --save     # keep the results as this machine's baseline
    python benchmarks/compare.py --show FILE [--markdown]

Exit status: 0, or 1 where a ratio fell under 70 % of the baseline's (with --floors: or under its floor, or
where memory is over its limit or not as estimated), or 2 for a wrong argument.
"""

from __future__ import annotations

import threads  # noqa: F401  (before NumPy and everything else that starts threads)

# isort: split
import argparse
import datetime as dt
import gc
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import acceleration
import machine
import memory
import report
import results_file
from dropin_cases import DROPINS
from interleave import race
from results_file import Results
from speed_cases import CASES, Case, require_agreement


def run_case(
    case: Case, budget: float, bandwidth: float, optional: bool
) -> tuple[list[dict[str, object]], dict[str, object]]:
    """A case's races, and its time against the bound; a peer that is not installed is left out."""
    ours = case.prepare()
    reference = ours().copy()
    rows: list[dict[str, object]] = []
    times: list[float] = []
    for peer in case.peers:
        if peer.optional and not optional:
            continue
        try:
            theirs = peer.prepare()
        except ImportError as error:
            _say(f"{peer.name} is left out: {error}")
            continue
        if peer.same is not None:
            require_agreement(peer, theirs(), reference)
        result = race(ours, theirs, budget)
        times.extend(result.ours)
        low, high = result.spread
        rows.append(
            {
                "case": case.name,
                "title": case.title,
                "peer": peer.name,
                "semantics": peer.note,
                "ours_ms": 1e3 * result.ours_median,
                "peer_ms": 1e3 * result.peer_median,
                "ratio": result.ratio,
                "low": low,
                "high": high,
                "rounds": len(result.ours),
                "floor": peer.floor,
            }
        )
        _say(f"{case.title}: {result.ratio:.2f} times faster than {peer.name}")
        del theirs
        gc.collect()
    median = sorted(times)[len(times) // 2] if times else float("nan")
    bound = case.bytes_moved / bandwidth
    bounds = {
        "case": case.name,
        "title": case.title,
        "bytes": case.bytes_moved,
        "bound_ms": 1e3 * bound,
        "ours_ms": 1e3 * median,
        "ratio": median / bound,
    }
    return rows, bounds


def run(quick: bool, only: str = "") -> Results:
    """Everything, or the cases whose name contains `only`."""
    begin, commit = time.monotonic(), machine.commit()
    if disturbed := machine.disturbance():
        _say(f"WARNING: not a quiet machine: {disturbed}")
    bandwidth = {"memory": machine.copy_bandwidth(1024), "cache": machine.copy_bandwidth(16)}
    races, bounds = [], []
    for case in (*CASES, *DROPINS):
        if only in case.name:
            rows, bound = run_case(case, 2.0 if quick else 5.0, bandwidth["memory"], optional=not quick)
            races.extend(rows)
            bounds.append(bound)
    scenes = acceleration.SCENES[1::3] if quick else acceleration.SCENES
    accelerated: list[dict[str, object]] = []
    for scene in scenes if only in "acceleration" else ():
        accelerated.extend(acceleration.measure(scene, 0.5))
        _say(f"acceleration: {scene.name}")
    used: list[dict[str, object]] = []
    for call in memory.CALLS if only in "memory" else ():
        try:
            used.append(memory.measure(call))
        except OSError as error:
            _say(f"memory: {error}")
            break
        _say(f"memory: {call.title}")
    return {
        "schema": results_file.SCHEMA,
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "commit": commit,
        "quick": quick,
        "quiet": not disturbed,
        "disturbed_after": machine.disturbance(),
        "seconds": round(time.monotonic() - begin),
        "machine": machine.describe(),
        "versions": machine.versions(),
        "bandwidth": {f"{name}_gb_s": value / 1e9 for name, value in bandwidth.items()},
        "races": races,
        "bounds": bounds,
        "acceleration_floor": acceleration.FLOOR,
        "acceleration_summary": results_file.acceleration_summary(accelerated),
        "acceleration": accelerated,
        "memory": used,
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    summary, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and scenes, no optional peers")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="cases whose name contains TEXT; also acceleration, memory"
    )
    parser.add_argument("--floors", action="store_true", help="fail under the floors, too")
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="instead of the one for this processor")
    parser.add_argument("--output", type=Path, default=results_file.FOLDER / "last.json", metavar="FILE")
    parser.add_argument("--save", action="store_true", help="keep the results as this machine's baseline")
    parser.add_argument("--show", type=Path, metavar="FILE", help="run nothing, show these results")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    options = parser.parse_args(arguments)
    if options.save and (options.quick or options.only or options.show):
        parser.error("--save: expected a complete run, without --quick, --only and --show")
    for path in (options.baseline, options.show):
        if path is not None and not path.is_file():
            parser.error(f"expected a file with results, got {str(path)!r}")

    results = results_file.load(options.show) if options.show else run(options.quick, options.only)
    path, reason = (
        (options.baseline, "as asked") if options.baseline else results_file.find_baseline(results["machine"])
    )
    baseline = results_file.load(path) if path else None
    if options.markdown:
        print(report.markdown(results))
    else:
        report.show(results, baseline)
    if not options.show:
        results_file.save(results, options.output)
    if options.save:
        results_file.save(
            results, results_file.FOLDER / f"baseline-{results_file.slug(results['machine'])}.json"
        )

    print(f"Baseline: {path.name if path else 'none'} ({reason})", file=sys.stderr)
    failures = results_file.under_baseline(results, baseline) if baseline else []
    if options.floors:
        failures += results_file.under_floor(results)
    for line in failures:
        print(f"FELL: {line}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
