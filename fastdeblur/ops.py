"""The closed list of array operations that recipes are written in.

A recipe is the specification of a method; a backend that implements this list runs every recipe. Shapes: an image on the grid
is ``grid``, a half spectrum ``(*grid[:-1], grid[-1] // 2 + 1)``, a frame image ``frame.shape``. No operation changes its
arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from fastdeblur._geometry import Frame

Array = Any  # the backend's own array type


class Ops(Protocol):
    """What a backend provides; ``dtype`` is the real type that it computes in."""

    dtype: Any

    # between the frame and the grid
    def extend(self, image: Array, frame: Frame, boundary: str | None = None) -> Array:
        """Frame image -> grid image, filled by the boundary's maps."""

    def crop(self, image: Array, frame: Frame) -> Array:
        """Grid image -> frame image."""

    def flat(self, value: float, frame: Frame) -> Array:
        """A frame image of one value."""

    def constant(self, value: float, frame: Frame) -> Array:
        """A grid image of one value."""

    # frame images as they were given
    def weighted(self, image: Array, weights: Array) -> Array:
        """image * weights, 0 where the weight is 0, whatever the image holds there."""

    def copied(self, image: Array, like: Any) -> Any:
        """A frame image as a new array of the kind, and in the memory, of a plane's result."""

    # between image and spectrum
    def rfft(self, image: Array) -> Array:
        """Unnormalised real transform over all axes."""

    def irfft(self, spectrum: Array, frame: Frame) -> Array:
        """Inverse of rfft, normalised by the number of grid pixels."""

    def otf(self, kernel: Array, frame: Frame) -> Array:
        """Transfer function of a kernel whose origin is shape // 2; a kernel larger than the grid folds."""

    # pointwise, spectrum
    def multiply(self, a: Array, b: Array) -> Array: ...

    def multiply_conj(self, a: Array, b: Array) -> Array:
        """a * conj(b)"""

    def power(self, spectrum: Array) -> Array:
        """|spectrum|^2"""

    def laplacian_power(self, frame: Frame) -> Array:
        """|R|^2 of the discrete Laplacian: (sum over axes of 2 - 2 cos(2 pi k / n))^2."""

    def transfer_power(self, transfer: Callable[..., Any], frame: Frame) -> Array:
        """|R|^2 of a transfer function given as a callable of the axes' frequencies in cycles per pixel."""

    def wiener(self, spectrum: Array, otf: Array, reg_power: Array, balance: float) -> Array:
        """spectrum * conj(otf) / (|otf|^2 + balance * reg_power), 0 where the denominator is no more than rounding."""

    # pointwise, image
    def ratio(self, data: Array, model: Array, background: float, floor: float) -> Array:
        """data / max(model + background, floor)"""

    def scaled(self, image: Array, factor: Array, norm: Array | None, sigma: float) -> Array:
        """max(image * factor / norm, 0), image itself where norm <= sigma; norm None means 1."""

    def extrapolate(self, image: Array, previous: Array, step: float) -> Array:
        """max(image + step * (image - previous), 0)"""

    def momentum(self, x: Array, x_before: Array, z: Array, a: float, b: float, floor: float) -> Array:
        """max(x + a (x - x_before) + b (x - z), floor * x)"""

    def subtract(self, a: Array, b: Array) -> Array: ...

    # reductions, accumulated in double precision
    def dot(self, a: Array, b: Array) -> float: ...

    def total(self, image: Array) -> float:
        """Sum of a frame image."""


RECIPES: dict[str, Callable[..., Any]] = {}
CHECKS: dict[str, Callable[..., None]] = {}
LOWEST: dict[str, float] = {}


def recipe(
    name: str, check: Callable[..., None], lowest: float = -math.inf
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a method's recipe under its name, with the check that every image must pass before any is restored, and the lowest
    value that an image may have."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        RECIPES[name], CHECKS[name], LOWEST[name] = function, check, lowest
        return function

    return register
