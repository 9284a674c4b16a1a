"""A part of the frame: its own blur, and whether the whole frame's blur explains it as well."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fastdeblur.estimate import _families
from fastdeblur.estimate._input import Plane
from fastdeblur.estimate._likelihood import SpectrumFit
from fastdeblur.estimate._periodogram import Float64Array, periodogram
from fastdeblur.estimate._search import Found, Transfer, scan, unblurred

_SIDE = 192  # pixels, at least
_MOST = 5  # tiles on an axis
_DENSITY = 64  # cells per cycle
_LEAST_SIGNAL = 40.0  # cells that hold more signal than noise
_CLEAR = 30.0  # nats by which a tile's own blur must explain it better than the whole's
_CALM = 15.0  # nats of gain that make a tile's confidence one half
_STEP = 10.0  # degrees


@dataclass(frozen=True)
class Tile:
    """One part of the frame.

    rows, columns : where it is, slices of the image.
    kind, parameters : its likeliest blur, of "sharp" (), "motion" (length, angle), "defocus" (radius,), "gaussian" (sigma,).
    confidence : between 0 and 1, that it shows enough to tell.
    differs : whether its own blur explains it clearly better than the whole frame's.
    """

    rows: slice
    columns: slice
    kind: str
    parameters: tuple[float, ...]
    confidence: float
    differs: bool


def split(h: int, w: int) -> list[list[tuple[slice, slice]]]:
    """Rows of places of about square tiles; none if there would be one only."""
    counts = [max(1, min(_MOST, n // _SIDE)) for n in (h, w)]
    if counts == [1, 1]:
        return []
    edges = [np.linspace(0, n, c + 1).astype(int).tolist() for n, c in zip((h, w), counts, strict=True)]
    rows, columns = ([slice(a, b) for a, b in pairwise(e)] for e in edges)
    return [[(row, column) for column in columns] for row in rows]


def _grids(shape: tuple[int, ...]) -> list[tuple[str, Transfer, list[Float64Array]]]:
    side = min(shape)
    angles = np.arange(0, 180, _STEP)
    lengths = np.geomspace(3.0, side / 5, 18)
    motions = [np.stack([np.full_like(angles, length), angles], 1) for length in lengths]
    radii = np.geomspace(1.4, side / 8, 24)[:, None]
    sigmas = np.geomspace(0.8, side / 24, 16)
    return [
        ("motion", _families.TRANSFER["motion"], motions),
        ("defocus", _families.TRANSFER["defocus"], [radii]),
        ("gaussian", _families.TRANSFER["gaussian"], [np.stack([sigmas, sigmas, 0 * sigmas], 1)]),
    ]


def compare(plane: Plane, place: tuple[slice, slice], whole: Found, name: str) -> Tile:
    """The tile at a place, against the blur found for the whole frame (`name`: its family, or "sharp" or "shake" for none)."""
    rows, columns = place
    weights = None if plane.weights is None else np.ascontiguousarray(plane.weights[place])
    cells = periodogram(np.ascontiguousarray(plane.pixels[place]), weights, (_DENSITY,))
    if cells is None or cells[0].power.max() <= 0:
        return Tile(rows, columns, "unknown", (), 0.0, False)
    fit = SpectrumFit(cells[0])
    sharp = unblurred(fit)
    own, best, parameters = "sharp", sharp.cost, np.empty(0)
    for family, transfer, batches in _grids((rows.stop - rows.start, columns.stop - columns.start)):
        found, costs = scan(fit, transfer, batches)
        if costs[0] < best - (_CALM if own == "sharp" else 0):
            own, best, parameters = family, float(costs[0]), found[0]
    transfer = _families.TRANSFER["none" if own == "sharp" else own]
    theta = sharp.theta if own == "sharp" else fit.fit(transfer(fit.cells, parameters[None]))[1][0]
    own_parameters = parameters[None] if parameters.size else np.zeros((1, 1))
    share = fit.parts(transfer(fit.cells, own_parameters), theta)[1]
    cells_of_signal = float(np.sum(share > 0.5))
    confidence = 1 / (1 + (_LEAST_SIGNAL / max(cells_of_signal, 1e-9)) ** 2)
    if name in ("sharp", "shake"):
        there = sharp.cost
    else:
        there = float(fit.fit(_families.TRANSFER[name](fit.cells, whole.parameters[None]))[0][0])
    shown = parameters[:1] if own == "gaussian" else parameters
    differs = there - best > _CLEAR and name != "shake"
    return Tile(rows, columns, own, tuple(shown.tolist()), confidence, differs)
