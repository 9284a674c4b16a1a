"""Turned Gaussians, apertures with blades, and several blurs together."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdeblur import psf

angles = st.floats(-360, 360)


def moments(kernel):
    h, w = kernel.shape
    y, x = np.mgrid[:h, :w] - np.array([h // 2, w // 2])[:, None, None]
    return (kernel * x * x).sum(), (kernel * y * y).sum(), (kernel * x * -y).sum()


@pytest.mark.parametrize("sigma", [(1, 3), (0.5, 0.8), (2.5, 0.4)])
@pytest.mark.parametrize("angle", [30, -77, 200])
def test_a_turned_gaussian_against_quadrature(backend_of_psf, sigma, angle):
    kernel = psf.gaussian(sigma, angle=angle, shape=(25, 25), backend=backend_of_psf)
    places, weights = np.polynomial.legendre.leggauss(30)
    at = np.add.outer(np.arange(25) - 12, places / 2)
    x, y = at[None, :, None, :], -at[:, None, :, None]
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    density = np.exp(-(((x * c + y * s) / sigma[1]) ** 2 + ((y * c - x * s) / sigma[0]) ** 2) / 2)
    oracle = np.einsum("yxqp,q,p->yx", density, weights, weights)
    assert np.abs(kernel - oracle / oracle.sum()).max() <= 1e-13


def test_a_thin_gaussian_is_a_line(backend_of_psf):
    line = psf.gaussian((0, 3), angle=30, backend=backend_of_psf)
    t = np.linspace(-16, 16, 800_001)
    weight = np.exp(-0.5 * (t / 3) ** 2)
    rows = np.floor(line.shape[0] // 2 - t * 0.5 + 0.5).astype(int)
    columns = np.floor(line.shape[1] // 2 + t * math.sqrt(0.75) + 0.5).astype(int)
    inside = (rows >= 0) & (rows < line.shape[0]) & (columns >= 0) & (columns < line.shape[1])
    sampled = np.zeros(line.shape)
    np.add.at(sampled, (rows[inside], columns[inside]), weight[inside])
    assert np.abs(line - sampled / sampled.sum()).max() <= 1e-5
    thin = psf.gaussian((3.1e-3, 3), angle=30, shape=line.shape)
    assert np.linalg.norm(thin - line) <= 1e-5 * np.linalg.norm(line)
    long = [psf.gaussian((narrow, 40), angle=33.3, shape=(301, 351)) for narrow in (0.004, 0.00401)]
    assert np.linalg.norm(long[0] - long[1]) <= 1e-3 * np.linalg.norm(long[0])


def test_a_turn_along_the_axes_is_no_turn(backend_of_psf):
    def gaussian(sigma, angle):
        return psf.gaussian(sigma, angle=angle, shape=(21, 31), backend=backend_of_psf)

    plain = psf.gaussian((1, 3), shape=(21, 31), backend=backend_of_psf)
    for sigma, angle in (((1, 3), 0), ((1, 3), 180), ((3, 1), 90), ((3, 1), -270)):
        assert np.allclose(gaussian(sigma, angle), plain, rtol=0, atol=1e-15)
    assert np.allclose(gaussian((1, 3), 1e-7), plain, rtol=0, atol=1e-8)
    round_one = psf.gaussian((2, 2), angle=33, backend=backend_of_psf)
    assert np.allclose(round_one, psf.gaussian(2.0, backend=backend_of_psf), rtol=0, atol=1e-15)


@given(sigma=st.tuples(st.floats(0.6, 3), st.floats(0.6, 3)), angle=angles)
def test_a_turned_gaussian_has_the_turned_moments(backend_of_psf, sigma, angle):
    kernel = psf.gaussian(sigma, angle=angle, backend=backend_of_psf)
    assert abs(kernel.sum() - 1) <= 1e-12
    assert np.allclose(kernel, kernel[::-1, ::-1], rtol=0, atol=1e-15)
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    xx = (sigma[1] * c) ** 2 + (sigma[0] * s) ** 2 + 1 / 12
    yy = (sigma[1] * s) ** 2 + (sigma[0] * c) ** 2 + 1 / 12
    xy = (sigma[1] ** 2 - sigma[0] ** 2) * s * c
    assert np.allclose(moments(kernel), (xx, yy, xy), rtol=0, atol=1e-2)


@given(sigma=st.tuples(st.floats(0, 3), st.floats(0, 3)), angle=angles)
def test_native_gaussians_match_the_reference(native, sigma, angle):
    if 1e-4 * max(sigma) < min(sigma) < 0.1 * max(sigma):
        return  # right too, but slow in the reference
    one, other = (psf.gaussian(sigma, angle=angle, backend=b) for b in ("native", "numpy"))
    assert np.abs(one - other).max() <= 1e-12


@pytest.mark.parametrize("angle", [5e-324, 1e-310, 1e-12, 90 - 1e-13, 180 + 1e-12])
def test_a_line_almost_along_an_axis(backend_of_psf, angle):
    along = psf.gaussian(
        (0, 2), angle=0 if angle < 45 or angle > 135 else 90, shape=(21, 21), backend=backend_of_psf
    )
    kernel = psf.gaussian((0, 2), angle=angle, shape=(21, 21), backend=backend_of_psf)
    assert np.abs(kernel - along).max() <= 1e-9


def test_batches_of_angles(native):
    batch = psf.gaussian((1, 2), angle=[0, 20, 90])
    for kernel, angle in zip(batch, [0, 20, 90], strict=True):
        alone = psf.gaussian((1, 2), angle=angle, shape=batch.shape[1:])
        assert np.allclose(kernel, alone, rtol=0, atol=1e-15)
    fans = [psf.gaussian((1, 2), angle=20, n_threads=n) for n in (1, 3)]
    assert np.array_equal(*fans)


# -------------------------------------------------------------------------------------------------- polygons


@pytest.mark.parametrize("blades", [3, 5, 6, 9])
@pytest.mark.parametrize("rotation", [0, 17.5])
def test_a_polygon_against_supersampling(backend_of_psf, blades, rotation):
    radius, n = 4.3, 300
    kernel = psf.defocus(radius, blades=blades, rotation=rotation, shape=(11, 11), backend=backend_of_psf)
    at = (np.arange(11 * n) + 0.5) / n - 5.5
    x, y = at[None, :], -at[:, None]
    inside = np.ones((at.size, at.size), bool)
    for k in range(blades):
        middle = math.radians(rotation) + 2 * math.pi * (k + 0.5) / blades
        inside &= x * math.cos(middle) + y * math.sin(middle) <= radius * math.cos(math.pi / blades)
    sampled = inside.reshape(11, n, 11, n).sum((1, 3)) / inside.sum()
    assert np.linalg.norm(kernel - sampled) <= 1e-3 * np.linalg.norm(sampled)


def test_four_blades_are_a_square_and_very_many_a_disk(backend_of_psf):
    square = psf.defocus(2.25 * math.sqrt(2), blades=4, rotation=45, backend=backend_of_psf)
    side = np.clip(2.25 + 0.5 - np.abs(np.arange(square.shape[0]) - square.shape[0] // 2), 0, 1)
    assert np.allclose(square, np.outer(side, side) / (4.5**2), rtol=0, atol=1e-13)
    disk = psf.defocus(5.3, shape=(13, 13), backend=backend_of_psf)
    many = psf.defocus(5.3, blades=1000, shape=(13, 13), backend=backend_of_psf)
    assert np.abs(many - disk).max() <= 1e-6


@given(radius=st.floats(0, 12), blades=st.integers(3, 12), rotation=angles)
def test_polygons_are_psfs_that_both_backends_agree_on(native, radius, blades, rotation):
    one, other = (
        psf.defocus(radius, blades=blades, rotation=rotation, backend=b) for b in ("native", "numpy")
    )
    assert np.abs(one - other).max() <= 1e-12
    assert one.min() >= 0
    assert abs(one.sum() - 1) <= 1e-12
    h, w = one.shape
    centroid = np.array([one.sum(0) @ (np.arange(w) - w // 2), one.sum(1) @ (np.arange(h) - h // 2)])
    assert np.abs(centroid).max() <= (1e-9 if blades % 2 == 0 else 0.12)
    if radius <= 0.5:
        assert np.array_equal(one, [[1.0]])
    turned = psf.defocus(radius, blades=blades, rotation=rotation + 360 / blades, shape=one.shape)
    assert np.abs(turned - one).max() <= 1e-9


def test_batches_of_polygons(backend_of_psf):
    batch = psf.defocus([2, 3.5], blades=5, rotation=[[0], [30]], backend=backend_of_psf)
    assert batch.shape[:2] == (2, 2)
    alone = psf.defocus(3.5, blades=5, rotation=30, shape=batch.shape[2:], backend=backend_of_psf)
    assert np.allclose(batch[1, 1], alone, rtol=0, atol=1e-15)


# --------------------------------------------------------------------------------------------------- combine

sizes = st.integers(1, 6)


@given(
    a=st.tuples(sizes, sizes), b=st.tuples(sizes, sizes), c=st.tuples(sizes, sizes), seed=st.integers(0, 99)
)
def test_combine_is_convolution_with_its_origin_kept(a, b, c, seed):
    rng = np.random.default_rng(seed)
    parts = [rng.random(shape) for shape in (a, b, c)]
    kernel = psf.combine(*parts)
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    # Each part as a periodic transfer function with its origin at 0.
    n = 32
    expected = np.ones((n, n), complex)
    for part in parts:
        grid = np.zeros((n, n))
        grid[: part.shape[0], : part.shape[1]] = part / part.sum()
        expected *= np.fft.fft2(np.roll(grid, [-(m // 2) for m in part.shape], (0, 1)))
    grid = np.zeros((n, n))
    grid[: kernel.shape[0], : kernel.shape[1]] = kernel
    got = np.fft.fft2(np.roll(grid, [-(m // 2) for m in kernel.shape], (0, 1)))
    assert np.abs(got - expected).max() <= 1e-12
    for axis, sides in enumerate(zip(a, b, c, strict=True)):
        full = sum(sides) - 2
        assert kernel.shape[axis] <= full + max(0, sum(m % 2 == 0 for m in sides) - 1)


def test_combine_of_large_psfs_goes_through_fourier_space(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = rng.random((20, 31)), rng.random((17, 9))
    direct = psf.combine(a, b)
    monkeypatch.setattr(sys.modules["fastdeblur.psf.combine"], "_DIRECT", 0)
    by_fft = psf.combine(a, b)
    assert by_fft.min() >= 0
    assert np.abs(by_fft - direct).max() <= 1e-15


def test_combine_adds_variances_and_takes_batches():
    one, two = psf.gaussian(1.0), psf.gaussian(2.0)
    xx, yy, _ = moments(psf.combine(one, two))
    assert xx == pytest.approx(moments(one)[0] + moments(two)[0], rel=1e-12)
    assert yy == pytest.approx(xx)
    batch = psf.combine(psf.motion([5, 9], 20), psf.defocus(2), ndim=2, dtype=np.float32)
    assert batch.dtype == np.float32
    assert np.allclose(batch[1], psf.combine(psf.motion([5, 9], 20)[1], psf.defocus(2)), rtol=0, atol=1e-7)
    assert psf.combine(psf.gaussian(1, ndim=3), psf.gaussian((1, 0, 0))).shape == (21, 11, 11)
    assert np.allclose(psf.combine(one), one)


@pytest.mark.parametrize("blades", [3, 5, 7])
def test_how_far_odd_blades_move_the_centroid(native, blades):
    radii = np.concatenate([np.linspace(0.5, 8, 76), [12, 16, 21]])[:, np.newaxis]
    kernels = psf.defocus(radii, blades=blades, rotation=np.arange(0, 360 / blades, 5), backend=native)
    y, x = (np.arange(n) - n // 2 for n in kernels.shape[-2:])
    distances = np.hypot(kernels.sum(axis=-2) @ x, kernels.sum(axis=-1) @ y)
    assert (distances <= 0.12 / np.maximum(radii, 1)).all()  # as the documentation says
    if blades == 3:
        assert distances.max() > 0.11
