"""A run's state in a file: whole or not there, so that a run can be killed at any moment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from fastdeblur.errors import InvalidArgument

FORMAT = 1


def save(state: dict[str, Any], path: Path) -> None:
    """Write beside the file, then take its place."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        torch.save({"format": FORMAT, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load(path: Path, identity: str) -> dict[str, Any] | None:
    """The state, or None if there is none. Nothing in the file is executed."""
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever PyTorch makes of bytes that are no checkpoint
        raise InvalidArgument(
            f"out: expected a checkpoint in {path}, got a file that cannot be read ({error})"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise InvalidArgument(f"out: expected a checkpoint of format {FORMAT} in {path}, got another")
    if state["identity"] != identity:
        raise InvalidArgument(
            f"config: expected the configuration that {path} was trained with (only steps, validation, card and workers may "
            f"change); use another output folder to begin anew"
        )
    return state
