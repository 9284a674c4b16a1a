"""Kernels of paths, the NumPy reference: pieces of straight motion, cut at the grid and integrated piece by piece."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastdeblur.psf._common import Float64Array, odd_size

Int64Array = npt.NDArray[np.int64]


def frame_of(extent: Float64Array, source: str) -> tuple[int, int]:
    """The odd (h, w) that holds what is at most ``extent``, (2,) as x and y, from the origin."""
    # A pixel's square reaches half a pixel beyond its centre, and lies partly in each pixel that it touches.
    reach = extent + (0.5 if source == "pixel" else 0.0)
    return odd_size(reach[1:]), odd_size(reach[:1])


def rasterise_pieces(
    start: Float64Array,
    end: Float64Array,
    weight: Float64Array,
    kernel: Int64Array,
    square: bool,
    out: Float64Array,
) -> None:
    """Fill ``out`` (n, h, w) with pieces from ``start`` to ``end`` (pieces, 2), each a share ``weight`` of its kernel."""
    h, w = out.shape[1:]
    offset = 0.0 if square else 0.5
    piece, t0, t1 = _cut(start + offset, end + offset)
    a, d = start[piece] + offset, (end - start)[piece]
    cell = np.floor(a + ((t0 + t1) / 2)[:, None] * d)
    part = weight[piece] * (t1 - t0)
    column, row = (cell + np.array([w // 2, h // 2])).astype(np.int64).T
    which = kernel[piece]
    if not square:
        out[...] = _gather(which, row, column, part, out.shape)
        return
    begin, finish = (np.clip(a + t[:, None] * d - cell, 0.0, 1.0) for t in (t0, t1))
    u, v = ((begin + finish) / 2).T
    both = u * v + (finish - begin).prod(axis=1) / 12
    out[...] = 0
    for down, right, share in ((0, 0, 1 - u - v + both), (0, 1, u - both), (1, 0, v - both), (1, 1, both)):
        out += _gather(which, row + down, column + right, part * np.maximum(share, 0.0), out.shape)


def _gather(
    kernel: Int64Array, row: Int64Array, column: Int64Array, weight: Float64Array, shape: tuple[int, ...]
) -> Float64Array:
    n, h, w = shape
    inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
    index = ((kernel * h + row) * w + column)[inside]
    gathered: Float64Array = np.bincount(index, weight[inside], n * h * w).astype(np.float64).reshape(shape)
    return gathered


def _cut(start: Float64Array, end: Float64Array) -> tuple[Int64Array, Float64Array, Float64Array]:
    """Cut pieces where a coordinate is an integer: the number of each part's piece, and its span in 0..1."""
    count = len(start)
    pieces = [np.repeat(np.arange(count), 2)]
    stops = [np.tile([0.0, 1.0], count)]
    for axis in (0, 1):
        low = np.minimum(start[:, axis], end[:, axis])
        high = np.maximum(start[:, axis], end[:, axis])
        first = np.floor(low) + 1
        crossings = np.maximum(np.ceil(high) - first, 0).astype(np.int64)
        piece = np.repeat(np.arange(count), crossings)
        number = np.arange(len(piece)) - np.repeat(np.cumsum(crossings) - crossings, crossings)
        border = first[piece] + number
        pieces.append(piece)
        stops.append((border - start[piece, axis]) / (end - start)[piece, axis])
    piece, t = np.concatenate(pieces), np.clip(np.concatenate(stops), 0.0, 1.0)
    order = np.lexsort((t, piece))
    piece, t = piece[order], t[order]
    part = (piece[1:] == piece[:-1]) & (t[1:] > t[:-1])
    return piece[:-1][part], t[:-1][part], t[1:][part]
