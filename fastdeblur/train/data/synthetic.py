"""Sharp photos, blurred on the fly."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fastdeblur._light import decode, encode
from fastdeblur.train.config import Degradation, PSFs
from fastdeblur.train.data.batch import Batch
from fastdeblur.train.data.folders import Images
from fastdeblur.train.data.psfs import draw_psfs


class Synthetic:
    """Batch k of a seed: crops of photos, each blurred with a PSF of its own, and by light from beyond the crop, as a camera's.

    Where the blur varies over a crop, its PSF is that of the part where `border` is 0.
    """

    def __init__(
        self,
        images: Images,
        psfs: Sequence[PSFs],
        degradation: Degradation,
        *,
        crop: int,
        batch: int,
        seed: int,
    ) -> None:
        self.images = images
        self.psfs = psfs
        self.degradation = degradation
        self.crop = crop
        self.batch = batch
        self.seed = seed

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step])
        how = self.degradation
        kernels = draw_psfs(self.psfs, rng, self.batch)
        size = self.crop + kernels.shape[-1] - 1
        whole = np.stack([self._crop(rng, size) for _ in range(self.batch)])
        linear = _chosen(rng, how.linear, self.batch)
        light = whole.copy()
        light[linear] = decode(whole[linear], how.gamma)
        lift = np.where(rng.random(self.batch) < how.saturated, rng.uniform(1.0, 4.0, self.batch), 1.0)
        light = np.where(
            light > 0.8, 0.8 + (light - 0.8) * lift.astype(np.float32)[:, None, None, None], light
        )
        radius = kernels.shape[-1] // 2
        inner = (..., slice(radius, radius + self.crop), slice(radius, radius + self.crop))
        psf = torch.from_numpy(kernels)
        blurred = convolve_valid(torch.from_numpy(light), psf).numpy()
        for k in np.flatnonzero(_chosen(rng, how.varying, self.batch)).tolist():
            elsewhere = convolve_valid(
                torch.from_numpy(light[k : k + 1]), torch.from_numpy(_another(rng, kernels, k))
            )
            share = border(rng, self.crop)
            blurred[k] += share * (elsewhere.numpy()[0] - blurred[k])
        blurred, sharp = np.clip(blurred, 0.0, 1.0), np.clip(light[inner], 0.0, 1.0)
        for array in (blurred, sharp):
            array[linear] = encode(array[linear], how.gamma)
        noise = _between(rng, how.noise, self.batch)
        blurred = blurred + noise[:, None, None, None] * rng.standard_normal(blurred.shape, dtype=np.float32)
        stored = rng.random(self.batch) < how.jpeg
        quality = rng.integers(how.jpeg_quality[0], how.jpeg_quality[1] + 1, self.batch)
        for k in np.flatnonzero(stored).tolist():
            blurred[k] = as_jpeg(blurred[k], int(quality[k]))
        return Batch(
            torch.from_numpy(blurred.astype(np.float32)),
            torch.from_numpy(np.ascontiguousarray(sharp, np.float32)),
            psf,
            torch.from_numpy(noise),
        )

    def _crop(self, rng: np.random.Generator, size: int) -> NDArray[np.float32]:
        """(channels, size, size) in 0..1."""
        if rng.random() < self.degradation.reduced:
            crop = self.images.crop(rng, 2 * size).astype(np.float32)
            crop = crop.reshape(size, 2, size, 2, -1).mean(axis=(1, 3), dtype=np.float32)
        else:
            crop = self.images.crop(rng, size).astype(np.float32)
        return crop.transpose(2, 0, 1) / np.float32(255)


def convolve_valid(images: Tensor, psf: Tensor) -> Tensor:
    """Images (N, C, H, W) convolved with PSFs (N, h, w) of odd size, where these fit: (N, C, H - h + 1, W - w + 1)."""
    height, width = images.shape[-2:]
    rows, columns = psf.shape[-2:]
    transfer = torch.fft.rfft2(F.pad(psf, (0, width - columns, 0, height - rows)))[:, None]
    whole = torch.fft.irfft2(torch.fft.rfft2(images) * transfer, s=(height, width))
    return whole[..., rows - 1 :, columns - 1 :]


def border(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """(size, size), 0 on one side of a line through the frame, 1 on the other; between them an edge or a slope."""
    y, x = np.indices((size, size)) - rng.uniform(0.2, 0.8, 2)[:, None, None] * size
    angle, width = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(0, np.log(size / 2)))
    across = (np.cos(angle) * x + np.sin(angle) * y) / width
    share: NDArray[np.float32] = (0.5 + 0.5 * np.tanh(across)).astype(np.float32)
    return share


def as_jpeg(image: NDArray[np.float32], quality: int) -> NDArray[np.float32]:
    """(C, H, W) in 0..1 through a JPEG file."""
    from PIL import Image

    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    store = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(store, "JPEG", quality=quality)
    with Image.open(store) as stored:
        read: NDArray[np.uint8] = np.asarray(stored)
    return read.reshape(pixels.shape).transpose(2, 0, 1).astype(np.float32) / np.float32(255)


def _chosen(rng: np.random.Generator, share: float, n: int) -> NDArray[np.bool_]:
    """n times yes with that probability; draws nothing where it is 0 or 1."""
    return np.full(n, share == 1) if share in (0, 1) else rng.random(n) < share


def _another(rng: np.random.Generator, kernels: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """(1, h, w): that of the pair after k, or none at all."""
    kernel = np.zeros_like(kernels[:1])
    if rng.random() < 1 / 3:
        kernel[0, kernels.shape[1] // 2, kernels.shape[2] // 2] = 1
    else:
        kernel[0] = kernels[(k + 1) % len(kernels)]
    return kernel


def _between(rng: np.random.Generator, span: tuple[float, float], n: int) -> NDArray[np.float32]:
    low, high = span
    if low <= 0:
        return rng.uniform(low, high, n).astype(np.float32)
    return np.exp(rng.uniform(np.log(low), np.log(high), n)).astype(np.float32)
