"""nafnet: a blind network of gated blocks without other nonlinearities."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from fastdeblur.train.models.naf import NAFU


class NAFNet(nn.Module):
    """Image (N, C, H, W) in 0..1 to the same; height and width multiples of 2^len(down).

    Parameters
    ----------
    channels : of the image.
    width : channels at the full size.
    down, middle, up, window : as in `NAFU`.

    At the start the network returns its input: the last layer is 0.

    Source: Chen et al. 2022, doi:10.1007/978-3-031-20071-7_2.
    """

    takes_psf = False
    scale, offset = 1.0, 0.0

    def __init__(
        self,
        channels: int = 3,
        width: int = 16,
        down: Sequence[int] = (0, 1, 1),
        middle: int = 4,
        up: Sequence[int] = (0, 1, 1),
        window: int | None = 192,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.multiple_of = 1 << len(down)
        self.intro = nn.Conv2d(channels, width, 3, padding=1)
        self.body = NAFU(width, down, middle, up, window)
        self.ending = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.zeros_(self.ending.weight)
        nn.init.zeros_(self.ending.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.ending(self.body(self.intro(x)))
