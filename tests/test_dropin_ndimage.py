"""fastdeblur.scipy.ndimage answers as scipy.ndimage does: shapes, dtypes, values, errors; and answers itself where it says so."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

scipy_ndimage = pytest.importorskip("scipy.ndimage")

from dropin_calls import examples  # noqa: E402
from fastdeblur._dropin import replaces  # noqa: E402
from fastdeblur.scipy import ndimage  # noqa: E402

needs_core = pytest.mark.skipif(replaces.core() is None, reason="no compiled core")

MODES = ("reflect", "mirror", "nearest", "wrap", "constant", "grid-mirror", "grid-wrap", "grid-constant")
REAL = "?bBhHiIlLfd"
LAYOUTS = ("contiguous", "fortran", "reversed", "strided", "broadcast", "byteswapped")


def run(function, *args, **kwargs):
    """Its result, or the type of what it raises."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return function(*args, **kwargs)
        except Exception as error:
            return type(error)


def same(name, *args, tolerance=None, **kwargs):
    """Ours and the original's answers agree: integers and float64 to the bit unless a tolerance is given."""
    ours = run(getattr(ndimage, name), *args, **kwargs)
    theirs = run(getattr(scipy_ndimage, name), *args, **kwargs)
    if isinstance(theirs, type):
        assert ours is theirs
        return
    assert not isinstance(ours, type), ours
    assert type(ours) is type(theirs)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    if ours.dtype.kind == "b":  # there may be other bytes than 0 and 1 in there
        ours, theirs = ours.view(np.uint8), theirs.view(np.uint8)
    with np.errstate(all="ignore"):
        if ours.dtype.kind in "biu" or tolerance is None:
            np.testing.assert_array_equal(ours, theirs)
        else:
            close = np.abs(ours - theirs) <= tolerance
            assert np.all(close | (ours == theirs) | (np.isnan(ours) & np.isnan(theirs)))


def rounding(dtype, scale):
    return scale * (1e-6 if np.dtype(dtype).char in "fF" else 1e-12)


# What rounds to no integer, overflows 32 and 64 bits, and is no number.
WILD = (np.nan, np.inf, -np.inf, 1e5, -3e9, 1e10, 1e19, -2e20, 1e300)


@st.composite
def arrays(draw, dtypes=REAL, most=4, empty=True, wild=False):
    ndim = draw(st.integers(1, most))
    longest = {1: 150, 2: 40, 3: 9, 4: 5}[ndim]
    shape = tuple(draw(st.lists(st.integers(0 if empty else 1, longest), min_size=ndim, max_size=ndim)))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    layout = draw(st.sampled_from(LAYOUTS))
    if layout == "strided":
        shape_stored = tuple(2 * n for n in shape)
    else:
        shape_stored = shape
    values = rng.normal(size=shape_stored) * (draw(st.sampled_from((50, 50, 1e9, 1e19))) if wild else 50)
    if dtype.kind == "c":
        values = values + 1j * rng.normal(size=shape_stored)
    if wild and dtype.kind == "f" and draw(st.booleans()):
        values[rng.random(shape_stored) < 0.1] = draw(st.sampled_from(WILD))
    with np.errstate(all="ignore"):
        array = (np.abs(values) if dtype.kind in "bu" else values).astype(dtype)
    if layout == "fortran":
        array = np.asfortranarray(array)
    elif layout == "reversed":
        array = array[(slice(None, None, -1),) * ndim]
    elif layout == "strided":
        array = array[(slice(None, None, 2),) * ndim]
    elif layout == "broadcast" and array.shape[0] > 0:
        array = np.broadcast_to(array[:1], shape)
    elif layout == "byteswapped":
        array = array.astype(dtype.newbyteorder())
    return array


def each(draw, ndim, values):
    """One for all axes or one for each, in a list or an array; also an array without axes."""
    kind = draw(st.sampled_from(("one", "one", "scalar", "list", "list", "array")))
    if kind in ("one", "scalar"):
        value = draw(values)
        return value if kind == "one" or value is None else np.array(value)
    chosen = [draw(values) for _ in range(ndim)]
    return chosen if kind == "list" or None in chosen else np.array(chosen)


@st.composite
def outputs(draw, array, dtypes=REAL):
    kind = draw(st.sampled_from(("none", "none", "dtype", "array", "strided", "wrong")))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    if kind == "dtype":
        return draw(st.sampled_from((dtype, dtype.type, dtype.name)))
    if kind == "array":
        return np.zeros(array.shape, dtype)
    if kind == "strided":
        return np.zeros(array.shape[::-1], dtype).T
    if kind == "wrong" and draw(st.booleans()):
        return np.zeros((*array.shape, 1), dtype)
    return None


def fresh(output):
    """An equal output for the second caller."""
    return output.copy(order="K") if isinstance(output, np.ndarray) else output


def same_with_output(name, *args, output, **kwargs):
    first, second = fresh(output), fresh(output)
    tolerance = kwargs.pop("tolerance", None)
    ours = run(getattr(ndimage, name), *args, output=first, **kwargs)
    theirs = run(getattr(scipy_ndimage, name), *args, output=second, **kwargs)
    if isinstance(theirs, type):
        assert ours is theirs
        return
    if isinstance(output, np.ndarray):
        assert ours is first
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    if ours.dtype.kind == "b":
        ours, theirs = ours.astype(bool).view(np.uint8), theirs.astype(bool).view(np.uint8)
    if tolerance is None or ours.dtype.kind in "biu":
        np.testing.assert_array_equal(ours, theirs)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance(ours.dtype))


def finite(low=-3.0, high=3.0):
    return st.floats(low, high, allow_subnormal=False)


@st.composite
def line_weights(draw):
    weights = draw(st.lists(finite(), min_size=1, max_size=12))
    kind = draw(st.sampled_from(("any", "even", "odd")))
    if kind == "even":
        weights += weights[::-1][draw(st.integers(0, 1)) :]
    elif kind == "odd":
        weights += [0.0] + [-w for w in weights[::-1]]
    return weights


@examples(90)
@given(st.data())
def test_correlate_and_convolve(data):
    array = data.draw(arrays())
    ndim = array.ndim
    shape = [data.draw(st.integers(1, {1: 9, 2: 6, 3: 4, 4: 3}[ndim])) for _ in range(ndim)]
    # SciPy 1.17 reads before the array where reflections repeat exactly.
    shape = [min(k, 2 * max(n, 1)) for k, n in zip(shape, array.shape, strict=True)]
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    weights = rng.normal(size=shape)
    if data.draw(st.booleans()):
        weights[rng.random(shape) < 0.4] = 0.0
    origin = each(data.draw, ndim, st.integers(-1, 1))
    same_with_output(
        data.draw(st.sampled_from(("correlate", "convolve"))),
        array,
        weights,
        output=data.draw(outputs(array)),
        mode=data.draw(st.sampled_from(MODES)),
        cval=data.draw(finite()),
        origin=origin,
        tolerance=lambda dtype: rounding(dtype, 200 * np.abs(weights).sum()),
    )


@examples(60)
@given(st.data())
def test_along_one_axis(data):
    array = data.draw(arrays(wild=True))
    same_with_output(
        data.draw(st.sampled_from(("correlate1d", "convolve1d"))),
        array,
        data.draw(line_weights()),
        axis=data.draw(st.integers(-array.ndim, array.ndim)),
        output=data.draw(outputs(array)),
        mode=data.draw(st.sampled_from(MODES)),
        cval=data.draw(finite()),
        origin=data.draw(st.integers(-2, 2)),
    )


SIGMAS = (0, 0.4, 1.0, 2, np.float32(1.3), 5.5, 60)


@examples(90)
@given(st.data())
def test_gaussian(data):
    array = data.draw(arrays(wild=True))
    name = data.draw(
        st.sampled_from(
            ("gaussian_filter", "gaussian_filter", "gaussian_laplace", "gaussian_gradient_magnitude")
        )
    )
    kwargs = {"mode": each(data.draw, array.ndim, st.sampled_from(MODES)), "cval": data.draw(finite())}
    if name == "gaussian_filter":
        kwargs["order"] = each(data.draw, array.ndim, st.integers(-1, 3))
        kwargs["radius"] = each(data.draw, array.ndim, st.one_of(st.none(), st.integers(-1, 5)))
    else:
        kwargs["truncate"] = data.draw(st.sampled_from((1.0, 2, 4.5)))
    sigma = each(data.draw, array.ndim, st.sampled_from(SIGMAS))
    same_with_output(name, array, sigma, output=data.draw(outputs(array)), **kwargs)


@examples(36)
@given(st.data())
def test_some_axes(data):
    array = data.draw(arrays(empty=False))
    axes = data.draw(st.permutations(range(-1, array.ndim - 1)))[: data.draw(st.integers(0, array.ndim))]
    mode = data.draw(st.sampled_from(MODES))
    name = data.draw(
        st.sampled_from(("gaussian_filter", "uniform_filter", "laplace", "gaussian_laplace", "median_filter"))
    )
    # Of one element there is nothing to mirror: what SciPy's median then reads lies outside the line.
    assume(not (name == "median_filter" and mode == "mirror" and any(array.shape[a] == 1 for a in axes)))
    args = {
        "gaussian_filter": (1.5,),
        "gaussian_laplace": (1.5,),
        "uniform_filter": (3,),
        "median_filter": (3,),
    }
    same(name, array, *args.get(name, ()), mode=mode, axes=tuple(axes), tolerance=rounding(array.dtype, 200))
    weights = np.arange(1.0, 1 + 3 ** len(axes)).reshape((3,) * len(axes))
    same("correlate", array, weights, mode=mode, axes=tuple(axes), tolerance=rounding(array.dtype, 1e5))


@pytest.mark.parametrize("axes", [(1, 0, 2), (2, -2, 0), (2, 0), (-1, 1), (1, 0), [2, 1, 0], 0, -1])
def test_what_belongs_to_which_axis(axes):
    """SciPy's functions differ in this: some take the axes' order, some the array's, some that only if all axes are named."""
    array = np.random.default_rng(4).normal(size=(9, 8, 7))
    count = np.size(axes)
    sizes, sigmas = (5, 3, 1)[:count], (2.0, 0.6, 1.2)[:count]
    origins, modes = (2, 1, 0)[:count], ["wrap", "constant", "nearest"][:count]
    weights = np.random.default_rng(5).normal(size=sizes)
    for name in ("correlate", "convolve"):
        same(name, array, weights, axes=axes)
        same(name, array, weights, origin=origins, axes=axes)
    for size in (3, sizes):
        for origin in (0, [min(o, np.min(size) // 2) for o in origins]):
            same("median_filter", array, size, origin=origin, axes=axes)
    same("uniform_filter", array, sizes, mode=modes, origin=origins, axes=axes, tolerance=1e-14)
    same("gaussian_filter", array, sigmas, order=origins, mode=modes, axes=axes, radius=sizes)
    same("laplace", array, mode=modes, axes=axes)
    same("gaussian_laplace", array, sigmas, mode=modes, axes=axes)
    same("gaussian_gradient_magnitude", array, 1.0, mode=modes, axes=axes)
    same("gaussian_gradient_magnitude", array, (2.0, 0.6, 1.2), mode=modes, axes=axes)


@examples(48)
@given(st.data())
def test_derivatives(data):
    array = data.draw(arrays(wild=True))
    name = data.draw(st.sampled_from(("sobel", "prewitt", "laplace")))
    kwargs = {"mode": each(data.draw, array.ndim, st.sampled_from(MODES)), "cval": data.draw(finite())}
    if name != "laplace":
        kwargs["axis"] = data.draw(st.integers(-array.ndim, array.ndim))
    same_with_output(name, array, output=data.draw(outputs(array)), **kwargs)


@examples(72)
@given(st.data())
def test_uniform(data):
    array = data.draw(arrays())
    if array.dtype.kind == "f" and array.size and array.flags.writeable and data.draw(st.booleans()):
        array.flat[data.draw(st.integers(0, array.size - 1))] = data.draw(st.sampled_from((np.nan, np.inf)))
    same_with_output(
        "uniform_filter",
        array,
        each(data.draw, array.ndim, st.integers(0, 19)),
        output=data.draw(outputs(array)),
        mode=each(data.draw, array.ndim, st.sampled_from(MODES)),
        cval=data.draw(st.sampled_from((0.0, 2, -3, 1.5, np.nan))),
        origin=each(data.draw, array.ndim, st.integers(-1, 1)),
        tolerance=lambda dtype: rounding(dtype, 200),
    )


@pytest.mark.parametrize("output", [None, *"bBhHiIlLfd"])
def test_what_does_not_fit_becomes_what_the_original_makes_of_it(output):
    rng = np.random.default_rng(11)
    values = rng.normal(size=(30, 31))
    for scale in (1e3, 1e9, 1e10, 1e19, 1e20):
        image = values * scale
        spoilt = image.copy()
        spoilt[rng.random(image.shape) < 0.05] = np.nan
        spoilt[rng.random(image.shape) < 0.05] = np.inf
        for array in (
            image,
            spoilt,
            image.clip(-2.1e9, 2.1e9).astype("i4"),
            image.clip(-9e18, 9e18).astype("i8"),
        ):
            same("sobel", array, output=output)
            same("prewitt", array, 0, output=output)
            same("laplace", array, output=output)
            same("gaussian_filter", array, 2, output=output)
            same("gaussian_laplace", array, 1, output=output)
            same("gaussian_gradient_magnitude", array, 1, output=output)
            if output and output not in "fd":
                same("correlate", array, np.ones((3, 3)), output=output)
                same("convolve1d", array, [1, 2, 3, 4], output=output)


@pytest.mark.parametrize("function", [ndimage.correlate, ndimage.convolve])
@pytest.mark.parametrize("n", [2, 3, 4, 8])
def test_reflections_that_the_original_makes_otherwise_are_left_to_it(function, n):
    image = np.random.default_rng(n).random((n, 5))
    for taps, ours in ((8 * n - 1, True), (8 * n + 1, False)):
        weights = np.ones((taps, 1))
        answer = function.__wrapped__(image, weights)
        assert (answer is not NotImplemented) == ours
        if ours:
            np.testing.assert_array_equal(answer, getattr(scipy_ndimage, function.__name__)(image, weights))
        for mode in ("nearest", "mirror", "wrap", "constant"):
            np.testing.assert_array_equal(
                function.__wrapped__(image, weights, mode=mode),
                getattr(scipy_ndimage, function.__name__)(image, weights, mode=mode),
            )


LARGE_WINDOWS = {
    "gaussian_filter": lambda m, x: m.gaussian_filter(x[:16, :16], 500),
    "gaussian_filter of two modes": lambda m, x: m.gaussian_filter(x[:20, :9], (3, 100), mode=("constant", "mirror"), cval=2),
    "gaussian_filter1d": lambda m, x: m.gaussian_filter1d(x[:200, :4], 80, axis=0, mode="wrap"),
    "gaussian_filter of a volume": lambda m, x: m.gaussian_filter(x[:16].reshape(16, 16, 25), 40, mode="nearest"),
    "gaussian_laplace": lambda m, x: m.gaussian_laplace(x[:16, :16], 100),
    "gaussian_gradient_magnitude": lambda m, x: m.gaussian_gradient_magnitude(x[:16, :16], 100),
    "uniform_filter": lambda m, x: m.uniform_filter(x, 501, mode="mirror"),
    "uniform_filter1d": lambda m, x: m.uniform_filter1d(x[:50, :40], 20_000, axis=0),
    "uniform_filter1d of a row": lambda m, x: m.uniform_filter1d(x[:3, :50], 100_000, origin=37),
    "correlate1d": lambda m, x: m.correlate1d(x[:7, :9], np.linspace(-1, 2, 701), axis=0, origin=300, mode="constant"),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["f8", "f4", "i4"])
@pytest.mark.parametrize("call", LARGE_WINDOWS)
def test_windows_larger_than_the_image(call, dtype):
    image = (np.random.default_rng(5).random((400, 400)) * 200).astype(dtype)
    ours, theirs = LARGE_WINDOWS[call](ndimage, image), LARGE_WINDOWS[call](scipy_ndimage, image)
    assert ours.dtype == theirs.dtype
    if "uniform" in call and dtype != "i4":
        np.testing.assert_allclose(ours, theirs, rtol=1e-5 if dtype == "f4" else 1e-10)
    else:
        np.testing.assert_array_equal(ours, theirs)


LARGE_WINDOWS_SCRIPT = """
import resource
import numpy as np
from fastdeblur.scipy import ndimage
image = np.random.default_rng(1).random((300, 300))
ndimage.gaussian_filter(image, 1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ndimage.gaussian_filter(image[:16, :16], 2000)
ndimage.gaussian_filter(image[:16, :16], 5000)
ndimage.gaussian_filter(image, 20, truncate=15)
ndimage.uniform_filter(image, 2001)
ndimage.uniform_filter1d(image[:4, :100], 10**5, axis=0)
ndimage.uniform_filter1d(image[:4, :10], 10**6, axis=0)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@needs_core
@pytest.mark.skipif(sys.platform != "linux", reason="what a process' peak of memory is counted in differs")
def test_large_windows_take_little_memory():
    run = subprocess.run(
        [sys.executable, "-c", LARGE_WINDOWS_SCRIPT],
        cwd=Path(__file__).parent,  # not the root, whose source tree would hide an installed package
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(run.stdout) < 150, "MiB"


def test_uniform_with_integers_beyond_exact_sums():
    rng = np.random.default_rng(1)
    for dtype in (np.int64, np.uint64):
        for top in (2**40, 2**51, 2**62):
            array = rng.integers(0, top, (40, 50)).astype(dtype)
            for size in (2, 7, 15):
                same("uniform_filter", array, size)


@pytest.mark.parametrize("dtype", "bhil")
def test_negative_means_that_wrap_to_the_largest_integers(dtype):
    """No sum of those near 2^64 is exact, so that it depends on its order."""
    rng = np.random.default_rng(1)
    for shape in ((90,), (20, 21), (9, 10, 11), (5, 6, 7, 8)):
        array = rng.integers(-100, 100, shape).astype(dtype)
        for size in (3, 5):
            for output in (np.uint64, np.zeros(shape, np.uint64), np.uint32, np.int64):
                same_with_output("uniform_filter", array, size, output=output)
        same("uniform_filter", np.abs(array).astype(np.uint64), 3, mode="constant", cval=-70)
        same("gaussian_filter", array, 1.0, output=np.uint64)
        same("gaussian_laplace", array, 1.0, output=np.uint64)
        same("sobel", array, output=np.uint64)


@examples(72)
@given(st.data())
def test_median(data):
    array = data.draw(arrays())
    if array.dtype.kind == "f" and array.size and array.flags.writeable and data.draw(st.booleans()):
        array.flat[data.draw(st.integers(0, array.size - 1))] = data.draw(st.sampled_from((np.inf, -0.0)))
    size = [data.draw(st.sampled_from((1, 2, 3, 3, 5, 7))) for _ in range(array.ndim)]
    # SciPy 1.17's lines shorter than the window crash or differ; and its reflections see above.
    size = [min(k, max(n - 1, 1)) for k, n in zip(size, array.shape, strict=True)]
    if np.prod(size) > 150:
        size = [3] + [1] * (array.ndim - 1)
    origin = each(data.draw, array.ndim, st.integers(-1, 1)) if array.ndim > 1 else 0
    # See below for lines.
    output = data.draw(outputs(array)) if array.ndim > 1 else None
    same_with_output(
        "median_filter",
        array,
        size,
        output=output,
        mode=data.draw(st.sampled_from(MODES)),
        cval=data.draw(st.sampled_from((0, 1.0, 3.5, -2))),
        origin=origin,
    )


@pytest.mark.parametrize("dtype", ["l", "q", "L", "Q"])
def test_median_of_a_line_of_every_type_of_64_bits(dtype):
    for shape in ((200,), (20, 10)):
        same("median_filter", np.arange(200)[::-1].reshape(shape).astype(dtype), 3)


@pytest.mark.parametrize("dtype", ["?", "b", "i", "l", "L", "f", "d"])
def test_median_of_a_line_converts_the_constant_in_every_mode(dtype):
    line = np.random.default_rng(1).integers(0, 100, 200).astype(dtype)
    for cval in (np.nan, np.inf, -1e20, np.float32(np.inf), 2**63, -(2**63), 1e300):
        for mode in ("reflect", "wrap", "constant"):
            same("median_filter", line, 3, mode=mode, cval=cval)


def test_median_with_an_origin_of_few_bits():
    """SciPy takes it from the number of elements in its own type."""
    for shape in ((7, 7, 7), (4, 5)):
        array = np.random.default_rng(1).random(shape)
        for origin in (np.int8(1), np.int64(1), np.array([1] * len(shape), np.uint8)):
            same("median_filter", array, 3, origin=origin)


@needs_core
@pytest.mark.parametrize("size", [3, 4, 51, 301, 1001])
def test_median_of_a_line_in_another_dtype(size):
    """SciPy 1.17 writes elements of the line's size, one next to the other, into whatever it is given."""
    line = np.random.default_rng(1).integers(0, 3, 2000)
    for values in (line, line.astype(float)):
        expected = scipy_ndimage.median_filter(values, size)
        for dtype in (bool, "u1", np.float16, np.float32, np.dtype(complex)):
            result = ndimage.median_filter(values, size, output=dtype)
            assert result.dtype == dtype
            np.testing.assert_array_equal(result, expected.astype(dtype))
        spread = np.zeros((2000, 3), values.dtype)
        for out in (np.empty(2000, "u1"), spread[:, 1], spread[::-1, 2]):
            assert ndimage.median_filter(values, size, output=out) is out
            np.testing.assert_array_equal(out, expected)
        assert not spread[:, 0].any()


def test_median_of_integers_that_a_double_does_not_hold():
    rng = np.random.default_rng(1)
    for dtype in (np.int64, np.uint64):
        for shape in ((20, 21), (200,)):
            array = 2**60 + rng.integers(0, 3000, shape).astype(dtype)
            same("median_filter", array, 3)
            same("median_filter", -array, 3)


def test_median_with_nan():
    array = np.random.default_rng(1).normal(size=(30, 40))
    array[7, 9] = np.nan
    same("median_filter", array, 3)
    same("median_filter", array.astype(np.float32), 5)


@examples(36)
@given(st.data())
def test_fourier(data):
    array = data.draw(arrays("ifdFD", most=3, empty=False))
    # Ours answers from 4096 elements on.
    array = np.resize(array, [*array.shape[:-1], 4096 // (array.size // array.shape[-1]) + 1])
    length = data.draw(st.sampled_from((-1, -1, 1, 8, 15)))
    axis = data.draw(st.integers(-array.ndim, array.ndim - 1))
    sigma = each(data.draw, array.ndim, st.sampled_from((0, 0.5, 1, 3.25, 40.0)))
    scale = float(np.abs(array).max()) + 1
    same("fourier_gaussian", array, sigma, length, axis, tolerance=rounding(array.dtype, scale))
    same("fourier_shift", array, sigma, length, axis, tolerance=100 * rounding(array.dtype, scale))


@pytest.mark.parametrize("value", [1e155, 1e300, np.inf])
def test_what_overflows_in_tables_is_no_reason_to_warn(value):
    spectrum = np.fft.fft2(np.random.default_rng(1).random((80, 70)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ndimage.fourier_gaussian(spectrum, value)
        ndimage.fourier_shift(spectrum, value)
        for size in (3, 4):
            for dtype in (np.int8, np.float32):
                ndimage.median_filter(np.full(200, min(value, 1e300)), size, output=dtype)


@examples(24)
@given(arrays("eFD", most=2), st.sampled_from(MODES))
def test_dtypes_that_are_not_ours(array, mode):
    weights = np.ones((2,) * array.ndim) / 3
    same("correlate", array, weights, mode=mode)
    same("convolve", array, weights * (1 + 2j), mode=mode)
    same("gaussian_filter", array, 1.0, mode=mode)
    same("uniform_filter", array, 3, mode=mode)
    same("median_filter", array, 1, mode=mode)


@pytest.mark.parametrize("dtype", ["u1", "i4", "i8", "u8", "f4"])
def test_constants_that_no_element_can_be(dtype):
    array = np.arange(30).reshape(5, 6).astype(dtype)
    for cval in (-(2.0**63), 2.0**62, 2.0**64, -3e9, -5, 300, np.inf, -np.inf, np.nan):
        same("correlate", array, np.ones((3, 3)), mode="constant", cval=cval, tolerance=1e-3)
        same("gaussian_filter", array, 1.0, mode="constant", cval=cval)
        same("median_filter", array, 3, mode="constant", cval=cval)


def test_scalars_of_other_kinds():
    image = np.random.default_rng(3).random((9, 10))
    for name, args, kwargs in [
        ("correlate", (image, np.ones((3, 3))), {"origin": True}),
        ("correlate1d", (image, np.ones(3)), {"origin": True}),
        ("median_filter", (image, 3), {"origin": True}),
        ("median_filter", (image, 3), {"axes": -1}),
        ("median_filter", (image, 3), {"axes": (-1,)}),
        ("uniform_filter", (image, 3), {"axes": -1}),
        ("uniform_filter", (image, np.array(2.0)), {}),
        ("uniform_filter", (image, np.array(3)), {}),
        ("gaussian_filter", (image, 1.0), {"order": True}),
        ("gaussian_filter1d", (image, 1.0), {"order": True}),
        ("gaussian_filter", (image, np.array(2.0, np.float32)), {}),
        ("gaussian_filter", (image, np.array(2.0)), {"radius": np.array(2.0)}),
        ("gaussian_filter", (image, np.array(2.0)), {"radius": np.array(2)}),
        ("gaussian_filter", (image, np.array([[2.0, 1.0]])), {}),
        ("gaussian_filter", (image, 2.0), {"mode": np.array("wrap")}),
        ("gaussian_laplace", (image, np.array(2.0)), {}),
        ("gaussian_gradient_magnitude", (image, np.array(2.0)), {}),
        ("fourier_gaussian", (np.fft.fft2(np.ones((70, 71))), np.array(2.0)), {}),
        ("fourier_shift", (np.fft.fft2(np.ones((70, 71))), np.array(2.0)), {}),
    ]:
        same(name, *args, tolerance=1e-12 if "fourier" in name or "uniform" in name else None, **kwargs)


def test_kernels_of_any_length_are_not_kept_for_ever():
    from fastdeblur.scipy.ndimage import _gaussian

    before = _gaussian._kept_weights.cache_info().currsize
    ndimage.gaussian_filter1d(np.ones(10), 1234.5)
    assert _gaussian._kept_weights.cache_info().currsize == before


def test_errors_are_the_originals():
    image = np.ones((5, 6))
    for name, args, kwargs in [
        ("correlate", (image, np.ones(3)), {}),
        ("correlate", (image, np.ones((0, 3))), {}),
        ("correlate", (image, np.ones((3, 3))), {"mode": "nonsense"}),
        ("correlate", (image, np.ones((3, 3))), {"mode": ["wrap", "wrap"]}),
        ("correlate", (image, np.ones((3, 3))), {"origin": 2}),
        ("correlate", (image, np.ones((3, 3))), {"origin": 0.5}),
        ("correlate", (image, np.ones((3, 3))), {"cval": "x"}),
        ("correlate1d", (image, []), {}),
        ("correlate1d", (image, [1.0], 2), {}),
        ("gaussian_filter", (image, "x"), {}),
        ("gaussian_filter", (image, [1, 2, 3]), {}),
        ("gaussian_filter", (image, 1.0), {"axes": (0, 0)}),
        ("gaussian_filter", (image, 1.0), {"axes": (0, 3)}),
        ("gaussian_filter", (image, 1.0), {"radius": 1.5}),
        ("gaussian_filter", (image, np.inf), {}),
        ("gaussian_filter", (image, 1.0, 0, np.ones((6, 5))), {}),
        ("gaussian_filter", (image, 1.0, 0, "bool"), {}),
        ("gaussian_filter", (), {}),
        ("gaussian_filter", (image, 1.0), {"nonsense": 1}),
        ("uniform_filter", (image, 0), {}),
        ("uniform_filter1d", (image, 0), {}),
        ("uniform_filter", (image, 3), {"origin": 2}),
        ("median_filter", (image,), {}),
        ("median_filter", (image, 3), {"origin": 2}),
        ("median_filter", (image, 0), {}),
        ("fourier_gaussian", (image, [1, 2, 3]), {}),
        ("fourier_gaussian", (image, 1, -1, 2), {}),
        ("fourier_gaussian", (image, 1, -1, 0, np.ones(3)), {}),
        ("sobel", (image, 2), {}),
    ]:
        same(name, *args, **kwargs)
        assert isinstance(run(getattr(ndimage, name), *args, **kwargs), type) or name == "uniform_filter"


@needs_core
def test_in_place_and_overlapping_outputs():
    image = np.random.default_rng(3).normal(size=(40, 50))
    expected = scipy_ndimage.gaussian_filter(image, 2.0)
    work = image.copy()
    assert ndimage.gaussian_filter(work, 2.0, output=work) is work
    np.testing.assert_array_equal(work, expected)
    for name, arguments in (
        ("laplace", ()),
        ("gaussian_laplace", (1.5,)),
        ("gaussian_gradient_magnitude", (1.5,)),
        ("sobel", ()),
        ("prewitt", (0,)),
        ("gaussian_filter", (1.5,)),
        ("correlate1d", ([1, 2, 4],)),
    ):
        for read, written in (
            (np.s_[:], np.s_[:]),
            (np.s_[:], np.s_[::-1]),
            (np.s_[:20, :30], np.s_[5:25, 3:33]),
        ):
            works = image.copy(), image.copy()
            for module, work in zip((ndimage, scipy_ndimage), works, strict=True):
                getattr(module, name)(work[read], *arguments, output=work[written])
            np.testing.assert_array_equal(*works)
        outs = np.zeros(50), np.zeros(50)
        for module, out in zip((ndimage, scipy_ndimage), outs, strict=True):
            same_row = np.lib.stride_tricks.as_strided(out, (40, 50), (0, 8))
            getattr(module, name)(image, *arguments, output=same_row)
        np.testing.assert_array_equal(*outs)
    for name, argument in (("median_filter", 3), ("uniform_filter", 5), ("correlate", np.ones((3, 3)))):
        expected = getattr(scipy_ndimage, name)(image, argument)
        work = image.copy()
        getattr(ndimage, name)(work, argument, output=work)
        np.testing.assert_allclose(work, expected, rtol=0, atol=1e-12)


CALLS = {
    "correlate": lambda m, x: m.correlate(x, np.ones((3, 4))),
    "convolve": lambda m, x: m.convolve(x, np.ones((5, 5)), mode="wrap", origin=1),
    "convolve with a hole": lambda m, x: m.convolve(x, np.eye(5), mode="constant", cval=2.0),
    "correlate1d": lambda m, x: m.correlate1d(x, [1, 2, 1], axis=0),
    "convolve1d": lambda m, x: m.convolve1d(x, [1, 2, 3, 4]),
    "gaussian_filter": lambda m, x: m.gaussian_filter(x, (1, 2.5), mode=("wrap", "mirror")),
    "gaussian_filter to float64": lambda m, x: m.gaussian_filter(x, 1, output=np.float64),
    "gaussian_filter1d": lambda m, x: m.gaussian_filter1d(x, 3),
    "uniform_filter": lambda m, x: m.uniform_filter(x, 5),
    "uniform_filter1d": lambda m, x: m.uniform_filter1d(x, 4, axis=0),
    "laplace": lambda m, x: m.laplace(x),
    "gaussian_laplace": lambda m, x: m.gaussian_laplace(x, 1.0),
    "gaussian_gradient_magnitude": lambda m, x: m.gaussian_gradient_magnitude(x, 1.0),
    "sobel": lambda m, x: m.sobel(x),
    "sobel down": lambda m, x: m.sobel(x, 0),
    "prewitt": lambda m, x: m.prewitt(x),
    "median_filter": lambda m, x: m.median_filter(x, 3),
    "median_filter of a line": lambda m, x: m.median_filter(x, (1, 7)),
    "median_filter without its own network": lambda m, x: m.median_filter(x, (3, 5)),
}


@needs_core
@pytest.mark.parametrize("dtype", ["u1", "i2", "i8", "f4", "f8"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("shape", [(1, 1), (7, 8), (300, 700), (3, 2600)])
def test_ours_answers(monkeypatch, call, dtype, shape):
    if shape == (1, 1) and "median" in call:
        return  # every element is the same
    image = (np.random.default_rng(5).random(shape) * 200).astype(dtype)
    expected = CALLS[call](scipy_ndimage, image)

    def refuse(*_):
        raise AssertionError("went to the original")

    monkeypatch.setattr(replaces, "_elsewhere", refuse)
    result = CALLS[call](ndimage, image)
    assert result.dtype == expected.dtype
    if result.dtype == np.float32 or "uniform" in call:
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=200 * 12 * 1e-6)
    else:
        np.testing.assert_array_equal(result, expected)


@needs_core
@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
def test_ours_answers_in_the_frequency_domain(monkeypatch, dtype):
    spectrum = np.fft.fft2(np.random.default_rng(5).random((70, 61)))
    spectrum = (spectrum if "c" in dtype else spectrum.real).astype(dtype)
    monkeypatch.setattr(replaces, "_elsewhere", None)
    for name in ("fourier_gaussian", "fourier_shift"):
        result = getattr(ndimage, name)(spectrum, (2.5, 1))
        expected = getattr(scipy_ndimage, name)(spectrum, (2.5, 1))
        assert result.dtype == expected.dtype
        np.testing.assert_allclose(result, expected, rtol=1e-5 if dtype in ("f4", "c8") else 1e-11, atol=1e-9)


@needs_core
def test_any_number_of_threads_gives_the_same_bits():
    rng = np.random.default_rng(7)
    image = rng.normal(size=(333, 1500)).astype(np.float32)
    core = replaces.core()
    weights, line = rng.normal(size=(5, 7)), rng.normal(size=9)

    def results(threads):
        outs = [np.empty_like(image) for _ in range(4)]
        core.ndimage_correlate(image, weights, outs[0], [-2, -3], 2, 0.0, 1, threads)
        core.ndimage_correlate_pair(
            image, outs[1], line, -4, 2, line, -4, 3, False, 0.0, np.inf, False, threads
        )
        core.ndimage_correlate_pair(image, outs[2], 15, -7, 2, 15, -7, 3, True, 0.0, 1e30, False, threads)
        core.ndimage_median(image, outs[3], [3, 5], [-1, -2], 1, np.zeros(1, np.float32), threads)
        return outs

    for one, many in zip(results(1), results(5), strict=True):
        np.testing.assert_array_equal(one, many)


@needs_core
def test_modular_arithmetic():
    rng = np.random.default_rng(9)
    core = replaces.core()
    for dtype in (np.int8, np.uint8, np.int16, np.uint32, np.int32, np.int64, np.uint64):
        image = rng.integers(0, 2**63, (17, 70)).astype(dtype)
        kernel = rng.integers(0, 2**63, (3, 4)).astype(dtype)
        out = np.empty((19, 73), dtype)
        # int64 to uint64 keeps the low bits, which are all that matters.
        core.ndimage_correlate(image, kernel.astype(np.uint64), out, [-2, -3], 4, 0.0, 2)
        padded = np.pad(image, ((2, 2), (3, 3)))
        expected = np.zeros_like(out)
        for i in range(3):
            for j in range(4):
                expected += padded[i : i + 19, j : j + 73] * kernel[i, j]
        np.testing.assert_array_equal(out, expected)


@needs_core
def test_windows_that_are_ours_are_those_of_the_core():
    from fastdeblur.scipy.ndimage._median import MOST_IN_WINDOW

    image = np.random.default_rng(1).random((3, 300))
    for size, ours in ((MOST_IN_WINDOW, True), (MOST_IN_WINDOW + 2, False)):
        call = replaces.core().ndimage_median, (image, image.copy(), [1, size], [0, 0], 0, np.zeros(1))
        if ours:
            assert call[0](*call[1])
        else:
            with pytest.raises(ValueError, match="window"):
                call[0](*call[1])


@needs_core
def test_the_core_refuses_what_would_reach_out_of_bounds():
    core = replaces.core()
    image, out = np.ones((5, 6)), np.ones((5, 6))
    kernel = np.ones((3, 3))
    none = np.inf
    for call in (
        lambda: core.ndimage_correlate(image, np.ones(3), out, [0, 0], 0, 0.0, 0),
        lambda: core.ndimage_correlate(image, kernel, out, [0], 0, 0.0, 0),
        lambda: core.ndimage_correlate(image, kernel, out, [0, 0], 5, 0.0, 0),
        lambda: core.ndimage_correlate(image, kernel, out, [0, 0], 0, 0.0, 3),
        lambda: core.ndimage_correlate(image, kernel, out, [0, 0], 0, 0.0, 2),
        lambda: core.ndimage_correlate(image.T, kernel, out.T, [0, 0], 0, 0.0, 0),
        lambda: core.ndimage_correlate(image[:0], kernel, out, [0, 0], 0, 0.0, 0),
        lambda: core.ndimage_correlate(image.astype(np.float16), kernel, out, [0, 0], 0, 0.0, 0),
        lambda: core.ndimage_correlate_axis(image, out, 2, np.ones(3), 0, 0, 0.0, none, False),
        lambda: core.ndimage_correlate_axis(image, out, -1, np.ones(3), 0, 0, 0.0, none, False),
        lambda: core.ndimage_correlate_axis(image, out[:4], 0, np.ones(3), 0, 0, 0.0, none, False),
        lambda: core.ndimage_correlate_axis(image, out, 0, np.ones(0), 0, 0, 0.0, none, False),
        lambda: core.ndimage_correlate_axis(image, out, 0, 0, 0, 0, 0.0, none, False),
        lambda: core.ndimage_correlate_pair(image[0], out[0], 3, 0, 0, 3, 0, 0, False, 0.0, none, False),
        lambda: core.ndimage_median(image, out, [3, 2], [-1, -1], 0, np.zeros(1)),
        lambda: core.ndimage_median(image, out, [3, 3], [-3, -1], 0, np.zeros(1)),
        lambda: core.ndimage_median(image, out, [13, 13], [-1, -1], 0, np.zeros(1)),
        lambda: core.ndimage_median(image, out, [3, 3], [-1, -1], 0, np.zeros(1, "f4")),
        lambda: core.ndimage_fourier_scale(image, out, [np.ones(5), np.ones(5)]),
        lambda: core.ndimage_fourier_scale(image, out, [np.ones(5)]),
        lambda: core.ndimage_fourier_rotate(image, out, [np.ones(10), np.ones(12)], True),
    ):
        with pytest.raises(ValueError, match=r"expected|range|unknown|only|far"):
            call()


@needs_core
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_opposite_weights_make_nothing_of_a_flat_image(dtype):
    flat = np.full((70, 90), 0.3, dtype)
    for answer in (
        ndimage.correlate(flat, [[0.1, -0.1]]),
        ndimage.convolve(flat, [[0.1], [0.7], [-0.7], [-0.1]]),
        ndimage.convolve1d(flat, [0.1, -0.1], axis=0),
        ndimage.sobel(flat),
        ndimage.gaussian_filter(flat, 1.3, order=1),
    ):
        assert not answer.any()
    # And positive weights of sum 1 leave it as it is.
    np.testing.assert_array_equal(
        ndimage.gaussian_filter(flat, 9.0), scipy_ndimage.gaussian_filter(flat, 9.0)
    )


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i2"])
@pytest.mark.parametrize("shape", [(5,), (5, 6)])
def test_medians_of_foreign_byte_order_are_as_there(dtype, shape):
    array = np.random.default_rng(0).integers(0, 9, shape).astype(dtype)
    same("median_filter", array, 3)
