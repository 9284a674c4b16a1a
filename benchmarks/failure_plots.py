"""The pictures of `docs/failures.md`, drawn from `results/failure-claims.json`."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from PIL import Image

mpl.use("Agg")  # no screen is needed
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from failure_claims import CLAIMED_ANGLE, CLAIMED_FALL, after_denoising, gains

Row = dict[str, Any]

FOLDER = Path(__file__).parent.parent / "docs/images"
SOLVERS = {
    "wiener": "Wiener",
    "richardson_lucy": "Richardson-Lucy",
    "hyper_laplacian": "hyper-Laplacian prior",
}
LENGTH_COLOURS = {11: "#e08e0b", 21: "#c2366b", 31: "#3b4cc0"}
FIXED, MATCHED, BEFORE = "#c8553d", "#20639b", "#8a8a8a"
SHOWN_SNR = 40  # of the pictures of wrong kernels; the file has the others
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.edgecolor": "#666666",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def _save(figure: Figure, name: str) -> Path:
    """A PNG of few colours, which drawings have anyway."""
    buffer = BytesIO()
    figure.savefig(buffer, dpi=180, format="png")
    plt.close(figure)
    path = FOLDER / name
    Image.open(buffer).convert("RGB").quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def _legend(figure: Figure, above: list[Line2D], below: list[Line2D]) -> None:
    """Two rows under the axes; Matplotlib fills columns."""
    pairs = [handle for pair in zip_longest(above, below) for handle in pair if handle is not None]
    figure.legend(handles=pairs, loc="outside lower center", ncols=len(above))


def _of_length(results: Row, length: int, wrong: str) -> list[Row]:
    """The conditions of one length, by their error; that of no error is among them."""
    mine = [
        g
        for g in results["wrong_kernels"]
        if g["snr"] == SHOWN_SNR and g["length"] == length and (g["wrong"] == wrong or g["error"] == 0)
    ]
    return sorted(mine, key=lambda g: g["error"])


def _quartiles(rows: Sequence[Sequence[float]]) -> np.ndarray:
    return np.quantile(np.array(rows), (0.25, 0.5, 0.75), axis=1)


def _wrong_angle(results: Row) -> Path:
    figure, axes = plt.subplots(1, 3, figsize=(10, 4.3), sharey=True, layout="constrained")
    for ax, (solver, title) in zip(axes, SOLVERS.items(), strict=True):
        for length, colour in LENGTH_COLOURS.items():
            groups = _of_length(results, length, "angle")
            errors = [g["error"] for g in groups]
            low, middle, high = _quartiles([gains(g, f"{solver}, best") for g in groups])
            ax.fill_between(errors, low, high, color=colour, alpha=0.13, linewidth=0)
            ax.plot(errors, middle, color=colour, marker="o", markersize=3)
            kept = _quartiles([gains(g, f"{solver}, kept") for g in groups])[1]
            ax.plot(errors, kept, color=colour, linewidth=1, linestyle=(0, (4, 2)))
            exact = np.array(groups[0]["psnr"][f"{solver}, best"])
            claimed = np.median((1 - CLAIMED_FALL / 100) * exact - groups[0]["psnr"]["blurred"])
            ax.plot(CLAIMED_ANGLE, claimed, marker="D", markersize=6, color=colour, markerfacecolor="white")
        ax.axhline(0, color="#333333", linewidth=1)
        ax.axvline(CLAIMED_ANGLE, color="#999999", linewidth=0.8, linestyle=":")
        # Small errors matter most, and are the closest to one another.
        ax.set_xscale("function", functions=(np.sqrt, np.square))
        ax.set_xlim(0, 90)
        ax.set_xticks([0, 1, 2, 5, 10, 15, 20, 30, 45, 60, 90])
        ax.set_xlabel("error of the angle, degrees")
        ax.set_title(title)
    axes[0].set_ylabel("PSNR gained over the blurred photo, dB")
    lengths = [
        Line2D([], [], color=colour, marker="o", markersize=3, label=f"motion of {length} px")
        for length, colour in LENGTH_COLOURS.items()
    ]
    grey = {"xdata": [], "ydata": [], "color": "#666666"}
    kinds = [
        Line2D(**grey, label="parameter chosen again"),
        Line2D(**grey, linestyle=(0, (4, 2)), linewidth=1, label="parameter kept"),
        Line2D(**grey, linestyle="", marker="D", mfc="white", label=f"claimed: PSNR {CLAIMED_FALL} % lower"),
    ]
    _legend(figure, lengths, kinds)
    return _save(figure, "failure-angle.png")


def _kept_share(groups: list[Row], solver: str) -> np.ndarray:
    """Per cent of the gain with the exact kernel, medians of both."""
    curve = np.array([np.median(gains(g, f"{solver}, best")) for g in groups])
    exact = next(np.median(gains(g, f"{solver}, best")) for g in groups if g["error"] == 0)
    return 100 * curve / exact


def _tolerance(results: Row) -> Path:
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.3), sharey=True, layout="constrained")
    styles = dict(zip(SOLVERS, ("-", (0, (5, 2)), (0, (1, 1.2))), strict=True))
    for length, colour in LENGTH_COLOURS.items():
        for solver, style in styles.items():
            turned = _of_length(results, length, "angle")
            degrees = [g["error"] for g in turned]
            axes[0].plot(degrees, _kept_share(turned, solver), color=colour, linestyle=style, linewidth=1.5)
            scaled = _of_length(results, length, "length")
            shares = [100 * g["error"] / length for g in scaled]
            axes[1].plot(shares, _kept_share(scaled, solver), color=colour, linestyle=style, linewidth=1.5)
    for ax in axes:
        ax.axhline(0, color="#333333", linewidth=1)
        ax.axhline(50, color="#999999", linewidth=0.8, linestyle=":")
    axes[0].set_xlim(0, 20)
    axes[0].set_xticks([0, 5, 10, 15, 20])
    axes[0].set_ylim(-30, 110)
    axes[0].set_xlabel("error of the angle, degrees")
    axes[1].set_xlim(-40, 40)
    axes[1].set_xlabel("error of the length, % of it")
    axes[0].set_ylabel("gain that is left, % of the exact kernel's")
    axes[0].set_title("wrong angle")
    axes[1].set_title("wrong length")
    lengths = [Line2D([], [], color=c, label=f"motion of {n} px") for n, c in LENGTH_COLOURS.items()]
    solvers = [
        Line2D([], [], color="#666666", linestyle=styles[s], label=title) for s, title in SOLVERS.items()
    ]
    _legend(figure, lengths, solvers)
    return _save(figure, "failure-tolerance.png")


def _noise(results: Row) -> Path:
    figure, axes = plt.subplots(1, 3, figsize=(10, 4.3), sharey=True, layout="constrained")
    groups = sorted(results["noise"], key=lambda g: g["snr"])
    snrs = [g["snr"] for g in groups]
    dashes = (0, (4, 2))
    for ax, (solver, title) in zip(axes, SOLVERS.items(), strict=True):
        for choice, colour in (("fixed", FIXED), ("matched", MATCHED)):
            low, middle, high = _quartiles([gains(g, f"{solver}, {choice}") for g in groups])
            ax.fill_between(snrs, low, high, color=colour, alpha=0.13, linewidth=0)
            ax.plot(snrs, middle, color=colour, marker="o", markersize=3)
            first = [
                np.subtract(after_denoising(g, solver, choice), g["psnr"]["blurred"]).tolist() for g in groups
            ]
            ax.plot(snrs, _quartiles(first)[1], color=colour, linestyle=dashes)
        ax.plot(snrs, _quartiles([gains(g, "denoised only") for g in groups])[1], color=BEFORE, linestyle=":")
        ax.axhline(0, color="#333333", linewidth=1)
        ax.axvline(10, color="#999999", linewidth=0.8, linestyle=":")
        ax.set_xlim(0, 50)
        ax.set_ylim(-8, 9)
        ax.set_xlabel("SNR of the blurred photo, dB")
        ax.set_title(title)
    axes[0].set_ylabel("PSNR gained over the blurred photo, dB")
    above = [
        Line2D([], [], color=FIXED, marker="o", markersize=3, label="parameter of 40 dB"),
        Line2D([], [], color=MATCHED, marker="o", markersize=3, label="parameter matched to the noise"),
        Line2D([], [], color=BEFORE, linestyle=":", label="denoised, not deblurred"),
    ]
    below = [
        Line2D([], [], color=FIXED, linestyle=dashes, label="the same, denoised first"),
        Line2D([], [], color=MATCHED, linestyle=dashes, label="the same, denoised first"),
    ]
    _legend(figure, above, below)
    return _save(figure, "failure-noise.png")


def draw(results: Row) -> list[Path]:
    """Draw everything into docs/images; the files."""
    with mpl.rc_context(STYLE):
        return [_wrong_angle(results), _tolerance(results), _noise(results)]
