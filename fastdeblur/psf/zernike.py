"""The PSF of a lens or telescope with aberrations, from the phase in its pupil."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import require_memory
from fastdeblur.errors import InvalidArgument
from fastdeblur.psf._aperture import airy_radius, check_obstruction, optical_unit, phase_per_pixel
from fastdeblur.psf._common import (
    Float64Array,
    allocate,
    broadcast,
    check_dtype,
    check_shape,
    choose_native,
    finish,
    odd_size,
    scale_to_one,
)
from fastdeblur.psf._noll import check_coefficients, polynomial
from fastdeblur.psf._quadrature import gauss_legendre
from fastdeblur.psf._radial import check_truncation, nodes

# More radians than this from rim to rim would take more nodes than a call should.
_STEEPEST = 20_000.0


def zernike(
    coefficients: Mapping[int, npt.ArrayLike] | Sequence[npt.ArrayLike],
    wavelength: npt.ArrayLike,
    *,
    na: npt.ArrayLike | None = None,
    f_number: npt.ArrayLike | None = None,
    pixel_size: npt.ArrayLike,
    refractive_index: npt.ArrayLike = 1.0,
    obstruction: npt.ArrayLike = 0.0,
    truncation: float = 0.01,
    shape: tuple[int, int] | None = None,
    dtype: npt.DTypeLike = np.float64,
    backend: str = "auto",
    n_threads: int = 0,
) -> npt.NDArray[Any]:
    """PSF of a round aperture with aberrations, integrated over each pixel.

    The intensity is that of the Fourier transform of the pupil ``exp(2 pi i W)``, ``W = sum a_j Z_j`` in waves; scalar
    and paraxial. Without aberrations it is `airy`.

    The time grows with the cube of the pattern's width: a tilt, which moves the light and widens a default shape with it, takes
    seconds from 10 waves on, and eight times as long for twice as many. Move the image instead where that is all it does.

    Parameters
    ----------
    coefficients : a_j in waves, as ``{j: a_j}`` or as a sequence that begins with j = 1. j is Noll's index, at most
        1000: 1 piston, 2 and 3 tilt, 4 defocus, 5 and 6 astigmatism, 7 and 8 coma, 9 and 10 trefoil, 11 spherical.
        On the full disk a_j is the root mean square of its term. Pupil axes are x to the right and y up; a positive
        tilt moves the image that way. Values may be arrays.
    wavelength : in vacuum, > 0, in any unit of length.
    na : numerical aperture on the side where pixel_size is measured, > 0 and at most refractive_index.
    f_number : focal ratio, > 0; instead of na, for a far object. One of the two is required.
    pixel_size : side of a pixel, > 0, in the unit of wavelength. At least a thousandth of wavelength / NA, at most
        318 times wavelength / (2 NA).
    refractive_index : of the medium, > 0; only limits na.
    obstruction : diameter of the central obstruction over that of the aperture, in [0, 1).
    truncation : share of the light that shape may cut off, in (0, 0.5]; the rest is scaled to sum 1.
    shape : (h, w) in pixels. Default: odd, square, and just large enough to leave out no more than that share; for a
        batch, the largest such shape.
    dtype : float64 or float32 (computed in float64, then rounded).
    backend : "auto", "native" or "numpy".
    n_threads : threads of the native backend; 0 means all. The result does not depend on it.

    The physical parameters may be arrays too, which give a batch; all broadcast.

    Returns
    -------
    Array of shape ``batch + (h, w)``, >= 0, each kernel with sum 1 and origin at ``shape // 2``: the image point of a
    perfect lens. Tilt and coma move the light away from it, and so a deblurred image back.

    Raises
    ------
    InvalidArgument
        If a parameter is not a real, finite number in its range; if the phase is so steep that it would take more
        than 20,000 radians; if shape cuts off more than truncation.
    OutOfMemory
        If the result is larger than the machine's memory.
    Unsupported
        If backend is "native" and the extension is not built.

    Source: Noll 1976, doi:10.1364/JOSA.66.000207; Goodman 2005, Introduction to Fourier Optics, section 6.
    """
    sizes = None if shape is None else check_shape(shape, 2)
    kind = check_dtype(dtype)
    share = check_truncation(truncation)
    terms = check_coefficients(coefficients)
    values = phase_per_pixel(wavelength, na, f_number, pixel_size, refractive_index)
    values["obstruction"] = check_obstruction(obstruction)
    core, threads = choose_native(backend, n_threads)

    count = len(values)
    batch, columns = broadcast(**values, **{f"coefficients[{j}]": a for j, a in terms.items()})
    units = optical_unit(dict(zip(values, columns[:count], strict=True)))
    phases = 2 * np.pi * np.stack(columns[count:], axis=1) if terms else np.zeros((len(units), 0))
    pupils = [
        _Pupil(list(terms), phase, unit, e, core, threads)
        for phase, unit, e in zip(phases, units.tolist(), columns[count - 1].tolist(), strict=True)
    ]
    if sizes is None:
        images = [pupil.just_large_enough(share) for pupil in pupils]
        sizes = max(image.shape for image in images)
        kernels = allocate(batch, sizes, kind)
        for kernel, pupil, image in zip(kernels, pupils, images, strict=True):
            kernel[...] = image if image.shape == sizes else pupil.image(sizes)
    else:
        kernels = allocate(batch, sizes, kind)
        for kernel, pupil in zip(kernels, pupils, strict=True):
            kernel[...] = pupil.image(sizes)
    scale_to_one("kernel", np.arange(len(kernels)), kernels, sizes, share)
    return finish(kernels, batch, kind)


class _Pupil:
    """One pupil and how its image is computed."""

    def __init__(
        self,
        indices: list[int],
        phase: Float64Array,
        unit: float,
        obstruction: float,
        core: Any,
        threads: int,
    ):
        self.indices, self.phase, self.unit, self.obstruction = indices, phase, unit, obstruction
        self.core, self.threads = core, threads
        self.slope, self.spread = self._slopes()

    def _slopes(self) -> tuple[float, float]:
        """The phase's largest and root mean square gradients per unit of the pupil's radius, on a grid: where rays go."""
        x = np.linspace(-1, 1, 129)
        x, y = x[None, :], x[:, None]
        inside = np.hypot(x, y) <= 1
        scale = np.maximum(
            np.hypot(x, y), 1.0
        )  # beyond the rim as on it, so that differences across it are mild
        wave = self._wave(x / scale, y / scale)
        slopes = np.hypot(*np.gradient(wave, 2 / 128))
        return float(slopes[inside].max()), float(np.sqrt(np.mean(slopes[inside] ** 2)))

    def _wave(self, x: Float64Array, y: Float64Array) -> Float64Array:
        wave = np.zeros(np.broadcast_shapes(x.shape, y.shape))
        for index, phase in zip(self.indices, self.phase.tolist(), strict=True):
            wave += phase * polynomial(index, *np.broadcast_arrays(x, y))
        return wave

    def just_large_enough(self, share: float) -> Float64Array:
        """The image on the smallest odd square that holds all but a share of the light."""
        radius = 0.95 * float(airy_radius(share, np.array(self.obstruction))) + self.spread
        while True:
            size = odd_size(np.array([radius / self.unit]))
            image = self.image((size, size))
            half = size // 2
            y, x = np.abs(np.arange(size) - half)[:, None], np.abs(np.arange(size) - half)
            rings = np.bincount(np.maximum(y, x).ravel(), image.ravel())
            enough = np.flatnonzero(np.cumsum(rings) >= 1 - share)
            if enough.size:
                cut = slice(half - int(enough[0]), half + int(enough[0]) + 1)
                return np.ascontiguousarray(image[cut, cut])
            radius *= 1.25

    def image(self, sizes: tuple[int, ...]) -> Float64Array:
        """Pixel integrals of the intensity, whose sum over an endless frame is 1."""
        out: Float64Array = allocate((), sizes, np.dtype(np.float64))[0]
        turns = self.unit * (max(sizes) / 2 + 0.5) + self.slope  # radians from the pupil's centre to its rim
        if turns > _STEEPEST:
            raise InvalidArgument(
                f"coefficients: expected a phase below {_STEEPEST:g} radians, together with the frame's, got {turns:.3g}"
            )
        places, weights = nodes(7 + int(0.7 * self.unit))
        # Complex amplitudes in three copies, and each column's waves at the places of a row and a column of pixels.
        columns, rows = (24 + int(0.55 * extent * turns) for extent in (math.pi / 2, 1))
        columns *= 2 if self.obstruction else 1
        require_memory(
            columns * (48 * rows + 16 * len(places) * sum(sizes)), "coefficients: the nodes in the pupil"
        )
        x, y, amplitude = self._nodes(turns)
        # Power in the pupil, pi (1 - e^2), is that in the image: Parseval.
        amplitude *= self.unit / (2 * math.pi * math.sqrt(math.pi * (1 - self.obstruction**2)))
        if self.core is not None:
            parts = [np.ascontiguousarray(part) for part in (amplitude.real, amplitude.imag)]
            self.core.psf_pupil_image(x, y, *parts, self.unit, places, weights, out, self.threads)
        else:
            out[...] = _image(x, y, amplitude, self.unit, places, weights, sizes)
        return out

    def _nodes(self, turns: float) -> tuple[Float64Array, Float64Array, npt.NDArray[np.complex128]]:
        """Columns x of nodes y (rows running down) and their weighted amplitudes, of the disk less the obstruction.

        x = r sin(t) and y = r cos(t) s make the disk the rectangle |t| < pi/2, |s| < 1 with r^2 cos(t)^2 dt ds: a smooth
        integrand, for which Gauss-Legendre nodes converge exponentially.
        """
        t, dt = gauss_legendre(24 + int(0.55 * math.pi / 2 * turns))
        s, ds = gauss_legendre(24 + int(0.55 * turns))
        xs, ys, amplitudes = [], [], []
        for radius, sign in ((1.0, 1.0), (self.obstruction, -1.0)):
            if radius == 0:
                continue
            x = radius * np.sin(math.pi / 2 * t)
            half = radius * np.cos(math.pi / 2 * t)
            y = half[:, None] * s
            area = (half**2 * math.pi / 2 * dt)[:, None] * ds
            xs.append(x)
            ys.append(y)
            amplitudes.append(sign * area * np.exp(1j * self._wave(x[:, None], -y)))
        return np.concatenate(xs), np.concatenate(ys), np.concatenate(amplitudes)


def _image(
    x: Float64Array,
    y: Float64Array,
    amplitude: npt.NDArray[np.complex128],
    unit: float,
    places: Float64Array,
    weights: Float64Array,
    sizes: tuple[int, ...],
) -> Float64Array:
    rows, columns = ((np.arange(n) - n // 2)[:, None] + places for n in sizes)
    down = np.stack(
        [np.exp(-1j * unit * np.outer(rows, yc)) @ a for yc, a in zip(y, amplitude, strict=True)], axis=1
    )
    field = down @ np.exp(-1j * unit * np.outer(x, columns))
    light = (field.real**2 + field.imag**2).reshape(rows.shape + columns.shape)
    result: Float64Array = np.einsum("yqxp,q,p->yx", light, weights, weights)
    return result
