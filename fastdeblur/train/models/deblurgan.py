"""deblurgan: a U of convolutions with instance norm, and the critic that it is trained against."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DeblurGAN(nn.Module):
    """Image (N, 3, H, W) in -1..1 to the same; height and width multiples of 4.

    Parameters
    ----------
    width : channels at the full size, two and four times as many on the two smaller scales.
    blocks : residual blocks on the smallest scale.
    channels : of the image.

    Source: Kupyn et al. 2018, doi:10.1109/CVPR.2018.00854; the skips: Ronneberger, Fischer and Brox 2015,
    doi:10.1007/978-3-319-24574-4_28.
    """

    takes_psf = False
    multiple_of = 4
    scale, offset = 2.0, -1.0

    def __init__(self, width: int = 16, blocks: int = 2, channels: int = 3) -> None:
        super().__init__()
        self.channels = channels
        self.intro = nn.Sequential(nn.Conv2d(channels, width, 7, padding=3), _norm(width), nn.ReLU())
        self.down_1 = _down(width)
        self.down_2 = _down(2 * width)
        self.blocks = nn.Sequential(*(Residual(4 * width) for _ in range(blocks)))
        self.up_2 = _up(4 * width)
        self.up_1 = _up(2 * width)
        self.ending = nn.Conv2d(width, channels, 7, padding=3)
        with torch.no_grad():
            self.ending.weight.zero_()
            self.ending.bias.zero_()  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        full = self.intro(x)
        half = self.down_1(full)
        y = self.blocks(self.down_2(half))
        y = self.up_2(y) + half
        y = self.up_1(y) + full
        return x + torch.tanh(self.ending(y))


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            _norm(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            _norm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Critic(nn.Module):
    """How sharp each patch of an image (N, C, H, W) looks, (N, 1, h, w); trained as the critic of a WGAN.

    Without batch statistics, as the gradient penalty needs: each image's score must depend on that image alone.

    Source: Isola, Zhu, Zhou and Efros 2017, doi:10.1109/CVPR.2017.632; Gulrajani et al. 2017, arXiv:1704.00028.
    """

    def __init__(self, width: int = 32, channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        previous = channels
        for k in range(3):
            layers += [nn.Conv2d(previous, width << k, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            previous = width << k
        self.body = nn.Sequential(*layers, nn.Conv2d(previous, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.body(x)
        return result


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Mean of (|gradient of the critic| - 1)^2 at mix * real + (1 - mix) * fake; mix: (N, 1, 1, 1) in 0..1."""
    between = (mix * real + (1 - mix) * fake).detach().requires_grad_()
    scores = critic(between).mean(dim=(1, 2, 3)).sum()
    (gradient,) = torch.autograd.grad(scores, between, create_graph=True)
    return ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()


def _norm(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True)


def _down(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1), _norm(2 * channels), nn.ReLU()
    )


def _up(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1), _norm(channels // 2), nn.ReLU()
    )
