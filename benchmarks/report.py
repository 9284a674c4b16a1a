"""Results as tables: with rich where it is installed, as plain text, or as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from results_file import Results


@dataclass(frozen=True)
class Table:
    """Rows of text; all columns but the first `left` ones are flush right."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    left: int = 1


def tables(results: Results, baseline: Results | None = None) -> list[Table]:
    before = {(r["case"], r["peer"]): r["ratio"] for r in baseline["races"]} if baseline else {}
    races = []
    for row in results["races"]:
        floor, old = row["floor"], before.get((row["case"], row["peer"]))
        races.append(
            (
                row["title"],
                row["peer"],
                _ms(row["ours_ms"]),
                _ms(row["peer_ms"]),
                f"{row['ratio']:.2f}",
                f"{row['low']:.2f} to {row['high']:.2f}",
                "" if floor is None else f"{floor:g} {'ok' if row['ratio'] >= floor else 'UNDER'}",
                "" if old is None else f"{old:.2f}",
            )
        )
    found = [
        Table(
            "Races (medians; times faster, and the quartiles of the rounds)",
            ("case", "against", "ours ms", "peer ms", "ratio", "quartiles", "floor", "baseline"),
            races,
            left=2,
        )
    ]
    bandwidth = results["bandwidth"]
    found.append(
        Table(
            f"Time against the memory bound (copying {bandwidth['memory_gb_s']:.1f} GB/s in memory, "
            f"{bandwidth['cache_gb_s']:.1f} GB/s within 16 MiB)",
            ("case", "MB moved", "bound ms", "ours ms", "times bound"),
            [
                (
                    row["title"],
                    f"{row['bytes'] / 1e6:.0f}",
                    _ms(row["bound_ms"]),
                    _ms(row["ours_ms"]),
                    f"{row['ratio']:.2f}",
                )
                for row in results["bounds"]
            ],
        )
    )
    if results["acceleration"]:
        found += _acceleration(results)
    if results["memory"]:
        found.append(
            Table(
                "Peak memory of one call beyond input and output",
                ("call", "measured MB", "estimated MB", "padded images", "at most", ""),
                [
                    (
                        row["call"],
                        f"{row['measured'] / 1e6:.1f}",
                        f"{row['estimated'] / 1e6:.1f}",
                        f"{row['times_padded']:.2f}",
                        f"{row['limit']:g}",
                        "ok" if row["within_limit"] and row["within_estimate"] else "NOT OK",
                    )
                    for row in results["memory"]
                ],
            )
        )
    return found


def _acceleration(results: Results) -> list[Table]:
    scenes = [
        (
            row["scene"],
            row["acceleration"],
            str(row["iterations"]),
            f"{row['passes_ratio']:.2f}",
            str(row["iterations_l2"]),
            f"{row['passes_ratio_l2']:.2f}",
            _ms(row["ms"]),
            _ms(row["plain_ms"]),
            f"{row['time_ratio']:.2f}",
        )
        for row in results["acceleration"]
    ]
    summary = [
        (
            kind,
            f"{row['iterations']:g}",
            f"{row['iterations_worst']:g}",
            f"{row['passes_ratio']:.2f}",
            f"{row['passes_ratio_worst']:.2f}",
            f"{row['passes_ratio_l2']:.2f}",
            f"{row['passes_ratio_l2_worst']:.2f}",
            f"{row['time_ratio']:.2f}",
        )
        for kind, row in results["acceleration_summary"].items()
    ]
    return [
        Table(
            "Accelerated Richardson-Lucy to what 50 plain iterations reach, scene by scene",
            ("scene", "kind", "iterations", "passes", "its (L2)", "passes (L2)", "ms", "plain ms", "time"),
            scenes,
            left=2,
        ),
        Table(
            f"Accelerated, over all scenes: times fewer (floor {results['acceleration_floor']:g}: ogm, median passes)",
            ("kind", "iterations", "worst", "passes", "worst", "passes (L2)", "worst (L2)", "time"),
            summary,
        ),
    ]


def _ms(value: float) -> str:
    return (
        f"{value:.4f}"
        if value < 1
        else f"{value:.2f}"
        if value < 10
        else f"{value:.1f}"
        if value < 100
        else f"{value:.0f}"
    )


def heading(results: Results) -> str:
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}; "
        f"core {machine['isa']} by {machine['compiler']}; {machine['threads']} threads; "
        f"commit {results['commit']}, {results['date']}{', quick' if results['quick'] else ''}\n{versions}"
    )


def _wide_terminal() -> Any:
    """rich's console where tables fit on a line, else None."""
    try:
        from rich.console import Console
    except ImportError:
        return None
    console = Console()
    return console if console.is_terminal and console.width >= 130 else None


def show(results: Results, baseline: Results | None = None) -> None:
    """Print everything: with rich on a terminal that is wide enough, else as plain text."""
    console = _wide_terminal()
    if console is None:
        print(heading(results))
        for table in tables(results, baseline):
            print("\n" + _plain(table))
        return
    import rich.box
    from rich.table import Table as RichTable

    console.print(heading(results), highlight=False)
    for table in tables(results, baseline):
        drawn = RichTable(title=table.title, title_justify="left", box=rich.box.SIMPLE_HEAD)
        for i, name in enumerate(table.header):
            drawn.add_column(name, justify="left" if i < table.left else "right", no_wrap=i >= table.left)
        for row in table.rows:
            bad = any("UNDER" in cell or cell == "NOT OK" for cell in row)
            drawn.add_row(*row, style="bold red" if bad else None)
        console.print(drawn)


def _plain(table: Table) -> str:
    lines = [table.header, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.header))]

    def text(line: tuple[str, ...]) -> str:
        cells = (
            c.ljust(w) if i < table.left else c.rjust(w)
            for i, (c, w) in enumerate(zip(line, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return "\n".join(
        [table.title, "", text(lines[0]), "  ".join("-" * w for w in widths), *map(text, lines[1:])]
    )


def markdown(results: Results) -> str:
    """The tables for the documentation: all but the one scene by scene."""
    parts = [heading(results)]
    for table in tables(results):
        if "scene by scene" in table.title:
            continue
        keep = [i for i in range(len(table.header)) if any(row[i] for row in table.rows)]
        rule = ("---" if i < table.left else "---:" for i in keep)
        lines = ["| " + " | ".join(table.header[i] for i in keep) + " |", "|" + "|".join(rule) + "|"]
        lines += ["| " + " | ".join(row[i] for i in keep) + " |" for row in table.rows]
        parts.append(f"**{table.title}**\n\n" + "\n".join(lines))
    return "\n\n".join(parts)
