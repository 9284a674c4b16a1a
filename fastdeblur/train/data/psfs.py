"""Random point-spread functions for training, by the library's own generators."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastdeblur import psf

KINDS = ("camera_shake", "motion", "gaussian", "defocus")


@dataclass(frozen=True)
class RandomPSFs:
    """Square kernels of an odd size drawn for each batch.

    sizes : (smallest, largest) in pixels.
    shares : of each of `KINDS`.
    anxiety : (least, most) of `psf.camera_shake`, drawn evenly in the logarithm; exposure : (least, most), drawn evenly.
    """

    sizes: tuple[int, int] = (9, 21)
    shares: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    anxiety: tuple[float, float] = (0.005, 0.005)
    exposure: tuple[float, float] = (1.0, 1.0)

    def draw(self, rng: np.random.Generator, n: int) -> NDArray[np.float32]:
        """(n, size, size), each with sum 1 and centroid at the origin."""
        low, high = (size // 2 for size in self.sizes)
        size = 2 * int(rng.integers(low, high + 1)) + 1
        share = np.asarray(self.shares, float)
        kinds = rng.choice(len(KINDS), size=n, p=share / share.sum())
        seed = int(rng.integers(2**63))
        anxiety = np.exp(rng.uniform(math.log(self.anxiety[0]), math.log(self.anxiety[1]), n))
        exposure = rng.uniform(*self.exposure, n)
        extent, angle = rng.uniform(0.15, 1.0, n), rng.uniform(0.0, 180.0, n)
        result: NDArray[np.float32] = psf.camera_shake(
            n, size=size, seed=seed, anxiety=anxiety, exposure=exposure, dtype=np.float32, n_threads=1
        )
        radius = (size - 1) / 2
        for k, kind in enumerate(kinds.tolist()):
            if kind == 1:
                kernel = psf.motion(extent[k] * (size - 2), angle[k], shape=(size, size))
            elif kind == 2:
                kernel = psf.gaussian(extent[k] * radius / 3, shape=(size, size))
            elif kind == 3:
                kernel = psf.defocus(extent[k] * (radius - 0.5), shape=(size, size))
            else:
                continue
            result[k] = kernel / kernel.sum()
        return result
