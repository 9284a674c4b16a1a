"""How well a photo's spectrum fits a sharp photo's, blurred by a given transfer function, plus white noise.

    P(f) = A(f) H(f) + N,     ln A = functions(f) . beta,     H: squared modulus of the transfer function

beta (prior: `_natural`) and ln N are fitted for each H by Gauss-Newton steps on ln P, for many H at once. ln P spreads about the
model by chance (an average of n periodogram ordinates) and, where there is more signal than noise, because no photo is a power law;
what is far off counts linearly (Huber 1964, doi:10.1214/aoms/1177703732). In the spirit of Whittle 1953, doi:10.1007/BF02590998.
"""

from __future__ import annotations

import numpy as np

from fastdeblur.estimate import _natural
from fastdeblur.estimate._periodogram import Cells, Float64Array, FloatArray

_SPREAD = 0.12  # variance of ln A about the fit
_BOUND = 2.0  # Huber's, in deviations
_NOISE_PRECISION = 0.25  # of ln N about the floor of the spectrum
_LONGEST_STEP = 2.0
_DAMPING = 1e-4


class SpectrumFit:
    """The fit to one image's cells."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        n = cells.dof
        # Mean (but for terms of higher order) and variance of the logarithm of a gamma variate.
        self._y = (np.log(np.maximum(cells.power, 1e-30)) + 1 / (2 * n) + 1 / (12 * n * n)).astype(np.float32)
        self._chance = (1 / n + 1 / (2 * n * n) + 1 / (6 * n**3)).astype(np.float32)
        self._X = _natural.functions(cells)
        size = self._X.shape[1]
        self._upper = np.triu_indices(size)
        self._XX = self._X[:, self._upper[0]] * self._X[:, self._upper[1]]
        lowest = np.sort(cells.power)[: max(20, cells.power.size // 50)]
        self._mean = np.append(_natural.MEAN, np.log(1.1 * lowest.mean()))
        self._precision = np.zeros((size + 1, size + 1))
        self._precision[:size, :size] = _natural.precision()
        self._precision[size, size] = _NOISE_PRECISION
        self._low = np.argsort(cells.radius)[: max(20, cells.radius.size // 10)]

    def start(self, transfer: FloatArray) -> Float64Array:
        """First (beta, ln N) for each transfer function: the prior's mean at the spectrum's height."""
        theta = np.tile(self._mean, (transfer.shape[0], 1))
        known = self._X[self._low] @ self._mean[:-1].astype(np.float32)
        theta[:, 0] += np.median(self._y[self._low] - known - np.log(transfer[:, self._low]), axis=1)
        return theta

    def _evaluate(
        self, transfer: FloatArray, theta: Float64Array
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Residual, its variance, the signal's share of the power, and |residual| in deviations."""
        signal = np.exp(theta[:, :-1].astype(np.float32) @ self._X.T)
        signal *= transfer
        total = signal + np.exp(theta[:, -1:]).astype(np.float32)
        share = signal / total
        residual = self._y - np.log(total)
        variance = self._chance + np.float32(_SPREAD) * share * share
        return residual, variance, share, np.abs(residual) / np.sqrt(variance)

    def parts(self, transfer: FloatArray, theta: Float64Array) -> tuple[FloatArray, FloatArray]:
        """(m,) each: residual of ln P, and the signal's share of the power, for one transfer function (1, m)."""
        residual, _, share, _ = self._evaluate(transfer, theta[None])
        return residual[0], share[0]

    def misfit(self, transfer: FloatArray, theta: Float64Array, farthest: float) -> float:
        """Mean squared residual, in deviations cut at `farthest`, of the cells of more signal than noise; 0 if there are none."""
        _, _, share, z = self._evaluate(transfer, theta[None])
        squares = np.minimum(z, np.float32(farthest))[share > 0.5] ** 2
        return float(squares.mean(dtype=np.float64)) if squares.size else 0.0

    def strangeness(self, theta: Float64Array) -> float:
        """How far a fit lies from the prior's mean, in nats: half of the number of coefficients on average."""
        away = theta - self._mean
        return float(0.5 * away @ self._precision @ away)

    def cost_of_noise(self) -> float:
        """The cost, in nats, of there being nothing but white noise."""
        level = float(np.median(self._y))
        deviation = np.sqrt(self._chance)
        for _ in range(5):
            z = np.abs(self._y - level) / deviation
            weight = np.minimum(1, _BOUND / np.maximum(z, 1e-6)) / self._chance
            level = float(np.sum(weight * self._y) / np.sum(weight))
        z = np.abs(self._y - level) / deviation
        robust = np.where(z < _BOUND, 0.5 * z * z, _BOUND * z - 0.5 * _BOUND**2) + np.log(deviation)
        return float(robust.sum(dtype=np.float64))

    def cost(self, transfer: FloatArray, theta: Float64Array) -> Float64Array:
        """Negative log posterior, in nats, up to a constant of the image."""
        _, variance, _, z = self._evaluate(transfer, theta)
        robust = np.where(z < _BOUND, 0.5 * z * z, _BOUND * z - 0.5 * _BOUND**2) + 0.5 * np.log(variance)
        away = theta - self._mean
        prior = 0.5 * np.einsum("ci,ij,cj->c", away, self._precision, away)
        result: Float64Array = robust.sum(1, dtype=np.float64) + prior
        return result

    def step(self, transfer: FloatArray, theta: Float64Array) -> Float64Array:
        """One Gauss-Newton step from theta, (c, 13)."""
        residual, variance, share, z = self._evaluate(transfer, theta)
        weight = np.minimum(1, np.float32(_BOUND) / np.maximum(z, np.float32(1e-6))) / variance
        X, size = self._X, self._X.shape[1]
        by_share = weight * share
        by_noise = weight * (1 - share)
        information = np.empty((transfer.shape[0], size + 1, size + 1))
        upper = (by_share * share) @ self._XX
        information[:, self._upper[0], self._upper[1]] = upper
        information[:, self._upper[1], self._upper[0]] = upper
        mixed = (by_noise * share) @ X
        information[:, :size, size] = information[:, size, :size] = mixed
        information[:, size, size] = np.einsum("cm,cm->c", by_noise, 1 - share)
        gradient = np.empty_like(theta)
        gradient[:, :size] = (by_share * residual) @ X
        gradient[:, size] = np.einsum("cm,cm->c", by_noise, residual)
        gradient -= (theta - self._mean) @ self._precision
        # Where there is nothing but noise, the contrast has neither data nor a prior.
        information += self._precision + _DAMPING * np.eye(size + 1)
        change = np.linalg.solve(information, gradient[..., None])[..., 0]
        result: Float64Array = theta + np.clip(change, -_LONGEST_STEP, _LONGEST_STEP)
        return result

    def fit(
        self, transfer: FloatArray, theta: Float64Array | None = None, steps: int = 5
    ) -> tuple[Float64Array, Float64Array]:
        """(cost, theta) after so many steps, (c,) and (c, 13), for transfer functions (c, m)."""
        if theta is None:
            theta = self.start(transfer)
        for _ in range(steps):
            theta = self.step(transfer, theta)
        return self.cost(transfer, theta), theta
