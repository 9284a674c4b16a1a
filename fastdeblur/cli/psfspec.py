"""The command's way of naming a PSF: `motion:21,30`, `airy:0.5,na=0.8,pixel_size=0.1`, a file, or several with `+`."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur import psf as generators
from fastdeblur._checks import as_psf, normalised
from fastdeblur.cli.failure import UsageError
from fastdeblur.errors import FastdeblurError, InvalidArgument

Generator = Callable[..., NDArray[Any]]


class AxesError(UsageError):
    """A PSF of another number of axes than is asked for."""

    def __init__(self, message: str, ndim: int):
        super().__init__(message)
        self.ndim = ndim


def _gaussian(*sigma: float, ndim: int, **options: Any) -> NDArray[Any]:
    if len(sigma) not in (1, ndim):
        raise UsageError(f"expected one sigma or {ndim} (one per axis), got {len(sigma)}")
    return generators.gaussian(sigma[0] if len(sigma) == 1 else sigma, ndim=ndim, **options)


def _trajectory(file: str, **options: Any) -> NDArray[Any]:
    """A path from a file: .npy, or text with a point on each line; columns x, y and, if there is a third, time."""
    path = Path(file)
    try:
        if path.suffix.lower() == ".npy":
            table: NDArray[Any] = np.load(path, allow_pickle=False)
        else:
            text = path.read_text(encoding="utf-8")
            table = np.array(
                [[float(v) for v in re.split(r"[,;\s]+", line)] for line in text.strip().splitlines()]
            )
    except (OSError, ValueError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(f"{file}: cannot be read as a path: {reason}") from error
    if table.ndim != 2 or table.shape[1] not in (2, 3):
        raise UsageError(f"{file}: expected columns x, y and perhaps time, got shape {table.shape}")
    return generators.trajectory(table[:, :2], table[:, 2] if table.shape[1] == 3 else None, **options)


def _zernike(wavelength: float, **options: Any) -> NDArray[Any]:
    terms = {int(name[1:]): options.pop(name) for name in list(options) if re.fullmatch(r"z\d+", name)}
    return generators.zernike(terms, wavelength, **options)


def _born_wolf(slices: int, rows: int, columns: int, **options: Any) -> NDArray[Any]:
    return generators.born_wolf((slices, rows, columns), **options)


def _gibson_lanni(slices: int, rows: int, columns: int, **options: Any) -> NDArray[Any]:
    return generators.gibson_lanni((slices, rows, columns), **options)


@dataclass(frozen=True)
class Form:
    """How the values of a kind are read: the first ones by position, then `name=value`."""

    make: Generator
    usage: str
    positional: tuple[str, ...]
    keywords: tuple[str, ...] = ()  # names, or patterns of names
    required: int = 1  # positional values that must be there
    axes: tuple[int, ...] = (2,)  # numbers of axes that it has
    any_number: bool = False  # the last positional value may be repeated
    takes_ndim: bool = False


_DIFFRACTION = ("na", "f_number", "pixel_size", "refractive_index", "obstruction", "truncation")

_VOLUME = ("slices", "rows", "columns")
_MICROSCOPE = ("wavelength", "na", "pixel_size", "z_step", "excitation", "pinhole", "axial_samples")

#: Everything that a spec can name besides a file. A new generator is a new row.
FORMS_OF_KIND = {
    "motion": Form(generators.motion, "motion:LENGTH[,ANGLE]", ("length", "angle")),
    "gaussian": Form(
        _gaussian, "gaussian:SIGMA[,SIGMA...][,angle=]", ("sigma",), ("angle",), 1, (1, 2, 3), True, True
    ),
    "defocus": Form(
        generators.defocus, "defocus:RADIUS[,blades=,rotation=]", ("radius",), ("blades", "rotation")
    ),
    "trajectory": Form(_trajectory, "trajectory:FILE[,source=,centre=]", ("file",), ("source", "centre")),
    "camera_shake": Form(
        generators.camera_shake,
        "camera_shake:[SIZE,SEED][,exposure=,anxiety=,length=,source=]",
        ("size", "seed"),
        ("exposure", "anxiety", "length", "steps", "source"),
        0,
    ),
    "airy": Form(
        generators.airy,
        "airy:WAVELENGTH,na=|f_number=,pixel_size=[,obstruction=]",
        ("wavelength",),
        _DIFFRACTION,
    ),
    "zernike": Form(
        _zernike,
        "zernike:WAVELENGTH,na=|f_number=,pixel_size=,z4=[,z11=...]",
        ("wavelength",),
        (*_DIFFRACTION, r"z\d+"),
    ),
    "moffat": Form(generators.moffat, "moffat:FWHM[,BETA]", ("fwhm", "beta"), ("alpha", "truncation"), 0),
    "kolmogorov": Form(
        generators.kolmogorov,
        "kolmogorov:[R0,WAVELENGTH|seeing=],pixel_scale=",
        ("r0", "wavelength"),
        ("seeing", "pixel_scale", "truncation"),
        0,
    ),
    "born_wolf": Form(
        _born_wolf,
        "born_wolf:SLICES,ROWS,COLUMNS,wavelength=,na=,refractive_index=,pixel_size=,z_step=",
        _VOLUME,
        (*_MICROSCOPE, "refractive_index", "defocus"),
        3,
        (3,),
    ),
    "gibson_lanni": Form(
        _gibson_lanni,
        "gibson_lanni:SLICES,ROWS,COLUMNS,wavelength=,na=,ns=,pixel_size=,z_step=[,depth=...]",
        _VOLUME,
        (*_MICROSCOPE, "ns", "depth", "ni", "ni0", "ti0", "ng", "ng0", "tg", "tg0", "focus"),
        3,
        (3,),
    ),
}
FORMS = ", ".join(form.usage for form in FORMS_OF_KIND.values()) + " or a file (.npy, .png, .jpg, .tif)"

_BETWEEN = re.compile(rf"\+(?=(?:{'|'.join(FORMS_OF_KIND)}):)")


def parse(spec: str, ndim: int, argument: str = "--psf") -> NDArray[Any]:
    """The PSF that a spec names, for `ndim` spatial axes. Raises UsageError, also for one that no method takes."""
    parts = [spec] if Path(spec).is_file() else _BETWEEN.split(spec)
    kernels = [_one(part, ndim, argument) for part in parts]
    if len(kernels) == 1:
        return kernels[0]
    try:
        return generators.combine(*kernels)
    except FastdeblurError as error:
        raise UsageError(f"{argument}: {spec}: {error}") from error


def axes_of(spec: str) -> int:
    """How many axes a spec's PSF has when nothing else says so: 2, unless 2 is not among its first part's."""
    kind, colon, _ = spec.partition(":")
    if colon and kind in FORMS_OF_KIND:
        axes = FORMS_OF_KIND[kind].axes
        return 2 if 2 in axes else axes[0]
    return 2


def _one(spec: str, ndim: int, argument: str) -> NDArray[Any]:
    kind, colon, rest = spec.partition(":")
    if not colon or kind not in FORMS_OF_KIND:
        return _load(spec, ndim, argument)
    form = FORMS_OF_KIND[kind]
    if ndim not in form.axes:
        raise AxesError(
            f"{argument}: {kind} has {_words(form.axes)} axes, but --volume needs three: expected {_in_space()} or a file, "
            f"got {spec!r}"
            if ndim == 3
            else f"{argument}: {kind} has {_words(form.axes)} axes: expected {ndim}, got {spec!r}",
            max(form.axes),
        )
    values, options = _values(spec, form, rest, argument)
    if form.takes_ndim:
        options["ndim"] = ndim
    if not form.any_number:
        options |= zip(form.positional, values, strict=False)
        values = []
    try:
        return form.make(*values, **options)
    except (UsageError, FastdeblurError) as error:
        raise UsageError(f"{argument}: {spec}: {error}") from error
    except TypeError as error:  # a required keyword that is not there
        missing = _missing(form.make, options)
        if not missing:
            raise
        raise UsageError(f"{argument}: expected {form.usage} with {missing}, got {spec!r}") from error


#: What a maker of our own passes its options to.
_BEHIND: dict[Generator, Generator] = {
    _zernike: generators.zernike,
    _born_wolf: generators.born_wolf,
    _gibson_lanni: generators.gibson_lanni,
}


def _missing(make: Generator, options: dict[str, Any]) -> str:
    parameters = inspect.signature(_BEHIND.get(make, make)).parameters.values()
    names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    return ", ".join(f"{name}=" for name in names if name not in options)


def _in_space() -> str:
    return ", ".join(kind for kind, form in FORMS_OF_KIND.items() if 3 in form.axes)


def _words(axes: tuple[int, ...]) -> str:
    return " or ".join({1: "one", 2: "two", 3: "three"}[n] for n in axes)


def _values(spec: str, form: Form, text: str, argument: str) -> tuple[list[Any], dict[str, Any]]:
    values: list[Any] = []
    options: dict[str, Any] = {}
    for part in text.split(",") if text else ():
        name, equals, value = part.partition("=")
        name = name.strip()
        if not equals:
            if options or (len(values) >= len(form.positional) and not form.any_number):
                raise UsageError(f"{argument}: expected {form.usage}, got {spec!r}")
            name = form.positional[min(len(values), len(form.positional) - 1)]
            values.append(_value(name, part, spec, form, argument))
            continue
        known = any(re.fullmatch(pattern, name) for pattern in (*form.positional, *form.keywords))
        if not known or name in options or name in form.positional[: len(values)]:
            raise UsageError(f"{argument}: {name or part!r}: expected {form.usage}, got {spec!r}")
        options[name] = _value(name, value, spec, form, argument)
    given = set(options) | set(form.positional[: len(values)])
    if not set(form.positional[: form.required]) <= given:
        raise UsageError(f"{argument}: expected {form.usage} with numbers, got {spec!r}")
    return values, options


_INTEGERS = ("blades", "size", "seed", "steps", *_VOLUME, "axial_samples")
_TEXTS = ("file", "source", "defocus", "focus")


def _value(name: str, text: str, spec: str, form: Form, argument: str) -> Any:
    text = text.strip()
    if name in _TEXTS:
        return text
    if name == "centre" and text in ("true", "false"):
        return text == "true"
    try:
        return int(text) if name in _INTEGERS else float(text)
    except ValueError:
        raise UsageError(f"{argument}: expected {form.usage} with numbers, got {spec!r}") from None


def _load(spec: str, ndim: int, argument: str) -> NDArray[Any]:
    path = Path(spec)
    if not path.is_file():
        raise UsageError(f"{argument}: expected {FORMS}; there is no file {spec!r}")
    if path.suffix.lower() == ".npy":
        try:
            array: NDArray[Any] = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise UsageError(f"{argument}: {spec}: cannot be read as a .npy file: {error}") from error
    else:
        array = _image(path, argument)
    if array.ndim != ndim:
        raise AxesError(
            f"{argument}: expected {ndim} axes, got shape {array.shape} from {spec}", int(array.ndim)
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the work will warn
            normalised(as_psf(array))
    except InvalidArgument as error:
        raise UsageError(f"{argument}: {spec}: {str(error).removeprefix('psf: ')}") from error
    return array


def _image(path: Path, argument: str) -> NDArray[Any]:
    from fastdeblur.cli.images import read, split_alpha
    from fastdeblur.cli.png import zoom_of
    from fastdeblur.cli.restore import volume_order

    try:
        picture = read(path)
    except UsageError as error:
        raise UsageError(str(error).replace("IN:", f"{argument}:", 1)) from error
    planes = []
    for page in picture.pages:
        colour, _ = split_alpha(page)
        if colour.ndim == 3:
            if not (colour == colour[..., :1]).all():
                raise UsageError(
                    f"{argument}: expected a grey image, got {colour.shape[2]} different channels in {path}"
                )
            colour = colour[..., 0]
        planes.append(colour)
    if len(planes) == 1:
        zoom = zoom_of(picture.metadata.native) if picture.format == "PNG" else 1
        return _reduced(planes[0], zoom, path, argument)
    try:
        order = volume_order(picture)
        if len(order) > 1:
            raise ValueError(f"expected one volume, got {len(order)}")
    except ValueError as error:
        raise UsageError(f"{argument}: {path}: {error}") from error
    return np.stack([planes[index] for index in order[0]])


def _reduced(plane: NDArray[Any], zoom: int, path: Path, argument: str) -> NDArray[Any]:
    """A plane whose pixels `fastdeblur psf --zoom` has repeated, as it was before: enlarged it is another blur."""
    small = plane[::zoom, ::zoom]
    if not np.array_equal(small.repeat(zoom, axis=0).repeat(zoom, axis=1), plane):
        raise UsageError(
            f"{argument}: {path}: expected a picture enlarged {zoom} times by --zoom, as its text chunk says, but it has been "
            f"changed since: make it again without --zoom"
        )
    return small
