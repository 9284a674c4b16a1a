"""dwdn: a Wiener filter in the space of learned features, then a small network on several scales."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fastdeblur.train.layers import WienerLayer
from fastdeblur.train.models.naf import NAFU

# Derivatives of an image on 5x5 pixels, each with sum of squares near 1 in response to a photo's contrast.
_DERIVATIVES = {
    "x": ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, -1, 0, 1, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
    "y": ((0, 0, 0, 0, 0), (0, 0, -1, 0, 0), (0, 0, 0, 0, 0), (0, 0, 1, 0, 0), (0, 0, 0, 0, 0)),
    "down": ((0, 0, 0, 0, 0), (0, -1, 0, 0, 0), (0, 0, 0, 0, 0), (0, 0, 0, 1, 0), (0, 0, 0, 0, 0)),
    "up": ((0, 0, 0, 0, 0), (0, 0, 0, 1, 0), (0, 0, 0, 0, 0), (0, -1, 0, 0, 0), (0, 0, 0, 0, 0)),
    "xx": ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 1, -2, 1, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
    "yy": ((0, 0, 0, 0, 0), (0, 0, 1, 0, 0), (0, 0, -2, 0, 0), (0, 0, 1, 0, 0), (0, 0, 0, 0, 0)),
}
_IDENTITY_BALANCES = (0.02, 0.0005, 0.004, 0.1)
_DERIVATIVE_BALANCES = (0.01, 0.001)


class DWDN(nn.Module):
    """Blurred image (N, 1, H, W) in 0..1, psf (N, h, w) and noise (N,) to the sharp image; sizes multiples of 2^len(down).

    The features are linear in the image, so that they are blurred by the same PSF. At the start some are the image itself under
    several balances and the others its derivatives, and the network returns the Wiener filter's result: the last layer is 0.

    Parameters
    ----------
    width : channels at the full size.
    down, middle, up, window : as in `NAFU`.

    Source: Dong, Roth and Schiele 2020, arXiv:2103.09962.
    """

    takes_psf = True
    scale, offset = 1.0, 0.0
    channels = 1

    def __init__(
        self,
        width: int = 16,
        down: Sequence[int] = (0, 2),
        middle: int = 4,
        up: Sequence[int] = (0, 2),
        window: int | None = 192,
    ) -> None:
        super().__init__()
        filters, balances = _first_features()
        count = len(filters)
        self.multiple_of = 1 << len(down)
        self.features = nn.Conv2d(1, count, 5, padding=2, padding_mode="reflect", bias=False)
        self.features.weight = nn.Parameter(filters)
        self.wiener = WienerLayer(balances.log(), reg="laplacian")
        self.plain = nn.Conv2d(count, 1, 1, bias=False)
        self.intro = nn.Conv2d(count, width, 3, padding=1)
        self.body = NAFU(width, down, middle, up, window)
        self.ending = nn.Conv2d(width, 1, 3, padding=1)
        with torch.no_grad():
            self.plain.weight.zero_()[0, 0] = 1
            self.ending.weight.zero_()
            self.ending.bias.zero_()  # type: ignore[union-attr]

    def forward(self, x: Tensor, psf: Tensor, noise: Tensor | float | None = None) -> Tensor:
        found = self.wiener(self.features(x), psf, noise)
        # Not the blurred image: a PSF whose centroid is off its origin moves it away from the sharp one.
        return self.plain(found) + self.ending(self.body(self.intro(found)))


def _first_features() -> tuple[Tensor, Tensor]:
    """Filters (C, 1, 5, 5) and balances (C,)."""
    identity = torch.zeros(5, 5)
    identity[2, 2] = 1
    filters = [identity] * len(_IDENTITY_BALANCES)
    balances = list(_IDENTITY_BALANCES)
    for balance in _DERIVATIVE_BALANCES:
        filters += [torch.tensor(rows, dtype=torch.float32) * math.sqrt(2) for rows in _DERIVATIVES.values()]
        balances += [balance] * len(_DERIVATIVES)
    return torch.stack(filters)[:, None], torch.tensor(balances)
