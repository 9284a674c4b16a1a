"""Regular polygons, integrated exactly over each pixel: the NumPy reference, edge by edge.

The area in a pixel is the integral over the pixel's height of how far the polygon reaches into its width, which is that
of its right edges less that of its left ones, cut to the pixel: for a straight edge, that of a line cut at two levels.
"""

from __future__ import annotations

import math

import numpy as np

from fastdeblur.psf._common import Float64Array


def vertices(radius: float, blades: int, rotation: float) -> Float64Array:
    """(blades, 2) as (x, y), rows running down; the first one ``rotation`` degrees counter-clockwise from x."""
    angle = math.radians(math.fmod(rotation, 360.0)) + 2 * np.pi * np.arange(blades) / blades
    return radius * np.stack([np.cos(angle), -np.sin(angle)], axis=1)


def rasterise(radius: float, blades: int, rotation: float, sizes: tuple[int, ...]) -> Float64Array:
    """Areas in the pixels over the polygon's own."""
    rows, columns = (np.arange(n) - n // 2 for n in sizes)
    left, top = columns[None, :] - 0.5, rows[:, None] - 0.5
    corners = vertices(radius, blades, rotation)
    area = np.zeros(sizes)
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if a[1] == b[1]:
            continue
        (x0, y0), (x1, y1) = (a, b) if a[1] < b[1] else (b, a)
        slope = (x1 - x0) / (y1 - y0)
        low, high = np.maximum(top, y0), np.minimum(top + 1, y1)
        height = np.maximum(high - low, 0.0)
        begin, end = x0 + (low - y0) * slope - left, x0 + (high - y0) * slope - left
        # Vertices run counter-clockwise as seen: edges on the right go up, against the rows.
        area += (1 if b[1] < a[1] else -1) * height * _mean_of_cut_line(begin, end)
    return np.maximum(area, 0.0) / (blades / 2 * radius**2 * math.sin(2 * math.pi / blades))


def _mean_of_cut_line(begin: Float64Array, end: Float64Array) -> Float64Array:
    """Mean of a line from ``begin`` to ``end``, cut to 0..1."""
    low, high = np.minimum(begin, end), np.maximum(begin, end)
    inside_low, inside_high = np.clip(low, 0, 1), np.clip(high, 0, 1)
    length = np.where(high > low, high - low, 1.0)
    inside = (inside_high - inside_low) * (inside_high + inside_low) / 2
    above = np.maximum(high - np.maximum(low, 1.0), 0.0)
    return np.where(high > low, (inside + above) / length, inside_low)
