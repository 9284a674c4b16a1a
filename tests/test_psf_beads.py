"""PSFs from beads: scenes made from the normal distribution, beads anywhere between the pixels."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.special import ndtr

from fastdeblur import psf
from fastdeblur.errors import InvalidArgument
from fastdeblur.psf._beads import CROWD, crowded


def bead(shape, centre, sigma):
    """A Gaussian of sum 1 integrated over the pixels."""
    out = np.ones(())
    for n, c, s in zip(shape, centre, sigma, strict=True):
        k = np.arange(n)
        out = np.multiply.outer(out, ndtr((k + 0.5 - c) / s) - ndtr((k - 0.5 - c) / s))
    return out


def scene(rng, shape, sigma, spacing, noise, level=10.0):
    image, centres = np.full(shape, level), []
    for place in np.ndindex(*(max(1, (n - spacing // 2) // spacing) if n > 1 else 1 for n in shape)):
        middle = [spacing * (p + 0.75) if n > 1 else 0.0 for p, n in zip(place, shape, strict=True)]
        centre = [m + rng.uniform(-2, 2) if n > 1 else 0.0 for m, n in zip(middle, shape, strict=True)]
        image += rng.uniform(500, 1500) * bead(shape, centre, sigma)
        centres.append(centre)
    return image + rng.normal(0, noise, shape), np.array(centres)


@pytest.mark.parametrize(
    ("noise", "place", "error"), [(0.0, 0.005, 2e-3), (1.0, 0.1, 2e-2), (3.0, 0.25, 6e-2)]
)
def test_gaussian_beads_give_the_gaussian(rng, noise, place, error):
    image, centres = scene(rng, (160, 170), (1.3, 1.9), 27, noise)
    found = psf.from_beads(image, (15, 15), full=True)
    assert len(found.positions) == len(centres)
    distances = np.abs(found.positions[:, np.newaxis] - centres).max(axis=2)
    assert distances.min(axis=1).max() <= place
    true = psf.gaussian((1.3, 1.9), shape=(15, 15))
    assert np.linalg.norm(found.psf - true) <= error * np.linalg.norm(true)
    assert found.psf.min() >= 0
    assert found.psf.sum() == pytest.approx(1, abs=1e-12)
    assert np.array_equal(found.psf, psf.from_beads(image, (15, 15)))
    assert found.amplitudes.max() == 1


def test_three_dimensions(rng):
    image, centres = scene(rng, (40, 44, 60), (1.8, 1.2, 1.2), 21, 0.1)
    found = psf.from_beads(image, (11, 9, 9), full=True)
    assert len(found.positions) == len(centres)
    true = psf.gaussian((1.8, 1.2, 1.2), shape=(11, 9, 9))
    assert np.linalg.norm(found.psf - true) <= 3e-2 * np.linalg.norm(true)


def test_a_blurred_sky_gives_a_microscope_s_psf_back(rng):
    """A PSF with rings."""
    true = psf.gibson_lanni((1, 31, 31), wavelength=0.6, na=0.7, ns=1.0, ni=1.0, pixel_size=0.12, z_step=1)[0]
    image = np.zeros((120, 120))
    for y in (22, 60, 98):
        for x in (22, 60, 98):
            image[y - 15 : y + 16, x - 15 : x + 16] += 1000 * true
    measured = psf.from_beads(image + rng.normal(0, 0.05, image.shape), (21, 21))
    wanted = true[5:26, 5:26] / true[5:26, 5:26].sum()
    # Its rings at the rim count as background.
    assert np.linalg.norm(measured - wanted) <= 4e-2 * np.linalg.norm(wanted)


def widefield(offset=100.0):
    """Beads whose light goes on to the ends of a volume, on a camera's offset, and their PSF within a crop."""
    true = psf.born_wolf(
        (41, 61, 61), wavelength=0.52, na=1.2, refractive_index=1.33, pixel_size=0.1, z_step=0.2
    )
    image = np.full((60, 80, 120), offset)
    for x in (10, 60):
        image[10:51, 10:71, x - 10 : x + 51] += 1e5 * true
    crop = true[10:31, 20:41, 20:41]
    return image, crop / crop.sum()


def test_light_that_never_ends_in_the_window_is_no_background():
    image, true = widefield()
    for background, low, high in ((None, 0.4, 0.6), (100, 0, 0.03), ("image", 0, 0.03), (0.0, 0.1, np.inf)):
        measured = psf.from_beads(image, true.shape, background=background)
        error = np.linalg.norm(measured - true) / np.linalg.norm(true)
        assert low <= error <= high, (background, error)
        assert measured.sum() == pytest.approx(1, abs=1e-12)
    alone = image[:, :, :72]  # without the other one's light
    measured = psf.from_beads(alone, true.shape, background=100)
    assert np.linalg.norm(measured - true) <= 1e-3 * np.linalg.norm(true)


def test_the_background_is_in_the_image_s_unit():
    image, true = widefield()
    found = psf.from_beads(image, true.shape, background=100)
    for scale in (2.0**-600, 2.0**600):
        assert np.array_equal(psf.from_beads(image * scale, true.shape, background=100 * scale), found)
    shifted = psf.from_beads(image - 130, true.shape, background=-30)
    assert np.allclose(shifted, found, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("background", "rule"),
    [
        ("rim", "expected None, a finite number or 'image', got 'rim'"),
        (np.nan, "expected None, a finite number or 'image', got nan"),
        (True, "expected None, a finite number or 'image', got True"),
        ([100.0], "expected None, a finite number or 'image', got "),
        (np.ones((3, 3)), r"expected None, a finite number or 'image', got array of shape \(3, 3\)"),
        (1e6, r"expected a level below every bead's peak, of which the lowest is \d+\.?\d*, got 1000000.0"),
    ],
)
def test_a_background_that_is_none(background, rule):
    image, true = widefield()
    with pytest.raises(InvalidArgument, match=rf"^background: {rule}"):
        psf.from_beads(image, true.shape, background=background)


def test_what_cannot_be_used_is_left_out(rng):
    sigma, shape = (1.5, 1.5), (120, 120)
    image = np.full(shape, 5.0)
    good = [(30.2, 30.4), (30.1, 89.7), (88.8, 30.3), (59.6, 60.2)]
    crowded = [(88.3, 86.0), (88.1, 94.4)]
    cut_off = [(3.0, 60.0)]
    for centre in (*good, *crowded, *cut_off):
        image += 800 * bead(shape, centre, sigma)
    image += 1500 * bead(shape, (58.0, 15.0), (3.5, 3.5))  # no point
    image += rng.normal(0, 0.2, shape)
    found = psf.from_beads(image, (13, 13), full=True)
    assert len(found.positions) == len(good)
    for centre in good:
        assert np.abs(found.positions - centre).max(axis=1).min() <= 0.05
    assert len(found.rejected) == 4
    true = psf.gaussian(1.5, shape=(13, 13))
    assert np.linalg.norm(found.psf - true) <= 2e-2 * np.linalg.norm(true)


def test_saturated_beads(rng):
    image, _ = scene(rng, (100, 100), (1.4, 1.4), 30, 0.5)
    eight_bit = np.clip(np.rint(image * 3), 0, 255).astype(np.uint8)
    assert (eight_bit == 255).any()
    measured = psf.from_beads(eight_bit, (11, 11), full=True)
    assert measured.psf.dtype == np.float32
    for centre in np.rint(measured.positions).astype(int):
        assert eight_bit[tuple(centre)] < 255
    assert len(psf.from_beads(image, (11, 11), saturation=100.0, full=True).positions) < 9


def test_one_bead_is_enough():
    image = 100 * bead((40, 41), (20.3, 19.6), (1.5, 1.5))
    true = psf.gaussian(1.5, shape=(15, 15))
    assert np.linalg.norm(psf.from_beads(image, (15, 15)) - true) <= 5e-3 * np.linalg.norm(true)


def test_errors(rng):
    noise = rng.normal(0, 1, (40, 40))
    with pytest.raises(
        InvalidArgument, match=r"^image: expected at least one bead to use, got 0 maxima above 10 times"
    ):
        psf.from_beads(noise, (9, 9))
    with pytest.raises(InvalidArgument, match=r"^image: expected at least one bead to use, got 0 maxima"):
        psf.from_beads(np.ones((40, 40)), (9, 9))
    with pytest.raises(InvalidArgument, match=r"got 1 maxima .* 1 too near to the border"):
        psf.from_beads(bead((40, 40), (3, 3), (1, 1)), (9, 9))
    for bad in (np.ones(40), np.ones((2, 2, 2, 2)), np.full((40, 40), np.nan), noise * 1j, "image"):
        with pytest.raises(InvalidArgument, match=r"^image: "):
            psf.from_beads(bad, (9, 9))
    with pytest.raises(InvalidArgument, match=r"^shape: expected odd sizes"):
        psf.from_beads(noise, (9, 8))
    with pytest.raises(InvalidArgument, match=r"^shape: expected at most \(34, 34\)"):
        psf.from_beads(noise, (35, 9))
    with pytest.raises(InvalidArgument, match=r"^shape: expected 2 axes"):
        psf.from_beads(noise, (9, 9, 9))
    for snr in (0, -1, np.nan, "3"):
        with pytest.raises(InvalidArgument, match=r"^snr: "):
            psf.from_beads(noise, (9, 9), snr=snr)
    with pytest.raises(InvalidArgument, match=r"^saturation: "):
        psf.from_beads(noise, (9, 9), saturation=np.nan)
    with pytest.raises(InvalidArgument, match=r"^full: expected True or False, got 1"):
        psf.from_beads(noise, (9, 9), full=1)


@pytest.mark.parametrize("exponent", [-665, 665, 1000])
def test_the_unit_of_light_changes_nothing(rng, exponent):
    image, _ = scene(rng, (80, 90), (1.3, 1.9), 27, 1.0)
    found = psf.from_beads(image, (15, 15), full=True)
    scaled = psf.from_beads(
        np.ldexp(image, exponent), (15, 15), full=True, saturation=np.ldexp(1e4, exponent)
    )
    assert np.array_equal(found.psf, scaled.psf)
    assert np.array_equal(found.positions, scaled.positions)
    with pytest.raises(InvalidArgument, match="saturated"):
        psf.from_beads(np.ldexp(image, exponent), (15, 15), saturation=np.ldexp(1.0, exponent))


def test_crowds_are_those_of_a_search_over_all_pairs(rng):
    places, heights = rng.integers(0, 60, (300, 2)), rng.uniform(0.1, 1.0, 300)
    halves = np.array([3, 2])
    near = (np.abs(places[:, np.newaxis] - places) <= halves).all(axis=2)
    near &= (heights >= CROWD * heights[:, np.newaxis]) & ~np.eye(300, dtype=bool)
    found = crowded(places, heights, halves)
    assert np.array_equal(found, near.any(axis=1))
    assert 0 < found.sum() < 300


def test_a_field_of_many_maxima_takes_no_quadratic_time(rng):
    places, heights = rng.integers(0, 3000, (20_000, 2)), rng.uniform(0.1, 1.0, 20_000)
    begin = time.process_time()
    crowded(places, heights, np.array([10, 10]))
    assert time.process_time() - begin < 5  # a search over all pairs takes five times as long
