"""Losses, metrics, the critic, the rate's schedule and the average of the weights, each against its formula."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fastdeblur import InvalidArgument  # noqa: E402
from fastdeblur.train import losses, metrics  # noqa: E402
from fastdeblur.train.average import Average  # noqa: E402
from fastdeblur.train.config import Loss, Optimiser  # noqa: E402
from fastdeblur.train.losses import Content, Perceptual  # noqa: E402
from fastdeblur.train.models.deblurgan import Critic, gradient_penalty  # noqa: E402
from fastdeblur.train.schedule import learning_rate  # noqa: E402


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return tuple(torch.from_numpy(rng.random((2, 3, 16, 20))) for _ in range(2))


def test_psnr_is_that_of_each_image(pair):
    a, b = pair
    wanted = -np.mean([metrics.psnr(x, y) for x, y in zip(a.numpy(), b.numpy(), strict=True)])
    assert float(losses.psnr(a, b)) == pytest.approx(wanted, abs=1e-4)
    assert float(losses.psnr(a, a)) == pytest.approx(-60)


def test_l1_and_charbonnier(pair):
    a, b = pair
    difference = abs(a - b).numpy()
    assert float(losses.l1(a, b)) == pytest.approx(difference.mean())
    assert float(losses.charbonnier(a, b)) == pytest.approx(np.sqrt(difference**2 + 1e-6).mean())
    assert float(losses.charbonnier(a, a)) == pytest.approx(1e-3)


def test_frequency_loss_is_of_the_orthonormal_spectrum(pair):
    a, b = (x.float() for x in pair)
    spectrum = np.fft.rfft2((a - b).numpy(), norm="ortho")
    wanted = (abs(spectrum.real) + abs(spectrum.imag)).mean() / 2
    assert float(losses.frequency(a, b)) == pytest.approx(wanted, rel=1e-5)


def test_content_is_the_weighted_sum(pair):
    a, b = pair
    found = Content(Loss(l1=2.0, charbonnier=3.0))(a, b)
    torch.testing.assert_close(found.double(), 2 * losses.l1(a, b) + 3 * losses.charbonnier(a, b))


def vgg(seed=0):
    """Weights as torchvision names them."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        0: (64, 3),
        2: (64, 64),
        5: (128, 64),
        7: (128, 128),
        10: (256, 128),
        12: (256, 256),
        14: (256, 256),
    }
    weights = {}
    for number, (out, into) in shapes.items():
        weights[f"features.{number}.weight"] = torch.randn(out, into, 3, 3, generator=generator) / math.sqrt(
            5 * into
        )
        weights[f"features.{number}.bias"] = torch.zeros(out)
    return weights


def test_perceptual_loss_is_the_distance_of_features(tmp_path, pair):
    torch.save(vgg(), tmp_path / "vgg16.pth")
    loss = Perceptual(tmp_path / "vgg16.pth")
    a, b = (x.float() for x in pair)
    assert loss(a, b) > 0
    assert loss(a, a) == 0
    assert not any(p.requires_grad for p in loss.parameters())
    # Two poolings come before relu3_3.
    assert loss.features(a).shape == (2, 256, 4, 5)
    assert loss.features(a).min() == 0
    torch.testing.assert_close(
        loss(a[:, :1], b[:, :1]), loss(a[:, :1].expand(-1, 3, -1, -1), b[:, :1].expand(-1, 3, -1, -1))
    )


def test_the_file_of_perceptual_loss_lies_below_the_data(tmp_path, pair):
    torch.save(vgg(), tmp_path / "vgg16.pth")
    weights = Loss(perceptual=1.0, vgg16="vgg16.pth")
    a, b = (x.float() for x in pair)
    torch.testing.assert_close(Content(weights, tmp_path)(a, b), Perceptual(tmp_path / "vgg16.pth")(a, b))
    with pytest.raises(InvalidArgument, match=r"loss\.vgg16: expected a file of weights, got"):
        Content(weights, tmp_path / "elsewhere")


def test_perceptual_loss_wants_vggs_weights(tmp_path):
    with pytest.raises(InvalidArgument, match=r"loss\.vgg16: expected a file of weights, got"):
        Perceptual(tmp_path / "none.pth")
    weights = vgg()
    weights["features.7.weight"] = torch.zeros(1)
    torch.save(weights, tmp_path / "other.pth")
    with pytest.raises(InvalidArgument, match=r"features.7.weight of shape \(128, 128, 3, 3\)"):
        Perceptual(tmp_path / "other.pth")


def test_ssim_is_scikit_images():
    skimage_metrics = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(1)
    sharp = rng.random((40, 33, 3))
    found = sharp + 0.1 * rng.standard_normal(sharp.shape)
    _, full = skimage_metrics.structural_similarity(
        sharp,
        found,
        data_range=1.0,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    assert metrics.ssim(found, sharp) == pytest.approx(full[5:-5, 5:-5].mean(), rel=1e-9)
    assert metrics.ssim(found[..., 0], sharp[..., 0]) == pytest.approx(full[5:-5, 5:-5, 0].mean(), rel=1e-9)
    assert metrics.ssim(sharp, sharp) == pytest.approx(1)


def test_psnr_of_equal_images_is_infinite():
    assert metrics.psnr(np.zeros((3, 3)), np.zeros((3, 3))) == math.inf
    assert metrics.psnr(np.full((3, 3), 0.1), np.zeros((3, 3))) == pytest.approx(20)


def test_gradient_penalty_of_a_linear_critic():
    """Its gradient is its weight, everywhere."""
    weight = torch.tensor([[[0.3, -0.4], [1.2, 0.0]]])

    class Linear(torch.nn.Module):
        def forward(self, x):
            return (x * weight).sum(dim=(1, 2, 3), keepdim=True)

    real, fake = torch.rand(5, 1, 2, 2), torch.rand(5, 1, 2, 2)
    found = gradient_penalty(Linear(), real, fake, torch.rand(5, 1, 1, 1))
    assert float(found) == pytest.approx((1.3 - 1) ** 2, rel=1e-5)


def test_the_critic_scores_each_image_alone():
    critic = Critic(4)
    x = torch.rand(3, 3, 32, 40)
    assert critic(x).shape == (3, 1, 4, 5)
    torch.testing.assert_close(critic(x)[1:2], critic(x[1:2]), rtol=1e-4, atol=1e-6)


def test_the_rate_rises_then_falls_to_its_last_share():
    plan = Optimiser(steps=100, rate=2.0, last_rate=0.1, warmup=10)
    rates = [learning_rate(k, plan) for k in range(101)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 5)
    assert rates[10] == pytest.approx(2.0)
    assert rates[55] == pytest.approx(2.0 * (0.1 + 0.9 / 2))
    assert rates[100] == pytest.approx(0.2)
    assert all(a > b for a, b in pairwise(rates[10:]))


def test_the_average_forgets_the_first_weights():
    module = torch.nn.Linear(1, 1, bias=False)
    average = Average(module, 0.9)
    wanted = float(module.weight.detach())
    for step in range(200):
        with torch.no_grad():
            module.weight.fill_(step)
        average.update(module, step)
        keep = min(0.9, (1 + step) / (10 + step))
        wanted = keep * wanted + (1 - keep) * step
    assert float(average.state["weight"]) == pytest.approx(wanted, rel=1e-5)
    assert wanted == pytest.approx(199 - 9, abs=0.1)
