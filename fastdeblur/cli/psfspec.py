"""The command's way of naming a PSF: `motion:21,30`, `gaussian:2.5`, `defocus:4`, or a file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur import psf as generators
from fastdeblur._checks import as_psf, normalised
from fastdeblur.cli.failure import UsageError
from fastdeblur.errors import FastdeblurError, InvalidArgument

_FORMS = {
    "motion": "motion:LENGTH[,ANGLE]",
    "gaussian": "gaussian:SIGMA[,SIGMA...]",
    "defocus": "defocus:RADIUS",
}
FORMS = ", ".join(_FORMS.values()) + " or a file (.npy, .png, .jpg, .tif)"


def parse(spec: str, ndim: int) -> NDArray[Any]:
    """The PSF that a spec names, for `ndim` spatial axes; one that no method takes raises UsageError."""
    kind, colon, rest = spec.partition(":")
    if not colon or kind not in _FORMS:
        return _load(spec, ndim)
    try:
        return _generate(spec, kind, rest, ndim)
    except FastdeblurError as error:
        raise UsageError(f"--psf: {spec}: {error}") from error


def _generate(spec: str, kind: str, rest: str, ndim: int) -> NDArray[Any]:
    values = _numbers(spec, kind, rest)
    if kind == "gaussian":
        if len(values) not in (1, ndim):
            raise UsageError(f"--psf: expected one sigma or {ndim} (one per axis), got {spec!r}")
        return generators.gaussian(values[0] if len(values) == 1 else tuple(values), ndim=ndim)
    if ndim != 2:
        raise UsageError(
            f"--psf: {kind} has two axes, but --volume needs three: expected gaussian or a file, got {spec!r}"
        )
    if kind == "motion":
        if len(values) > 2:
            raise UsageError(f"--psf: expected {_FORMS[kind]}, got {spec!r}")
        return generators.motion(*values)
    if len(values) != 1:
        raise UsageError(f"--psf: expected {_FORMS[kind]}, got {spec!r}")
    return generators.defocus(values[0])


def _numbers(spec: str, kind: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--psf: expected {_FORMS[kind]} with numbers, got {spec!r}") from None


def _load(spec: str, ndim: int) -> NDArray[Any]:
    path = Path(spec)
    if not path.is_file():
        raise UsageError(f"--psf: expected {FORMS}; there is no file {spec!r}")
    if path.suffix.lower() == ".npy":
        try:
            array: NDArray[Any] = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise UsageError(f"--psf: {spec}: cannot be read as a .npy file: {error}") from error
    else:
        array = _image(path)
    if array.ndim != ndim:
        raise UsageError(f"--psf: expected {ndim} axes, got shape {array.shape} from {spec}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the work will warn
            normalised(as_psf(array))
    except InvalidArgument as error:
        raise UsageError(f"--psf: {spec}: {str(error).removeprefix('psf: ')}") from error
    return array


def _image(path: Path) -> NDArray[Any]:
    from fastdeblur.cli.images import read, split_alpha

    try:
        picture = read(path)
    except UsageError as error:
        raise UsageError(str(error).replace("IN:", "--psf:", 1)) from error
    planes = []
    for page in picture.pages:
        colour, _ = split_alpha(page)
        if colour.ndim == 3:
            if not (colour == colour[..., :1]).all():
                raise UsageError(
                    f"--psf: expected a grey image, got {colour.shape[2]} different channels in {path}"
                )
            colour = colour[..., 0]
        planes.append(colour)
    if any(plane.shape != planes[0].shape for plane in planes):
        raise UsageError(f"--psf: expected pages of one shape in {path}")
    return planes[0] if len(planes) == 1 else np.stack(planes)
