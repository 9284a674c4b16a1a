"""`fastdeblur deblur`: restore image files."""

from __future__ import annotations

import os
import time
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import typer
from numpy.typing import NDArray
from typer.core import TyperCommand

from fastdeblur._device import as_device
from fastdeblur.cli import floats, images, psfspec
from fastdeblur.cli.failure import UsageError, WorkError, note, reported
from fastdeblur.cli.images import Picture
from fastdeblur.cli.network import Network
from fastdeblur.cli.progress import Bar
from fastdeblur.cli.restore import Restorer, Settings, volume_order
from fastdeblur.cli.unknown import Finder, Search
from fastdeblur.errors import FastdeblurError, InvalidArgument

# Decoded inputs are kept from the check to the work up to this many bytes, and decoded again beyond it.
_KEEP = 512 << 20

Worker: TypeAlias = Restorer | Finder | Network

DEFAULT_BALANCE = 0.01
DEFAULT_NUM_ITER = 30


class Method(str, Enum):
    wiener = "wiener"
    hyper_laplacian = "hyper-laplacian"
    richardson_lucy = "richardson-lucy"


class Kind(str, Enum):
    auto = "auto"
    motion = "motion"
    defocus = "defocus"
    gaussian = "gaussian"
    shake = "shake"


class Quality(str, Enum):
    best = "best"
    fast = "fast"


class Boundary(str, Enum):
    periodic = "periodic"
    reflect = "reflect"
    edge = "edge"
    zero = "zero"
    unknown = "unknown"


class Acceleration(str, Enum):
    none = "none"
    ogm = "ogm"
    biggs_andrews = "biggs-andrews"


class Backend(str, Enum):
    auto = "auto"
    native = "native"
    numba = "numba"
    numpy = "numpy"
    cuda = "cuda"
    cupy = "cupy"


class Dtype(str, Enum):
    same = "same"
    float32 = "float32"


class Precision(str, Enum):
    auto = "auto"
    float16 = "float16"
    bfloat16 = "bfloat16"
    float32 = "float32"


def deblur(
    inputs: Annotated[list[str], typer.Argument(metavar="IN...", help="PNG, JPEG or TIFF files.")],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="A file for one input (its suffix is the format), else a directory, made if missing.",
        ),
    ],
    psf: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="The blur; without it, it is found from the picture. "
            "motion:LENGTH[,ANGLE] (pixels; degrees, counter-clockwise from the x axis), "
            "gaussian:SIGMA or gaussian:SIGMA,SIGMA (per axis, rows first), defocus:RADIUS, any other that "
            "`fastdeblur psf --help` lists, several joined by +, or a file "
            "(.npy, .png, .jpg, .tif; values as they are, origin at shape // 2, any positive sum).",
        ),
    ] = None,
    kind: Annotated[
        Kind | None,
        typer.Option(
            help="without --psf: what blurred the picture (default auto: found out); shake is any compact kernel."
        ),
    ] = None,
    quality: Annotated[
        Quality | None,
        typer.Option(
            help="without --psf, or for hyper-laplacian: best (the default), or fast, which looks at less of the picture and "
            "solves in fewer steps."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A trained network does it: one that `fastdeblur nets` lists, or a .safetensors file. Most find out themselves "
            "what blurred the picture; others need --psf.",
        ),
    ] = None,
    method: Annotated[
        Method | None,
        typer.Option(
            "--method",
            "-m",
            help="with --psf: the algorithm (default richardson-lucy). hyper-laplacian measures the noise and needs no parameter.",
        ),
    ] = None,
    balance: Annotated[
        float | None,
        typer.Option(help=f"wiener: weight of smoothness against sharpness (default {DEFAULT_BALANCE})."),
    ] = None,
    num_iter: Annotated[
        int | None,
        typer.Option(
            "--num-iter",
            "-n",
            help=f"richardson-lucy: iterations (default {DEFAULT_NUM_ITER}); more are sharper and noisier.",
        ),
    ] = None,
    acceleration: Annotated[
        Acceleration | None,
        typer.Option(
            help="richardson-lucy: ogm and biggs-andrews need several times fewer iterations (default none)."
        ),
    ] = None,
    background: Annotated[
        float | None,
        typer.Option(
            help="richardson-lucy: constant light that did not pass the blur, in the file's numbers, "
            "or in 0..1 of linear light where the file is gamma-encoded (default 0)."
        ),
    ] = None,
    tol: Annotated[
        float | None, typer.Option(help="richardson-lucy: stop when the relative change falls below this.")
    ] = None,
    boundary: Annotated[
        Boundary | None,
        typer.Option(
            help="What lies beyond the frame (default: unknown for richardson-lucy, edge for wiener)."
        ),
    ] = None,
    volume: Annotated[
        bool,
        typer.Option(
            "--volume",
            help="Take the pages of a TIFF as volumes along the depth (Z) that its metadata name, or along the only axis; "
            "otherwise each page is a picture.",
        ),
    ] = False,
    dtype: Annotated[
        Dtype,
        typer.Option(
            help="of the result: same (the input's; it is rounded and cut to what that holds), or float32, for TIFF: the file's "
            "numbers, not cut and to 24 bits."
        ),
    ] = Dtype.same,
    gamma: Annotated[
        str,
        typer.Option(
            metavar="auto|srgb|none|NUMBER",
            help="How the file's numbers stand for light, which is what gets blurred. auto: sRGB for "
            "PNG, JPEG and 8-bit colour TIFF (a PNG's gAMA chunk is followed); every other TIFF is linear. "
            "A number is an exponent, such as 2.2.",
        ),
    ] = "auto",
    linear: Annotated[bool, typer.Option("--linear", help="The same as --gamma none.")] = False,
    threads: Annotated[int, typer.Option(min=0, help="Threads; 0 for as many as there are cores.")] = 0,
    backend: Annotated[
        Backend, typer.Option(help="Who computes; `fastdeblur info` lists them.")
    ] = Backend.auto,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="cpu|cuda|cuda:N", help="with --psf or --model: where to compute (default cpu)."
        ),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(
            help="with --model, for a network that takes it: standard deviation of the picture's noise, where white is 1 "
            "(default: measured)."
        ),
    ] = None,
    max_memory: Annotated[
        int | None,
        typer.Option(
            metavar="MB", min=1, help="with --model: megabytes that the network may take beside the picture."
        ),
    ] = None,
    precision: Annotated[
        Precision | None,
        typer.Option(
            help="with --model on a CUDA device: of its numbers (default auto, float16). float32 bears more, and takes longer."
        ),
    ] = None,
    max_pixels: Annotated[
        int, typer.Option(min=0, help="Refuse larger pictures (decompression bombs); 0 for no limit.")
    ] = images.MAX_PIXELS,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace output files, the input too if OUT names it.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress bar, and no line per file.")
    ] = False,
) -> None:
    """Deblur image files, by a known point-spread function (`--psf`), by what the picture shows, or by a network (`--model`).

    Without `--psf` a picture in which no blur is found stays as it was, and the output says what was found.

    Dtype (but see `--dtype`), colour, alpha and metadata are kept; EXIF orientation stays a tag, and the PSF applies to the
    pixels as they are stored. A file is written whole or not at all. All inputs are checked before any work.
    """
    with reported():
        given = {
            "--balance": balance,
            "--num-iter": num_iter,
            "--acceleration": acceleration,
            "--background": background,
            "--tol": tol,
        }
        only_networks = {"--noise": noise, "--max-memory": max_memory, "--precision": precision}
        worker: Worker
        if model is not None:
            others: dict[str, Any] = {"--kind": kind, "--quality": quality, "--method": method, **given}
            others |= {"--boundary": boundary, "--volume": volume or None}
            _check_no_options(others, "has no meaning with --model")
            worker = Network(
                model,
                None if psf is None else psfspec.parse(psf, 2),
                threads=threads,
                backend=backend.value,
                gamma=_gamma(gamma, linear),
                device=_device(device),
                precision=(precision or Precision.auto).value,
                noise=noise,
                max_memory=None if max_memory is None else max_memory * 1_000_000,
            )
        elif psf is None:
            others = {"--method": method, "--boundary": boundary, "--volume": volume or None, **given}
            _check_no_options(
                others, "needs --psf; without it the blur is found by --kind and undone by --quality"
            )
            _check_no_options(
                {"--backend": None if backend is Backend.auto else backend, "--device": device},
                "needs --psf or --model",
            )
            _check_no_options(only_networks, "needs --model")
            worker = Finder(
                Search(
                    kind=(kind or Kind.auto).value,
                    quality=(quality or Quality.best).value,
                    threads=threads,
                    gamma=_gamma(gamma, linear),
                )
            )
        elif method is Method.hyper_laplacian:
            others = {"--kind": kind, "--boundary": boundary, "--volume": volume or None, **given}
            others |= {"--backend": None if backend is Backend.auto else backend, "--device": device}
            _check_no_options(others, "has no meaning for --method hyper-laplacian")
            _check_no_options(only_networks, "needs --model")
            worker = Finder(
                Search(
                    kind="auto",
                    quality=(quality or Quality.best).value,
                    threads=threads,
                    gamma=_gamma(gamma, linear),
                ),
                _psf(psf, volume),
            )
        else:
            _check_no_options({"--kind": kind}, "has no meaning with --psf")
            _check_no_options({"--quality": quality}, "needs --method hyper-laplacian, or no --psf")
            _check_no_options(only_networks, "needs --model")
            method = method or Method.richardson_lucy
            _check_options(method, boundary, given)
            settings = Settings(
                method=method.value,
                balance=DEFAULT_BALANCE if balance is None else balance,
                num_iter=DEFAULT_NUM_ITER if num_iter is None else num_iter,
                boundary=boundary.value if boundary else None,
                acceleration=None if acceleration in (None, Acceleration.none) else acceleration.value,
                background=background or 0.0,
                tol=tol,
                threads=threads,
                backend=backend.value,
                device=_device(device),
                gamma=_gamma(gamma, linear),
            )
            worker = Restorer(settings, _psf(psf, volume))
        jobs = _plan_outputs([Path(name) for name in inputs], output, overwrite)
        as_float = dtype is Dtype.float32
        if as_float:
            for _, out in jobs:
                floats.require_tiff(out)
        kept = _check(jobs, worker, volume, max_pixels, as_float)
        target = jobs[0][1].parent  # the same for all
        try:
            target.mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"OUT: the directory {str(target)!r} cannot be made: {error.strerror}"
            ) from error
        _work(jobs, kept, worker, volume, max_pixels, as_float, overwrite, quiet)


class OnePsf(TyperCommand):
    """Refuses a second --psf. Of other options the last one holds, as is usual; two blurs may well be meant to be joined."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = list(args)
        rest = super().parse_args(ctx, args)  # first: --help ends it
        if given and not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(args=given)
            if sum(option.name == "psf" for option in order) > 1:
                with reported():
                    raise UsageError(
                        "--psf: expected one, got several; blurs that follow one another are joined by +"
                    )
        return rest


def _psf(spec: str, volume: bool) -> NDArray[Any]:
    try:
        return psfspec.parse(spec, 3 if volume else 2)
    except psfspec.AxesError as error:
        hint = "" if volume or error.ndim != 3 else "; a PSF of three axes needs --volume"
        raise UsageError(f"{error}{hint}") from error


def _check_no_options(given: dict[str, Any], rule: str) -> None:
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"{name}: {rule}")


def _check_options(method: Method, boundary: Boundary | None, given: dict[str, Any]) -> None:
    """Refuse an option that the method has not got, and a number out of its range."""
    own = {"--balance"} if method is Method.wiener else given.keys() - {"--balance"}
    for name, value in given.items():
        if value is not None and name not in own:
            raise UsageError(f"{name}: has no meaning for --method {method.value}")
    if method is Method.wiener and boundary is Boundary.unknown:
        raise UsageError(
            "--boundary: expected periodic, reflect, edge or zero for --method wiener, got unknown"
        )
    for name in ("--balance", "--background", "--tol"):
        number = given[name]
        if number is not None and not 0 <= number < float("inf"):
            raise UsageError(f"{name}: expected a finite number >= 0, got {number}")
    num_iter = given["--num-iter"]
    if num_iter is not None and num_iter < 0:
        raise UsageError(f"--num-iter: expected an integer >= 0, got {num_iter}")


def _device(text: str | None) -> str | None:
    """Refuse what is no device; one that cannot be used is said so when the pictures are checked."""
    if text is not None:
        try:
            as_device(text)
        except InvalidArgument as error:
            raise UsageError(f"--{error}") from error
    return text


def _gamma(text: str, linear: bool) -> str | float | None:
    if linear:
        if text not in ("auto", "none"):
            raise UsageError(f"--linear: contradicts --gamma {text}")
        return 1.0
    if text == "auto":
        return None
    if text in ("srgb", "none"):
        return "srgb" if text == "srgb" else 1.0
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 10:
        raise UsageError(f"--gamma: expected auto, srgb, none or a number from 0.1 to 10, got {text!r}")
    return value


def _plan_outputs(inputs: list[Path], output: str, overwrite: bool) -> list[tuple[Path, Path]]:
    """The output file for each input. Raises UsageError where one of them may not be written."""
    out = Path(output)
    images.check_name(out, "OUT")
    ends_open = output.endswith(("/", os.sep))
    if out.is_dir() or ends_open or len(inputs) > 1:
        if not out.is_dir() and not ends_open and out.suffix.lower() in images.SUFFIXES:
            raise UsageError(f"OUT: expected a directory for {len(inputs)} inputs, got {output!r}")
        if out.exists() and not out.is_dir():
            raise UsageError(f"OUT: expected a directory, but {output!r} is a file")
        jobs = [(path, out / path.name) for path in inputs]
        place = out if out.is_dir() else out.parent
    else:
        jobs = [(inputs[0], out)]
        place = out.parent
    images.check_directory(place, "OUT")
    taken: dict[Path, Path] = {}
    for path, target in jobs:
        images.check_input(path)
        images.format_of(target)
        if target in taken:
            raise UsageError(f"OUT: {taken[target]} and {path} would both be written to {target}")
        taken[target] = path
        images.check_place(target, "OUT")
        if os.path.lexists(target) and not overwrite:
            if path.exists() and target.exists() and target.samefile(path):
                raise UsageError(f"OUT: {target} is the input itself; --overwrite replaces it")
            raise UsageError(f"OUT: {target} exists; --overwrite replaces it")
    if overwrite:  # an output must not destroy an input that is still to be read
        for path, target in jobs:
            for other in inputs:
                if other != path and target.exists() and other.exists() and target.samefile(other):
                    raise UsageError(f"OUT: {path} would be written to {target}, which is another input")
    return jobs


def _read(path: Path, max_pixels: int, as_float: bool) -> Picture:
    """Decode a file. Raises UsageError."""
    picture = images.read(path, max_pixels)
    for number, page in enumerate(picture.pages):
        if page.pixels.dtype.kind == "f" and not np.isfinite(page.pixels).all():
            place = f", page {number + 1}" if len(picture.pages) > 1 else ""
            raise UsageError(f"IN: {path}{place}: expected finite values, got NaN or infinity")
    return floats.as_float32(picture) if as_float else picture


def _check(
    jobs: list[tuple[Path, Path]], worker: Worker, volume: bool, max_pixels: int, as_float: bool
) -> dict[Path, Picture]:
    """Decode every input and see that it can be worked on; as many as fit in memory are kept."""
    kept: dict[Path, Picture] = {}
    size = 0
    for path, out in jobs:
        picture = _read(path, max_pixels, as_float)
        if volume:
            try:
                volume_order(picture)
            except ValueError as error:
                raise UsageError(f"--volume: {path}: {error}") from error
        images.check_fits(picture, out)
        try:
            worker.check(picture, volume=volume)
        except InvalidArgument as error:
            raise UsageError(f"IN: {path}: {error}") from error
        size += picture.nbytes
        if size <= _KEEP:
            kept[path] = picture
    return kept


def _work(
    jobs: list[tuple[Path, Path]],
    kept: dict[Path, Picture],
    worker: Worker,
    volume: bool,
    max_pixels: int,
    as_float: bool,
    overwrite: bool,
    quiet: bool,
) -> None:
    lines = []
    try:
        with Bar(len(jobs), quiet) as bar:
            for path, out in jobs:
                start = time.perf_counter()
                try:
                    picture = kept.pop(path, None) or _read(path, max_pixels, as_float)
                except UsageError as error:  # it was fine when it was checked
                    raise WorkError(str(error)) from error
                first = picture.pages[0]
                runs = len(volume_order(picture)) if volume else len(picture.pages)
                bar.begin(path.name, runs * first.colours if isinstance(worker, Restorer) else runs)
                try:
                    if isinstance(worker, Finder):
                        result = worker.pages(picture, bar.callback(searching=True), bar.page)
                    elif isinstance(worker, Network):
                        result = worker.pages(picture, bar.page)
                    else:
                        result = (worker.volume if volume else worker.pages)(picture, bar.callback())
                except FastdeblurError as error:
                    raise WorkError(f"{path}: {error}") from error
                told = worker.told() if isinstance(worker, Finder) else []
                if (
                    isinstance(worker, Finder)
                    and not worker.undone
                    and images.format_of(out) == picture.format
                    and not as_float
                ):
                    images.copy(path, out, overwrite)  # a JPEG must not be compressed once more for nothing
                else:
                    for text in picture.notes:
                        note(text)
                    cut = floats.cut_note(result)
                    if cut is not None and not quiet:
                        note(cut)
                    images.write(result, out, overwrite)
                bar.end()
                lines.append(f"{path} -> {out}  {_describe(picture)}  {time.perf_counter() - start:.2f} s")
                lines += [f"{path}: {line}" for line in told]
    finally:
        if not quiet:
            for line in lines:
                typer.echo(line)


def _describe(picture: Picture) -> str:
    pixels: NDArray[Any] = picture.pages[0].pixels
    pages = f"{len(picture.pages)} pages of " if len(picture.pages) > 1 else ""
    return f"{pages}{'x'.join(map(str, pixels.shape))} {pixels.dtype.name}"
