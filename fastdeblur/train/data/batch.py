"""What every source of training pairs gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Pairs of images in 0..1.

    blurred, sharp : (N, C, H, W) float32. psf : (N, h, w), or None where it is not known. noise : (N,), the standard deviation of
    the noise in blurred, 0 where it is not known.
    """

    blurred: Tensor
    sharp: Tensor
    psf: Tensor | None
    noise: Tensor

    def to(self, device: torch.device) -> Batch:
        moved = {name: value.to(device) for name, value in vars(self).items() if value is not None}
        for name in ("blurred", "sharp"):
            moved[name] = moved[name].contiguous(memory_format=torch.channels_last)
        return replace(self, **moved)


class Source(Protocol):
    """A sequence of batches without end; batch k is always the same (but for rounding with another number of threads)."""

    def __getitem__(self, step: int) -> Batch: ...
