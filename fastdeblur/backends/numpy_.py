"""The reference: every operation in plain NumPy, float64 as exact as the FFT, float32 for comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur._checks import require_squarable
from fastdeblur._geometry import Frame
from fastdeblur.backends import Spec
from fastdeblur.backends._recipes import RecipePlan, recipe_memory
from fastdeblur.errors import InvalidArgument

Array = NDArray[Any]


def removed_power(dtype: np.dtype[Any]) -> float:
    """|H|^2 up to which a frequency counts as removed by the blur: what rounding leaves of a zero of H."""
    return float(4 * np.finfo(dtype).eps) ** 2


class NumpyOps:
    """The operation list on NumPy arrays; see fastdeblur.ops for what each does."""

    def __init__(self, dtype: np.dtype[Any]):
        self.dtype = np.dtype(dtype)
        self.complex_dtype = np.result_type(self.dtype, np.complex64)

    # between the frame and the grid

    def extend(self, image: Array, frame: Frame, boundary: str | None = None) -> Array:
        # In C order: the last bits of a transform depend on the order of its axes.
        grid = np.asarray(image, self.dtype, order="C")
        for axis, m in enumerate(frame.maps(boundary)):
            if m.first.size == 0:
                continue
            along = [1] * grid.ndim
            along[axis] = -1
            first = np.take(grid, m.first, axis) * m.first_weight.astype(self.dtype).reshape(along)
            second = np.take(grid, m.second, axis) * m.second_weight.astype(self.dtype).reshape(along)
            grid = np.concatenate([grid, first + second], axis)
        return grid

    def crop(self, image: Array, frame: Frame) -> Array:
        return image[tuple(slice(n) for n in frame.shape)]

    def flat(self, value: float, frame: Frame) -> Array:
        return np.full(frame.shape, value)

    def constant(self, value: float, frame: Frame) -> Array:
        return np.full(frame.grid, value, self.dtype)

    # frame images as they were given

    def weighted(self, image: Array, weights: Array) -> Array:
        result: Array = np.where(weights > 0, image, 0) * weights
        return result

    def copied(self, image: Array, like: Any) -> Array:
        return np.array(image)

    # between image and spectrum

    def rfft(self, image: Array) -> Array:
        return np.fft.rfftn(image).astype(self.complex_dtype, copy=False)

    def irfft(self, spectrum: Array, frame: Frame) -> Array:
        axes = tuple(range(len(frame.grid)))
        return np.fft.irfftn(spectrum, frame.grid, axes).astype(self.dtype, copy=False)

    def otf(self, kernel: Array, frame: Frame) -> Array:
        grid = np.zeros(frame.grid, self.dtype)
        where = np.ix_(*[(np.arange(k) - k // 2) % n for k, n in zip(kernel.shape, frame.grid, strict=True)])
        np.add.at(grid, where, kernel)
        return self.rfft(grid)

    # pointwise, spectrum

    def multiply(self, a: Array, b: Array) -> Array:
        return a * b

    def multiply_conj(self, a: Array, b: Array) -> Array:
        return a * np.conj(b)

    def power(self, spectrum: Array) -> Array:
        result: Array = spectrum.real**2 + spectrum.imag**2
        return result

    def laplacian_power(self, frame: Frame) -> Array:
        total = np.zeros([1] * len(frame.grid))
        for axis, (n, half) in enumerate(zip(frame.grid, frame.half_grid, strict=True)):
            along = [1] * len(frame.grid)
            along[axis] = -1
            total = total + (2.0 - 2.0 * np.cos(2.0 * np.pi * np.arange(half) / n)).reshape(along)
        return (total * total).astype(self.dtype)

    def transfer_power(self, transfer: Callable[..., Any], frame: Frame) -> Array:
        last = len(frame.grid) - 1
        frequencies = [
            (np.fft.rfftfreq if axis == last else np.fft.fftfreq)(n) for axis, n in enumerate(frame.grid)
        ]
        values = np.asarray(transfer(*np.ix_(*frequencies)))
        if values.dtype.kind not in "buifc":
            raise InvalidArgument(f"reg: expected the callable to return numbers, got dtype {values.dtype}")
        power = require_squarable(values, "reg", self.dtype)
        try:
            return np.array(np.broadcast_to(power, frame.half_grid))
        except ValueError:
            raise InvalidArgument(
                f"reg: expected the callable to return values that broadcast to {frame.half_grid}, got shape {values.shape}"
            ) from None

    def wiener(self, spectrum: Array, otf: Array, reg_power: Array, balance: float) -> Array:
        with np.errstate(over="ignore"):  # an infinite penalty removes the frequency
            denominator = self.power(otf) + self.dtype.type(balance) * reg_power
        known = denominator > removed_power(self.dtype)
        gain = np.where(known, 1 / np.where(known, denominator, 1), 0).astype(self.dtype)
        result: Array = spectrum * (np.conj(otf) * gain)
        return result

    # pointwise, image

    def ratio(self, data: Array, model: Array, background: float, floor: float) -> Array:
        result: Array = data / np.maximum(model + self.dtype.type(background), self.dtype.type(floor))
        return result

    def scaled(self, image: Array, factor: Array, norm: Array | None, sigma: float) -> Array:
        if norm is None:
            result: Array = np.maximum(image * factor, 0)
            return result
        reached = norm > sigma
        return np.where(reached, np.maximum(image * (factor / np.where(reached, norm, 1)), 0), image)

    def extrapolate(self, image: Array, previous: Array, step: float) -> Array:
        result: Array = np.maximum(image + self.dtype.type(step) * (image - previous), 0)
        return result

    def momentum(self, x: Array, x_before: Array, z: Array, a: float, b: float, floor: float) -> Array:
        t = self.dtype.type
        result: Array = np.maximum(x + t(a) * (x - x_before) + t(b) * (x - z), t(floor) * x)
        return result

    def subtract(self, a: Array, b: Array) -> Array:
        return a - b

    # reductions

    def dot(self, a: Array, b: Array) -> float:
        return float(np.einsum("i,i->", a.ravel(), b.ravel(), dtype=np.float64, casting="same_kind"))

    def total(self, image: Array) -> float:
        return float(np.sum(np.ascontiguousarray(image), dtype=np.float64))


class NumpyBackend:
    """Plain NumPy: always there, the oracle of every other backend."""

    name = "numpy"
    computes_on = "cpu"
    keeps_scratch = False

    def why_not(self, spec: Spec | None = None) -> str:
        return ""

    def why_not_device(self, ordinal: int) -> str:
        return "it computes on the CPU"

    def plan(
        self, frame: Frame, psfs: Array, n_threads: int, keep: bool, device: int | None = None
    ) -> RecipePlan:
        return RecipePlan(NumpyOps(psfs.dtype), frame, list(psfs))

    def memory(self, method: str, frame: Frame, dtype: np.dtype[Any], options: dict[str, Any]) -> int:
        doubled = dtype == np.float32  # NumPy transforms in double precision on the way
        transforms = {"wiener": 0.5 + 3.5 * doubled, "richardson_lucy": 1.0 + 3.0 * doubled}
        return recipe_memory(method, frame, dtype, options, transforms[method])
