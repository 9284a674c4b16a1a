"""Slow, direct answers in float64: sums over pixels and dense matrices, no Fourier transform.

They are written from the documented definitions, to catch mistakes that all backends could share. For small
images only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

SIGMA = 1e-4  # scene pixels that send less of their light than this into the frame are not estimated


# --------------------------------------------------------------------------------------------------- geometry


def extended(image: np.ndarray, grid: Sequence[int], boundary: str) -> np.ndarray:
    """Pixel by pixel: past its end the far border's continuation fades into the near border's."""
    out = np.asarray(image, float)
    for axis, length in enumerate(grid):
        n = out.shape[axis]
        rows = np.moveaxis(out, axis, 0)
        filled = np.zeros((length, *rows.shape[1:]))
        for i in range(length):
            if i < n:
                filled[i] = rows[i]
            elif boundary in ("reflect", "edge"):
                after = rows[_folded(i, n)] if boundary == "reflect" else rows[n - 1]
                before = rows[_folded(i - length, n)] if boundary == "reflect" else rows[0]
                share = (i - n + 1) / (length - n + 1)  # 0 at the last pixel of the frame, 1 at the first one
                filled[i] = (1 - share) * after + share * before
        out = np.moveaxis(filled, 0, axis)
    return out


def _folded(i: int, n: int) -> int:
    """d c b a | a b c d | d c b a"""
    while not 0 <= i < n:
        i = -1 - i if i < 0 else 2 * n - 1 - i
    return i


# ------------------------------------------------------------------------------------------------ convolution


def periodic_sum(image: np.ndarray, psf: np.ndarray) -> np.ndarray:
    """(h * x)[i] = sum over j of h[j] x[i - (j - K // 2)], indices modulo the image's shape."""
    out = np.zeros(image.shape)
    for i in np.ndindex(image.shape):
        for j in np.ndindex(psf.shape):
            k = tuple((p - (q - m // 2)) % n for p, q, m, n in zip(i, j, psf.shape, image.shape, strict=True))
            out[i] += psf[j] * image[k]
    return out


def circulant(psf: np.ndarray, grid: Sequence[int]) -> np.ndarray:
    """The dense matrix of periodic_sum."""
    size = int(np.prod(grid))
    matrix = np.zeros((size, size))
    for i in np.ndindex(*grid):
        for j in np.ndindex(psf.shape):
            k = tuple((p - (q - m // 2)) % n for p, q, m, n in zip(i, j, psf.shape, grid, strict=True))
            matrix[np.ravel_multi_index(i, grid), np.ravel_multi_index(k, grid)] += psf[j]
    return matrix


def reaching(psf: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The dense matrix from every scene pixel that shines into the frame to the frame's pixels.

    Along each axis the scene has N + K - 1 pixels and begins K - 1 - K // 2 before the frame.
    """
    scene = [n + k - 1 for n, k in zip(shape, psf.shape, strict=True)]
    matrix = np.zeros((int(np.prod(shape)), int(np.prod(scene))))
    for i in np.ndindex(*shape):
        for j in np.ndindex(psf.shape):
            # frame coordinate i - (j - K // 2), plus the K - 1 - K // 2 that the scene begins earlier
            k = tuple(p - (q - m // 2) + (m - 1 - m // 2) for p, q, m in zip(i, j, psf.shape, strict=True))
            matrix[np.ravel_multi_index(i, shape), np.ravel_multi_index(k, scene)] += psf[j]
    return matrix


def frame_in_scene(psf_shape: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(k - 1 - k // 2, k - 1 - k // 2 + n) for k, n in zip(psf_shape, shape, strict=True))


def laplacian(ndim: int) -> np.ndarray:
    """2 ndim in the middle, -1 at the direct neighbours."""
    kernel = np.zeros([3] * ndim)
    kernel[(1,) * ndim] = 2 * ndim
    for axis, side in itertools.product(range(ndim), (0, 2)):
        where = [1] * ndim
        where[axis] = side
        kernel[tuple(where)] = -1
    return kernel


# ---------------------------------------------------------------------------------------------------- methods


def wiener(
    image: np.ndarray,
    psf: np.ndarray,
    balance: float,
    *,
    grid: Sequence[int],
    reg: np.ndarray | None = None,
    boundary: str = "edge",
) -> np.ndarray:
    """argmin |H x - y|^2 + balance |R x|^2 on a periodic grid, by dense normal equations.

    reg None is the Laplacian.
    The solution of least norm where there are several (balance 0 and a blur that removes a frequency).
    """
    H = circulant(psf / psf.sum(), grid)
    R = circulant(laplacian(image.ndim) if reg is None else reg, grid)
    y = extended(image, grid, boundary).ravel()
    x = np.linalg.pinv(H.T @ H + balance * R.T @ R, rcond=1e-12, hermitian=True) @ (H.T @ y)
    return x.reshape(grid)[tuple(slice(n) for n in image.shape)]


class Blur:
    """y = H x for one boundary: dense H, the data, their weights, and where the frame lies in the scene."""

    def __init__(
        self,
        image: np.ndarray,
        psf: np.ndarray,
        boundary: str,
        weights: np.ndarray | None,
        grid: Sequence[int],
    ):
        psf = psf / psf.sum()
        frame: tuple[slice, ...] = tuple(slice(n) for n in image.shape)
        if boundary == "unknown":
            self.H = reaching(psf, image.shape)
            self.frame = frame_in_scene(psf.shape, image.shape)
            self.scene = tuple(n + k - 1 for n, k in zip(image.shape, psf.shape, strict=True))
        elif boundary == "zero":
            scene = tuple(n + k - 1 for n, k in zip(image.shape, psf.shape, strict=True))
            inside = np.zeros(scene, bool)
            inside[frame_in_scene(psf.shape, image.shape)] = True
            self.H = reaching(psf, image.shape)[:, inside.ravel()]
            self.frame, self.scene = frame, image.shape
        else:
            self.scene = tuple(grid)
            self.H = circulant(psf, self.scene)
            self.frame = frame
        data = self.H.shape[0]
        if data == image.size:
            self.y, self.w = (
                image.ravel().astype(float),
                np.ones(data) if weights is None else weights.ravel(),
            )
        else:
            w = np.ones(image.shape) if weights is None else weights
            self.w = extended(w, self.scene, boundary).ravel()
            self.y = extended(w * image, self.scene, boundary).ravel() / np.where(self.w > 0, self.w, 1)


def richardson_lucy(
    image: np.ndarray,
    psf: np.ndarray,
    num_iter: int,
    *,
    grid: Sequence[int] = (),
    boundary: str = "unknown",
    background: float = 0.0,
    weights: np.ndarray | None = None,
    init: np.ndarray | None = None,
    predict: Callable[[list[np.ndarray], list[np.ndarray]], np.ndarray] | None = None,
) -> np.ndarray:
    """x <- x H^T(W y / (H x + b)) / H^T W with dense H; starts from the mean over the frame, by weight.

    grid: where the data are extended to; for reflect, edge and periodic boundaries, the others have none.
    init: one value for the whole scene, or an image for the frame where nothing lies outside it.
    predict: the point to correct, from the estimates and corrected points so far; else the last estimate.
    """
    w = None if weights is None else weights / weights.max()
    blur = Blur(image, psf, boundary, w, grid)
    mean = np.average(image, weights=w)
    level = max(mean - background, 1e-3 * mean)
    x = np.full(blur.H.shape[1], level)
    if init is not None:
        x = extended(init, blur.scene, boundary).ravel() if init.ndim else np.full(x.shape, float(init))
    norm = blur.H.T @ blur.w
    reached = norm > SIGMA
    estimates, points = [x], []
    for _ in range(num_iter):
        z = estimates[-1] if predict is None else predict(estimates, points)
        points.append(z)
        ratio = blur.w * blur.y / (blur.H @ z + background)
        x = z.copy()
        x[reached] = (z * (blur.H.T @ ratio))[reached] / norm[reached]
        estimates.append(x)
    return estimates[-1].reshape(blur.scene)[blur.frame]


def ogm(estimates: list[np.ndarray], points: list[np.ndarray]) -> np.ndarray:
    """z = x_k + (t_k - 1) / t_{k+1} (x_k - x_{k-1}) + t_k / t_{k+1} (x_k - z_{k-1}), at least 3/4 x_k."""
    if not points:
        return estimates[-1]
    t = [1.0]
    for _ in points:
        t.append((1 + np.sqrt(1 + 4 * t[-1] ** 2)) / 2)
    x, before, z = estimates[-1], estimates[-2], points[-1]
    moved = x + (t[-2] - 1) / t[-1] * (x - before) + t[-2] / t[-1] * (x - z)
    return np.maximum(moved, 0.75 * x)


def biggs_andrews(estimates: list[np.ndarray], points: list[np.ndarray]) -> np.ndarray:
    """y_k = max(0, x_k + a (x_k - x_{k-1})), a = <g_{k-1}, g_{k-2}> / |g_{k-2}|^2 in [0, 1].

    g_k = x_{k+1} - y_k.
    """
    if len(points) < 2:
        return estimates[-1]
    g1, g2 = estimates[-1] - points[-1], estimates[-2] - points[-2]
    square = float(g2 @ g2)
    a = min(max(float(g1 @ g2) / square, 0.0), 1.0) if square > 0 else 0.0
    return np.maximum(estimates[-1] + a * (estimates[-1] - estimates[-2]), 0)
