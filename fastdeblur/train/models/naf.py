"""The block of NAFNet, and a U of such blocks: what `nafnet` and `dwdn` are made of."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from fastdeblur.train.layers import ChannelAttention, LayerNorm2d, Scale, SimpleGate


class NAFBlock(nn.Module):
    """Two gated residual branches; 6 C^2 + 18 C multiply-adds per pixel.

    Source: Chen et al. 2022, doi:10.1007/978-3-031-20071-7_2.
    """

    def __init__(self, channels: int, window: tuple[int, int] | None) -> None:
        super().__init__()
        step = (1, 1) if window is None else (max(window[0] // 4, 1), max(window[1] // 4, 1))
        self.mix = nn.Sequential(
            LayerNorm2d(channels),
            nn.Conv2d(channels, 2 * channels, 1),
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels),
            SimpleGate(),
            ChannelAttention(channels, window, step),
            nn.Conv2d(channels, channels, 1),
            Scale(channels),
        )
        self.feed = nn.Sequential(
            LayerNorm2d(channels),
            nn.Conv2d(channels, 2 * channels, 1),
            SimpleGate(),
            nn.Conv2d(channels, channels, 1),
            Scale(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix(x)
        return x + self.feed(x)


class NAFU(nn.Module):
    """Blocks on several scales, each of half the size and twice the channels, joined by sums.

    Parameters
    ----------
    channels : at the full size.
    down, up : number of blocks on each scale on the way down and up, the largest scale first.
    middle : number of blocks on the smallest scale.
    window : of the blocks' channel attention when evaluating, in pixels at the full size; None for the whole frame.
    """

    def __init__(
        self, channels: int, down: Sequence[int], middle: int, up: Sequence[int], window: int | None
    ) -> None:
        super().__init__()

        def blocks(level: int, count: int) -> nn.Sequential:
            size = None if window is None else (max(window >> level, 1),) * 2
            return nn.Sequential(*(NAFBlock(channels << level, size) for _ in range(count)))

        levels = len(down)
        self.encoders = nn.ModuleList(blocks(level, count) for level, count in enumerate(down))
        self.downs = nn.ModuleList(
            nn.Conv2d(channels << level, channels << (level + 1), 2, stride=2) for level in range(levels)
        )
        self.middle = blocks(levels, middle)
        self.ups = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels << (level + 1), channels << (level + 2), 1, bias=False), nn.PixelShuffle(2)
            )
            for level in range(levels)
        )
        self.decoders = nn.ModuleList(blocks(level, count) for level, count in enumerate(up))

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            skips.append(x)
            x = down(x)
        x = self.middle(x)
        for level in range(len(skips) - 1, -1, -1):
            x = self.decoders[level](self.ups[level](x) + skips[level])
        return x
