"""Every backend in float64 against direct sums and dense matrices."""

from __future__ import annotations

from functools import wraps

import numpy as np
import pytest

import fastdeblur
from fastdeblur._geometry import BOUNDARIES, Frame, good_size
from fastdeblur.backends.numpy_ import NumpyOps

import oracles
from cases import box, delta, lopsided

SHAPES = [
    ((13,), lopsided(4)),
    ((16,), lopsided(7)),
    ((1,), box(3)),
    ((7, 8), lopsided(3, 4)),
    ((6, 5), lopsided(2, 5)),
    ((1, 9), lopsided(3, 3)),
    ((9, 1), lopsided(3, 1)),
    ((5, 4), delta(3, 3)),
    ((3, 4, 5), lopsided(2, 3, 3)),
]
CLOSED = [b for b in BOUNDARIES if b != "unknown"]
IDS = ["x".join(map(str, shape)) + "-psf-" + "x".join(map(str, psf.shape)) for shape, psf in SHAPES]


def scene(shape, seed=0):
    return np.random.default_rng(seed).uniform(0.2, 1.2, shape)


def close(result, expected, rtol=1e-9):
    np.testing.assert_allclose(result, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


# ------------------------------------------------------------------------------ the operations of the recipes


def remembered(oracle):
    """The oracle's answer for the same arguments: every backend is held against it, and it is slow."""
    answers = {}

    def key(value):
        return (value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value

    @wraps(oracle)
    def ask(*arguments, **named):
        problem = (*map(key, arguments), *((name, key(value)) for name, value in sorted(named.items())))
        if problem not in answers:
            answers[problem] = oracle(*arguments, **named)
            answers[problem].flags.writeable = False
        return answers[problem]

    return ask


@remembered
def dense_wiener(image, psf, balance, *, boundary, **more):
    grid = Frame.of(image.shape, psf.shape, boundary).grid
    return oracles.wiener(image, psf, balance, boundary=boundary, grid=grid, **more)


@remembered
def dense_richardson_lucy(image, psf, num_iter, *, boundary="unknown", **more):
    grid = Frame.of(image.shape, psf.shape, boundary).grid
    return oracles.richardson_lucy(image, psf, num_iter, boundary=boundary, grid=grid, **more)


@pytest.mark.parametrize("n", [*range(1, 70), 1081, 1934, 2029, 4110, 10**9 + 7])
def test_good_size(n):
    """Long enough, of fast factors only, and never much longer."""
    for real, primes in ((True, (2, 3, 5)), (False, (2, 3, 5, 7, 11))):
        size = rest = good_size(n, real=real)
        assert n <= size <= 1.25 * n + 2
        for prime in primes:
            while rest % prime == 0:
                rest //= prime
        assert rest == 1
        assert n <= 2 or not (real and size % 2)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("shape", "psf"), SHAPES, ids=IDS)
def test_the_grid_has_room(shape, psf, boundary):
    grid = Frame.of(shape, psf.shape, boundary).grid
    for n, k, g in zip(shape, psf.shape, grid, strict=True):
        if boundary == "periodic" or k == 1:
            assert g == n
        else:  # the linear convolution, and where the borders fade as much again
            assert g >= n + (k - 1) * (2 if boundary in ("reflect", "edge") else 1)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("shape", "psf"), SHAPES, ids=IDS)
def test_extension(shape, psf, boundary):
    frame = Frame.of(shape, psf.shape, boundary)
    image = scene(shape)
    close(
        NumpyOps(np.dtype("float64")).extend(image, frame),
        oracles.extended(image, frame.grid, boundary),
        1e-14,
    )


@pytest.mark.parametrize(("shape", "psf"), [*SHAPES, ((4, 5), lopsided(9, 12)), ((3,), lopsided(11))])
def test_convolution_and_its_adjoint_are_the_sums(shape, psf):
    frame, ops = Frame.of(shape, psf.shape, "periodic"), NumpyOps(np.dtype("float64"))
    image, otf = scene(shape), ops.otf(psf, frame)
    H = oracles.circulant(psf, shape)
    blurred = ops.irfft(ops.multiply(ops.rfft(image), otf), frame)
    close(blurred, oracles.periodic_sum(image, psf), 1e-12)
    close(blurred.ravel(), H @ image.ravel(), 1e-12)
    adjoint = ops.irfft(ops.multiply_conj(ops.rfft(image), otf), frame)
    close(adjoint.ravel(), H.T @ image.ravel(), 1e-12)


@pytest.mark.parametrize("shape", [(7,), (8,), (5, 6), (6, 7), (3, 4, 5), (1, 6), (2, 2)])
def test_laplacian_power(shape):
    frame, ops = Frame.of(shape, (1,) * len(shape), "periodic"), NumpyOps(np.dtype("float64"))
    kernel = np.zeros(shape)
    for where in np.ndindex(*(3,) * len(shape)):
        kernel[tuple((p - 1) % n for p, n in zip(where, shape, strict=True))] += oracles.laplacian(
            len(shape)
        )[where]
    expected = np.abs(np.fft.rfftn(kernel)) ** 2
    np.testing.assert_allclose(ops.laplacian_power(frame), expected, atol=1e-12)


# ----------------------------------------------------------------------------------------------------- wiener


@pytest.mark.parametrize("boundary", CLOSED)
@pytest.mark.parametrize(("shape", "psf"), SHAPES, ids=IDS)
def test_wiener_laplacian(shape, psf, boundary, backend):
    image = scene(shape)
    result = fastdeblur.wiener(image, psf, 0.03, boundary=boundary, backend=backend)
    close(result, dense_wiener(image, psf, 0.03, boundary=boundary))


@pytest.mark.parametrize("boundary", CLOSED)
@pytest.mark.parametrize("reg", ["identity", "kernel", "callable"])
def test_wiener_regularisation(reg, boundary, backend):
    image, psf = scene((7, 8)), lopsided(3, 4)
    kernel = {
        "identity": delta(1, 1),
        "kernel": np.array([[1.0, -3.0], [0.5, 2.0]]),
        "callable": np.array([[-1.0, 1.0]]),
    }[reg]
    given = {
        "identity": "identity",
        "kernel": kernel,
        "callable": lambda fy, fx: np.exp(2j * np.pi * fx) - 1,
    }[reg]
    result = fastdeblur.wiener(image, psf, 0.2, reg=given, boundary=boundary, backend=backend)
    close(result, dense_wiener(image, psf, 0.2, reg=kernel, boundary=boundary))


@pytest.mark.parametrize("shape", [(7, 8), (8, 7)])
def test_wiener_transfer_function(shape, backend):
    image, psf, kernel = scene(shape), lopsided(3, 4), np.array([[1.0, -3.0], [0.5, 2.0]])
    grid = np.zeros(shape)
    grid[:2, :2] = kernel
    result = fastdeblur.wiener(image, psf, 0.2, reg=np.fft.rfftn(grid), boundary="periodic", backend=backend)
    close(result, dense_wiener(image, psf, 0.2, reg=kernel, boundary="periodic"))


def test_wiener_inverse_of_a_singular_blur_has_least_norm(backend):
    """A 2 x 2 box removes the highest frequencies of an even grid: they stay 0."""
    image, psf = scene((6, 8)), box(2, 2)
    result = fastdeblur.wiener(image, psf, 0, boundary="periodic", backend=backend)
    H = oracles.circulant(psf, image.shape)
    expected = (np.linalg.pinv(H) @ image.ravel()).reshape(image.shape)
    # What rounding leaves of the removed frequencies must not be blown up either.
    close(result, expected, 1e-6)


def test_wiener_psf_larger_than_a_periodic_image_folds(backend):
    image, psf = scene((5, 6)), lopsided(9, 13)
    result = fastdeblur.wiener(image, psf, 0.05, boundary="periodic", backend=backend)
    close(result, dense_wiener(image, psf, 0.05, boundary="periodic"))


# -------------------------------------------------------------------------------------------- richardson_lucy


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("shape", "psf"), SHAPES, ids=IDS)
def test_richardson_lucy(shape, psf, boundary, backend):
    image = scene(shape)
    result = fastdeblur.richardson_lucy(image, psf, 12, boundary=boundary, backend=backend)
    close(result, dense_richardson_lucy(image, psf, 12, boundary=boundary))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("background", [0.0, 0.1, 50.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_richardson_lucy_weights_and_background(weighted, background, boundary, backend):
    image, psf = scene((7, 8)), lopsided(3, 4)
    rng = np.random.default_rng(1)
    weights = rng.uniform(0.2, 3, image.shape) * (rng.random(image.shape) > 0.3) if weighted else None
    options = {"boundary": boundary, "background": background, "weights": weights}
    result = fastdeblur.richardson_lucy(image, psf, 12, backend=backend, **options)
    close(result, dense_richardson_lucy(image, psf, 12, **options))


@pytest.mark.parametrize("boundary", CLOSED)
def test_richardson_lucy_init(boundary, backend):
    image, psf, init = scene((7, 8)), lopsided(3, 4), scene((7, 8), 2)
    init[2, 3] = 0
    result = fastdeblur.richardson_lucy(image, psf, 8, boundary=boundary, init=init, backend=backend)
    close(result, dense_richardson_lucy(image, psf, 8, boundary=boundary, init=init))
    if boundary in ("periodic", "zero"):
        assert result[2, 3] == 0  # a pixel that is 0 stays 0


def test_richardson_lucy_flat_init_goes_on_outside_an_unknown_boundary(backend):
    image, psf = scene((7, 8)), lopsided(3, 4)
    result = fastdeblur.richardson_lucy(image, psf, 8, init=np.full(image.shape, 0.3), backend=backend)
    close(result, dense_richardson_lucy(image, psf, 8, init=np.array(0.3)))


def test_richardson_lucy_continues_where_it_stopped(backend):
    """init = the result of 5 iterations, 4 more: as 9 at once, where the whole scene is in the frame."""
    image, psf = scene((12, 13)), lopsided(3, 4)
    for boundary in ("periodic", "zero"):
        first = fastdeblur.richardson_lucy(image, psf, 5, boundary=boundary, backend=backend)
        second = fastdeblur.richardson_lucy(image, psf, 4, boundary=boundary, init=first, backend=backend)
        close(second, fastdeblur.richardson_lucy(image, psf, 9, boundary=boundary, backend=backend), 1e-10)


def test_richardson_lucy_without_iterations_is_the_start(backend):
    image, psf = scene((7, 8)), lopsided(3, 4)
    result = fastdeblur.richardson_lucy(image, psf, 0, backend=backend)
    np.testing.assert_allclose(result, image.mean(), rtol=1e-12)
    init = scene((7, 8), 2)
    np.testing.assert_array_equal(fastdeblur.richardson_lucy(image, psf, 0, init=init, backend=backend), init)


def test_pixels_without_weight_do_not_matter(backend):
    image, psf = scene((9, 10)), lopsided(3, 4)
    weights = np.ones(image.shape)
    weights[2:4, 5] = 0
    weights[0, 0] = 0
    expected = fastdeblur.richardson_lucy(image, psf, 10, weights=weights, backend=backend)
    for rubbish in (np.nan, np.inf, -np.inf, -7.0, 1e30):
        spoilt = np.where(weights > 0, image, rubbish)
        np.testing.assert_array_equal(
            fastdeblur.richardson_lucy(spoilt, psf, 10, weights=weights, backend=backend), expected
        )


# ----------------------------------------------------------------------------------------------- acceleration


@pytest.mark.parametrize("boundary", ["periodic", "zero", "unknown"])
@pytest.mark.parametrize("acceleration", ["biggs-andrews", "ogm"])
def test_acceleration_is_the_paper(acceleration, boundary, backend):
    image, psf = scene((9, 10)), lopsided(3, 4)
    predict = {"biggs-andrews": oracles.biggs_andrews, "ogm": oracles.ogm}[acceleration]
    result = fastdeblur.richardson_lucy(
        image, psf, 12, boundary=boundary, acceleration=acceleration, backend=backend
    )
    close(result, dense_richardson_lucy(image, psf, 12, boundary=boundary, predict=predict), 1e-8)


def log_likelihood(image, psf, estimate):
    model = np.maximum(oracles.periodic_sum(estimate.astype(float), psf / psf.sum()), 1e-12)
    return float(np.sum(image * np.log(model) - model))


@pytest.mark.parametrize(("acceleration", "iterations"), [("biggs-andrews", 15), ("ogm", 25)])
def test_acceleration_gets_further(acceleration, iterations, backend):
    """Ten accelerated iterations reach the likelihood of so many plain ones."""
    truth = np.full((16, 16), 0.1)
    truth[4:7, 5:9] = truth[11, 3:13] = 1
    psf = box(3, 3)
    image = oracles.periodic_sum(truth, psf)
    run = {"boundary": "periodic", "backend": backend}
    plain = fastdeblur.richardson_lucy(image, psf, iterations, **run)
    quick = fastdeblur.richardson_lucy(image, psf, 10, acceleration=acceleration, **run)
    assert log_likelihood(image, psf, quick) >= log_likelihood(image, psf, plain)
