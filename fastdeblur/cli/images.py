"""Pictures in files: what a page holds, reading and writing by format, never half a file."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur.cli.failure import UsageError, WorkError, note
from fastdeblur.cli.stack import Stack

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}

# Pillow's limit against decompression bombs: twice this many pixels are an error there.
MAX_PIXELS = 2 * 89_478_485

Pixels = NDArray[Any]


@dataclass
class Metadata:
    """What every format can hold, in a form that belongs to none, and what only the source's format can."""

    exif: bytes | None = None  # a TIFF block, without the "Exif\0\0" in front
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None  # pixels per inch, (x, y)
    native: Any = None  # the source format's own: PNG chunks, JPEG segments, TIFF tags


@dataclass
class Page:
    """One picture: (h, w) grey or (h, w, samples), in the file's dtype."""

    pixels: Pixels
    colours: int = 1  # leading samples that are light: 1, 3, or any number of bands in a TIFF
    alpha: int | None = None  # index of the alpha sample
    associated: bool = False  # colour is premultiplied by alpha
    inverted: bool = False  # 0 is white (TIFF's MINISWHITE)
    gamma: str | float = 1.0  # how its colours are encoded: "srgb", or an exponent (1.0: linear light)
    peak: float | None = None  # what white is in floats that were integers in the file
    # Of a result: how many values were cut to the dtype's largest, and how many had been below it.
    cut: tuple[int, int] = (0, 0)
    native: Any = None

    @property
    def white(self) -> float:
        """The largest number of integers; 1 for floats."""
        if self.peak is not None:
            return self.peak
        return float(np.iinfo(self.pixels.dtype).max) if self.pixels.dtype.kind in "iu" else 1.0


@dataclass
class Picture:
    """A file: its pages and what goes with them."""

    path: Path
    format: str
    pages: list[Page]
    metadata: Metadata = field(default_factory=Metadata)
    stacks: list[Stack] = field(default_factory=list)  # what its pages make, as far as the file says so
    notes: list[str] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        return sum(page.pixels.nbytes for page in self.pages)


class UnreadableError(Exception):
    """The file is not what it should be; the text says how."""


def format_of(path: Path) -> str:
    """The format that a file name's suffix stands for."""
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        raise UsageError(f"OUT: expected a name ending in {', '.join(SUFFIXES)}, got {str(path)!r}") from None


def check_size(width: int, height: int, limit: int) -> None:
    if limit and width * height > limit:
        raise UnreadableError(
            f"holds {width} x {height} pixels, more than --max-pixels {limit} (0 lifts the limit)"
        )


def check_input(path: Path) -> None:
    """Refuse a directory, before the output's name is made from its name."""
    if os.path.isdir(path):
        raise UsageError(
            f"IN: {path}: expected PNG, JPEG or TIFF files, got a directory: name the files in it"
        )


def read(path: Path, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode a file completely. Raises UsageError, naming the file and what is wrong with it."""
    from fastdeblur.cli import jpeg, png, tiff

    check_input(path)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # a pipe would be waited for
            raise UnreadableError("expected a regular file, got a pipe or a device")
        with path.open("rb") as file:
            head = file.read(8)
        if not head:
            raise UnreadableError("the file is empty")
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            return png.read(path, max_pixels)
        if head.startswith(b"\xff\xd8\xff"):
            return jpeg.read(path, max_pixels)
        if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return tiff.read(path, max_pixels)
        raise UnreadableError("expected a PNG, JPEG or TIFF image")
    except UnreadableError as error:
        raise UsageError(f"IN: {path}: {error}") from error
    except OSError as error:
        raise UsageError(f"IN: {path}: {error.strerror or error}") from error
    except MemoryError as error:
        raise UsageError(f"IN: {path}: not enough memory to decode it") from error


def check_directory(place: Path, argument: str) -> None:
    """Refuse, before any work, a directory that no file can be made in."""
    if not place.is_dir():
        raise UsageError(f"{argument}: the directory {str(place)!r} does not exist")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(f"{argument}: the directory {str(place)!r} cannot be written to")


def check_name(out: Path, argument: str) -> None:
    """Refuse a name that no file can have, too long a one say."""
    try:
        os.lstat(out)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UsageError(f"{argument}: {out}: {error.strerror}") from error


def check_place(out: Path, argument: str) -> None:
    """Refuse, before any work, a name that no file can be written to; a link is followed."""
    check_name(out, argument)
    if out.is_dir():
        raise UsageError(f"{argument}: {out} is a directory")
    if out.is_symlink():
        check_directory(Path(os.path.realpath(out)).parent, argument)


def check_fits(picture: Picture, out: Path) -> None:
    """Refuse, before any work, an output format that cannot hold the picture."""
    from fastdeblur.cli import jpeg

    kind = format_of(out)
    if kind == "TIFF":
        return
    page = picture.pages[0]
    dtype = page.pixels.dtype
    holds = {"PNG": ("uint8", "uint16"), "JPEG": ("uint8",)}[kind]
    if dtype.name not in holds:
        raise UsageError(
            f"OUT: {kind} holds {' or '.join(holds)} pixels, but {picture.path} has {dtype.name}: {out}"
        )
    if len(picture.pages) > 1:
        raise UsageError(f"OUT: {kind} holds one page, but {picture.path} has {len(picture.pages)}: {out}")
    if page.alpha is not None and kind == "JPEG":
        raise UsageError(f"OUT: JPEG holds no alpha channel, but {picture.path} has one: {out}")
    samples = 1 if page.pixels.ndim == 2 else page.pixels.shape[2]
    if page.colours not in (1, 3) or samples != page.colours + (page.alpha is not None):
        raise UsageError(
            f"OUT: {kind} holds grey or RGB, but {picture.path} has {samples} samples a pixel: {out}"
        )
    if kind == "JPEG" and (why := jpeg.why_not(picture)):
        raise UsageError(f"OUT: JPEG holds {why}: {out}")


def write(picture: Picture, out: Path, overwrite: bool) -> None:
    """Encode a picture in the format of the name and put it there whole, or not at all."""
    from fastdeblur.cli import jpeg, png, tiff

    encode: Callable[[Picture, Path], None] = {"PNG": png.write, "JPEG": jpeg.write, "TIFF": tiff.write}[
        format_of(out)
    ]
    if format_of(out) != "JPEG" and jpeg.more_xmp(picture):
        note(f"{picture.path}: of its XMP, which takes several segments, only the first is kept in {out}")
    with writing(out, overwrite) as temporary:
        encode(picture, temporary)


def copy(path: Path, out: Path, overwrite: bool) -> None:
    """Put the very bytes of a file in another place, whole or not at all."""
    data = path.read_bytes()
    with writing(out, overwrite) as temporary:
        temporary.write_bytes(data)


@contextmanager
def writing(out: Path, overwrite: bool) -> Iterator[Path]:
    """`replacing`, with what goes wrong as WorkError that names the file."""
    try:
        with replacing(out, overwrite) as temporary:
            yield temporary
    except (OSError, ValueError, RuntimeError) as error:
        raise WorkError(f"{out}: cannot be written: {_reason(error)}") from error


def _reason(error: Exception) -> object:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # NumPy's tofile keeps to itself why the disk took no more.
    if found := re.fullmatch(r"(\d+) requested and (\d+) written", str(error)):
        return (
            f"the disk took only {found[2]} of {found[1]} values: it is full, or the file is too large for it"
        )
    return error


@contextmanager
def replacing(out: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary file beside `out` that takes its place at the end; removed if anything goes wrong.

    A link stays one: what it points at is replaced.
    """
    named, out = out, Path(os.path.realpath(out))
    # File systems count a name's bytes, up to 255.
    start = os.fsencode(out.name)[:80].decode("utf-8", "ignore")
    handle, name = tempfile.mkstemp(prefix=f".{start}.", suffix=".part", dir=out.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        _permit(temporary, out)
        if not overwrite and os.path.lexists(named):
            raise FileExistsError(17, "the file has appeared meanwhile; --overwrite replaces it")
        os.replace(temporary, out)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _permit(path: Path, out: Path) -> None:
    """mkstemp's files are for their owner alone; give what the replaced file had, or a plain open() gives."""
    if os.name == "posix":
        mask = os.umask(0)
        os.umask(mask)
        path.chmod(stat.S_IMODE(out.stat().st_mode) if out.exists() else 0o666 & ~mask)


def split_alpha(page: Page) -> tuple[Pixels, Pixels | None]:
    """Colour (h, w) or (h, w, c), and alpha (h, w) or None."""
    pixels = page.pixels
    if pixels.ndim == 2:
        return pixels, None
    colour = pixels[..., 0] if page.colours == 1 else pixels[..., : page.colours]
    return colour, None if page.alpha is None else pixels[..., page.alpha]


def join(page: Page, colour: Pixels) -> Pixels:
    """The page's pixels with new colour and everything else (alpha, extra samples) as it was."""
    if page.pixels.ndim == 2:
        return np.ascontiguousarray(colour)
    pixels = page.pixels.copy()
    if page.colours == 1:
        pixels[..., 0] = colour
    else:
        pixels[..., : page.colours] = colour
    return pixels
