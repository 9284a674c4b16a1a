"""A plan for every backend that runs recipes: it holds the transfer functions and feeds the planes to the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastdeblur._geometry import Frame
from fastdeblur.backends import Plane
from fastdeblur.ops import CHECKS, RECIPES, Ops

# Grid-sized real arrays alive at a recipe's peak (a half spectrum counts as one): the state and the operands of the largest
# step. Measured with tracemalloc; a backend adds what its transforms take.
_PEAK_ARRAYS = {"wiener": 4.0, "richardson_lucy": 6.0}
_MOMENTUM_ARRAYS = {"": 0, "ogm": 1, "biggs-andrews": 3}


class RecipePlan:
    """Runs recipes over ops, one plane after another."""

    def __init__(self, ops: Ops, frame: Frame, psfs: Sequence[Any]):
        self.ops = ops
        self.frame = frame
        self.otfs = [ops.otf(psf, frame) for psf in psfs]

    def run(self, method: str, params: Any, planes: Sequence[Plane]) -> None:
        solve, check = RECIPES[method], CHECKS[method]
        for plane in planes:
            check(plane, self.frame, self.ops.dtype)
        for plane in planes:
            plane.out[...] = solve(params, plane, self.otfs[plane.psf], self.frame, self.ops)


def recipe_memory(
    method: str, frame: Frame, dtype: np.dtype[Any], options: dict[str, Any], transform_arrays: float = 0.0
) -> int:
    """Bytes beyond input and output of a recipe's run: grid-sized arrays dominate it."""
    arrays = _PEAK_ARRAYS[method] + transform_arrays + options.get("psfs", 1) - 1
    if method == "richardson_lucy":
        arrays += _MOMENTUM_ARRAYS[options.get("acceleration") or ""]
        if options.get("weights", False):
            arrays += 4  # W y in the frame and on the grid, W, H^T W
        elif not frame.fills_grid:
            arrays += 3
        elif frame.grid != frame.shape:
            arrays += 1
    return int(arrays * frame.pixels * dtype.itemsize)
