"""Every case on every backend against the NumPy reference in float64; and every kind of array."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import fastdeblur
from conftest import BACKENDS, need, skip_or_fail
from fastdeblur.backends import get_backend

from cases import CASES, case


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
