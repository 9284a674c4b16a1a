"""The moving average of the weights, which is better than the weights of any one step."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Average:
    """Exponential moving average of a module's state. Early on the past counts for less, so that the first weights are forgotten.

    Source: Polyak and Juditsky 1992, doi:10.1137/0330046.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """After step number ``step`` (from 0)."""
        keep = min(self.decay, (1 + step) / (10 + step))
        for name, value in module.state_dict().items():
            _lerp(self.state[name], value, 1 - keep)


def _lerp(kept: Tensor, value: Tensor, share: float) -> None:
    if kept.is_floating_point():
        kept.lerp_(value, share)
    else:
        kept.copy_(value)
