"""Generalised cross-validation: a Wiener filter's balance from the photo alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur.estimate._border import on_grid
from fastdeblur.estimate._gradient_prior import transfer

_BALANCES = np.geomspace(1e-5, 1.0, 41)
_MOST_FREQUENCIES = 1 << 16  # looked at


def cross_validated(image: NDArray[Any], psf: NDArray[np.float64]) -> float:
    """The balance of `wiener` with the Laplacian that predicts each pixel best from all others.

    The least |(1 - A) y|^2 / tr(1 - A)^2, where A = |H|^2 / (|H|^2 + balance |R|^2) and y is the image on its periodic grid.

    Source: Golub, Heath and Wahba 1979, doi:10.1080/00401706.1979.10489751.
    """
    data = on_grid(image, psf.shape)
    power = np.abs(np.fft.rfft2(data)) ** 2
    h = np.abs(transfer(psf.astype(np.float32), data.shape)) ** 2
    v, u = np.fft.fftfreq(data.shape[0])[:, np.newaxis], np.fft.rfftfreq(data.shape[1])
    r = (4 - 2 * np.cos(2 * np.pi * v) - 2 * np.cos(2 * np.pi * u)) ** 2
    step = max(1, power.size // _MOST_FREQUENCIES)
    # Without the mean, which every balance leaves as it is.
    power, h, r = (np.asarray(a, np.float64).ravel()[1::step] for a in (power, h, r))

    def score(balance: float) -> float:
        left = balance * r / (h + balance * r)
        return float(np.sum(left**2 * power) / np.sum(left) ** 2)

    return float(min(_BALANCES, key=score))
