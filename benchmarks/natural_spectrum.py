"""Learns the prior of `fastdeblur/estimate/_natural.py` from sharp photos, and prints it as Python.

    FASTDEBLUR_DATA=folder python benchmarks/natural_spectrum.py

Takes every fourth photo of train/bsds500 and every second of train/sunhays80, counted from the first; none of the photos that
`benchmarks/estimators.py` reports on.
"""

from __future__ import annotations

import numpy as np

import estimate_data
from fastdeblur.estimate._natural import BLOCKS, functions
from fastdeblur.estimate._periodogram import periodogram

NOISE = 0.08 / 255**2  # of the photos' 8 bits
SPREAD = 0.1  # variance of ln P about the fit, for the weights
BOUND = 2.0  # residuals beyond so many deviations count linearly


def fit(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The coefficients of one photo, and (frequency, squared residual less what chance makes) of the cells."""
    found = periodogram(image, None, (64,))
    assert found is not None
    cells = found[0]
    X = functions(cells).astype(np.float64)
    n = cells.dof
    y = np.log(cells.power) + 1 / (2 * n) + 1 / (12 * n * n)
    chance = 1 / n + 1 / (2 * n * n) + 1 / (6 * n**3)
    weight = 1 / (chance + SPREAD)
    beta = np.linalg.solve((X.T * weight) @ X, X.T @ (weight * y))
    for _ in range(10):
        A = np.exp(X @ beta)
        share, residual = A / (A + NOISE), y - np.log(A + NOISE)
        w = weight / np.maximum(1, np.abs(residual) * np.sqrt(weight) / BOUND)
        J = X * share[:, None]
        beta = beta + np.linalg.solve((J.T * w) @ J + 1e-3 * np.eye(X.shape[1]), J.T @ (w * residual))
    return beta, cells.radius, (y - np.log(np.exp(X @ beta) + NOISE)) ** 2 - chance


def main() -> None:
    photos = estimate_data.tuning_photos()
    fits = [fit(estimate_data.grey(path)) for path in photos]
    betas = np.array([beta for beta, _, _ in fits])
    mean, covariance = betas.mean(0), np.cov(betas.T)
    mean[[6, 7, 8, 9, 10, 11]] = 0
    same = np.zeros_like(covariance, dtype=bool)
    for block in BLOCKS:
        same[np.ix_(block, block)] = True
    # The second moments about 0 of what must have mean 0.
    covariance = np.where(same, (betas - mean).T @ (betas - mean) / (len(betas) - 1), 0)
    print(
        f"# {len(photos)} photos; spread of ln P about the fit by octaves from 1/64 cycles per pixel:",
        end=" ",
    )
    f, r = np.concatenate([f for _, f, _ in fits]), np.concatenate([r for _, _, r in fits])
    print(
        *(
            f"{np.median(r[(f >= a) & (f < 2 * a)]):.3f}/{np.mean(r[(f >= a) & (f < 2 * a)]):.3f}"
            for a in 2.0 ** -np.arange(6, 1, -1)
        )
    )
    np.set_printoptions(precision=4, suppress=True, linewidth=120, floatmode="fixed")
    print("MEAN =", np.array2string(mean, separator=", "))
    for block in BLOCKS:
        keep = [i for i in block if i > 0]
        print(f"# block {block}")
        print(np.array2string(covariance[np.ix_(keep, keep)], separator=", "))


if __name__ == "__main__":
    main()
