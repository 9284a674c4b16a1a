"""`fastdeblur psf`: write a PSF to files, and draw it."""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from fastdeblur.cli import draw, images, png, psfspec
from fastdeblur.cli.failure import UsageError, reported
from fastdeblur.cli.images import Metadata, Page, Picture

_SUFFIXES = (".npy", ".png", ".tif", ".tiff")


def psf(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC", help=f"The PSF: {psfspec.FORMS}. KIND:...+KIND:... combines.")
    ],
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help=".npy (float64), .tif (float32) or .png (grey, scaled so that the largest value is white); may be "
            "repeated.",
        ),
    ] = None,
    draw_it: Annotated[bool, typer.Option("--draw", help="Draw it in the terminal.")] = False,
    bits: Annotated[int, typer.Option(help="Bits of a PNG: 8 or 16.")] = 16,
    zoom: Annotated[
        int, typer.Option(min=1, max=256, help="Enlarge a PNG by so many times, to look at.")
    ] = 1,
    axes: Annotated[
        int | None, typer.Option("--axes", min=1, max=3, help="Axes of the PSF (default 2).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace output files.")] = False,
) -> None:
    """Make a point-spread function: write it to files, draw it, or say its shape.

    A .npy or .tif file holds the values, which sum to 1; a PNG is scaled to be seen. `fastdeblur deblur --psf` reads
    all of them, an enlarged PNG as what it was. A file is written whole or not at all.
    """
    with reported():
        if bits not in (8, 16):
            raise UsageError(f"--bits: expected 8 or 16, got {bits}")
        targets = _plan([Path(name) for name in output or ()], overwrite)
        kernel = psfspec.parse(spec, psfspec.axes_of(spec) if axes is None else axes, "SPEC")
        if not kernel.max() > 0 or not np.isfinite(kernel).all():
            raise UsageError(f"SPEC: {spec}: expected finite values, some above 0")
        if kernel.ndim == 3 and any(target.suffix.lower() == ".png" for target in targets):
            raise UsageError("OUT: PNG holds one plane, but the PSF is a volume: expected .npy or .tif")
        for target in targets:
            _write(kernel, target, bits, zoom, overwrite)
        if draw_it:
            colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
            typer.echo(draw.in_terminal(kernel, shutil.get_terminal_size().columns, colours), color=colours)
        shape = "x".join(map(str, kernel.shape))
        typer.echo(f"{spec}: {shape}, sum {kernel.sum():.6g}, largest value {kernel.max():.4g}")


def _plan(targets: list[Path], overwrite: bool) -> list[Path]:
    for target in targets:
        if target.suffix.lower() not in _SUFFIXES:
            raise UsageError(f"OUT: expected a name ending in {', '.join(_SUFFIXES)}, got {str(target)!r}")
        if not target.parent.is_dir():
            raise UsageError(f"OUT: the directory {str(target.parent)!r} does not exist")
        if target.is_dir():
            raise UsageError(f"OUT: {target} is a directory")
        if target.exists() and not overwrite:
            raise UsageError(f"OUT: {target} exists; --overwrite replaces it")
    if len(set(targets)) < len(targets):
        raise UsageError("OUT: expected different files")
    return targets


def _write(kernel: NDArray[Any], out: Path, bits: int, zoom: int, overwrite: bool) -> None:
    suffix = out.suffix.lower()
    if suffix == ".npy":
        with images.writing(out, overwrite) as temporary:
            stored = io.BytesIO()  # np.save into a file would not say why the disk took no more
            np.save(stored, kernel)
            temporary.write_bytes(stored.getvalue())
        return
    picture = Picture(out, "PSF", [])
    if suffix == ".png":
        picture = Picture(out, "PNG", [], Metadata(native=png.enlarged(zoom)))
        values = draw.grey(draw.flat(kernel), bits, zoom)
    else:
        values = kernel.astype(np.float32)
        values = values[None] if values.ndim == 1 else values
    planes = values if values.ndim == 3 else values[None]
    picture.pages += [Page(np.ascontiguousarray(plane)) for plane in planes]
    images.write(picture, out, overwrite)
