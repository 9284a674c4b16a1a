"""Training of the networks that `fastdeblur.nets` runs. Needs PyTorch: ``pip install fastdeblur[train]``.

``load_config`` reads a configuration, ``train`` follows it; the ``fastdeblur train`` command is both in one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fastdeblur.errors import Unsupported
from fastdeblur.train.config import Config, load_config, parse_config

if TYPE_CHECKING:
    from fastdeblur.nets import Model
    from fastdeblur.train.run import Progress

__all__ = ["CONFIGS", "Config", "load_config", "parse_config", "train"]

CONFIGS = Path(__file__).parent / "configs"


def train(
    config: Config,
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] = ".",
    device: str = "auto",
    on_step: Callable[[Progress], None] | None = None,
) -> Model:
    """Train a network, or go on training it.

    Parameters
    ----------
    config : Config
        From `load_config` or `parse_config`.
    out : path
        Folder of the run, made if need be: ``state.pt`` (the checkpoint), ``history.json``, ``samples-*.png``, and at the end
        ``NAME.safetensors`` and its card ``NAME.md``. Where it holds a checkpoint of the same configuration, the run goes on from
        there; on one machine's CPU it ends with the very weights of a run that was never interrupted.
    data : path
        Relative folders in the configuration are below it.
    device : "auto", "cpu" or "cuda"
        "auto" takes CUDA where PyTorch finds it.
    on_step : callable, optional
        Called with a `Progress` after each step. An exception of its own ends the run; the next goes on from the last checkpoint.

    Returns
    -------
    Model
        The network as `fastdeblur.nets.load` gives it.

    Raises
    ------
    InvalidArgument
        The configuration does not fit the data, the device or the folder's checkpoint; raised before any work.
    Unsupported
        PyTorch or Pillow is not installed.
    """
    try:
        import PIL  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise Unsupported(f"training needs {error.name}: pip install 'fastdeblur[train]'") from error
    from fastdeblur.train.export import export
    from fastdeblur.train.run import Run

    run = Run(config, Path(data), Path(out), device)
    run.train(on_step)
    return export(run)
