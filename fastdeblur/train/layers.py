"""Layers that PyTorch lacks, each one operation of the model file (``docs/model-format.md``)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fastdeblur._geometry import Frame, axis_map
from fastdeblur.nets.reference import grid_length


class LayerNorm2d(nn.Module):
    """``layer_norm``: over the channels of each pixel. (N, C, H, W) to the same."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        # In the channels-last memory format both permutations are views.
        y = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps)
        return y.permute(0, 3, 1, 2)


class SimpleGate(nn.Module):
    """``simple_gate``: the first half of the channels times the second half."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1)
        return first * second


class Scale(nn.Module):
    """``scale``: one factor per channel."""

    def __init__(self, channels: int, start: float = 0.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), start))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale[:, None, None]


class ChannelAttention(nn.Module):
    """``channel_attention`` without a squeeze: x times (W p + b), p the mean of x over the frame or a window around each pixel.

    Training crops are smaller than photos, and a mean over a whole photo tells less about a place in it than the mean over a crop
    did. ``window`` (rows, columns; None for the whole frame) therefore holds when evaluating only. Its means change little from
    pixel to pixel: they are taken at every ``step``-th, and the factors between are interpolated.

    Source: Chen et al. 2022, doi:10.1007/978-3-031-20071-7_2; the window: Chu et al. 2022, doi:10.1007/978-3-031-20071-7_4.
    """

    def __init__(
        self, channels: int, window: tuple[int, int] | None = None, step: tuple[int, int] = (1, 1)
    ) -> None:
        super().__init__()
        if window is None and tuple(step) != (1, 1):
            raise ValueError(f"step: expected (1, 1) without a window, got {step}")
        self.window = window
        self.step = step
        self.weight = nn.Parameter(torch.empty(channels, channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        if self.window is None or self.training:
            pooled = x.mean(dim=(2, 3), keepdim=True)
        else:
            pooled = local_mean(x, self.window, self.step)
        factors = F.conv2d(pooled, self.weight[:, :, None, None], self.bias)
        for axis, step in zip((2, 3), self.step, strict=True):
            factors = _between(factors, axis, x.shape[axis], step)
        return x * factors


def _between(x: Tensor, axis: int, n: int, step: int) -> Tensor:
    """Values for n pixels of those for every step-th of them."""
    if step == 1 or x.shape[axis] == 1:
        return x
    at = torch.arange(n, device=x.device)
    share = (at % step / step).to(x.dtype).reshape([-1 if a == axis else 1 for a in range(4)])
    low = x.index_select(axis, at // step)
    high = x.index_select(axis, (at // step + 1).clamp_max(x.shape[axis] - 1))
    return low + share * (high - low)


def local_mean(x: Tensor, window: tuple[int, int], step: tuple[int, int] = (1, 1)) -> Tensor:
    """The mean over the window around every step-th pixel, which is moved inside the frame; one for all where it takes all."""
    for axis, size, stride in zip((2, 3), window, step, strict=True):
        n = x.shape[axis]
        if size >= n:
            x = x.mean(dim=axis, keepdim=True)
            continue
        # float64: a running sum over a large frame would lose the mean's last digits in float32.
        total = torch.cumsum(x.double(), dim=axis)
        total = torch.cat([torch.zeros_like(total.narrow(axis, 0, 1)), total], dim=axis)
        places = torch.arange(grid_length(n, stride), device=x.device) * stride
        first = (places - size // 2).clamp(0, n - size)
        x = ((total.index_select(axis, first + size) - total.index_select(axis, first)) / size).to(x.dtype)
    return x


class WienerLayer(nn.Module):
    """``fft_wiener``: every channel deblurred with the caller's PSF, as by `fastdeblur.wiener`; learns one balance per channel.

    Parameters
    ----------
    log_balance : one per channel; the balance is exp(log_balance), times (noise / 0.01)^2 where a noise is given.
    boundary : "reflect", "edge", "zero" or "periodic".
    reg : "identity" or "laplacian".

    Called with x (N, C, H, W), psf (N, h, w) or (h, w) with origin at ``shape // 2``, normalised here, and noise (N,), a number or
    None. The frame's extension and the FFT grid are the library's own.
    """

    def __init__(self, log_balance: Tensor, boundary: str = "reflect", reg: str = "identity") -> None:
        super().__init__()
        self.log_balance = nn.Parameter(log_balance.detach().clone().float())
        self.boundary = boundary
        self.reg = reg

    def forward(self, x: Tensor, psf: Tensor, noise: Tensor | float | None = None) -> Tensor:
        # Half precision has too few digits for a quotient of spectra, and no FFT for most lengths.
        with torch.autocast(x.device.type, enabled=False):
            return self._deblurred(x.float() if x.dtype in (torch.float16, torch.bfloat16) else x, psf, noise)

    def _deblurred(self, x: Tensor, psf: Tensor, noise: Tensor | float | None) -> Tensor:
        height, width = x.shape[-2:]
        frame = Frame.of((height, width), (psf.shape[-2], psf.shape[-1]), self.boundary)
        otf = _otf((psf if psf.ndim == 3 else psf[None]).to(x.dtype), frame)[:, None]
        balance = torch.exp(self.log_balance)[None, :, None, None]
        if noise is not None:
            level = torch.as_tensor(noise, dtype=x.dtype, device=x.device).reshape(-1, 1, 1, 1)
            balance = balance * (level / 0.01) ** 2
        power = 1.0 if self.reg == "identity" else _laplacian_power(frame.grid, str(x.device), x.dtype)
        spectrum = torch.fft.rfft2(_extended(x, frame))
        gain = 1.0 / (otf.real**2 + otf.imag**2 + balance * power).clamp_min(torch.finfo(x.dtype).tiny)
        result = torch.fft.irfft2(spectrum * (otf.conj() * gain), s=frame.grid)
        return result[..., :height, :width].to(memory_format=torch.channels_last)


def _otf(psf: Tensor, frame: Frame) -> Tensor:
    """Half spectra of PSFs (N, h, w), the origin at index 0 of the grid."""
    height, width = psf.shape[-2:]
    psf = psf / psf.sum(dim=(-2, -1), keepdim=True)
    rows, columns = frame.grid
    # A PSF may be larger than a periodic grid, on which it folds.
    folded_height, folded_width = -height % rows + height, -width % columns + width
    whole = F.pad(psf, (0, folded_width - width, 0, folded_height - height))
    whole = whole.reshape(-1, folded_height // rows, rows, folded_width // columns, columns).sum(dim=(1, 3))
    return torch.fft.rfft2(torch.roll(whole, (-(height // 2), -(width // 2)), (-2, -1)))


def _extended(x: Tensor, frame: Frame) -> Tensor:
    """The frame on its grid, with what stands around it."""
    for axis, n, grid in zip((2, 3), frame.shape, frame.grid, strict=True):
        if grid == n:
            continue
        first, second, weight_1, weight_2 = _axis(n, grid, frame.boundary, str(x.device), x.dtype)
        shape = (1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1)
        beyond = x.index_select(axis, first) * weight_1.reshape(shape)
        beyond = beyond + x.index_select(axis, second) * weight_2.reshape(shape)
        x = torch.cat([x, beyond], dim=axis)
    return x.contiguous()


@lru_cache(maxsize=256)
def _axis(n: int, grid: int, boundary: str, device: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
    axis = axis_map(n, grid, boundary)
    return (
        torch.from_numpy(axis.first).to(device),
        torch.from_numpy(axis.second).to(device),
        torch.from_numpy(axis.first_weight).to(device, dtype),
        torch.from_numpy(axis.second_weight).to(device, dtype),
    )


@lru_cache(maxsize=64)
def _laplacian_power(grid: tuple[int, ...], device: str, dtype: torch.dtype) -> Tensor:
    """|R|^2 of the five-point Laplacian on the half spectrum, (rows, columns // 2 + 1)."""
    rows = 2.0 - 2.0 * np.cos(2.0 * np.pi * np.arange(grid[0]) / grid[0])
    columns = 2.0 - 2.0 * np.cos(2.0 * np.pi * np.arange(grid[1] // 2 + 1) / grid[1])
    return torch.from_numpy((rows[:, None] + columns) ** 2).to(device, dtype)
