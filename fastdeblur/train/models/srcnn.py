"""srcnn: three convolutions, 9x9, 1x1 and 5x5."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SRCNN(nn.Module):
    """Image (N, C, H, W) in 0..1 to the same.

    Parameters
    ----------
    channels : of the image.
    widths : channels after the first and the second convolution.

    The input is added to the result, which the original does not do, and the last layer starts at 0: three layers then need to
    learn only what is missing.

    Source: Dong, Loy, He and Tang 2016, doi:10.1109/TPAMI.2015.2439281.
    """

    takes_psf = False
    scale, offset = 1.0, 0.0
    multiple_of = 1

    def __init__(self, channels: int = 1, widths: Sequence[int] = (64, 32)) -> None:
        super().__init__()
        self.channels = channels
        first, second = widths
        self.patches = nn.Conv2d(channels, first, 9, padding=4, padding_mode="reflect")
        self.mapping = nn.Conv2d(first, second, 1)
        self.rebuild = nn.Conv2d(second, channels, 5, padding=2, padding_mode="reflect")
        with torch.no_grad():
            self.rebuild.weight.zero_()
            self.rebuild.bias.zero_()  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.patches(x))
        y = torch.relu(self.mapping(y))
        return x + self.rebuild(y)
