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

from fastdeblur.errors import InvalidArgument

BOUNDARIES = ("periodic", "reflect", "edge", "zero", "unknown")

# A mirror image holds more detail than a border's values going on, but no blurred scene looks so: motion comes back at the opposite
# angle, at frequencies that the blur erased, and these ring through the whole frame.
DEFAULT_BOUNDARY = {"wiener": "edge", "richardson_lucy": "unknown"}


# Cost of a transform's pass of each radix, and of everything else that a grid pixel costs (loads, stores, pointwise work),
# in nanoseconds per SIMD register; measured on AVX2, where only their proportions matter.
_REAL_PASS = {5: 0.75, 4: 0.7, 3: 0.7, 2: 0.5}
_COMPLEX_PASS = {11: 2.7, 8: 1.8, 7: 1.8, 5: 1.7, 4: 1.2, 3: 1.6, 2: 0.9}
_REAL_REST, _COMPLEX_REST = 14.0, 16.0


@lru_cache(maxsize=1024)
def good_size(n: int, *, real: bool) -> int:
    """The length >= n on whose grid the passes are quickest: a product of the primes that the FFT has kernels for.

    Complex transforms have kernels for 2, 3, 5, 7 and 11, real ones for 2, 3 and 5 only; a real length is also kept even, so
    that the half spectrum ends in a Nyquist column of its own. A longer grid of better factors often beats the shortest:
    2000 = 2^4 5^3 costs a tenth less than 1944 = 2^3 3^5.
    """
    if n <= 2:
        return max(n, 1)
    passes, rest = (_REAL_PASS, _REAL_REST) if real else (_COMPLEX_PASS, _COMPLEX_REST)

    def cost(length: int) -> float:
        left, total = length, 0.0
        for radix, each in passes.items():
            while left % radix == 0:
                left, total = left // radix, total + each
        return length * (rest + 2 * total)

    limit = n + n // 4 + 2
    smooth = [1]
    for prime in (2, 3, 5) if real else (2, 3, 5, 7, 11):
        for m in smooth:  # grows while it is walked: every product with one more factor of this prime
            if m * prime <= limit:
                smooth.append(m * prime)  # noqa: PERF401
    return min((m for m in smooth if m >= n and not (real and m % 2)), key=lambda m: (cost(m), m))


@dataclass(frozen=True)
class AxisMap:
    """How an axis of the grid goes on after the frame's n pixels: grid[n + i] = w1[i] frame[first[i]] + w2[i] frame[second[i]]."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    first_weight: NDArray[np.float64]
    second_weight: NDArray[np.float64]


def axis_map(n: int, grid: int, boundary: str) -> AxisMap:
    """The map for an axis of n frame pixels on a grid of the given length.

    ``reflect`` mirrors about the pixel's outer edge (d c b a | a b c d | d c b a). In the extension both borders meet: the far
    border's continuation fades linearly into the near border's, so that the periodic image has no jump. A jump there rings
    through the whole frame.
    """
    index = np.arange(n, grid, dtype=np.int64)
    if boundary in ("zero", "unknown"):
        nowhere, nothing = np.zeros_like(index), np.zeros(index.size)
        return AxisMap(nowhere, nowhere, nothing, nothing)
    if boundary == "reflect":
        after = _mirrored(index, n)
        before = _mirrored(index - grid, n)
    else:
        after = np.full_like(index, n - 1)
        before = np.zeros_like(index)
    fade = (index - n + 1) / (grid - n + 1.0)
    return AxisMap(after, before, 1.0 - fade, fade)


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
    def of(shape: tuple[int, ...], psf_shape: tuple[int, ...], boundary: str, method: str = "") -> Frame:
        """The smallest fast grid on which this boundary cannot leak around.

        ``zero`` and ``unknown`` need the linear convolution, K - 1 more pixels. ``reflect`` and ``edge`` take twice that, which
        gives the fade between the two borders room outside the PSF's reach; the image that they continue must reach as far as
        half of the PSF does. An error advises what the method takes; without one, what each does.
        """
        if boundary == "periodic":
            return Frame(shape, psf_shape, boundary, shape)
        if boundary in ("reflect", "edge"):
            for n, k in zip(shape, psf_shape, strict=True):
                if k > 2 * n + 1:
                    others = "'unknown', 'zero'" if method == "richardson_lucy" else "'zero'"
                    raise InvalidArgument(
                        f"psf: expected at most {2 * n + 1} pixels on an axis of {n} with boundary={boundary!r} (its half must "
                        f"fit into the image), got shape {psf_shape}; use {others} or 'periodic'"
                    )
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
