"""`fastdeblur demo`: a real blurred photo, and a case whose truth is known, before and after."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from fastdeblur import psf as generators
from fastdeblur import richardson_lucy
from fastdeblur._light import decode_srgb, encode_srgb
from fastdeblur.cli import images
from fastdeblur.cli.failure import UsageError, reported

Array = NDArray[np.float64]

FILES = ("fastdeblur-clock.png", "fastdeblur-astronaut.png")

CLOCK_STORY = """\
The clock is a real photo (scikit-image's), blurred by a moving camera, and there is no sharp one to compare
with. Its PSF was found from the photo alone: two glints on the glass draw the camera's path, and a search
refined the path's nine heights and its length (35.5 pixels) until it explained the photo best
(benchmarks/clock_psf.py). The middle picture is accelerated Richardson-Lucy on the whole frame, as `fastdeblur
deblur --acceleration biggs-andrews` does it. The right one also uses what can be seen: the wall is plain, so
around the clock a smooth wall is taken as known."""

SYNTHETIC_STORY = """\
The astronaut is a sharp photo, blurred here in linear light by a motion of 17 pixels at 35 degrees that
reaches in from beyond the frame, with noise (sigma 0.002 of white) and rounding to 8 bits; so the truth is
known."""


@dataclass
class Case:
    """One row of the table and one file."""

    name: str
    labels: list[str]
    panels: list[NDArray[np.uint8]]
    scores: list[tuple[str, float, float | None, float | None]]  # what, seconds, PSNR, SSIM


def demo(
    output_dir: Annotated[Path, typer.Option("--output-dir", "-o", help="Where the pictures go.")] = Path(),
    threads: Annotated[int, typer.Option(min=0, help="Threads; 0 for as many as there are cores.")] = 0,
    backend: Annotated[str, typer.Option(help="auto, native, numba or numpy.")] = "auto",
) -> None:
    """Deblur a real photo and a synthetic one; write side-by-side PNGs and print PSNR, SSIM and time."""
    with reported():
        if find_spec("skimage") is None:
            raise UsageError('the demo needs scikit-image for its photos: pip install "fastdeblur[demo]"')
        images.check_directory(output_dir, "--output-dir")
        for name in FILES:
            images.check_place(output_dir / name, "--output-dir")
        options: dict[str, Any] = {"n_threads": threads, "backend": backend}
        cases = [_clock(options), _synthetic(options)]
        for case, name in zip(cases, FILES, strict=True):
            _write(case, output_dir / name)
        _print(cases, output_dir)


def _timed(function: Any, *arguments: Any, **options: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    result = function(*arguments, **options)
    return result, time.perf_counter() - start


def _eight_bit(light: Array) -> NDArray[np.uint8]:
    return np.rint(255 * encode_srgb(np.clip(light, 0, 1))).astype(np.uint8)


def _clock(options: dict[str, Any]) -> Case:
    from fastdeblur.cli import clock

    data: Any = import_module("skimage.data")
    photo = data.clock()
    light = decode_srgb(photo / 255.0)
    path = clock.path_psf(clock.LENGTH, clock.HEIGHTS)
    frame, frame_time = _timed(
        richardson_lucy,
        light.astype(np.float32),
        path,
        clock.FRAME_ITERATIONS,
        acceleration="biggs-andrews",
        **options,
    )
    known, known_time = _timed(clock.restore, light, path, **options)
    return Case(
        "clock (real)",
        ["before", "Richardson-Lucy", "Richardson-Lucy, wall known"],
        [_detail(each) for each in (photo, _eight_bit(np.asarray(frame, np.float64)), _eight_bit(known))],
        [
            ("before", 0.0, None, None),
            ("Richardson-Lucy", frame_time, None, None),
            ("wall known", known_time, None, None),
        ],
    )


def _detail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The clock twice as large."""
    from PIL import Image

    from fastdeblur.cli import clock

    part = Image.fromarray(image[clock.DETAIL])
    return np.asarray(part.resize((2 * part.width, 2 * part.height), Image.Resampling.BICUBIC))


def _synthetic(options: dict[str, Any]) -> Case:
    data: Any = import_module("skimage.data")
    metrics: Any = import_module("skimage.metrics")
    sharp = data.astronaut()
    kernel = generators.motion(17, 35)
    border = max(kernel.shape) // 2
    inside = (slice(border, -border), slice(border, -border))
    scene = decode_srgb(sharp / 255.0)
    padded = np.zeros(scene.shape[:2])
    padded[: kernel.shape[0], : kernel.shape[1]] = kernel
    padded = np.roll(padded, tuple(-(n // 2) for n in kernel.shape), axis=(0, 1))
    spectrum = np.fft.rfft2(scene, axes=(0, 1)) * np.fft.rfft2(padded)[..., None]
    blurred = np.fft.irfft2(spectrum, scene.shape[:2], axes=(0, 1))[inside]
    noisy = _eight_bit(blurred + np.random.default_rng(0).normal(0, 0.002, blurred.shape))
    restored, seconds = _timed(
        richardson_lucy,
        decode_srgb(noisy.astype(np.float32) / 255),
        kernel,
        25,
        acceleration="biggs-andrews",
        channel_axis=-1,
        **options,
    )
    truth, after = sharp[inside], _eight_bit(np.asarray(restored, np.float64))

    def score(image: NDArray[np.uint8]) -> tuple[float, float]:
        return (
            float(metrics.peak_signal_noise_ratio(truth, image)),
            float(metrics.structural_similarity(truth, image, channel_axis=-1)),
        )

    return Case(
        "astronaut (synthetic)",
        ["before", "after", "truth"],
        [noisy, after, truth],
        [("before", 0.0, *score(noisy)), ("Richardson-Lucy", seconds, *score(after))],
    )


def _write(case: Case, path: Path) -> None:
    """The case's panels side by side under their labels."""
    from PIL import Image, ImageDraw, ImageFont

    gap, header = 8, 30
    height = max(panel.shape[0] for panel in case.panels)
    width = sum(panel.shape[1] for panel in case.panels) + gap * (len(case.panels) - 1)
    sheet = Image.new("RGB", (width, height + header), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=18)
    left = 0
    for label, panel in zip(case.labels, case.panels, strict=True):
        sheet.paste(Image.fromarray(panel), (left, header))
        draw.text((left + panel.shape[1] / 2, header / 2), label, fill="black", font=font, anchor="mm")
        left += panel.shape[1] + gap
    with images.writing(path, overwrite=True) as temporary:
        sheet.save(temporary, "PNG")


def _print(cases: list[Case], output_dir: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("picture", "result", *(("PSNR, dB", "SSIM", "time, s")))
    for case in cases:
        name = case.name
        for what, seconds, psnr, ssim in case.scores:
            table.add_row(
                name,
                what,
                "no truth" if psnr is None else f"{psnr:.2f}",
                "no truth" if ssim is None else f"{ssim:.3f}",
                f"{seconds:.2f}" if seconds else "",
            )
            name = ""
    console = Console(highlight=False, markup=False)
    console.print(table)
    typer.echo(CLOCK_STORY)
    typer.echo(SYNTHETIC_STORY)
    typer.echo("Written: " + ", ".join(str(output_dir / name) for name in FILES))
