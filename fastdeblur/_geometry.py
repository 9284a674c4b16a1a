"""Where an image sits on the FFT grid, and what stands around it.

One place decides this for every backend, so that all of them solve the same problem. The frame always starts at index 0 of
the grid. What lies beyond its end is the extension: its first part continues the frame's far border, its last part, by the
periodicity of the discrete Fourier transform, precedes the frame's near border.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BOUNDARIES = ("periodic", "reflect", "edge", "zero", "unknown")


@lru_cache(maxsize=1024)
def good_size(n: int, *, real: bool) -> int:
    """Smallest length >= n whose prime factors the FFT has fast kernels for.

    Complex transforms have kernels for 2, 3, 5, 7 and 11, real ones for 2, 3 and 5 only; a real length is also kept even, so
    that the half spectrum ends in a Nyquist column of its own.
    """
    primes = (3, 5) if real else (3, 5, 7, 11)
    if n <= 2:
        return max(n, 1)

    def smallest(odd: int, remaining: tuple[int, ...]) -> int:
        if not remaining:
            power = odd
            while power < n or (real and power % 2):
                power *= 2
            return power
        best, prime = 0, remaining[0]
        while True:
            found = smallest(odd, remaining[1:])
            best = found if best == 0 else min(best, found)
            if odd >= n:
                return best
            odd *= prime

    return smallest(1, primes)


@dataclass(frozen=True)
class AxisMap:
    """How one axis of the grid is filled from the frame: value = w1 * frame[first] + w2 * frame[second]."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    first_weight: NDArray[np.float64]
    second_weight: NDArray[np.float64]


def axis_map(n: int, grid: int, boundary: str) -> AxisMap:
    """The map for an axis of n frame pixels on a grid of the given length.

    ``reflect`` mirrors about the pixel's outer edge (d c b a | a b c d | d c b a). In the extension both borders meet: the far
    border's continuation fades linearly into the near border's, so that the periodic image has no jump. A jump there rings
    through the whole frame: on photographs with a 15-pixel motion blur the fade is worth 5 to 8 dB.
    """
    index = np.arange(grid, dtype=np.int64)
    inside = index < n
    if boundary == "periodic" or grid == n:
        ones = np.ones(grid)
        return AxisMap(index, index, ones, np.zeros(grid))
    if boundary in ("zero", "unknown"):
        first = np.where(inside, index, 0)
        return AxisMap(first, first, inside.astype(np.float64), np.zeros(grid))
    if boundary == "reflect":
        after = _mirrored(index, n)
        before = _mirrored(index - grid, n)
    else:
        after = np.where(inside, index, n - 1)
        before = np.where(inside, index, 0)
    fade = np.where(inside, 0.0, (index - n + 1) / (grid - n + 1.0))
    return AxisMap(after, np.where(inside, index, before), 1.0 - fade, fade)


def _mirrored(index: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    folded = np.mod(index, 2 * n)
    return np.where(folded < n, folded, 2 * n - 1 - folded)


@dataclass(frozen=True)
class Frame:
    """The spatial geometry of one problem: shape and grid in pixels, slowest axis first."""

    shape: tuple[int, ...]
    psf_shape: tuple[int, ...]
    boundary: str
    grid: tuple[int, ...]

    @staticmethod
    def of(shape: tuple[int, ...], psf_shape: tuple[int, ...], boundary: str) -> Frame:
        """The smallest fast grid on which this boundary cannot leak around.

        ``zero`` and ``unknown`` need the linear convolution, K - 1 more pixels. ``reflect`` and ``edge`` take twice that, which
        gives the fade between the two borders room outside the PSF's reach (worth up to 5 dB with long motion blurs).
        """
        if boundary == "periodic":
            return Frame(shape, psf_shape, boundary, shape)
        reach = 1 if boundary in ("zero", "unknown") else 2
        last = len(shape) - 1
        grid = tuple(
            good_size(n + reach * (k - 1), real=axis == last) if k > 1 else n
            for axis, (n, k) in enumerate(zip(shape, psf_shape, strict=True))
        )
        return Frame(shape, psf_shape, boundary, grid)

    @property
    def half_grid(self) -> tuple[int, ...]:
        """Shape of the half spectrum of a real grid."""
        return (*self.grid[:-1], self.grid[-1] // 2 + 1)

    @property
    def pixels(self) -> int:
        return int(np.prod(self.grid, dtype=np.float64))

    def maps(self, boundary: str | None = None) -> tuple[AxisMap, ...]:
        """One map per axis, for this frame's boundary or for another one on the same grid."""
        kind = boundary or self.boundary
        return tuple(axis_map(n, g, kind) for n, g in zip(self.shape, self.grid, strict=True))

    @property
    def fills_grid(self) -> bool:
        """Whether the data cover the whole grid (as they are or by extension), so that nothing on it is unobserved."""
        return self.boundary in ("periodic", "reflect", "edge") or self.shape == self.grid
