"""The command's frame: its subcommands and options that belong to none of them."""

from __future__ import annotations

from typing import Annotated

import typer

from fastdeblur import __version__
from fastdeblur.cli.deblur import OnePsf, deblur
from fastdeblur.cli.demo import demo
from fastdeblur.cli.info import info
from fastdeblur.cli.nets import nets
from fastdeblur.cli.psf import psf
from fastdeblur.cli.train import train

app = typer.Typer(
    help="Undo blur in images: one that is found from the picture, or that a known point-spread function made.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=OnePsf)(deblur)
app.command()(psf)
app.command()(nets)
app.command()(train)
app.command()(info)
app.command()(demo)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"fastdeblur {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass
