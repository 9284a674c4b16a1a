"""A picture of what a network does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur.train.metrics import psnr

_GAP = 4


def write_sheet(rows: Sequence[Sequence[NDArray[Any]]], path: Path) -> None:
    """A PNG with one row for each pair: blurred, restored, sharp; (H, W, C) in 0..1, each with its PSNR against the last."""
    from PIL import Image, ImageDraw

    height = max(image.shape[0] for row in rows for image in row)
    width = max(image.shape[1] for row in rows for image in row)
    columns = max(len(row) for row in rows)
    size = (columns * (width + _GAP) - _GAP, len(rows) * (height + _GAP) - _GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
            place = (j * (width + _GAP), i * (height + _GAP))
            sheet.paste(Image.fromarray(np.repeat(pixels, 3 // pixels.shape[2], axis=2)), place)
            if j < len(row) - 1:
                text = f"{psnr(image, row[-1]):.2f} dB"
                draw.text(
                    (place[0] + 4, place[1] + 2), text, fill="yellow", stroke_width=1, stroke_fill="black"
                )
    part = path.with_name(path.name + ".part")
    sheet.save(part, "PNG", optimize=True)
    part.replace(path)
