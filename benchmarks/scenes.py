"""Images, volumes and PSFs to race on, made alike in every process and on every machine. All float32, in
[0, 1].
"""

from __future__ import annotations

from functools import cache

import numpy as np


def hump(*shape: int) -> np.ndarray:
    """A smooth bump with uneven pixels: centred on shape // 2, without any symmetry, of sum 1; float32."""
    psf = np.random.default_rng(7).uniform(0.5, 1.5, shape)
    for axis, bump in enumerate(np.exp(-0.5 * ((np.arange(n) - n // 2) / (0.18 * n)) ** 2) for n in shape):
        along = [1] * len(shape)
        along[axis] = -1
        psf = psf * bump.reshape(along)
    return (psf / psf.sum()).astype(np.float32)


def gaussian(sigma: float, size: int) -> np.ndarray:
    bump = np.exp(-0.5 * ((np.arange(size) - size // 2) / sigma) ** 2)
    psf = np.outer(bump, bump)
    return (psf / psf.sum()).astype(np.float32)


def motion(size: int, slope: float) -> np.ndarray:
    """A straight smear over size pixels, drawn by sampling it finely; sum 1."""
    psf = np.zeros((size, size))
    for t in np.linspace(-(size // 2), size // 2, 64 * size):
        x, y = t / np.hypot(1, slope), slope * t / np.hypot(1, slope)
        x0, y0 = int(np.floor(x)), int(np.floor(y))
        fx, fy = x - x0, y - y0
        for j, i, weight in (
            (y0, x0, (1 - fx) * (1 - fy)),
            (y0, x0 + 1, fx * (1 - fy)),
            (y0 + 1, x0, (1 - fx) * fy),
            (y0 + 1, x0 + 1, fx * fy),
        ):
            psf[min(j + size // 2, size - 1), min(i + size // 2, size - 1)] += weight
    return (psf / psf.sum()).astype(np.float32)


def grey(name: str) -> np.ndarray:
    """A photo that scikit-image ships, its green channel if it has colours, float32 in [0, 1]."""
    import skimage.data

    image = getattr(skimage.data, name)()
    return np.asarray(image[..., 1] if image.ndim == 3 else image, dtype=np.float32) / np.float32(255)


def blurred(scene: np.ndarray, psf: np.ndarray) -> np.ndarray:
    """Periodic convolution; float32."""
    import scipy.fft

    kernel = np.zeros(scene.shape, np.float32)
    kernel[tuple(slice(n) for n in psf.shape)] = psf
    kernel = np.roll(kernel, [-(n // 2) for n in psf.shape], range(psf.ndim))
    return scipy.fft.irfftn(scipy.fft.rfftn(scene) * scipy.fft.rfftn(kernel), scene.shape)


@cache
def photo(shape: tuple[int, int]) -> np.ndarray:
    """A photo continued by its mirror images to any shape, blurred and a little noisy."""
    tile = grey("camera")
    reps = [(0, max(0, n - m)) for n, m in zip(shape, tile.shape, strict=True)]
    scene = np.pad(tile, reps, mode="symmetric")[: shape[0], : shape[1]]
    return _noisy(blurred(scene, hump(15, 15)))


@cache
def volume(shape: tuple[int, int, int]) -> np.ndarray:
    """Beads in a haze, blurred and a little noisy."""
    rng = np.random.default_rng(11)
    scene = np.full(shape, 0.05, np.float32)
    beads = tuple(rng.integers(0, n, 60 * shape[0]) for n in shape)
    scene[beads] = rng.uniform(20, 60, 60 * shape[0]).astype(np.float32)
    return _noisy(blurred(scene, hump(9, 9, 9)))


def _noisy(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(3).standard_normal(image.shape, np.float32)
    return np.clip(image + np.float32(0.005) * noise, 0, 1).astype(np.float32)
