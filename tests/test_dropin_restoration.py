"""fastdeblur.skimage.restoration against scikit-image: same answers, same errors, and the fast path where it is meant to be."""

from __future__ import annotations

import doctest
import importlib
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("skimage")

import skimage.restoration as original

import fastdeblur
import fastdeblur.skimage.restoration as ours
from fastdeblur._dropin import replaces

pytestmark = pytest.mark.skipif(replaces.core() is None, reason="there is no compiled core")

DTYPES = (
    "bool",
    "u1",
    "i1",
    "u2",
    "i2",
    "u4",
    "i4",
    "u8",
    "i8",
    "f2",
    "f4",
    "f8",
    ">f4",
    ">i2",
    "g",
    "c8",
    "c16",
)
LAYOUTS = ("plain", "negative", "fortran", "broadcast", "strided")


def image_of(shape, dtype, layout, seed):
    """Positive values, so that Richardson-Lucy is well-posed."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype).kind
    full = [2 * n for n in shape] if layout == "strided" else list(shape)
    if layout == "broadcast":
        full[0] = 1
    values = 0.1 + rng.random(full)
    if kind in "iu":
        values = 1 + values * 90
    array = (values > 0.5 if kind == "b" else values).astype(dtype)
    if layout == "negative":
        return array[(slice(None, None, -1),) * len(shape)]
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "broadcast":
        return np.broadcast_to(array, shape)
    if layout == "strided":
        return array[(slice(None, None, 2),) * len(shape)]
    return array


def psf_of(shape, seed):
    psf = 0.1 + np.random.default_rng(seed + 1).random(shape)
    psf[tuple(k // 2 for k in shape)] += 2.0 * psf.size**0.5
    return psf / psf.sum()


def outcome(function, *args, **kwargs):
    """The result, or the type of the exception."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return function(*args, **kwargs), None
        except Exception as error:
            return None, type(error)


def assert_same(result, expected, name=""):
    got, got_error = result
    want, want_error = expected
    assert got_error == want_error, name
    if want_error is not None:
        return
    assert type(got) is type(want)
    if isinstance(want, tuple):  # unsupervised_wiener
        assert got[1].keys() == want[1].keys()
        for key in want[1]:
            np.testing.assert_allclose(got[1][key], want[1][key], rtol=1e-4 if got[0].dtype == "f4" else 1e-8)
        got, want = got[0], want[0]
    assert np.shape(got) == np.shape(want)
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype
    eps = np.finfo(want.dtype).eps if want.dtype.kind in "fc" else 0
    scale = np.max(np.abs(want), initial=0, where=np.isfinite(want))
    np.testing.assert_allclose(got, want, rtol=0, atol=5000 * eps * max(scale, 1e-30), err_msg=name)


def same(name, *args, **kwargs):
    assert_same(
        outcome(getattr(ours, name), *args, **kwargs), outcome(getattr(original, name), *args, **kwargs), name
    )


@pytest.fixture
def only_ours(monkeypatch):
    """The original may not be asked."""

    def refuse(function, args, kwargs):
        raise AssertionError(f"{function.__name__} went to the original")

    monkeypatch.setattr(replaces, "_elsewhere", refuse)


shapes = st.one_of(
    st.tuples(st.integers(1, 40)),
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12)),
    st.tuples(*[st.integers(0, 4)] * 4),
    st.just((0, 5)),
)
images = st.builds(image_of, shapes, st.sampled_from(DTYPES), st.sampled_from(LAYOUTS), st.integers(0, 99))
few = st.integers(0, 5)


@st.composite
def image_and_psf(draw):
    image = draw(images)
    sizes = [draw(st.integers(1, max(1, min(n + 1, 6)))) for n in image.shape]
    return image, psf_of(sizes, draw(few)).astype(draw(st.sampled_from(("f8", "f4"))))


@given(image_and_psf(), st.sampled_from((0.1, 1, np.float32(0.5), np.float64(0.25))), st.booleans())
def test_wiener_is_the_originals(problem, balance, clip):
    same("wiener", *problem, balance, clip=clip)


@given(image_and_psf(), st.integers(0, 6), st.booleans(), st.sampled_from((None, 0, 1e-3, 0.2)))
def test_richardson_lucy_is_the_originals(problem, num_iter, clip, filter_epsilon):
    same("richardson_lucy", *problem, num_iter, clip, filter_epsilon)


@given(
    images,
    st.sampled_from((0.1, 1, 3.0, np.float32(0.2))),
    st.sampled_from((2e-4, 0, 0.01)),
    st.integers(0, 30),
    st.sampled_from((None, None, 0, -1, 5)),
)
def test_total_variation_is_the_originals(image, weight, eps, max_num_iter, channel_axis):
    same("denoise_tv_chambolle", image, weight, eps, max_num_iter, channel_axis=channel_axis)


@given(images, st.booleans(), st.sampled_from((None, None, 0, -1, 7)))
def test_sigma_is_the_originals(image, average, channel_axis):
    pytest.importorskip("pywt")
    same("estimate_sigma", image, average, channel_axis=channel_axis)


@given(
    st.builds(
        image_of,
        st.tuples(st.integers(3, 20), st.integers(3, 20)),
        st.sampled_from(DTYPES),
        st.sampled_from(LAYOUTS),
        few,
    ),
    st.integers(1, 3),
    st.sampled_from((None, {"max_num_iter": 20}, {"burnin": 3, "min_num_iter": 5, "threshold": 1e-2})),
)
def test_unsupervised_wiener_is_the_originals(image, size, params):
    same("unsupervised_wiener", image, psf_of((size, size), 0), user_params=params, rng=3)


# --- the fast path is taken, and right where the parts of the passes are whole or cut ---

GRIDS = ((8, 8), (64, 64), (37, 41), (200, 190), (1, 33), (33, 1), (50,), (9, 12, 17), (16, 16, 16))


@pytest.mark.parametrize("shape", [s for s in GRIDS if min(s) >= 3], ids=str)
@pytest.mark.parametrize("size", [1, 3, 4])
def test_wiener_takes_the_fast_path(only_ours, shape, size, dtype, rng):
    image = rng.random(shape).astype(dtype)
    psf = psf_of([min(size, n) for n in shape], 3)
    assert_same((ours.wiener(image, psf, 0.05), None), (original.wiener(image, psf, 0.05), None))


@pytest.mark.parametrize("shape", GRIDS, ids=str)
@pytest.mark.parametrize("size", [1, 3, 4, 7])
def test_richardson_lucy_takes_the_fast_path(only_ours, shape, size, dtype, rng):
    image = 0.1 + rng.random(shape).astype(dtype)
    psf = psf_of([min(size, n) for n in shape], 3)
    for arguments in ((10,), (3, False), (5, True, 0.3)):
        assert_same(
            (ours.richardson_lucy(image, psf, *arguments), None),
            (original.richardson_lucy(image, psf, *arguments), None),
        )


@pytest.mark.parametrize("axis", [0, 1])
def test_even_psf_drifts_as_in_the_original(only_ours, axis, rng):
    image = np.full((20, 22), 0.1)
    image[10, 11] = 1
    psf = np.ones((2, 3) if axis == 0 else (3, 2)) / 6
    result = ours.richardson_lucy(image, psf, 20, False)
    np.testing.assert_allclose(result, original.richardson_lucy(image, psf, 20, False), rtol=1e-9)


@pytest.mark.parametrize("shape", [s for s in GRIDS if len(s) > 1] + [(700, 90), (3, 5), (130, 2)], ids=str)
@pytest.mark.parametrize(("eps", "max_num_iter"), [(2e-4, 200), (0, 2), (0, 7), (0, 13), (1e-2, 50)])
def test_total_variation_takes_the_fast_path(only_ours, shape, eps, max_num_iter, dtype, rng):
    image = rng.random(shape).astype(dtype)
    arguments = (0.15, eps, max_num_iter)
    assert_same(
        (ours.denoise_tv_chambolle(image, *arguments), None),
        (original.denoise_tv_chambolle(image, *arguments), None),
    )


def test_total_variation_of_channels(only_ours, rng):
    image = rng.random((40, 30, 3))
    for axis in (-1, 2, 0):
        result = ours.denoise_tv_chambolle(image, 0.2, channel_axis=axis)
        np.testing.assert_allclose(
            result, original.denoise_tv_chambolle(image, 0.2, channel_axis=axis), atol=1e-13
        )


@pytest.mark.parametrize("shape", [(8, 8), (40, 41), (64, 126), (90, 91), (300, 310)], ids=str)
def test_unsupervised_wiener_takes_the_fast_path(only_ours, shape, dtype, rng):
    image = rng.random(shape).astype(dtype)
    psf = psf_of((3, 3), 3)
    mine, theirs = np.random.default_rng(7), np.random.default_rng(7)
    assert_same(
        (ours.unsupervised_wiener(image, psf, rng=mine), None),
        (original.unsupervised_wiener(image, psf, rng=theirs), None),
    )
    assert mine.bit_generator.state == theirs.bit_generator.state
    assert mine.random() == theirs.random()


@pytest.mark.parametrize("bits", [np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM])
def test_other_generators_give_the_same_samples(only_ours, bits, rng):
    image, psf = rng.random((70, 80)), psf_of((3, 3), 3)
    mine, theirs = np.random.Generator(bits(5)), np.random.Generator(bits(5))
    assert_same(
        (ours.unsupervised_wiener(image, psf, rng=mine), None),
        (original.unsupervised_wiener(image, psf, rng=theirs), None),
    )
    assert mine.integers(1 << 60) == theirs.integers(1 << 60)


def test_half_a_word_in_the_generator_stays_there(rng):
    image, psf = rng.random((70, 80)), psf_of((3, 3), 3)
    mine, theirs = np.random.default_rng(5), np.random.default_rng(5)
    for generator in (mine, theirs):
        generator.integers(100, dtype=np.int32)
    ours.unsupervised_wiener(image, psf, rng=mine)
    original.unsupervised_wiener(image, psf, rng=theirs)
    assert mine.bit_generator.state == theirs.bit_generator.state


def test_a_callback_sees_every_sample(rng):
    image, psf, seen = rng.random((20, 21)), psf_of((3, 3), 3), []
    ours.unsupervised_wiener(image, psf, user_params={"callback": seen.append, "max_num_iter": 20}, rng=0)
    assert len(seen) == 20


@pytest.mark.parametrize("shape", [(8, 8), (5,), (7, 6), (40, 41), (4, 5, 6), (2, 5)], ids=str)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8"])
def test_sigma_is_equal_to_the_bit(only_ours, shape, dtype, rng):
    pytest.importorskip("pywt")
    image = (100 * rng.random(shape)).astype(dtype)
    assert ours.estimate_sigma(image) == original.estimate_sigma(image)
    flat = np.full((30, 40), 33.3).astype(dtype)  # what is left there is rounding
    flat[10:20] = 70
    assert ours.estimate_sigma(flat) == original.estimate_sigma(flat)


def test_sigma_works_without_pywavelets(only_ours, monkeypatch, rng):
    monkeypatch.setitem(__import__("sys").modules, "pywt", None)
    image = 0.2 * rng.standard_normal((300, 300, 3))
    np.testing.assert_allclose(ours.estimate_sigma(image, channel_axis=-1), 0.2, rtol=0.05)
    with pytest.warns(UserWarning, match="channel_axis is None"):
        ours.estimate_sigma(image)


@pytest.mark.parametrize(
    "name", ["wiener", "unsupervised_wiener", "richardson_lucy", "denoise_tv_chambolle", "estimate_sigma"]
)
def test_the_originals_own_examples_give_the_same(name, monkeypatch):
    """Those of its docstring, as they are in the installed package, but for generators that are seeded."""
    if name == "estimate_sigma":
        pytest.importorskip("pywt")
    generator = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed=None: generator(3 if seed is None else seed))
    function = getattr(original, name)
    module = importlib.import_module(function.__module__)
    lines = doctest.DocTestParser().get_examples(function.__doc__)

    def results():
        names = dict(vars(module))
        known = set(names)
        for line in lines:
            exec(line.source, names)
        return {key: value for key, value in names.items() if key not in known}

    theirs = results()
    with fastdeblur.patch():
        assert getattr(original, name) is getattr(ours, name)
        mine = results()
    assert mine.keys() == theirs.keys()
    compared = [key for key, value in theirs.items() if isinstance(value, (np.ndarray, tuple, float))]
    assert len(compared) > 1
    for key in compared:
        # Richardson-Lucy multiplies what rounding there is with every iteration, most at the borders.
        pair = [value[0] if isinstance(value, tuple) else value for value in (mine[key], theirs[key])]
        np.testing.assert_allclose(*pair, rtol=1e-8, atol=1e-9, err_msg=key)


# --- what only the original answers ---


def test_regularisers_are_the_originals(only_ours, rng):
    image, psf = rng.random((20, 21)), psf_of((3, 3), 3)
    kernel = np.array([[0, 1, 0], [0, -2, 0.5], [0, 1, 0]])
    half = original.uft.ir2tf(kernel, image.shape)
    for reg in (
        kernel,
        half,
        np.ones((1, 1)),
        np.asfortranarray(kernel),
        np.asfortranarray(half),
        np.broadcast_to(half[:1], half.shape),
        half[::-1],
        np.repeat(half, 2, axis=1)[:, ::2],
    ):
        for call in (
            lambda m, r=reg: m.wiener(image, psf, 0.3, r),
            lambda m, r=reg: m.unsupervised_wiener(image, psf, r, rng=1),
        ):
            assert_same((call(ours), None), (call(original), None))


def test_odd_arguments_are_the_originals(rng):
    image, psf = rng.random((12, 13)), psf_of((3, 3), 3)
    otf = original.uft.ir2tf(psf, image.shape)
    for call in (
        lambda m: m.wiener(image, otf, 0.1),
        lambda m: m.wiener(image, psf, 0.1, is_real=False),
        lambda m: m.wiener(image, np.ones((12, 7)), 0.1),
        lambda m: m.wiener(image, psf, np.full((12, 7), 0.1)),
        lambda m: m.wiener(image.astype("f4"), psf, np.float64(0.1)),
        lambda m: m.wiener(image, psf, 0.0),
        lambda m: m.wiener(image, psf, -1e-3),
        lambda m: m.wiener(image, psf, None),
        lambda m: m.wiener(image.tolist(), psf, 0.1),
        lambda m: m.wiener(image, psf[:2], 0.1, clip=0),
        lambda m: m.wiener(image, psf[0], 0.1),
        lambda m: m.wiener(image, psf, 0.1, psf, True, True, 3),
        lambda m: m.wiener(image, psf, 0.1, unknown=1),
        lambda m: m.wiener(image[:2], psf[:1], 0.1),
        lambda m: m.richardson_lucy(image, psf, 2.0),
        lambda m: m.richardson_lucy(image, psf, -1),
        lambda m: m.richardson_lucy(image, psf + 0j, 2),
        lambda m: m.richardson_lucy(image, psf[0], 2),
        lambda m: m.richardson_lucy(image, np.ones((13, 15)) / 195, 2),
        lambda m: m.richardson_lucy(image - 0.3, psf, 30),
        lambda m: m.denoise_tv_chambolle(image, 0),
        lambda m: m.denoise_tv_chambolle(image.astype("f4"), 1e300),
        lambda m: m.denoise_tv_chambolle(image, 1e300),
        lambda m: m.denoise_tv_chambolle(image, -1.0),
        lambda m: m.denoise_tv_chambolle(image, max_num_iter=1),
        lambda m: m.denoise_tv_chambolle(image, max_num_iter=0),
        lambda m: m.denoise_tv_chambolle(image[0]),
        lambda m: m.denoise_tv_chambolle(image, channel_axis=1.0),
        lambda m: m.unsupervised_wiener(image, psf, user_params={"max_num_iter": 3}, rng=1),
        lambda m: m.unsupervised_wiener(image, psf, user_params={"unknown": 3}, rng=1),
        lambda m: m.unsupervised_wiener(image, psf, rng="seed"),
        lambda m: m.unsupervised_wiener(image, otf, rng=1),
        lambda m: m.unsupervised_wiener(np.zeros((9, 9)), psf, rng=1),
        lambda m: m.unsupervised_wiener(np.ones((3, 12, 13)), psf, rng=1),
    ):  # fmt: skip
        assert_same(outcome(call, ours), outcome(call, original))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_the_originals(bad, rng):
    image, psf = rng.random((12, 13)), psf_of((3, 3), 3)
    for at in ((4, 5), (11, 12)):
        image[at] = bad
        for call in (
            lambda m: m.wiener(image, psf, 0.1),
            lambda m: m.richardson_lucy(image, psf, 4),
            lambda m: m.denoise_tv_chambolle(image, max_num_iter=9),
        ):
            assert_same(outcome(call, ours), outcome(call, original))


def test_results_are_new_and_inputs_untouched(rng):
    image, psf = rng.random((20, 20)), psf_of((3, 3), 3)
    kept = image.copy()
    for result in (
        ours.wiener(image, psf, 0.1),
        ours.richardson_lucy(image, psf, 2),
        ours.denoise_tv_chambolle(image),
        ours.unsupervised_wiener(image, psf, rng=0)[0],
    ):
        assert not np.shares_memory(result, image)
        assert result.flags.owndata
        assert result.flags.writeable
    np.testing.assert_array_equal(image, kept)


# --- the core ---


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_do_not_change_a_bit(threads, rng, dtype):
    core = replaces.core()
    image, psf = rng.random((300, 210)).astype(dtype), psf_of((5, 4), 3).astype(dtype)

    def run(n):
        results = [np.empty_like(image) for _ in range(3)]
        assert core.restoration_wiener(image, psf, None, 0.1, True, results[0], n)
        assert core.restoration_richardson_lucy(
            image, psf, [False, True], [320, 216], 5, None, True, results[1], n
        )
        assert core.restoration_denoise_tv(image, results[2], 0.1, 2e-4, 50, n)
        numbers = np.empty(100_000)
        state = core.restoration_normals((1, 2), (3, 5), numbers, n)
        return *results, numbers, np.array(state)

    for one, many in zip(run(1), run(threads), strict=True):
        np.testing.assert_array_equal(one, many)


def test_normal_numbers_are_numpys():
    core = replaces.core()
    for seed, count in enumerate([0, 1, 2, 100, 4095, 4096, 5000, 50_000, 300_000]):
        rng = np.random.default_rng(seed)
        words = rng.bit_generator.state["state"]
        low = (1 << 64) - 1
        numbers = np.empty(count)
        state = core.restoration_normals(
            *((words[key] >> 64, words[key] & low) for key in ("state", "inc")), numbers, 2
        )
        np.testing.assert_allclose(numbers, rng.standard_normal(count), rtol=1e-12)
        assert rng.bit_generator.state["state"]["state"] == state[0] << 64 | state[1]


def test_the_core_refuses_what_does_not_fit(rng):
    core = replaces.core()
    image, small = rng.random((8, 9)), np.empty((8, 8))
    psf = np.ones((3, 3))
    complexes = np.zeros((8, 5), complex)
    for call in (
        lambda: core.restoration_wiener(image, psf, None, 0.1, True, small, 1),
        lambda: core.restoration_wiener(image, psf[0], None, 0.1, True, image.copy(), 1),
        lambda: core.restoration_wiener(image, psf, psf, 0.1, True, image.copy(), 1),
        lambda: core.restoration_richardson_lucy(image, psf, [False] * 2, [8, 8], 2, None, True, image.copy(), 1),
        lambda: core.restoration_richardson_lucy(image, psf, [False], [10, 10], 2, None, True, image.copy(), 1),
        lambda: core.restoration_denoise_tv(image, small, 0.1, 1e-4, 9, 1),
        lambda: core.restoration_denoise_tv(image, image.copy(), 0.1, 1e-4, 1, 1),
        lambda: core.restoration_db2_detail(image, 2, small, 1),
        lambda: core.restoration_db2_detail(image, 0, small, 1),
        lambda: core.RestorationGibbsF64(complexes, complexes, np.ones((8, 4)), complexes, 1),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="expected"):
            call()
