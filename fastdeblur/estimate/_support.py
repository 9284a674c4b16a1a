"""Cleaning of an estimated kernel: faint pixels, isolated specks, and where its centroid lies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Kernel = NDArray[np.float64]


def impulse(shape: tuple[int, int]) -> Kernel:
    kernel = np.zeros(shape)
    kernel[shape[0] // 2, shape[1] // 2] = 1.0
    return kernel


def cleaned(kernel: Kernel, faint: float, speck: float) -> Kernel:
    """Non-negative, sum 1, without pixels below faint * max and without components (8-connected) below speck of the sum.

    A kernel with nothing positive becomes an impulse.
    """
    if not kernel.max() > 0:
        return impulse((kernel.shape[0], kernel.shape[1]))
    kernel = np.where(kernel < max(faint * kernel.max(), 0.0), 0.0, np.maximum(kernel, 0.0))
    labels, count = components(kernel > 0)
    masses = np.bincount(labels.ravel(), kernel.ravel(), count + 1)
    keep = masses >= speck * kernel.sum()
    keep[masses.argmax()] = True
    kernel = np.where(keep[labels], kernel, 0.0)
    return np.asarray(kernel / kernel.sum())


def components(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """Labels from 1 of 8-connected components, 0 outside the mask; and their number."""
    labels = np.zeros(mask.shape, np.int64)
    left = set(zip(*(axis.tolist() for axis in np.nonzero(mask)), strict=True))
    count = 0
    while left:
        count += 1
        todo = [left.pop()]
        while todo:
            y, x = todo.pop()
            labels[y, x] = count
            near = {(y + a, x + b) for a in (-1, 0, 1) for b in (-1, 0, 1)} & left
            left -= near
            todo.extend(near)
    return labels, count


def centroid(kernel: Kernel) -> tuple[float, float]:
    """Of a kernel with sum 1, in pixels from the origin at shape // 2."""
    height, width = kernel.shape
    return (
        float(kernel.sum(1) @ (np.arange(height) - height // 2)),
        float(kernel.sum(0) @ (np.arange(width) - width // 2)),
    )


def centred(kernel: Kernel) -> Kernel:
    """Moved by whole pixels so that the centroid lies within half a pixel of the origin, where the frame allows it.

    A pixel that would leave the frame stops the move on its axis: losing a part of the kernel is worse than an offset.
    """
    rows, columns = np.nonzero(kernel)
    moves = []
    for offset, at, size in zip(centroid(kernel), (rows, columns), kernel.shape, strict=True):
        moves.append(int(np.clip(-round(offset), -at.min(), size - 1 - at.max())))
    return np.roll(kernel, moves, (0, 1))


def resized(kernel: Kernel, shape: tuple[int, int]) -> Kernel:
    """The same kernel in a smaller or larger frame, origin kept; what falls outside is lost and the rest scaled to sum 1."""
    result = np.zeros(shape)
    spans = []
    for n, m in zip(kernel.shape, shape, strict=True):
        half = min(n // 2, m // 2)
        spans.append((slice(n // 2 - half, n // 2 + half + 1), slice(m // 2 - half, m // 2 + half + 1)))
    result[spans[0][1], spans[1][1]] = kernel[spans[0][0], spans[1][0]]
    return np.asarray(result / result.sum())


def trimmed(kernel: Kernel, faint: float = 0.0) -> Kernel:
    """In the smallest odd frame around the origin that holds every pixel above faint * max."""
    rows, columns = np.nonzero(kernel > faint * kernel.max())
    halves = [int(np.abs(at - n // 2).max()) for at, n in zip((rows, columns), kernel.shape, strict=True)]
    return resized(kernel, (2 * halves[0] + 1, 2 * halves[1] + 1))
