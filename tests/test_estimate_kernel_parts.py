"""The parts of the blind estimate, each against something that does not share its code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage, optimize, signal

from conftest import need
from fastdeblur import psf
from fastdeblur.errors import InvalidArgument
from fastdeblur.estimate import _gradient_prior as prior
from fastdeblur.estimate import _kernel_step as step
from fastdeblur.estimate import _support as support
from fastdeblur.estimate._exposure import clipped, widened
from fastdeblur.estimate._nonblind import hyper_laplacian
from fastdeblur.estimate._resample import resample

RNG = np.random.default_rng(0)
PSF = np.outer([1, 2, 1, 0, 0], [0, 1, 3, 1, 0]) / 20.0


@pytest.mark.parametrize("shape", [(8, 8), (30, 36), (45, 200), (216, 250)])
@pytest.mark.parametrize("kind", ["count", 2 / 3, 0.5])
def test_native_steps_match_the_reference(shape, kind):
    need("native")
    data = ndimage.gaussian_filter(RNG.normal(0, 1, shape), 2, mode="wrap").astype(np.float32)
    if kind == "count":
        steps, table = prior.count_steps(2e-3, 10.0), None
    else:
        steps, table = prior.hyper_laplacian_steps(500.0, kind), prior.shrink_table(kind)
    kernel = PSF.astype(np.float32)
    results = [prior.half_quadratic(data, data, kernel, steps, table, native=n) for n in (True, False)]
    # A gradient at the threshold may fall on either side of it.
    assert np.sqrt(np.mean((results[0] - results[1]) ** 2)) < (1e-3 if table is None else 1e-5)


def test_large_gradients_beyond_the_table():
    need("native")
    data = (1000 * RNG.normal(0, 1, (40, 40))).astype(np.float32)
    steps, table = prior.hyper_laplacian_steps(500.0, 0.5), prior.shrink_table(0.5)
    kernel = np.ones((1, 1), np.float32)
    results = [prior.half_quadratic(data, data, kernel, steps, table, native=n) for n in (True, False)]
    assert_allclose(results[0], results[1], atol=2e-2)


@pytest.mark.parametrize("exponent", [0.5, 2 / 3, 0.8])
def test_shrinkage_minimises(exponent):
    table = prior.shrink_table(exponent)
    for v in (0.5, 1.3, 1.7, 2.5, 10.0, 39.0):
        got = np.interp(v, np.arange(table.values.size) / table.density, table.values)

        def cost(w, v=v):
            return np.abs(w) ** exponent + (w - v) ** 2 / 2

        best = optimize.minimize_scalar(cost, bounds=(v / 3, v), method="bounded").fun
        assert cost(got) <= min(best, v * v / 2) + 2e-4


def test_divergence_is_the_gradient_s_adjoint():
    x, a, b = RNG.normal(0, 1, (3, 17, 20)).astype(np.float32)
    gx, gy = prior.gradient(x)
    assert np.vdot(gx, a) + np.vdot(gy, b) == pytest.approx(np.vdot(x, prior.divergence(a, b)), rel=1e-4)


def test_kernel_step_is_non_negative_least_squares():
    sharp = RNG.normal(0, 1, (40, 44)).astype(np.float32)
    blurred = np.fft.irfft2(np.fft.rfft2(sharp) * prior.transfer(PSF, sharp.shape), s=sharp.shape)
    blurred = (blurred + RNG.normal(0, 0.2, sharp.shape)).astype(np.float32)
    mask = np.ones(sharp.shape, np.float32)
    found = step.solve(step.normal_equations(sharp, blurred, (5, 5), mask), 3.0, rounds=20)
    columns = [
        np.concatenate([np.roll(g, (i, j), (0, 1)).ravel() for g in prior.gradient(sharp)])
        for i in range(-2, 3)
        for j in range(-2, 3)
    ]
    matrix = np.vstack([np.stack(columns, 1), np.sqrt(3.0) * np.eye(25)])
    target = np.concatenate([*(g.ravel() for g in prior.gradient(blurred)), np.zeros(25)])
    oracle = optimize.nnls(matrix.astype(float), target.astype(float))[0].reshape(5, 5)
    assert_allclose(found, oracle, atol=2e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000))
def test_components_are_scipy_s(height, width, seed):
    mask = np.random.default_rng(seed).random((height, width)) < 0.4
    labels, count = support.components(mask)
    expected, number = ndimage.label(mask, np.ones((3, 3)))
    assert count == number
    assert len(set(zip(labels.ravel().tolist(), expected.ravel().tolist(), strict=True))) == number + (
        not mask.all()
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 7), st.integers(0, 7), st.integers(0, 1000))
def test_centred_loses_nothing(half_height, half_width, seed):
    kernel = np.random.default_rng(seed).random((2 * half_height + 1, 2 * half_width + 1)) ** 6
    moved = support.centred(kernel / kernel.sum())
    assert moved.sum() == pytest.approx(1)
    assert_allclose(np.sort(moved.ravel()), np.sort((kernel / kernel.sum()).ravel()))


def test_cleaned_drops_specks_and_keeps_the_rest():
    kernel = np.zeros((9, 9))
    kernel[2, 2:5] = 1
    kernel[7, 7] = 0.01
    kernel[2, 5] = -1
    assert_allclose(support.cleaned(kernel, 0.0, 0.02)[2, 2:5], 1 / 3)
    assert_array_equal(support.cleaned(-kernel * 0, 0.0, 0.1), support.impulse((9, 9)))
    assert support.trimmed(kernel.clip(0), 0.1).shape == (5, 5)


def test_clipped_needs_a_spike():
    photo = np.clip(RNG.normal(0.4, 0.2, (100, 100)), 0, 0.97)
    assert not clipped(np.linspace(0, 1, 10_000).reshape(1, 100, 100)).any()
    photo[:10, :10] = RNG.uniform(
        0.995, 1, (10, 10)
    )  # compressed after it was clipped: no two pixels are alike
    found = clipped(photo[np.newaxis])
    assert found[:10, :10].all()
    assert_array_equal(found, photo > 0.98)


def test_clipped_or_a_plateau():
    """Amid bright surroundings, where the histogram has no spike; and not if most of the frame is that bright."""
    photo = RNG.uniform(0.9, 1, (100, 100))
    photo[20:26, 30:36] = 1.0
    assert_array_equal(clipped(np.stack([0 * photo, photo])), photo == 1)
    photo[:, 40:] = 1.0
    assert not clipped(photo[np.newaxis]).any()


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_clipped_does_not_depend_on_the_unit(scale, offset):
    photo = np.clip(np.random.default_rng(0).normal(0.4, 0.2, (40, 50)), 0, 1)
    photo[:5, :7] = 1.0
    assert clipped((scale * photo + offset)[np.newaxis])[:5, :7].all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 4), st.integers(0, 4), st.integers(0, 99))
def test_widened_is_a_dilation(height, width, down, across, seed):
    mask = np.random.default_rng(seed).random((height, width)) < 0.1
    window = np.ones((2 * down + 1, 2 * across + 1))
    assert_array_equal(widened(mask, (down, across)), ndimage.binary_dilation(mask, window))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20), st.integers(1, 20))
def test_resample_keeps_constants(h, w, hh, ww):
    assert_allclose(resample(np.full((h, w), 0.7), (hh, ww)), 0.7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("sizes", "shape"), [((31, 40), (13, 9)), ((7, 5), (20, 11)), ((1, 9), (4, 9)), ((64, 3), (1, 2))]
)
def test_resample_is_a_triangle(sizes, shape, dtype):
    image = np.random.default_rng(0).random(sizes).astype(dtype)

    def weights(n, m):
        scale = n / m
        centres = (np.arange(m) + 0.5) * scale - 0.5
        matrix = np.maximum(0, 1 - np.abs(np.arange(n) - centres[:, np.newaxis]) / max(scale, 1.0))
        return matrix / matrix.sum(1, keepdims=True)

    down, across = (weights(n, m) for n, m in zip(sizes, shape, strict=True))
    found = resample(image, shape)
    assert found.dtype == dtype
    assert_allclose(found, down @ image @ across.T, rtol=1e-5 if dtype == np.float32 else 1e-12)


def squares():
    image = np.full((120, 131), 0.3)
    image[20:70, 30:60] = 0.9
    image[60:100, 50:110] = 0.1
    image[10:40, 90:120] = 0.6
    return image


@pytest.mark.parametrize("native", [True, False])
def test_hyper_laplacian_deblurs(native):
    if native:
        need("native")
    sharp = squares()
    image = signal.fftconvolve(np.pad(sharp, 2, mode="edge"), PSF, "valid") + RNG.normal(0, 0.01, sharp.shape)
    result = hyper_laplacian(image, PSF, 0.01, native=native)
    assert result.dtype == np.float32
    assert ((result - sharp) ** 2).mean() < 0.1 * ((image - sharp) ** 2).mean()


@pytest.mark.parametrize("value", [np.nan, np.inf, -3e37])
@pytest.mark.parametrize("native", [True, False])
def test_hyper_laplacian_refuses_what_would_overflow(value, native):
    image = squares()
    image[30, 40] = value
    with pytest.raises(InvalidArgument, match="image: expected"):
        hyper_laplacian(image, PSF, 0.01, native=native)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e37])
def test_native_steps_take_any_number(value):
    need("native")
    data = squares().astype(np.float32)
    data[30, 40] = value
    steps, table = prior.hyper_laplacian_steps(500.0, 0.5), prior.shrink_table(0.5)
    x = prior.half_quadratic(data, data, PSF.astype(np.float32), steps, table, native=True)
    assert x.shape == data.shape


def test_native_steps_check_kernel_and_table():
    need("native")
    data, steps = np.zeros((8, 8), np.float32), prior.hyper_laplacian_steps(500.0, 0.5)
    table = prior.shrink_table(0.5)
    with pytest.raises(ValueError, match="kernel"):
        prior.half_quadratic(data, data, np.ones((9, 3), np.float32), steps, table, native=True)
    for density in (0.0, -1.0, np.nan, np.inf):
        broken = replace(table, density=density)
        with pytest.raises(ValueError, match="density"):
            prior.half_quadratic(data, data, np.ones((3, 3), np.float32), steps, broken, native=True)


def test_hyper_laplacian_fills_what_has_no_weight():
    sharp = squares()
    image = signal.fftconvolve(np.pad(sharp, 2, mode="edge"), PSF, "valid")
    weights = np.ones(image.shape)
    weights[30:34, 40:44] = weights[80, 60:70] = 0
    broken = np.where(weights > 0, image, 1.5)
    native = False
    result = hyper_laplacian(broken, PSF, 0.005, weights=weights, native=native)
    ignored = hyper_laplacian(broken, PSF, 0.005, native=native)
    assert ((result - sharp) ** 2).mean() < 0.25 * ((ignored - sharp) ** 2).mean()


def test_hyper_laplacian_with_saturated_light():
    sharp, kernel = squares(), psf.motion(11, 30)
    for row, column in ((50, 80), (90, 20), (20, 100)):
        sharp[row : row + 10, column : column + 10] = 3.0
    padded = np.pad(sharp, [(n // 2,) * 2 for n in kernel.shape], mode="edge")
    image = signal.fftconvolve(padded, kernel, "valid")
    over = image > 1
    image = np.minimum(image, 1)

    def error(**kwargs):
        result = hyper_laplacian(image, kernel, 0.005, native=False, **kwargs)
        return np.abs(np.clip(result, 0, 1) - sharp)[~over].mean()

    assert error(weights=1.0 - over) < 0.7 * error()
    assert error(saturated=over) < 0.85 * error()
