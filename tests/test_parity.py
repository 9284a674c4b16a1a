"""Every case on every backend against the NumPy reference in float64; and every kind of array."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import fastdeblur
from conftest import BACKENDS, need, skip_or_fail
from fastdeblur.backends import get_backend

from cases import CASES, case, lopsided


@cache
def reference(name):
    result = case(name).run("numpy", "float64")
    result.flags.writeable = False
    return result


@cache
def plainly(name, backend, dtype):
    """The case's result from arrays that lie as they come, into a new one."""
    problem = case(name)
    result = problem.run(backend, dtype, psf=problem.psf.astype(dtype))
    result.flags.writeable = False
    return result


def rel_l2(result, expected):
    return np.linalg.norm(result.astype(np.float64) - expected) / np.linalg.norm(expected)


# All but the reference itself.
COMPARED = [(b, d) for b in BACKENDS for d in ("float32", "float64") if (b, d) != ("numpy", "float64")]


@pytest.mark.parametrize("problem", CASES, ids=str)
@pytest.mark.parametrize(("backend", "dtype"), COMPARED)
def test_matches_reference(problem, backend, dtype):
    need(backend)
    if why := get_backend(backend).why_not(problem.spec(dtype)):
        skip_or_fail(backend, why)
    result = problem.run(backend, dtype)
    assert result.dtype == dtype
    assert result.shape == problem.shape
    assert np.isfinite(result).all()
    assert rel_l2(result, reference(problem.name)) <= problem.tolerance[dtype]


def test_table_has_no_namesakes():
    assert len({c.name for c in CASES}) == len(CASES)


# --------------------------------------------------------------------------------------------- memory layouts

BASES = (
    "wiener-reflect-31x37",
    "wiener-zero-64",
    "wiener-channels-last",
    "wiener-reflect-11x13x17",
    "rl-unknown-31x37",
    "rl-everything-unknown",
    "rl-channels-last",
)


def strided(array):
    """Neither contiguous nor aligned to rows: every second element of every axis."""
    big = np.zeros([2 * n + 1 for n in array.shape], array.dtype)
    view = big[tuple(slice(1, 2 * n + 1, 2) for n in array.shape)]
    view[...] = array
    return view


def reversed_axes(array):
    return np.flip(np.flip(array).copy())


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def big_endian(array):
    return array.astype(array.dtype.newbyteorder(">"))


def unaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


LAYOUTS = (strided, reversed_axes, read_only, np.asfortranarray, big_endian, unaligned)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", BASES)
def test_any_memory_layout_gives_the_same_bits(name, layout, backend, dtype):
    problem = case(name)
    arguments = {"image": problem.image(dtype), "psf": problem.psf.astype(dtype), **problem.arguments(dtype)}
    changed = {
        key: layout(value) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
        for key, value in arguments.items()
    }
    before = {key: np.array(value) for key, value in changed.items()}
    result = problem.function()(**changed, backend=backend)
    assert result.dtype == dtype
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, plainly(name, backend, dtype))
    for key, value in before.items():  # no input is written to
        np.testing.assert_array_equal(np.array(changed[key]), value)


@pytest.mark.parametrize("layout", [np.copy, strided, reversed_axes, np.asfortranarray])
@pytest.mark.parametrize("name", BASES)
def test_out(name, layout, backend, dtype):
    problem = case(name)
    out = layout(np.full(problem.shape, -7, dtype))
    returned = problem.run(backend, dtype, psf=problem.psf.astype(dtype), out=out)
    assert returned is out
    np.testing.assert_array_equal(out, plainly(name, backend, dtype))


def test_strided_out_leaves_its_gaps_alone(backend):
    problem = case("wiener-reflect-31x37")
    whole = np.full((62, 80), -7, np.float32)
    problem.run(backend, "float32", out=whole[::2, 3:77:2])
    assert (whole[1::2] == -7).all()
    assert (whole[:, :3] == -7).all()
    assert (whole[:, 4:77:2] == -7).all()
    assert (whole[:, 77:] == -7).all()


def test_broadcast_image(backend):
    row = case("wiener-periodic-64").image("float32")
    image = np.broadcast_to(row, (20, 64))
    for boundary in ("reflect", "periodic"):
        expected = fastdeblur.wiener(image.copy(), np.ones((3, 3)), 0.1, boundary=boundary, backend=backend)
        result = fastdeblur.wiener(image, np.ones((3, 3)), 0.1, boundary=boundary, backend=backend)
        np.testing.assert_array_equal(result, expected)


# --------------------------------------------------------------------------------- a PSF per channel, and a batch

# Image, channel axis, and the PSF's shape: the last three axes but the channels' are space, batch axes have length 1.
BATCHES = {
    "TZCYX": ((3, 6, 2, 14, 15), 2, (1, 3, 2, 5, 4)),
    "TCZYX": ((3, 2, 6, 14, 15), 1, (1, 2, 3, 5, 4)),
    "TZYXC": ((2, 6, 14, 15, 3), -1, (1, 3, 5, 4, 3)),
    "CTZYX": ((2, 3, 6, 14, 15), 0, (2, 1, 3, 5, 4)),
    "TZCYX-planes": ((3, 4, 2, 14, 15), 2, (1, 1, 2, 5, 4)),
    "STZCYX": ((2, 2, 6, 2, 9, 8), 3, (1, 1, 3, 2, 3, 4)),
}


@pytest.mark.parametrize("method", ["wiener", "richardson_lucy"])
@pytest.mark.parametrize("name", BATCHES)
def test_one_psf_per_channel_of_a_batch(name, method, backend, dtype, rng):
    """As each image by itself, with its channel's PSF."""
    shape, axis, psf_shape = BATCHES[name]
    image = rng.uniform(0.2, 1, shape).astype(dtype)
    psf = lopsided(*psf_shape) + rng.uniform(0, 0.1, psf_shape)
    function, parameter = getattr(fastdeblur, method), 0.05 if method == "wiener" else 5
    result = function(image, psf, parameter, channel_axis=axis, backend=backend)
    channels, kernels, results = (np.moveaxis(a, axis, 0) for a in (image, psf, result))
    for channel, kernel, found in zip(channels, kernels, results, strict=True):
        own = kernel.reshape(kernel.shape[-3:])
        for index in np.ndindex(channel.shape[:-3]):
            expected = function(channel[index], own, parameter, backend=backend)
            np.testing.assert_allclose(found[index], expected, rtol=2e-5 if dtype == "float32" else 1e-12)
    plan = fastdeblur.Deconvolver(shape, psf, dtype=dtype, channel_axis=axis, backend=backend)
    np.testing.assert_array_equal(getattr(plan, method)(image, parameter), result)
    needed = fastdeblur.estimate_memory(method, shape, psf_shape, dtype, channel_axis=axis, backend=backend)
    assert needed > 0


def test_a_motion_along_rows_per_channel_is_no_batch_of_rows(backend):
    """Where there is no batch an axis of length 1 is space."""
    image = case("wiener-channels-last").image("float64")
    psf = np.stack([lopsided(1, 9), lopsided(1, 9)[:, ::-1], lopsided(1, 9)], -1)
    result = fastdeblur.wiener(image, psf, 0.1, channel_axis=-1, backend=backend)
    for c in range(3):
        expected = fastdeblur.wiener(image[..., c], psf[..., c], 0.1, backend=backend)
        np.testing.assert_allclose(result[..., c], expected, rtol=1e-12)


# ----------------------------------------------------------------------------------- what is copied to be read

FOREIGN = (">u2", ">f4", ">f8", "float16", "longdouble")


def tried(image, psf, backend, **more):
    plan = fastdeblur.Deconvolver(image.shape, psf, backend=backend)
    yield lambda **k: fastdeblur.wiener(image, psf, 0.1, backend=backend, **more, **k)
    yield lambda **k: plan.wiener(image, 0.1, **more, **k)
    yield lambda **k: plan.richardson_lucy(image, 3, **more, **k)


@pytest.mark.parametrize("at_once", [1, 3 * 23 * 26 * 4, 1 << 24], ids=["one", "some", "all"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_copied_in_groups_to_the_same_bits(kind, at_once, backend, monkeypatch, rng):
    from fastdeblur import _problem

    monkeypatch.setattr(_problem, "COPIED_AT_ONCE", at_once)
    image = rng.integers(1, 120, (7, 23, 26)).astype(kind)
    plain = image.astype("float64" if kind in (">f8", "longdouble") else "float32")
    for ours, theirs in zip(
        tried(image, lopsided(5, 4), backend), tried(plain, lopsided(5, 4), backend), strict=True
    ):
        np.testing.assert_array_equal(ours(), theirs())


@pytest.mark.parametrize("kind", [">f4", "float16"])
def test_a_bad_pixel_in_the_last_group_writes_nothing(kind, backend, monkeypatch):
    from fastdeblur import _problem

    monkeypatch.setattr(_problem, "COPIED_AT_ONCE", 1)
    image = np.full((3, 20, 30), 0.5, kind)
    image[2, 3, 4] = np.nan
    out = np.full((3, 20, 30), -7, np.float32)
    for call in tried(image, lopsided(5, 4), backend):
        with pytest.raises(
            fastdeblur.InvalidArgument, match=r"image: expected finite values, got nan at index \(3, 4\)"
        ):
            call(out=out)
        assert (out == -7).all()


# ----------------------------------------------------------------------------------------------------- dtypes

INTEGERS = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


@pytest.mark.parametrize("kind", [*INTEGERS, "float16"])
@pytest.mark.parametrize("method", ["wiener", "richardson_lucy"])
def test_integers_and_float16_are_computed_in_float32(method, kind, backend, rng):
    image = rng.integers(0, 2 if kind == "bool" else 120, (23, 26)).astype(kind)
    function = getattr(fastdeblur, method)
    parameter = 0.05 if method == "wiener" else 5
    psf = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 1]])
    result = function(image, psf, parameter, backend=backend)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, function(image.astype(np.float32), psf, parameter, backend=backend))


@pytest.mark.parametrize(
    ("kind", "value"), [("uint64", 2**63), ("int64", 2**62), ("uint32", 2**32 - 1), ("uint16", 65535)]
)
def test_values_are_neither_rescaled_nor_clipped(kind, value, backend):
    image = np.full((9, 10), value, kind)
    result = fastdeblur.wiener(image, np.ones((3, 3)), 0.1, backend=backend)
    np.testing.assert_allclose(result, float(value), rtol=1e-5)
    result = fastdeblur.richardson_lucy(image, np.ones((3, 3)), 3, backend=backend)
    np.testing.assert_allclose(result, float(value), rtol=1e-5)


def test_negative_values_pass_through_wiener(backend):
    image = np.full((9, 10), -300, np.int16)
    result = fastdeblur.wiener(image, np.ones((3, 3)), 0.1, backend=backend)
    np.testing.assert_allclose(result, -300, rtol=1e-5)


def test_longdouble_is_computed_in_float64(backend):
    image = case("wiener-reflect-31x37").image("longdouble")
    result = fastdeblur.wiener(image, np.ones((3, 3)), 0.1, backend=backend)
    assert result.dtype == np.float64
    np.testing.assert_array_equal(
        result, fastdeblur.wiener(image.astype("float64"), np.ones((3, 3)), 0.1, backend=backend)
    )


def test_lists_and_matrices_are_taken(backend):
    image = [[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]]
    expected = fastdeblur.wiener(np.array(image), np.ones((1, 3)), 0.1, backend=backend)
    np.testing.assert_array_equal(fastdeblur.wiener(image, [[1, 1, 1]], 0.1, backend=backend), expected)


def test_psf_of_any_scale_is_the_same_psf(backend, dtype):
    problem = case("rl-unknown-31x37")
    expected = problem.run(backend, dtype)
    for scale in (1e-200, 255.0, 1e200):
        result = problem.run(backend, dtype, psf=problem.psf * scale)
        np.testing.assert_allclose(result, expected, rtol=1e-4 if dtype == "float32" else 1e-10)


@pytest.mark.parametrize(
    "name", ["rl-graded-unknown", "rl-graded-zero", "rl-graded-periodic", "rl-weights-channels"]
)
@pytest.mark.parametrize("scale", [1e-30, 1e-5, 1e5, 1e30])
def test_only_the_ratios_of_weights_matter(name, scale, backend, dtype):
    problem = case(name)
    weights = problem.arguments(dtype)["weights"].astype(np.float64)
    expected = problem.run(backend, dtype, weights=weights)
    result = problem.run(backend, dtype, weights=weights * scale)
    np.testing.assert_allclose(result, expected, rtol=2e-4 if dtype == "float32" else 1e-9)


def test_auto_takes_the_first_backend_that_can():
    problem = case("wiener-reflect-31x37")
    spec = problem.spec("float32")
    best = next(b.name for b in fastdeblur.backends.all_backends() if not b.why_not(spec))
    np.testing.assert_array_equal(problem.run("auto", "float32"), problem.run(best, "float32"))
