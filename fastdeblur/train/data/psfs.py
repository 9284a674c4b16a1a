"""Random point-spread functions for training, by the library's own generators."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastdeblur import psf
from fastdeblur.train.config import PSF_KINDS, PSFs


def draw_psfs(choices: Sequence[PSFs], rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    """(n, size, size), all by one of the choices and of one odd size, each with sum 1 and centroid at the origin."""
    wanted = choices[0]
    if len(choices) > 1:
        weights = np.array([choice.weight for choice in choices])
        wanted = choices[rng.choice(len(choices), p=weights / weights.sum())]
    low, high = (size // 2 for size in wanted.sizes)
    size = 2 * int(rng.integers(low, high + 1)) + 1
    share = np.asarray(wanted.shares, float)
    kinds = rng.choice(len(share), size=n, p=share / share.sum())
    seed = int(rng.integers(2**63))
    anxiety = np.exp(rng.uniform(math.log(wanted.anxiety[0]), math.log(wanted.anxiety[1]), n))
    exposure = rng.uniform(*wanted.exposure, n)
    extent, angle = rng.uniform(0.15, 1.0, n), rng.uniform(0.0, 180.0, n)
    result: NDArray[np.float32] = psf.camera_shake(
        n, size=size, seed=seed, anxiety=anxiety, exposure=exposure, dtype=np.float32, n_threads=1
    )
    radius = (size - 1) / 2
    for k, kind in enumerate(kinds.tolist()):
        if kind == PSF_KINDS.index("motion"):
            kernel = psf.motion(extent[k] * (size - 2), angle[k], shape=(size, size))
        elif kind == PSF_KINDS.index("gaussian"):
            kernel = psf.gaussian(extent[k] * radius / 3, shape=(size, size))
        elif kind == PSF_KINDS.index("defocus"):
            kernel = psf.defocus(extent[k] * (radius - 0.5), shape=(size, size))
        else:
            continue
        result[k] = kernel / kernel.sum()
    return result
