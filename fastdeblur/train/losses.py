"""What a network is trained to make small. Every term is a mean over the batch of images (N, C, H, W) in 0..1."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fastdeblur.errors import InvalidArgument
from fastdeblur.train.config import Loss

# Mean and standard deviation of the photos that VGG16 was trained on, per channel.
_VGG_MEAN = (0.485, 0.456, 0.406)
_VGG_STD = (0.229, 0.224, 0.225)


def psnr(found: Tensor, sharp: Tensor) -> Tensor:
    """Minus the PSNR in decibel, each image for itself, so that each counts as it does in a table of PSNRs.

    A floor of 1e-6 under the mean square, 60 dB, keeps images without any detail from taking over.
    """
    error = ((found - sharp) ** 2).mean(dim=(1, 2, 3))
    return (10 / math.log(10)) * torch.log(error + 1e-6).mean()


def l1(found: Tensor, sharp: Tensor) -> Tensor:
    return (found - sharp).abs().mean()


def charbonnier(found: Tensor, sharp: Tensor) -> Tensor:
    """sqrt(d^2 + 1e-6), a smooth L1. Source: Charbonnier et al. 1994, doi:10.1109/ICIP.1994.413553."""
    return torch.sqrt((found - sharp) ** 2 + 1e-6).mean()


def frequency(found: Tensor, sharp: Tensor) -> Tensor:
    """L1 between the orthonormal spectra. Source: Cho et al. 2021, doi:10.1109/ICCV48922.2021.00460."""
    difference = torch.fft.rfft2((found - sharp).float(), norm="ortho")
    return torch.view_as_real(difference).abs().mean()


class Perceptual(nn.Module):
    """Mean square between VGG16's features relu3_3. Source: Johnson et al. 2016, doi:10.1007/978-3-319-46475-6_43.

    file : a state dict of torchvision's VGG16 (``features.0.weight``, ...), as .pth or .safetensors.
    """

    _PLAN = (64, 64, "pool", 128, 128, "pool", 256, 256, 256)

    def __init__(self, file: Path) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        previous = 3
        for width in self._PLAN:
            if isinstance(width, str):
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(previous, width, 3, padding=1), nn.ReLU()]
                previous = width
        self.features = nn.Sequential(*layers)
        wanted = self.features.state_dict()
        given = _read_weights(file)
        for name, value in wanted.items():
            tensor = given.get(f"features.{name}")
            if tensor is None or tensor.shape != value.shape:
                raise InvalidArgument(
                    f"loss.vgg16: expected VGG16's weights with features.{name} of shape {tuple(value.shape)}, got {file}"
                )
        self.features.load_state_dict({name: given[f"features.{name}"] for name in wanted})
        self.requires_grad_(False)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(_VGG_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(_VGG_STD)[:, None, None])

    def forward(self, found: Tensor, sharp: Tensor) -> Tensor:
        difference = self._of(found) - self._of(sharp)
        return (difference**2).mean()

    def _of(self, x: Tensor) -> Tensor:
        result: Tensor = self.features((x.expand(-1, 3, -1, -1) - self.mean) / self.std)
        return result


def _read_weights(file: Path) -> dict[str, Any]:
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        return dict(torch.load(file, map_location="cpu", weights_only=True))
    except ImportError as error:
        raise InvalidArgument(
            f"loss.vgg16: expected a .pth file where safetensors is not installed, got {file}"
        ) from error
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise InvalidArgument(f"loss.vgg16: expected a file of weights, got {file} ({error})") from error


class Content(nn.Module):
    """The weighted sum of the terms that compare a result with its sharp image; relative files are below root."""

    def __init__(self, weights: Loss, root: Path = Path()) -> None:
        super().__init__()
        self.terms = [
            (weight, term)
            for weight, term in (
                (weights.psnr, psnr),
                (weights.l1, l1),
                (weights.charbonnier, charbonnier),
                (weights.frequency, frequency),
            )
            if weight
        ]
        self.perceptual_weight = weights.perceptual
        self.perceptual = Perceptual(root / Path(weights.vgg16).expanduser()) if weights.perceptual else None

    def forward(self, found: Tensor, sharp: Tensor) -> Tensor:
        total = torch.zeros((), device=found.device)
        for weight, term in self.terms:
            total = total + weight * term(found, sharp)
        if self.perceptual is not None:
            total = total + self.perceptual_weight * self.perceptual(found, sharp)
        return total
