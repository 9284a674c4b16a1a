"""`fastdeblur train`: train a network for `deblur --model`."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fastdeblur.cli.failure import UsageError, reported
from fastdeblur.train import CONFIGS, load_config
from fastdeblur.train import train as train_network

if TYPE_CHECKING:
    from typing_extensions import Self

    from fastdeblur.train.run import Progress as Report


class Device(str, Enum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def train(
    config: Annotated[
        str,
        typer.Option(
            metavar="FILE|NAME",
            help="What to train and on what, as TOML; or the name of one that comes with the library: "
            f"{', '.join(sorted(path.stem for path in CONFIGS.glob('*.toml')))}.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Checkpoints, sample sheets and the network; a run that it holds goes on. Default: the configuration's name.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The configuration's folders are below it. Default: FASTDEBLUR_DATA in the environment, else here.",
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.auto,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Train a network, or go on training it: a run may be stopped at any moment. Needs `pip install fastdeblur[train]`."""
    with reported():
        plan = load_config(_file(config))
        folder = out or Path(plan.name)
        root = data or Path(os.environ.get("FASTDEBLUR_DATA", "."))
        with _Bar(quiet) as bar:
            model = train_network(plan, folder, data=root, device=device.value, on_step=bar.step)
        if not quiet:
            typer.echo(f"{folder / plan.name}.safetensors: {model.description or model.name}")


def _file(config: str) -> Path:
    path = Path(config)
    if path.name == config and path.suffix == "":
        shipped = CONFIGS / f"{config}.toml"
        if shipped.is_file():
            return shipped
    if not path.is_file():
        names = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.toml")))
        raise UsageError(f"--config: expected a TOML file or one of {names}, got {config!r}")
    return path


class _Bar:
    """Progress on stderr: a bar where somebody watches, else a line at each validation."""

    def __init__(self, quiet: bool) -> None:
        console = Console(stderr=True)
        self._quiet = quiet
        self._visible = console.is_terminal and not quiet
        self._console = console
        self._said: dict[str, float] | None = None
        self._task: TaskID | None = None
        self._progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not self._visible,
        )

    def __enter__(self) -> Self:
        if self._visible:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._visible:
            self._progress.stop()

    def step(self, report: Report) -> None:
        """The run's callback."""
        state = f"{report.psnr_blurred:.2f} to {report.psnr_restored:.2f} dB"
        if self._task is None:
            self._task = self._progress.add_task("", total=report.steps, completed=report.step, state=state)
        self._progress.update(self._task, completed=report.step, state=state)
        score = report.score
        if score is not None and score is not self._said and not self._quiet:
            self._said = score
            self._console.print(
                f"step {report.step}: validation {score['psnr_blurred']:.2f} dB to {score['psnr_restored']:.2f} dB, "
                f"SSIM {score['ssim_blurred']:.3f} to {score['ssim_restored']:.3f}",
                highlight=False,
                soft_wrap=True,
            )
