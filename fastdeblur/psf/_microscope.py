"""What the microscopes' PSFs share: checks of their arguments, and the way from pupils to pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import as_choice, as_count, as_number
from fastdeblur.errors import InvalidArgument
from fastdeblur.psf._common import (
    Float64Array,
    allocate,
    check_dtype,
    check_shape,
    choose_native,
    corner,
    finish,
)
from fastdeblur.psf._pinhole import open_pinhole
from fastdeblur.psf._pupil import Pupil, Terms, brightest, expand
from fastdeblur.psf._revolve import (
    Interpolated,
    pixel_rule,
    radial_grid,
    revolve_reference,
    sampled,
)

#: Larger pixels (in wavelengths over NA) hold the whole pattern, and of a plane larger steps away (in depths of field) nothing is
#: left in focus; within the smallest ones, of either, no light changes. A larger pinhole (in Airy units) no longer cuts it.
LARGEST_PIXEL = 20.0
LARGEST_STEP = 100.0
SMALLEST_STEP = 1e-3
LARGEST_PINHOLE = 20.0
MOST_AXIAL_SAMPLES = 64

#: A stack that is higher, or a layer that is thicker, is a mistake in the units, and its phase would lose its digits.
MOST_WAVELENGTHS = 1e6


def positive(value: Any, name: str) -> float:
    """A finite number above 0."""
    number = as_number(value, name)
    if number == 0:
        raise InvalidArgument(f"{name}: expected a finite number > 0, got {value!r}")
    return number


def refractive_index(value: Any, name: str, na: float | None = None) -> float:
    """A refractive index, and not below the numerical aperture where light of that aperture must pass."""
    number = as_number(value, name, minimum=1.0)
    if na is not None and number < na:
        raise InvalidArgument(
            f"{name}: expected a refractive index of at least the numerical aperture na={na:g}, got {value!r}"
        )
    return number


def render(
    make_pupil: Callable[[float], Pupil],
    shape: Any,
    *,
    wavelength: Any,
    excitation: Any,
    pinhole: Any,
    pixel_size: Any,
    z_step: Any,
    axial_samples: Any,
    focus: Any,
    dtype: Any,
    backend: Any,
    n_threads: Any,
    numerical_aperture: float,
    immersion: float,
) -> npt.NDArray[Any]:
    """Check what both microscopes share, and compute."""
    sizes = check_shape(shape, 3)
    kind = check_dtype(dtype)
    emission = positive(wavelength, "wavelength")
    pixel, dz = positive(pixel_size, "pixel_size"), positive(z_step, "z_step")
    if sizes[0] * dz > MOST_WAVELENGTHS * emission:
        raise InvalidArgument(
            f"z_step: expected a stack of at most {MOST_WAVELENGTHS:g} wavelengths, got {z_step!r} with {sizes[0]} slices"
        )
    per_slice = as_count(axial_samples, "axial_samples", minimum=1)
    if per_slice > MOST_AXIAL_SAMPLES:
        raise InvalidArgument(f"axial_samples: expected 1 to {MOST_AXIAL_SAMPLES}, got {axial_samples!r}")
    as_choice(focus, "focus", ("brightest", "nominal"))
    hole = as_number(pinhole, "pinhole")
    if hole > LARGEST_PINHOLE:
        raise InvalidArgument(f"pinhole: expected 0 to {LARGEST_PINHOLE:g} Airy units, got {pinhole!r}")
    if excitation is None and hole:
        raise InvalidArgument(f"pinhole: expected 0 for a widefield PSF (excitation=None), got {pinhole!r}")
    lengths = {"wavelength": emission}
    if excitation is not None:
        lengths["excitation"] = positive(excitation, "excitation")
    # One slice at its plane has no thickness, and no neighbour.
    step = dz if sizes[0] > 1 or per_slice > 1 else None
    for name, length in lengths.items():
        _require_one_unit(name, length, numerical_aperture, immersion, pixel, step)
    pupils = [make_pupil(length) for length in lengths.values()]
    core, threads = choose_native(backend, n_threads)

    kernel = allocate((), sizes, kind)
    planes, axial = _planes(sizes[0], dz, per_slice)
    if focus == "brightest":
        planes = planes + brightest(pupils)
    _fill(kernel[0], pupils, planes, axial, pixel, hole * 0.61 * emission / numerical_aperture, core, threads)
    return finish(kernel, (), kind)


def _require_one_unit(
    name: str, length: float, na: float, index: float, pixel: float, step: float | None
) -> None:
    """Refuse pixels and steps within which light of a wavelength does not change, or is gone: one of them is in nanometres, say."""
    rules = [("pixel_size", pixel, LARGEST_PIXEL, length / na, f"{name} / na")]
    if step is not None:
        depth = length / na * ((index + math.sqrt(index**2 - na**2)) / na)
        rules.append(("z_step", step, LARGEST_STEP, depth, f"{name} / (n - sqrt(n^2 - na^2))"))
    for argument, value, most, scale, formula in rules:
        if value < SMALLEST_STEP * scale:
            rule = f"at least a thousandth of {formula} ({SMALLEST_STEP * scale:.4g} micrometres)"
        elif value > most * scale:
            rule = f"at most {most:g} {formula} ({most * scale:.4g} micrometres)"
        else:
            continue
        raise InvalidArgument(f"{argument}: expected {rule}, got {value:g}: are they in one unit?")


def _planes(count: int, step: float, per_slice: int) -> tuple[Float64Array, Float64Array]:
    """Focal planes (micrometres), per_slice for each slice by Gauss-Legendre over its thickness, and their weights."""
    nodes, weights = np.polynomial.legendre.leggauss(per_slice)
    slices = np.arange(count) - float(count // 2)
    return step * (slices[:, np.newaxis] + nodes / 2).ravel(), weights / 2


def _fill(
    kernel: Float64Array,
    pupils: list[Pupil],
    planes: Float64Array,
    axial: Float64Array,
    pixel: float,
    hole: float,
    core: Any,
    threads: int,
) -> None:
    cutoff = sum(pupil.cutoff for pupil in pupils)
    rule = pixel_rule(cutoff, pixel)
    reach = pixel * corner(kernel.shape)
    step, count = radial_grid(cutoff, reach, planes.size)
    margin = math.ceil(hole / step) + 16 if hole else 0
    farthest = step * (count + margin)
    beams: list[Terms | Interpolated] = []
    if hole:
        light = sampled(core, [expand(pupils[0], planes, farthest)], step, count + margin, threads)
        detected = open_pinhole(light, step, hole, pupils[0].cutoff, count)
        beams.append(Interpolated(detected, step))
        pupils = pupils[1:]
    terms = [expand(pupil, planes, farthest) for pupil in pupils]
    if core is None:
        revolve_reference(kernel, [*beams, *terms], pixel, rule, axial)
        return
    profile = sampled(core, terms, step, count, threads)
    if hole:
        profile *= detected
    if len(axial) > 1:
        profile = np.ascontiguousarray(profile.reshape(count, -1, len(axial)) @ axial)
    core.psf_revolve(profile, step / pixel, *rule, kernel, threads)
