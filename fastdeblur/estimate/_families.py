"""The search for each parametric blur: its grid, its neighbours, its limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from fastdeblur.estimate import _transfer
from fastdeblur.estimate._input import Plane
from fastdeblur.estimate._likelihood import SpectrumFit
from fastdeblur.estimate._periodogram import Cells, Float64Array, FloatArray, periodogram
from fastdeblur.estimate._search import Found, Transfer, refine, scan, unblurred

_ANGLE_STEP = 5.0
_BANDS = ((1.0, 10.0), (10.0, 20.0), (20.0, 40.0))  # of length, that each give a seed
_RATIO = 1.08  # of neighbouring sizes in the scans


@dataclass(frozen=True)
class Spectrum:
    """One image's spectrum, coarse for scans and fine for the rest."""

    coarse: SpectrumFit
    fine: SpectrumFit

    @staticmethod
    def of(plane: Plane) -> Spectrum | None:
        """The spectrum of a plane; None if clipping left too little of it."""
        cells = periodogram(plane.pixels, plane.weights, (64, 128))
        if cells is None or min(float(c.power.max()) for c in cells) <= 0:
            return None
        return Spectrum(SpectrumFit(cells[0]), SpectrumFit(cells[1]))

    def unblurred(self) -> Found:
        return unblurred(self.fine)


def _sizes(first: float, last: float) -> Float64Array:
    count = max(2, int(np.ceil(np.log(last / first) / np.log(_RATIO))) + 1)
    return np.geomspace(first, last, count)


def _log_motion(cells: Cells, parameters: Float64Array) -> FloatArray:
    return _transfer.motion(cells, np.stack([np.exp(parameters[:, 0]), parameters[:, 1]], 1))


def _log_motion_kernel(cells: Cells, parameters: Float64Array) -> FloatArray:
    return _transfer.motion_kernel(cells, np.stack([np.exp(parameters[:, 0]), parameters[:, 1]], 1))


def motion(spectrum: Spectrum, shortest: float, longest: float) -> list[Found]:
    """Motions of different likelihood, best first; parameters are (length, angle)."""
    angles = np.arange(0, 180, _ANGLE_STEP)

    def batches() -> Iterator[Float64Array]:
        for length in _sizes(shortest, longest):
            yield np.stack([np.full_like(angles, np.log(length)), angles], 1)

    def limit(parameters: Float64Array) -> Float64Array:
        logs = np.clip(parameters[:, 0], np.log(shortest), np.log(longest))
        return np.stack([logs, parameters[:, 1] % 180], 1)

    parameters, _ = scan(spectrum.coarse, _log_motion, batches())
    seeds = np.concatenate([_apart(parameters, 4), *(_first_in_band(parameters, *band) for band in _BANDS)])
    steps = np.array([np.log(_RATIO) / 2, _ANGLE_STEP / 2])
    near = refine(spectrum.coarse, _log_motion, seeds, steps, rounds=3, keep=4, limit=limit)
    line = refine(spectrum.fine, _log_motion, _parameters(near[:2]), steps / 4, rounds=5, keep=1, limit=limit)
    # Kernels of neighbouring angles may be equal, so that no small step leads on from one: a grid around each seed.
    grid = np.array(list(product((-0.04, 0.0, 0.04), (0.0, -2.0, 2.0, -4.0, 4.0, -6.0, 6.0, -8.0, 8.0))))
    around = (np.concatenate([_parameters(line), seeds])[:, None] + grid).reshape(-1, 2)
    parameters, _ = scan(spectrum.coarse, _log_motion_kernel, [limit(around)])
    kernel = refine(
        spectrum.fine, _log_motion_kernel, parameters[:2], steps / 3, rounds=5, keep=1, limit=limit
    )
    # A photo that moved while it was exposed is a line's; one that was blurred with a kernel is a kernel's.
    found = sorted(line + kernel, key=lambda f: f.cost)
    return [
        Found(_middle(float(np.exp(f.parameters[0])), float(f.parameters[1])), f.cost, f.theta) for f in found
    ]


def _middle(length: float, angle: float) -> Float64Array:
    """(length, angle), the angle that of the axis where the line does not leave the axis' row or column of pixels.

    All such angles make the same kernel; the axis is the middle of them.
    """
    for axis in (0.0, 90.0, 180.0):
        if abs(np.sin(np.deg2rad(angle - axis))) * length <= 1:
            return np.array([length, axis % 180])
    return np.array([length, angle])


def _parameters(found: list[Found]) -> Float64Array:
    return np.array([f.parameters for f in found])


def _first_in_band(parameters: Float64Array, shortest: float, longest: float) -> Float64Array:
    """The first (log length, angle), if any, of a length in a band."""
    logs = parameters[:, 0]
    result: Float64Array = parameters[(logs >= np.log(shortest)) & (logs < np.log(longest))][:1]
    return result


def _apart(parameters: Float64Array, most: int) -> Float64Array:
    """The first few (log length, angle) of which no two are neighbours."""
    kept: list[Float64Array] = []
    for candidate in parameters:
        for other in kept:
            angle = abs((candidate[1] - other[1] + 90) % 180 - 90)
            if abs(candidate[0] - other[0]) < 0.15 and angle < 7.5:
                break
        else:
            kept.append(candidate)
            if len(kept) == most:
                break
    return np.array(kept)


def _log_defocus(cells: Cells, parameters: Float64Array) -> FloatArray:
    return _transfer.defocus(cells, np.exp(parameters))


def defocus(spectrum: Spectrum, smallest: float, largest: float) -> list[Found]:
    """Disks of different likelihood, best first; parameters are (radius,)."""
    logs = np.log(_sizes(smallest, largest))[:, None]
    seeds = scan(spectrum.coarse, _log_defocus, [logs])[0][:5]

    def limit(parameters: Float64Array) -> Float64Array:
        return np.clip(parameters, np.log(smallest), np.log(largest))

    steps = np.array([np.log(_RATIO) / 2])
    found = refine(spectrum.fine, _log_defocus, seeds, steps, rounds=7, keep=2, limit=limit)
    return [Found(np.exp(f.parameters), f.cost, f.theta) for f in found]


def _shape_to_gaussian(shape: Float64Array) -> Float64Array:
    """(ln of the geometric mean, stretch along x, stretch along the diagonal) to (major, minor, angle)."""
    stretch = np.hypot(shape[:, 1], shape[:, 2])
    angle = np.degrees(np.arctan2(shape[:, 2], shape[:, 1])) / 2 % 180
    return np.stack([np.exp(shape[:, 0] + stretch), np.exp(shape[:, 0] - stretch), angle], 1)


def _shaped_gaussian(cells: Cells, shape: Float64Array) -> FloatArray:
    return _transfer.gaussian(cells, _shape_to_gaussian(shape))


def gaussian(spectrum: Spectrum, smallest: float, largest: float) -> list[Found]:
    """Gaussians of different likelihood, best first; parameters are (sigma_major, sigma_minor, angle)."""
    logs = np.log(_sizes(smallest, largest))
    seeds, _ = scan(spectrum.coarse, _shaped_gaussian, [np.stack([logs, 0 * logs, 0 * logs], 1)])

    def limit(shape: Float64Array) -> Float64Array:
        # Neither axis under a tenth of a pixel, which no image shows.
        logs = np.clip(shape[:, 0], np.log(smallest), np.log(largest))
        stretch = np.hypot(shape[:, 1], shape[:, 2])
        scale = np.minimum(stretch, np.minimum(logs - np.log(0.1), 2.5)) / np.maximum(stretch, 1e-9)
        return np.stack([logs, scale * shape[:, 1], scale * shape[:, 2]], 1)

    steps = np.array([0.2, 0.2, 0.2])
    near = refine(spectrum.coarse, _shaped_gaussian, seeds[:2], steps, rounds=5, keep=1, limit=limit)
    seeds = np.array([f.parameters for f in near])
    found = refine(spectrum.fine, _shaped_gaussian, seeds, steps / 8, rounds=4, keep=1, limit=limit)
    return [Found(_shape_to_gaussian(f.parameters[None])[0], f.cost, f.theta) for f in found]


#: The transfer function of each family, for the parameters that its search finds.
TRANSFER: dict[str, Transfer] = {
    "none": _transfer.none,
    "motion": _transfer.motion,
    "defocus": _transfer.defocus,
    "gaussian": _transfer.gaussian,
}


def radii(shape: tuple[int, ...]) -> tuple[float, float]:
    """The smallest and the largest radius to look for in a frame."""
    return 0.8, min(40.0, min(shape) / 6)


def sigmas(shape: tuple[int, ...]) -> tuple[float, float]:
    """The smallest and the largest standard deviation to look for in a frame."""
    return 0.3, min(15.0, min(shape) / 10)
