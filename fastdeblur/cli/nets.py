"""`fastdeblur nets`: the networks that come with the library."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from fastdeblur.cli.failure import reported
from fastdeblur.nets import Model, available, load


def _said(model: Model) -> dict[str, Any]:
    summary = model.summary()
    return {
        "name": model.name,
        "description": model.description,
        "channels": model.channels,
        "takes_psf": model.takes_psf,
        "takes_noise": model.takes_noise,
        "light": model.light,
        "parameters": summary.parameters,
        "macs_per_pixel": summary.macs_per_pixel,
        "memory": summary.memory,
        "backend": summary.backend,
        "receptive_field": summary.receptive_field,
    }


def nets(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|FILE]...", help="Tell all of these: layers, cost, and the card of its training."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array, one object for each.")] = False,
) -> None:
    """List the networks for `deblur --model`, or tell all that is known of some."""
    with reported():
        models = {name: load(name) for name in (names or available())}
        if as_json:
            told = [_said(model) for model in models.values()]
            if names:
                for said, model in zip(told, models.values(), strict=True):
                    said |= {
                        "layers": [asdict(layer) for layer in model.summary().layers],
                        "card": model.card,
                    }
            typer.echo(json.dumps(told, indent=2))
        elif names:
            for model in models.values():
                typer.echo(f"{model.summary()}\n")
                if model.card:
                    typer.echo(f"{model.card.strip()}\n")
        else:
            _list(models)


def _list(models: dict[str, Model]) -> None:
    if not models:
        typer.echo("No network is installed.")
    for name, model in models.items():
        said = _said(model)
        needs = [
            "grey, or channel by channel" if model.channels == 1 else f"{model.channels} channels",
            "needs --psf" if model.takes_psf else "blind",
        ]
        typer.echo(f"{name}: {model.description}")
        typer.echo(
            f"    {', '.join(needs)}; {said['parameters']:,} parameters, {said['macs_per_pixel']:,.0f} MAC per pixel, "
            f"{said['memory'] / 1e6:,.0f} MB for 1080 x 1920 ({said['backend']})"
        )
