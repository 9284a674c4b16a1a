"""Laws that every backend keeps, on odd, even, prime and tiny shapes."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from conftest import need
from fastdeblur import InvalidArgument, PrecisionWarning, PSFWarning, richardson_lucy, wiener
from fastdeblur._geometry import BOUNDARIES, Frame

from cases import box, lopsided

CLOSED = tuple(b for b in BOUNDARIES if b != "unknown")
LENGTHS = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 11, 13, 16, 17, 24, 31, 32, 37])
SHAPES = st.lists(LENGTHS, min_size=1, max_size=3).map(tuple).filter(lambda s: np.prod(s) <= 4000)
SMALL_SHAPES = SHAPES.filter(lambda s: np.prod(s) <= 600)
SEEDS = st.integers(0, 2**32 - 1)
BALANCES = st.sampled_from([1e-2, 0.1, 3.0])
REGS = st.sampled_from(["laplacian", "identity"])

EPS = {"float32": 1e-5, "float64": 1e-12}


def random_psf(rng, ndim, *, odd=False, largest=6):
    """Positive, most of its mass at the origin, so that no frequency vanishes."""
    shape = tuple(int(k) for k in rng.integers(1, largest, ndim))
    if odd:
        shape = tuple(k | 1 for k in shape)
    psf = rng.uniform(0, 1, shape)
    psf[tuple(k // 2 for k in shape)] += 2 * psf.sum()
    return psf / psf.sum()


def random_image(rng, shape, dtype="float64"):
    return rng.uniform(0.2, 1.2, shape).astype(dtype)


def close(result, expected, tolerance):
    assert np.isfinite(result).all()
    assert np.linalg.norm(result - expected) <= tolerance * max(np.linalg.norm(expected), 1e-30)


def blurred(image, psf):
    """Periodic, by the FFT of NumPy."""
    grid = np.zeros(image.shape)
    for j in np.ndindex(psf.shape):
        grid[tuple((q - m // 2) % n for q, m, n in zip(j, psf.shape, image.shape, strict=True))] += psf[j]
    axes = tuple(range(image.ndim))
    return np.fft.irfftn(np.fft.rfftn(grid) * np.fft.rfftn(image), image.shape, axes)


@pytest.fixture(params=["numpy", "numba"], scope="module")
def recipe_ops(request):
    """The operations of a backend that runs recipes, in float64."""
    need(request.param)
    if request.param == "numpy":
        from fastdeblur.backends.numpy_ import NumpyOps

        return NumpyOps(np.dtype("float64"))
    from fastdeblur.backends.numba_ import NumbaOps

    return NumbaOps(np.dtype("float64"), 0)


# ------------------------------------------------------------------------------------------------ adjointness


@given(shape=SHAPES, seed=SEEDS)
def test_convolution_is_adjoint(recipe_ops, shape, seed):  # <H x, r> == <x, H^T r>
    rng = np.random.default_rng(seed)
    x, r = rng.normal(size=shape), rng.normal(size=shape)
    ops, psf = recipe_ops, rng.normal(size=rng.integers(1, 6, len(shape)))
    frame = Frame.of(shape, psf.shape, "periodic")
    otf = ops.otf(psf, frame)
    left = np.vdot(ops.irfft(ops.multiply(ops.rfft(x), otf), frame), r)
    right = np.vdot(x, ops.irfft(ops.multiply_conj(ops.rfft(r), otf), frame))
    assert abs(left - right) <= 1e-12 * np.abs(psf).sum() * np.linalg.norm(x) * np.linalg.norm(r)


@given(shape=SHAPES, seed=SEEDS)
def test_richardson_lucy_holds_adjoint_operators(backend, dtype, shape, seed):
    """From a flat start one iteration on a periodic image is H^T y. With the PSF turned round it is H y."""
    rng = np.random.default_rng(seed)
    x, r = random_image(rng, shape, dtype), random_image(rng, shape, dtype)
    psf = random_psf(rng, len(shape), odd=True)
    run = {"init": np.ones(shape, dtype), "boundary": "periodic", "backend": backend}
    forth = richardson_lucy(r, psf, 1, **run)
    back = richardson_lucy(x, np.flip(psf), 1, **run)
    close(back, blurred(x, psf), EPS[dtype])
    assert abs(np.vdot(back, r) - np.vdot(x, forth)) <= EPS[dtype] * np.linalg.norm(x) * np.linalg.norm(r)


@given(shape=SHAPES, seed=SEEDS, boundary=st.sampled_from(BOUNDARIES))
def test_extension_is_idempotent(recipe_ops, shape, seed, boundary):
    rng = np.random.default_rng(seed)
    psf_shape = tuple(
        int(min(k, 2 * n + 1)) for k, n in zip(rng.integers(1, 9, len(shape)), shape, strict=True)
    )
    frame, image = Frame.of(shape, psf_shape, boundary), random_image(rng, shape)
    once = recipe_ops.extend(image, frame)
    assert once.shape == frame.grid
    np.testing.assert_array_equal(recipe_ops.crop(once, frame), image)
    np.testing.assert_array_equal(recipe_ops.extend(recipe_ops.crop(once, frame), frame), once)
    if boundary in ("zero", "unknown"):
        assert once.sum() == pytest.approx(image.sum())
    else:
        assert once.min() >= image.min() - 1e-15
        assert once.max() <= image.max() + 1e-15


# ----------------------------------------------------------------------------------------------------- wiener


@given(shape=SHAPES, seed=SEEDS, balance=BALANCES, reg=REGS, boundary=st.sampled_from(CLOSED))
def test_wiener_is_linear_in_the_image(backend, dtype, shape, seed, balance, reg, boundary):
    rng = np.random.default_rng(seed)
    psf = random_psf(rng, len(shape), largest=4)
    assume(all(k <= 2 * n + 1 for k, n in zip(psf.shape, shape, strict=True)))
    x, y = rng.normal(size=shape).astype(dtype), rng.normal(size=shape).astype(dtype)

    def run(image):
        return wiener(image.astype(dtype), psf, balance, reg=reg, boundary=boundary, backend=backend)

    whole, parts = run(2 * x - 3 * y), 2 * run(x) - 3 * run(y)
    assert np.linalg.norm(whole - parts) <= 10 * EPS[dtype] * (2 * np.linalg.norm(x) + 3 * np.linalg.norm(y))


@given(shape=SHAPES, seed=SEEDS)
def test_wiener_without_noise_is_the_exact_inverse(backend, dtype, shape, seed):
    rng = np.random.default_rng(seed)
    image, psf = random_image(rng, shape), random_psf(rng, len(shape))
    result = wiener(blurred(image, psf).astype(dtype), psf, 0, boundary="periodic", backend=backend)
    close(result, image, 10 * EPS[dtype])


@given(shape=SHAPES, seed=SEEDS, balance=BALANCES)
def test_wiener_of_a_delta_shrinks_by_the_balance(backend, dtype, shape, seed, balance):
    """H = 1 and R = 1: X = Y / (1 + balance)."""
    image = random_image(np.random.default_rng(seed), shape, dtype)
    psf = np.ones([1] * len(shape))
    result = wiener(image, psf, balance, reg="identity", boundary="periodic", backend=backend)
    close(result, image / (1 + balance), EPS[dtype])


@given(
    seed=SEEDS,
    balance=BALANCES,
    height=LENGTHS,
    width=LENGTHS,
    boundary=st.sampled_from(["periodic", "zero", "reflect"]),
)
def test_wiener_with_a_row_for_a_psf_is_a_batch_of_rows(backend, seed, balance, height, width, boundary):
    rng = np.random.default_rng(seed)
    image, psf = random_image(rng, (height, width + 4)), random_psf(rng, 1)
    run = {"reg": "identity", "boundary": boundary, "backend": backend}
    close(wiener(image, psf[np.newaxis], balance, **run), wiener(image, psf, balance, **run), 1e-12)


# -------------------------------------------------------------------------------------------- richardson_lucy


@given(
    shape=SHAPES,
    seed=SEEDS,
    iterations=st.integers(0, 12),
    acceleration=st.sampled_from([None, "biggs-andrews", "ogm"]),
)
def test_flux_is_conserved(backend, dtype, shape, seed, iterations, acceleration):
    rng = np.random.default_rng(seed)
    image, psf = random_image(rng, shape, dtype), random_psf(rng, len(shape))
    image[rng.random(shape) < 0.3] = 0
    assume(image.any())
    run = {"acceleration": acceleration, "boundary": "periodic", "backend": backend}
    result = richardson_lucy(image, psf, iterations, **run)
    assert result.sum(dtype=np.float64) == pytest.approx(image.sum(dtype=np.float64), rel=20 * EPS[dtype])


@given(
    shape=SHAPES,
    seed=SEEDS,
    boundary=st.sampled_from(BOUNDARIES),
    background=st.sampled_from([0.0, 0.3]),
    acceleration=st.sampled_from([None, "biggs-andrews", "ogm"]),
)
def test_light_is_never_negative(backend, dtype, shape, seed, boundary, background, acceleration):
    rng = np.random.default_rng(seed)
    psf = random_psf(rng, len(shape), largest=4)
    assume(all(k <= 2 * n + 1 for k, n in zip(psf.shape, shape, strict=True)))
    image = rng.uniform(0, 1, shape).astype(dtype) * (rng.random(shape) < 0.4)
    run = {"boundary": boundary, "background": background, "acceleration": acceleration, "backend": backend}
    result = richardson_lucy(image, psf, 8, **run)
    assert np.isfinite(result).all()
    assert (result >= 0).all()


@given(shape=SHAPES, seed=SEEDS)
def test_the_truth_is_a_fixed_point(backend, dtype, shape, seed):
    rng = np.random.default_rng(seed)
    truth, psf = random_image(rng, shape), random_psf(rng, len(shape))
    image = blurred(truth, psf).astype(dtype)
    result = richardson_lucy(image, psf, 5, init=truth, boundary="periodic", backend=backend)
    close(result, truth, 5 * EPS[dtype])


@given(shape=SHAPES, seed=SEEDS)
def test_every_iteration_is_more_likely(backend, shape, seed):
    rng = np.random.default_rng(seed)
    image, psf = random_image(rng, shape), random_psf(rng, len(shape))
    likelihood = []

    def watch(state):
        model = blurred(state.estimate(), psf)
        likelihood.append(np.sum(image * np.log(model) - model))

    richardson_lucy(image, psf, 8, boundary="periodic", callback=watch, backend=backend)
    assert len(likelihood) == 8
    assert (np.diff(likelihood) >= -1e-12 * np.abs(likelihood[0]) - 1e-12).all()


@given(shape=SHAPES, seed=SEEDS, boundary=st.sampled_from(BOUNDARIES))
def test_a_delta_gives_the_image_back_at_once(backend, dtype, shape, seed, boundary):
    image = random_image(np.random.default_rng(seed), shape, dtype)
    result = richardson_lucy(image, np.ones([1] * len(shape)), 1, boundary=boundary, backend=backend)
    close(result, image, EPS[dtype])


@given(shape=SHAPES, seed=SEEDS, boundary=st.sampled_from(BOUNDARIES))
def test_equal_weights_are_no_weights(backend, dtype, shape, seed, boundary):
    rng = np.random.default_rng(seed)
    image, psf = random_image(rng, shape, dtype), random_psf(rng, len(shape), largest=4)
    assume(all(k <= 2 * n + 1 for k, n in zip(psf.shape, shape, strict=True)))
    run = {"boundary": boundary, "backend": backend}
    weighted = richardson_lucy(image, psf, 6, weights=np.full(shape, 3.0), **run)
    close(weighted, richardson_lucy(image, psf, 6, **run), 10 * EPS[dtype])


# ------------------------------------------------------------------------------------------------------- both


def restorations(dtype, **run):
    """The two methods as functions of (image, psf)."""
    return (
        lambda image, psf: wiener(image.astype(dtype), psf, 0.05, **run),
        lambda image, psf: richardson_lucy(image.astype(dtype), psf, 6, **run),
    )


@given(shape=SHAPES, seed=SEEDS)
def test_shift_equivariance(backend, dtype, shape, seed):
    rng = np.random.default_rng(seed)
    image, psf = random_image(rng, shape, dtype), random_psf(rng, len(shape))
    shift, axes = [int(s) for s in rng.integers(-9, 9, len(shape))], range(len(shape))
    for restore in restorations(dtype, boundary="periodic", backend=backend):
        close(
            restore(np.roll(image, shift, axes), psf),
            np.roll(restore(image, psf), shift, axes),
            10 * EPS[dtype],
        )


@given(shape=SHAPES, seed=SEEDS, exponent=st.integers(-40, 40), boundary=st.sampled_from(CLOSED))
def test_scaling_the_data_scales_the_result(backend, dtype, shape, seed, exponent, boundary):
    rng = np.random.default_rng(seed)
    image, psf = random_image(rng, shape, dtype), random_psf(rng, len(shape), largest=4)
    assume(all(k <= 2 * n + 1 for k, n in zip(psf.shape, shape, strict=True)))
    for restore in restorations(dtype, boundary=boundary, backend=backend):
        close(restore(image * 2.0**exponent, psf), restore(image, psf) * 2.0**exponent, 10 * EPS[dtype])


@given(shape=SHAPES, seed=SEEDS)
def test_permuting_the_axes_permutes_the_result(backend, dtype, shape, seed):
    rng = np.random.default_rng(seed)
    image, psf = random_image(rng, shape, dtype), random_psf(rng, len(shape))
    for restore in restorations(dtype, boundary="periodic", backend=backend):
        result = restore(image, psf)
        for axes in itertools.permutations(range(len(shape))):
            close(
                restore(image.transpose(axes), psf.transpose(axes)), result.transpose(axes), 10 * EPS[dtype]
            )


@given(shape=SHAPES, seed=SEEDS, boundary=st.sampled_from(["unknown", "zero"]))
def test_permuting_the_axes_permutes_the_result_inside_a_frame(backend, dtype, shape, seed, boundary):
    rng = np.random.default_rng(seed)
    image, psf = random_image(rng, shape, dtype), random_psf(rng, len(shape))
    result = richardson_lucy(image, psf, 6, boundary=boundary, backend=backend)
    turned = richardson_lucy(image.T, psf.T, 6, boundary=boundary, backend=backend)
    close(turned, result.T, 10 * EPS[dtype])


@given(shape=SHAPES, seed=SEEDS)
def test_turning_round_turns_the_result_round(backend, dtype, shape, seed):
    rng = np.random.default_rng(seed)
    image, psf = random_image(rng, shape, dtype), random_psf(rng, len(shape), odd=True)
    for restore in restorations(dtype, boundary="periodic", backend=backend):
        close(restore(np.flip(image), np.flip(psf)), np.flip(restore(image, psf)), 10 * EPS[dtype])
    run = {"boundary": "unknown", "backend": backend}
    result = richardson_lucy(np.flip(image), np.flip(psf), 6, **run)
    close(result, np.flip(richardson_lucy(image, psf, 6, **run)), 10 * EPS[dtype])


@given(shape=SHAPES, seed=SEEDS)
def test_a_margin_of_zeros_is_no_part_of_a_psf(backend, dtype, shape, seed):
    rng = np.random.default_rng(seed)
    image, psf = random_image(rng, shape, dtype), random_psf(rng, len(shape))
    for restore in restorations(dtype, boundary="periodic", backend=backend):
        close(restore(image, np.pad(psf, 2)), restore(image, psf), 10 * EPS[dtype])
    run = {"boundary": "unknown", "backend": backend}
    close(
        richardson_lucy(image, np.pad(psf, 2), 6, **run),
        richardson_lucy(image, psf, 6, **run),
        10 * EPS[dtype],
    )


@given(shape=SHAPES, seed=SEEDS, level=st.sampled_from([1e-6, 0.5, 255.0, 65535.0]))
def test_constant_images_stay_constant(backend, dtype, shape, seed, level):
    rng = np.random.default_rng(seed)
    psf = random_psf(rng, len(shape), largest=4)
    assume(all(k <= 2 * n + 1 for k, n in zip(psf.shape, shape, strict=True)))
    image = np.full(shape, level, dtype)
    tolerance = 20 * EPS[dtype]
    for boundary in ("periodic", "reflect", "edge"):
        result = wiener(image, psf, 0.1, boundary=boundary, backend=backend)
        np.testing.assert_allclose(result, level, rtol=tolerance)
    weights = (rng.random(shape) < 0.8).astype(float)
    weights.flat[rng.integers(weights.size)] = 0.5
    for boundary in ("periodic", "reflect", "edge", "unknown"):
        for w in (None, weights):
            result = richardson_lucy(image, psf, 6, boundary=boundary, weights=w, backend=backend)
            # Pixels that hardly shine into what was observed amplify rounding.
            np.testing.assert_allclose(result, level, rtol=tolerance if w is None else 100 * tolerance)


@pytest.mark.parametrize("boundary", ["reflect", "unknown", "edge", "periodic"])
@pytest.mark.parametrize("acceleration", [None, "biggs-andrews", "ogm"])
def test_no_bright_rim_on_a_flat_scene(backend, dtype, boundary, acceleration):
    image = np.full((61, 64), 0.5, dtype)
    result = richardson_lucy(
        image, box(9, 9), 50, boundary=boundary, acceleration=acceleration, backend=backend
    )
    np.testing.assert_allclose(result, 0.5, atol=1e-3)


@pytest.mark.parametrize("boundary", ["reflect", "unknown", "edge", "periodic"])
def test_no_rim_around_dead_pixels_at_the_border(backend, dtype, boundary):
    image, weights = np.full((61, 64), 0.5, dtype), np.ones((61, 64))
    weights[:, -1] = weights[20:24, 30] = weights[0, 5] = 0
    result = richardson_lucy(
        np.where(weights > 0, image, 0), box(9, 9), 50, boundary=boundary, weights=weights, backend=backend
    )
    np.testing.assert_allclose(result, 0.5, atol=1e-3)


@pytest.mark.parametrize("boundary", ["unknown", "reflect", "periodic", "zero"])
@pytest.mark.parametrize("acceleration", [None, "ogm"])
def test_a_psf_with_negative_values_does_not_run_away(backend, boundary, acceleration):
    """As of a bead whose background was taken off: beyond the frame H^T W is small by cancellation, the correction is not."""
    rng = np.random.default_rng(5)
    bead = np.exp(-np.add.outer(np.arange(-7, 8) ** 2, np.arange(-7, 8) ** 2) / 6.0)
    bead = rng.poisson(100 * bead + 30) - 30.0
    assert 0.05 < -bead[bead < 0].sum() / bead.sum() < 0.5
    image = rng.poisson(5, (40, 44)).astype(np.float64)
    image[20, 20] += 200
    with pytest.warns(PSFWarning, match="negative"):
        result = richardson_lucy(
            image, bead, 60, boundary=boundary, acceleration=acceleration, backend=backend
        )
    assert np.isfinite(result).all()
    assert result.sum() == pytest.approx(image.sum(), rel=0.3 if boundary == "zero" else 0.05)
    assert result.max() < 20 * image.max()


def test_small_negative_values_beside_weak_weights_do_not_run_away(backend):
    rng = np.random.default_rng(7)
    psf = np.exp(-np.add.outer(np.arange(-5, 6) ** 2, np.arange(-5, 6) ** 2) / 4.0)
    psf[0] = -0.002 * psf.sum() / 11
    image = rng.poisson(20, (40, 44)).astype(np.float64)
    weights = 1 / np.maximum(image, 1)  # 1 / variance
    weights[3, 4] = 0.2
    run = {"num_iter": 60, "weights": weights, "backend": backend}
    with pytest.warns(PSFWarning, match="negative"):
        result = richardson_lucy(image, psf, **run)
    assert result.max() < 20 * image.max()
    np.testing.assert_allclose(result.mean(), image.mean(), rtol=0.2)
    psf[0] *= 50
    with (
        pytest.warns(PSFWarning),
        pytest.raises(InvalidArgument, match="psf: expected no negative values beside weights as small as"),
    ):
        richardson_lucy(image, psf, **run)


@pytest.mark.parametrize("weighted", [False, True])
def test_planes_do_not_depend_on_each_other(backend, dtype, weighted):
    """Not by another plane's PSF or weights either, which decide what is too little to divide by."""
    rng = np.random.default_rng(8)
    image = rng.uniform(0.2, 1, (3, 24, 26)).astype(dtype)
    psfs = np.stack([lopsided(5, 5)] * 3)
    weights = np.ones(image.shape)
    if weighted:
        weights[1] = rng.uniform(0.01, 1, image.shape[1:])
        weights[2, :4, :5] = 0
    else:
        psfs[1, 0] = -0.5
    run = {"boundary": "unknown", "backend": backend}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PSFWarning)
        result = richardson_lucy(image, psfs, 8, channel_axis=0, weights=weights, **run)
        for k in range(3):
            alone = richardson_lucy(image[k], psfs[k], 8, weights=weights[k], **run)
            np.testing.assert_array_equal(result[k], alone)


@pytest.mark.parametrize("boundary", ["unknown", "periodic"])
@pytest.mark.parametrize("ratio", [1e2, 1e5, 1e7])
def test_one_trusted_pixel_does_not_silence_the_others(backend, boundary, ratio):
    """Only the ratios of weights matter, whatever the largest is: far from its pixel, nothing changes."""
    rng = np.random.default_rng(6)
    image = rng.uniform(0.2, 1, (48, 50))
    image[30, 31] = 40
    weights = np.ones(image.shape)
    run = {"boundary": boundary, "backend": backend}
    expected = richardson_lucy(image, lopsided(3, 3), 4, weights=weights, **run)
    weights[4, 5] = ratio
    result = richardson_lucy(image, lopsided(3, 3), 4, weights=weights, **run)
    far = (slice(18, 40), slice(18, 40))
    np.testing.assert_allclose(result[far], expected[far], rtol=1e-6)


def test_weights_that_float32_cannot_tell_apart_are_warned_of(backend):
    image = np.full((12, 13), 0.5, np.float32)
    weights = np.ones(image.shape)
    weights[0, 0] = 1e4
    with pytest.warns(PrecisionWarning, match="weights: 99 % of the positive ones are below 0.001"):
        richardson_lucy(image, box(3, 3), 1, weights=weights, backend=backend)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        richardson_lucy(image.astype(np.float64), box(3, 3), 1, weights=weights, backend=backend)
        for rest in (0.0, 2e-3):
            richardson_lucy(image, box(3, 3), 1, weights=np.where(weights > 1, 1, rest), backend=backend)


def test_no_bright_rim_where_the_scene_goes_on(backend):
    """A ramp cut out of a larger blurred scene: the frame's border is no worse than its middle."""
    scene = 0.3 + 0.4 * np.add.outer(np.arange(80), np.arange(90)) / 170
    image = scene[8:-8, 8:-8]  # a symmetric blur leaves a ramp as it is
    result = richardson_lucy(image.astype(np.float32), box(9, 9), 50, backend=backend)
    np.testing.assert_allclose(result, image, atol=0.02)


# -------------------------------------------------------------------------------------- the same, bit for bit


@pytest.mark.parametrize("shape", [(1,), (2, 3), (37,), (31, 37), (131, 260), (9, 20, 31)])
def test_any_number_of_threads_gives_the_same_bits(backend, dtype, shape):
    image = random_image(np.random.default_rng(0), shape, dtype)
    psf = lopsided(*[min(5, 2 * n + 1) for n in shape])
    weights = np.where(image > 0.3, image, 0).astype(dtype)
    reference = None
    for n_threads in (1, 2, 3, 8):
        run = {"n_threads": n_threads, "backend": backend}
        results = (
            wiener(image, psf, 0.05, **run),
            wiener(image, psf, 0.05, boundary="periodic", reg="identity", **run),
            richardson_lucy(image, psf, 4, **run),
            richardson_lucy(
                image, psf, 4, boundary="zero", acceleration="biggs-andrews", background=0.1, **run
            ),
            richardson_lucy(image, psf, 4, acceleration="ogm", weights=weights, tol=1e-6, **run),
        )
        reference = results if reference is None else reference
        for result, expected in zip(results, reference, strict=True):
            np.testing.assert_array_equal(result, expected)


@given(seed=SEEDS, batch=st.lists(st.integers(1, 3), min_size=1, max_size=2).map(tuple), shape=SHAPES)
def test_a_batch_is_a_loop(backend, dtype, seed, batch, shape):
    assume(shape[-1] > 4 or len(shape) == 1)  # else it looks like channels
    rng = np.random.default_rng(seed)
    image, psf = random_image(rng, batch + shape, dtype), random_psf(rng, len(shape), largest=4)
    assume(all(k <= 2 * n + 1 for k, n in zip(psf.shape, shape, strict=True)))
    for restore in restorations(dtype, backend=backend):
        result = restore(image, psf)
        for index in np.ndindex(*batch):
            np.testing.assert_array_equal(result[index], restore(image[index], psf))


@settings(max_examples=8)
@given(seed=SEEDS, channels=st.integers(1, 5), shape=SMALL_SHAPES, per_channel=st.booleans())
def test_the_channel_axis_may_be_anywhere(backend, dtype, seed, channels, shape, per_channel):
    rng = np.random.default_rng(seed)
    image = random_image(rng, (channels, *shape), dtype)
    psf_shape = random_psf(rng, len(shape), largest=4).shape
    assume(all(k <= 2 * n + 1 for k, n in zip(psf_shape, shape, strict=True)))
    assume(per_channel or len(shape) < 3 or channels not in psf_shape)  # read as one 2-D PSF per channel
    psfs = rng.uniform(0.1, 1, (channels, *psf_shape))
    psfs[(slice(None), *(k // 2 for k in psf_shape))] += psfs[0].size
    run = {"backend": backend}
    for method, parameter in ((wiener, 0.05), (richardson_lucy, 3)):
        expected = np.stack(
            [method(image[c], psfs[c if per_channel else 0], parameter, **run) for c in range(channels)]
        )
        for axis in range(-len(shape) - 1, len(shape) + 1):
            psf = np.moveaxis(psfs, 0, axis) if per_channel else psfs[0]
            result = method(np.moveaxis(image, 0, axis), psf, parameter, channel_axis=axis, **run)
            np.testing.assert_array_equal(np.moveaxis(result, axis, 0), expected)


def test_a_3x3_psf_on_a_colour_image_is_one_psf(backend):
    """As many rows as channels: still a PSF, not three of one row each."""
    image = random_image(np.random.default_rng(0), (20, 30, 3), "float32")
    psf = lopsided(3, 3)
    result = wiener(image, psf, 0.1, channel_axis=-1, backend=backend)
    np.testing.assert_array_equal(result[..., 1], wiener(image[..., 1], psf, 0.1, backend=backend))
