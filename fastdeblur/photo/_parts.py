"""Parts of a photo that are sharp though the rest is blurred: what moved with the camera, or what the lens was focused on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastdeblur.photo._numbers import FloatArray
from fastdeblur.photo._plausible import mean_around


def blurred_part(height: int, width: int, tiles: NDArray[np.object_]) -> FloatArray:
    """(H, W) in [0, 1]: 0 in the tiles that are sharp though the whole is not, with soft edges."""
    result = np.ones((height, width), np.float32)
    reach = (0, 0)
    for tile in tiles.ravel().tolist():
        if tile.differs and tile.kind == "sharp":
            result[tile.rows, tile.columns] = 0
            reach = ((tile.rows.stop - tile.rows.start) // 4, (tile.columns.stop - tile.columns.start) // 4)
    softened: FloatArray = mean_around(result, reach).astype(np.float32)
    return softened
