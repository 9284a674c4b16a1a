"""resample, crop_energy and check."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdeblur import psf
from fastdeblur._checks import centroid
from fastdeblur.errors import InvalidArgument, OutOfMemory

factors = st.floats(0.2, 5)
kernels = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99)).map(
    lambda t: np.random.default_rng(t[2]).random(t[:2]) ** 3
)

# ------------------------------------------------------------------------------------------------- resample


@pytest.mark.parametrize("factor", [0.4, 0.5, 0.75, 1 / 3, 1.0, 1.7, 2.0, 3.0])
def test_resample_is_the_finer_or_coarser_detector(factor):
    """A Gaussian's integrals over the old pixels become those over the new ones."""
    old, new = psf.gaussian(2.0, shape=(31, 31)), psf.gaussian(2.0 * factor)
    ours = psf.resample(old, factor, shape=new.shape)
    assert np.linalg.norm(ours - new) <= 4e-3 * np.linalg.norm(new)


@given(kernel=kernels, factor=st.tuples(factors, factors))
def test_resample_keeps_light_sign_and_centroid(kernel, factor):
    ours = psf.resample(kernel, factor)
    assert all(n % 2 for n in ours.shape)
    assert ours.min() >= -1e-17
    assert abs(ours.sum() - 1) <= 1e-12
    wanted = np.array(centroid(kernel)) * factor
    assert np.allclose(centroid(ours), wanted, rtol=0, atol=1e-9)


@given(kernel=kernels)
def test_resample_by_one_is_the_same_frame(kernel):
    ours = psf.resample(kernel, 1)
    h, w = (n + 1 - n % 2 for n in kernel.shape)
    full = np.zeros((h, w))
    full[: kernel.shape[0], : kernel.shape[1]] = kernel / kernel.sum()
    assert np.allclose(ours, full, rtol=0, atol=1e-12)


def test_resample_sums_whole_pixels_exactly(rng):
    kernel = rng.random((15, 15))
    kernel = kernel + kernel[::-1, ::-1]  # centred: there is no centroid to move back
    ours = psf.resample(kernel, 1 / 3)
    assert np.allclose(ours, kernel.reshape(5, 3, 5, 3).sum((1, 3)) / kernel.sum(), rtol=0, atol=1e-12)


def test_resample_takes_pixel_sizes_axes_and_dtypes():
    kernel = psf.gaussian((1.0, 2.0, 2.0), dtype=np.float32)
    ours = psf.resample(kernel, pixel_size=(0.3, 0.1, 0.1), new_pixel_size=0.15)
    assert ours.dtype == np.float32
    assert np.allclose(ours, psf.resample(kernel, (2, 2 / 3, 2 / 3)), rtol=0, atol=1e-9)
    assert psf.resample([0, 0, 1.0, 0, 0], 0.5).shape == (3,)
    assert psf.resample(np.ones((1, 1)), 3).shape == (3, 3)


def test_resample_errors():
    kernel = np.ones((3, 3))
    for factor in (0, -1, np.nan, "2", [1, 2, 3], None):
        with pytest.raises(InvalidArgument, match=r"^factor: expected "):
            psf.resample(kernel, factor)
    with pytest.raises(
        InvalidArgument, match=r"^factor: expected either factor, or .* got factor, pixel_size"
    ):
        psf.resample(kernel, 2, pixel_size=1)
    with pytest.raises(InvalidArgument, match=r"^factor: .* got pixel_size"):
        psf.resample(kernel, pixel_size=1)
    for name in ("pixel_size", "new_pixel_size"):
        with pytest.raises(InvalidArgument, match=rf"^{name}: expected numbers > 0"):
            psf.resample(kernel, **({"pixel_size": 1, "new_pixel_size": 1} | {name: 0}))
    with pytest.raises(InvalidArgument, match=r"^shape: expected 2 axes"):
        psf.resample(kernel, 2, shape=(3,))
    with pytest.raises(InvalidArgument, match=r"^psf: expected a positive"):
        psf.resample(0 * kernel, 2)
    with pytest.raises(OutOfMemory, match=r"^psf: "):
        psf.resample(kernel, 1e9)


# ---------------------------------------------------------------------------------------------- crop_energy


@given(kernel=kernels, energy=st.floats(0.05, 1))
def test_crop_energy_is_the_smallest_box(kernel, energy):
    light, origin = kernel / kernel.sum(), [n // 2 for n in kernel.shape]
    best = min(
        (2 * a + 1) * (2 * b + 1)
        for a, b in itertools.product(*(range(n // 2 + 1) for n in kernel.shape))
        if light[
            max(0, origin[0] - a) : origin[0] + a + 1, max(0, origin[1] - b) : origin[1] + b + 1
        ].sum() >= energy - 1e-12
    )  # fmt: skip
    ours = psf.crop_energy(kernel, energy)
    assert ours.size == best
    assert all(n % 2 for n in ours.shape)
    assert abs(ours.sum() - 1) <= 1e-12


def test_crop_energy_of_known_kernels():
    assert psf.crop_energy(psf.gaussian(2.0, shape=(61, 61))).shape == (15, 15)
    impulse = np.zeros((6, 7, 8))
    impulse[3, 3, 4] = 2
    assert np.array_equal(psf.crop_energy(impulse, 1), [[[1.0]]])
    assert psf.crop_energy(psf.gaussian((0.5, 4.0), dtype=np.float32), 0.9).dtype == np.float32
    line = psf.crop_energy(psf.motion(21, 0, shape=(31, 31)), 1)
    assert line.shape == (1, 21)


def test_crop_energy_errors():
    for energy in (0, 1.01, -1, np.nan, "1"):
        with pytest.raises(InvalidArgument, match=r"^energy: expected "):
            psf.crop_energy(np.ones((3, 3)), energy)
    with pytest.raises(InvalidArgument, match=r"^psf: expected 1-D or 2-D or 3-D, got shape \(\)"):
        psf.crop_energy(1.0)


# ---------------------------------------------------------------------------------------------------- check


@pytest.mark.parametrize(
    "kernel",
    [psf.gaussian(1.5), psf.motion(9, 30), psf.defocus(4, shape=(15, 15), dtype=np.float32), psf.gaussian(1.0, ndim=3),
     np.ones((1, 1))],
)  # fmt: skip
def test_generated_kernels_have_nothing_wrong(kernel):
    report = psf.check(np.pad(kernel, [(1 if n > 1 else 0,) * 2 for n in kernel.shape]))
    assert report.ok, str(report)
    assert "nothing wrong" in str(report)
    assert report.total == pytest.approx(1)


def only(kernel, *words):
    report = psf.check(kernel)
    assert len(report.problems) == len(words), str(report)
    for problem, word in zip(report.problems, words, strict=True):
        assert problem.startswith(word)
        assert problem in str(report)
    return report


def test_each_fault_is_named_with_its_size():
    good = psf.gaussian(1.0, shape=(13, 13))
    report = only(np.roll(good, (1, -2), (0, 1)), "off-centre")
    assert report.offset == pytest.approx((1, -2), abs=1e-3)
    assert report.peak == (1, -2)
    assert "(+1.000, -2.000)" in str(report)
    assert psf.check(np.roll(psf.gaussian(2.0, shape=(61, 61)), 2, 0)).ok  # less than a twentieth of the axis
    only(np.roll(psf.gaussian(2.0, shape=(61, 61)), 4, 0), "off-centre")
    assert only(2 * good, "not normalised").total == pytest.approx(2)
    spoilt = good.copy()
    spoilt[3, 3] = spoilt[9, 9] = -0.01
    assert only(spoilt / spoilt.sum(), "negative").negative == pytest.approx(0.02 / 1.02, rel=1e-2)
    spoilt = good.copy()
    spoilt[0, 0] = spoilt[1, 2] = np.nan
    assert only(spoilt, "not finite").non_finite == 2
    cut = psf.gaussian(2.0, shape=(31, 31))[11:20, 11:20]
    assert only(cut / cut.sum(), "truncated").rim > 0.1
    even = np.zeros((14, 13))
    even[1:] = good
    assert only(even, "even-sized").even_axes == (0,)
    assert np.isnan(only(-good, "no light", "negative").offset).all()
    assert only(np.zeros((3, 3)), "no light").total == 0
    assert not psf.check(np.full((3, 3), np.inf)).ok
    assert not psf.check(np.full((3, 3), 1e308)).ok


def test_the_report_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        psf.check(np.ones((3, 3))).total = 1


def test_check_errors():
    for bad in (1.0, np.ones((1, 1, 1, 1)), np.ones((0, 2)), "psf", [[1j]]):
        with pytest.raises(InvalidArgument, match=r"^psf: expected "):
            psf.check(bad)


@pytest.mark.parametrize("size", [5, 6, 9])
def test_resample_keeps_the_centroid_in_a_shape_that_holds_the_light(size):
    kernel = psf.resample([0, 0.2, 0.5, 0.3, 0], 0.5, shape=(size,))
    assert kernel.shape == (size,)
    assert np.allclose(centroid(kernel), 0.05, rtol=0, atol=1e-12)
