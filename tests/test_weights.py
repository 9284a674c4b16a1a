"""The weights that the package comes with: half precision, and small enough to be in every wheel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import fastdeblur

FILES = sorted((Path(fastdeblur.__file__).parent / "nets" / "weights").glob("*.safetensors"))


def test_they_are_at_most_8_mb():
    assert FILES
    assert sum(path.stat().st_size for path in FILES) <= 8e6


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_they_are_float16(path):
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    assert header
    assert {entry["dtype"] for entry in header.values()} == {"F16"}
