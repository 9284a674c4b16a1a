"""A plan for every backend that runs recipes: it holds the transfer functions and feeds the planes to the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastdeblur._geometry import Frame
from fastdeblur.backends import Plane
from fastdeblur.ops import CHECKS, RECIPES, Ops

# Grid-sized real arrays alive at a recipe's peak (a half spectrum counts as one): the state, the operands of the largest
# step, and the copy that the transform works on. Measured with tracemalloc on the NumPy backend.
_PEAK_ARRAYS = {"wiener": 6.0, "richardson_lucy": 8.0}


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


def recipe_memory(method: str, frame: Frame, dtype: np.dtype[Any], options: dict[str, Any]) -> int:
    """Bytes beyond input and output of a recipe's run: grid-sized arrays dominate it."""
    arrays = _PEAK_ARRAYS[method] + 3 * bool(options.get("acceleration")) + options.get("weights", False)
    return int((arrays + options.get("psfs", 1) - 1) * frame.pixels * dtype.itemsize)
