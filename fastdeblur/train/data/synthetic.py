"""Sharp photos, blurred on the fly."""

from __future__ import annotations

import io

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
    """Batch k of a seed: crops of photos, each blurred with a PSF of its own, and by light from beyond the crop, as a camera's."""

    def __init__(
        self,
        images: Images,
        psfs: PSFs,
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
        light = decode(whole, how.gamma)
        lift = np.where(rng.random(self.batch) < how.saturated, rng.uniform(1.0, 4.0, self.batch), 1.0)
        light = np.where(
            light > 0.8, 0.8 + (light - 0.8) * lift.astype(np.float32)[:, None, None, None], light
        )
        radius = kernels.shape[-1] // 2
        inner = (..., slice(radius, radius + self.crop), slice(radius, radius + self.crop))
        psf = torch.from_numpy(kernels)
        blurred = convolve_valid(torch.from_numpy(light), psf).numpy()
        blurred, sharp = (
            encode(np.clip(array, 0.0, 1.0), how.gamma) if clip else array
            for array, clip in ((blurred, True), (np.clip(light[inner], 0.0, 1.0), False))
        )
        sharp = encode(sharp, how.gamma)
        noise = _between(rng, how.noise, self.batch)
        blurred = blurred + noise[:, None, None, None] * rng.standard_normal(blurred.shape, dtype=np.float32)
        stored = rng.random(self.batch) < how.jpeg
        quality = rng.integers(how.jpeg_quality[0], how.jpeg_quality[1] + 1, self.batch)
        for k in np.flatnonzero(stored):
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


def as_jpeg(image: NDArray[np.float32], quality: int) -> NDArray[np.float32]:
    """(C, H, W) in 0..1 through a JPEG file."""
    from PIL import Image

    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    store = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(store, "JPEG", quality=quality)
    with Image.open(store) as stored:
        read: NDArray[np.uint8] = np.asarray(stored)
    return read.reshape(pixels.shape).transpose(2, 0, 1).astype(np.float32) / np.float32(255)


def _between(rng: np.random.Generator, span: tuple[float, float], n: int) -> NDArray[np.float32]:
    low, high = span
    if low <= 0:
        return rng.uniform(low, high, n).astype(np.float32)
    return np.exp(rng.uniform(np.log(low), np.log(high), n)).astype(np.float32)
