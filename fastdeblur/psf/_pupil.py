"""The light that a point sends through an objective's round pupil: phase, best focus, and terms to transform.

A pupil's radius is 1. At the radius r a ray's sine times refractive index is ``na * r``, and its optical path is
``aberration - z * slope`` (micrometres) with the focal plane z micrometres deeper than nominal. The amplitude at the optical
radius ``b = 2 pi na / wavelength * distance`` is the Hankel transform of ``exp(2 pi i path / wavelength)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fastdeblur._checks import require_memory
from fastdeblur.psf._bessel import j0_j1
from fastdeblur.psf._common import Float64Array

# The series: J0(s r) with s = 0, SPACING, 2 SPACING, ... Under pi they are more than a basis of [0, 1] (a frame of a longer
# interval), whose least-squares fit converges exponentially; orthogonal ones (zeros of J1) would converge as 1 / m^2.
SPACING = 2.5
SIZES = (32, 48, 64, 96, 128, 192, 256)
CUTOFF = 1e-11  # of singular values: the frame is redundant
TOLERANCE = 2e-7  # root mean square over the pupil; where the fit is worse, a quadrature takes over

# A slice's depth of field is cut into so many steps to look for the brightest one.
STEPS_PER_DEPTH = 8
MOST_STEPS = 4096
BLOCK = 256  # steps at a time

PANEL = 64  # most nodes of one Gauss-Legendre rule


@dataclass(frozen=True)
class Pupil:
    """A wavelength's pupil; aberration and slope take ``na * r`` and return micrometres, and a ratio."""

    wavelength: float
    na: float
    aberration: Callable[[Float64Array], Float64Array]
    slope: Callable[[Float64Array], Float64Array]

    @property
    def cutoff(self) -> float:
        """The intensity's highest spatial frequency, in cycles per micrometre."""
        return 2 * self.na / self.wavelength

    @property
    def wavenumber(self) -> float:
        return 2 * math.pi / self.wavelength

    def phases(self, radius: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Phase of the aberration, and of one micrometre of defocus, in radians."""
        sines = self.na * radius
        return self.wavenumber * self.aberration(sines), self.wavenumber * self.slope(sines)


@dataclass(frozen=True)
class Terms:
    """A pupil function for each plane as sums: of J0(nodes r) if series, else of a quadrature's nodes. ``scale``: optical
    radius per micrometre."""

    series: bool
    nodes: Float64Array  # (terms,)
    coefficients: Float64Array  # (terms, 2, planes): real and imaginary parts
    scale: float

    def intensity(self, distance: Float64Array) -> Float64Array:
        """Intensities (n, planes) at distances (n,) in micrometres from the axis."""
        optical = (self.scale * distance)[:, np.newaxis]
        if self.series:
            rows = _series_rows(self.nodes, optical)
        else:
            rows = j0_j1(optical * self.nodes)[0]
        amplitude = rows @ self.coefficients.reshape(len(self.nodes), -1)
        amplitude *= amplitude
        real, imaginary = np.split(amplitude, 2, axis=1)
        result: Float64Array = real + imaginary
        return result


def _series_rows(nodes: Float64Array, optical: Float64Array) -> Float64Array:
    """The closed integrals of J0(s r) J0(b r) r over the pupil (Li, Xue and Blu 2017)."""
    (s0, s1), (b0, b1) = j0_j1(nodes), j0_j1(optical)
    apart = nodes - optical
    close = np.abs(apart) <= 1e-8
    numerator = nodes * s1 * b0 - optical * b1 * s0
    denominator = np.where(close, 1.0, apart * (nodes + optical))
    rows: Float64Array = np.where(close, 0.5 * (b0**2 + b1**2), numerator / denominator)
    return rows


@lru_cache(maxsize=32)
def radial_rule(count: int) -> tuple[Float64Array, Float64Array]:
    """Nodes r and weights of int_0^1 f(r) r dr, exact to rounding also for f with a root's end at the rim.

    Gauss-Legendre in t with r = sin t: sqrt(1 - r^2) is smooth in t. More than PANEL nodes are made of equal panels, whose
    nodes cost nothing to find.
    """
    panels = -(-count // PANEL)
    x, w = np.polynomial.legendre.leggauss(-(-count // panels))
    turn = math.pi / 2 / panels
    t = (turn * (np.arange(panels)[:, np.newaxis] + (x + 1) / 2)).ravel()
    radius, weight = np.sin(t), np.tile(turn / 2 * w, panels) * np.sin(t) * np.cos(t)
    radius.flags.writeable = weight.flags.writeable = False
    return radius, weight


def _nodes_for(slope: float, planes: int) -> int:
    """How many nodes `radial_rule` needs for a phase with at most that slope along t, so many planes at a time."""
    # One rule needs half a node for each radian of half the phase; a panel of 64 is good for 150 radians (to 1e-13).
    phase = min(slope * math.pi / 2, 1e15)
    count = math.ceil(0.275 * phase) + 24
    if count > PANEL:
        count = PANEL * math.ceil(phase / 150)
    require_memory(count * planes * 32, "psf: the pupil function")
    return count


@lru_cache(maxsize=8)
def _frame(size: int) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Pupil radii, the frame there, and its least-squares inverse in two factors (their product would lose the digits)."""
    radius, weight = radial_rule(2 * size + 16)
    root = np.sqrt(weight)
    nodes = SPACING * np.arange(size)
    values = j0_j1(np.outer(radius, nodes))[0]
    left, singular, right = np.linalg.svd(root[:, np.newaxis] * values, full_matrices=False)
    kept = singular > CUTOFF * singular[0]
    inner = left[:, kept].T * root
    return radius, values, inner, right[kept].T / singular[kept]


def expand(pupil: Pupil, planes: Float64Array, farthest: float) -> Terms:
    """Return the terms for focal planes (micrometres deeper than nominal), to be used up to a distance from the axis."""
    scale = pupil.wavenumber * pupil.na
    rim, span = _bandwidths(pupil, planes)
    for size in SIZES:
        if SPACING * size < rim + 25:  # the fit's error falls steeply from there on
            continue
        radius, values, inner, outer = _frame(size)
        function = _pupil_function(pupil, planes, radius)
        coefficients = outer @ (inner @ function)
        _, weight = radial_rule(len(radius))
        error = (weight @ (values @ coefficients - function) ** 2).reshape(2, -1).sum(axis=0)
        if 2 * float(error.max()) <= TOLERANCE**2:
            nodes: Float64Array = SPACING * np.arange(size, dtype=np.float64)
            return Terms(True, nodes, coefficients.reshape(size, 2, -1), scale)
    count = _nodes_for(span + scale * farthest, planes.size)
    radius, weight = radial_rule(count)
    weighted: Float64Array = weight[:, np.newaxis] * _pupil_function(pupil, planes, radius)
    return Terms(False, radius, weighted.reshape(len(radius), 2, -1), scale)


def _pupil_function(pupil: Pupil, planes: Float64Array, radius: Float64Array) -> Float64Array:
    """Real, then imaginary parts: (n, 2 planes)."""
    aberration, slope = pupil.phases(radius)
    phase = aberration[:, np.newaxis] - slope[:, np.newaxis] * planes
    result: Float64Array = np.concatenate([np.cos(phase), np.sin(phase)], axis=1)
    return result


def _bandwidths(pupil: Pupil, planes: Float64Array) -> tuple[float, float]:
    """The phase's largest slope along r, and along t with r = sin t, over the planes."""
    t = np.linspace(0, math.pi / 2, 1025)
    radius = np.sin(t)
    aberration, slope = pupil.phases(radius)
    rim = span = 0.0
    for z in (float(planes.min()), float(planes.max())):  # linear in between
        steps = np.abs(np.diff(aberration - z * slope))
        rim = max(rim, float((steps[:-8] / np.diff(radius)[:-8]).max()))
        span = max(span, float((steps / np.diff(t)).max()))
    return rim, span


def brightest(pupils: Sequence[Pupil]) -> float:
    """Return how many micrometres deeper than nominal the focal plane must lie for the axis to be brightest.

    With more than one pupil: for the product of their intensities to be largest.
    """
    radius = np.sqrt(np.linspace(0, 0.98, 512))  # up to where a root's slope at the rim takes over
    low, high, depth = math.inf, -math.inf, math.inf
    span = 0.0
    for pupil in pupils:
        aberration, slope = pupil.phases(radius)
        foci = np.diff(aberration) / np.diff(slope)  # where each ring of the pupil has its focus
        depth = min(depth, 2 * math.pi / float(np.ptp(slope)))
        low, high = min(low, float(foci.min())), max(high, float(foci.max()))
    low, high = low - 2 * depth, high + 2 * depth
    for pupil in pupils:
        span = max(span, _bandwidths(pupil, np.array([low, high]))[1])
    radius, weight = radial_rule(_nodes_for(span, BLOCK))
    count = min(MOST_STEPS, math.ceil((high - low) / depth * STEPS_PER_DEPTH) + 1)
    z = np.linspace(low, high, count)
    while True:
        light = np.ones_like(z)
        for pupil in pupils:
            aberration, slope = pupil.phases(radius)
            for first in range(0, len(z), BLOCK):
                part = slice(first, first + BLOCK)
                phase = aberration[:, np.newaxis] - slope[:, np.newaxis] * z[part]
                light[part] *= (weight @ np.cos(phase)) ** 2 + (weight @ np.sin(phase)) ** 2
        best = int(np.argmax(light))
        step = float(z[1] - z[0])
        if step < depth / 100 and 0 < best < len(z) - 1:
            before, at, after = light[best - 1 : best + 2]
            return float(z[best]) + 0.5 * step * float((before - after) / (before - 2 * at + after))
        z = np.linspace(z[best] - 2 * step, z[best] + 2 * step, 33)
