"""PSFs from pictures of points and kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdeblur import psf
from fastdeblur._checks import centroid
from fastdeblur.errors import InvalidArgument


def test_an_eight_bit_kernel_picture_comes_back_as_it_is():
    kernel = psf.motion(9, 30, shape=(11, 11))
    picture = np.rint(255 * kernel / kernel.max()).astype(np.uint8)
    ours = psf.from_image(picture, background=0, centre="none", shape=(11, 11))
    assert ours.dtype == np.float32
    assert np.allclose(ours, picture / picture.sum(), rtol=0, atol=1e-8)
    colour = np.stack([picture] * 3, -1)
    assert np.array_equal(
        psf.from_image(colour, background=0, centre="none", shape=(11, 11), channel_axis=-1), ours
    )


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_star_off_the_middle_is_centred_and_cleaned(rng, noise):
    from scipy.special import ndtr

    y, x = (ndtr((np.arange(60) + 0.5 - c) / 2) - ndtr((np.arange(60) - 0.5 - c) / 2) for c in (21.3, 33.8))
    picture = 100 + 5000 * np.outer(y, x) + rng.normal(0, noise, (60, 60))
    picture[5, 50] += 40 * noise  # a hot pixel
    ours = psf.from_image(picture)
    true = psf.gaussian(2.0, shape=ours.shape)
    assert max(map(abs, centroid(ours))) <= 1e-9
    assert max(ours.shape) <= (25 if noise else 63)
    assert np.linalg.norm(ours - true) <= 1.5e-2 * np.linalg.norm(true)


@given(
    shape=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    seed=st.integers(0, 99),
    centre=st.sampled_from(["centroid", "peak", "none"]),
)
def test_any_picture_becomes_a_psf(shape, seed, centre):
    picture = np.random.default_rng(seed).random(shape) ** 4
    ours = psf.from_image(picture, background=0, centre=centre)
    assert ours.min() >= 0
    assert ours.sum() == pytest.approx(1, abs=1e-12)
    assert all(n % 2 for n in ours.shape)
    if centre == "centroid":
        assert max(map(abs, centroid(ours))) <= 1e-9
    if centre == "peak":
        assert ours[tuple(n // 2 for n in ours.shape)] == ours.max()


def test_volumes():
    kernel = psf.gaussian((1.0, 1.5, 2.0), shape=(13, 17, 21))
    moved = np.roll(kernel, (1, -2, 2), (0, 1, 2)) + 3.0
    ours = psf.from_image(moved, shape=(9, 11, 13))
    true = psf.crop_energy(kernel, 0.9999)
    assert ours.shape == (9, 11, 13)
    assert ours.max() == pytest.approx(true.max(), rel=2e-2)


def test_errors():
    picture = np.zeros((9, 9))
    picture[4, 4] = 1
    for bad in (np.ones(9), np.ones((2, 2, 2, 2)), np.full((9, 9), np.nan), picture * 1j):
        with pytest.raises(InvalidArgument, match=r"^image: "):
            psf.from_image(bad)
    with pytest.raises(InvalidArgument, match=r"^image: expected light above the background of 1, got none"):
        psf.from_image(np.ones((9, 9)))
    with pytest.raises(InvalidArgument, match=r"^background: expected 'rim' or a number"):
        psf.from_image(picture, background="border")
    with pytest.raises(InvalidArgument, match=r"^background: "):
        psf.from_image(picture, background=np.nan)
    for cut in (-1, "3", None):
        with pytest.raises(InvalidArgument, match=r"^noise_cut: "):
            psf.from_image(picture, noise_cut=cut)
    with pytest.raises(InvalidArgument, match=r"^centre: expected one of 'centroid', 'peak', 'none'"):
        psf.from_image(picture, centre="middle")
    with pytest.raises(InvalidArgument, match=r"^channel_axis: "):
        psf.from_image(picture, channel_axis=2)
    with pytest.raises(InvalidArgument, match=r"^shape: expected 2 axes"):
        psf.from_image(picture, shape=(3,))
    with pytest.raises(InvalidArgument, match=r"^shape: expected to cut off at most 1% of the light"):
        psf.from_image(psf.gaussian(3.0), shape=(5, 5), background=0)
