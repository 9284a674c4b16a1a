"""fastdeblur.scipy.signal against the installed scipy.signal: same shapes, dtypes, errors; values to rounding."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

theirs = pytest.importorskip("scipy.signal")
ours = pytest.importorskip("fastdeblur.scipy.signal")

from dropin_calls import examples  # noqa: E402
from fastdeblur._dropin.replaces import core  # noqa: E402
from fastdeblur.scipy.signal import _convolve  # noqa: E402

if core() is None:
    pytest.skip("no compiled core: every call is the original's", allow_module_level=True)

DTYPES = "?bBhHiIlLefdFD"
REAL = "bBhHiIlLfd"
MODES = ("full", "same", "valid")


def array(seed: int, shape: tuple[int, ...], char: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if char == "?":
        return rng.random(shape) < 0.5
    if char in "bBhHiIlL":
        return rng.integers(0 if char.isupper() else -100, 100, shape).astype(char)
    values = rng.normal(size=shape)
    return (values + 1j * rng.normal(size=shape)).astype(char) if char in "FD" else values.astype(char)


def laid_out(a: np.ndarray, layout: str) -> np.ndarray:
    """The same values, otherwise in memory."""
    if layout == "reversed":
        return np.ascontiguousarray(a[(slice(None, None, -1),) * a.ndim])[(slice(None, None, -1),) * a.ndim]
    if layout == "fortran":
        return np.asfortranarray(a)
    if layout == "strided":
        spread = np.zeros(tuple(2 * n for n in a.shape), a.dtype)
        spread[(slice(None, None, 2),) * a.ndim] = a
        return spread[(slice(None, None, 2),) * a.ndim]
    if layout == "swapped":
        return a.astype(a.dtype.newbyteorder())
    if layout == "broadcast" and a.size:
        return np.broadcast_to(a[:1], a.shape)
    if layout == "unaligned":
        raw = np.zeros(a.nbytes + 1, np.uint8)
        view = np.frombuffer(raw.data, a.dtype, a.size, 1).reshape(a.shape)
        view[...] = a
        return view
    return a


LAYOUTS = ("plain", "reversed", "fortran", "strided", "swapped", "broadcast", "unaligned")
seeds = st.integers(0, 2**32 - 1)
modes = st.sampled_from(MODES)


@st.composite
def pairs(
    draw: Any, dtypes: str = DTYPES, ranks: Any = None, most: int = 12
) -> tuple[np.ndarray, np.ndarray]:
    ndim = draw(ranks if ranks is not None else st.integers(1, 4))
    most = min(most, {1: 60, 2: 16, 3: 8, 4: 4}[ndim])
    shapes = st.lists(
        st.integers(0 if draw(st.integers(0, 9)) == 0 else 1, most), min_size=ndim, max_size=ndim
    )
    one, other = tuple(draw(shapes)), tuple(draw(shapes))
    seed = draw(seeds)
    chars = draw(st.sampled_from(dtypes)), draw(st.sampled_from(dtypes))
    if draw(st.booleans()):
        chars = (chars[0], chars[0])
    layouts = draw(st.sampled_from(LAYOUTS)), draw(st.sampled_from(LAYOUTS))
    return laid_out(array(seed, one, chars[0]), layouts[0]), laid_out(
        array(seed + 1, other, chars[1]), layouts[1]
    )


def outcome(function: Any, *args: Any, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(*args, **kwargs)
        except Exception as error:
            return type(error)


def warned(function: Any, *args: Any, **kwargs: Any) -> set[tuple[type, str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(*args, **kwargs)
    return {(w.category, str(w.message)) for w in caught}


def eps(result: np.ndarray) -> float:
    return float(np.finfo(result.dtype).eps)


def check(name: str, *args: Any, **kwargs: Any) -> np.ndarray | None:
    """Ours and the original's outcome agree; sums to rounding, relative to max|x| sum|w|."""
    want, got = outcome(getattr(theirs, name), *args, **kwargs), outcome(getattr(ours, name), *args, **kwargs)
    if isinstance(want, type):
        assert got is want
        return None
    assert type(got) is type(want)
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    if got.dtype.kind not in "fc":
        np.testing.assert_array_equal(got, want)
        return got
    if got.size and args[0].size and args[1].size:
        a, b = (np.abs(np.asarray(x).astype(np.complex128)) for x in args[:2])
        scale = float(max(a.max() * b.sum(), b.max() * a.sum(), 1e-300))
        # The original's FFTs of a float32 array are single whatever the other is.
        single = any(x.dtype.char in "efF" for x in args[:2])
        error = np.abs(got.astype(np.complex128) - want.astype(np.complex128)).max()
        assert error <= 20 * scale * max(eps(want), float(np.finfo(np.float32).eps) if single else 0)
    return got


@given(pair=pairs(), mode=modes, method=st.sampled_from(("auto", "direct", "fft")))
@examples(90)
def test_convolve_and_correlate(pair: Any, mode: str, method: str) -> None:
    check("convolve", *pair, mode, method)
    check("correlate", *pair, mode, method)


@given(pair=pairs(), mode=modes)
@examples(90)
def test_fft_convolutions(pair: Any, mode: str) -> None:
    check("fftconvolve", *pair, mode)
    check("oaconvolve", *pair, mode)


@given(pair=pairs(dtypes="fdl"), mode=modes, data=st.data())
@examples(60)
def test_fft_convolutions_along_axes(pair: Any, mode: str, data: Any) -> None:
    a, b = pair
    axes = data.draw(
        st.one_of(
            st.integers(-a.ndim - 1, a.ndim),
            st.lists(st.integers(-a.ndim, a.ndim - 1), max_size=3),
            st.sampled_from([(-1,), (-2, -1)]),
        )
    )
    # Axes that are not convolved must agree or be 1.
    convolved = {x % a.ndim for x in ([axes] if isinstance(axes, int) else axes)}
    shape = tuple(
        n if i in convolved else data.draw(st.sampled_from((1, a.shape[i]))) for i, n in enumerate(b.shape)
    )
    b = array(1, shape, b.dtype.char)
    check("fftconvolve", a, b, mode, axes)
    check("oaconvolve", a, b, mode, axes=axes)


@given(
    pair=pairs(ranks=st.just(2), most=20),
    mode=modes,
    boundary=st.sampled_from(("fill", "wrap", "symm")),
    fillvalue=st.sampled_from((0, 3, -2, 2.5, 300)),
)
@examples(120)
def test_in_the_plane(pair: Any, mode: str, boundary: str, fillvalue: float) -> None:
    if pair[0].size == 0 < pair[1].size and mode == "full" and boundary != "fill":
        # The original would end this process.
        for name in ("convolve2d", "correlate2d"):
            with pytest.raises(ValueError, match="at least one element"):
                getattr(ours, name)(*pair, mode, boundary, fillvalue)
        return
    check_in_plane(pair, mode, boundary, fillvalue)


def check_in_plane(pair: Any, mode: str, boundary: str, fillvalue: float) -> None:
    for name in ("convolve2d", "correlate2d"):
        want = outcome(getattr(theirs, name), *pair, mode, boundary, fillvalue)
        got = outcome(getattr(ours, name), *pair, mode, boundary, fillvalue)
        if isinstance(want, type):
            assert got is want
            continue
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        if got.dtype.kind not in "fc":
            np.testing.assert_array_equal(got, want)
        else:
            scale = max(float(np.abs(pair[0]).max(initial=0)), abs(fillvalue)) * float(np.abs(pair[1]).sum())
            scale = max(scale, float(np.abs(pair[1]).max(initial=0)) * float(np.abs(pair[0]).sum()), 1e-300)
            error = np.abs(got.astype(np.complex128) - want.astype(np.complex128)).max(initial=0)
            assert error <= 50 * scale * eps(want)


@pytest.mark.parametrize("boundary", ["fill", "wrap", "symm"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "shapes",
    [((70, 61), (9, 9)), ((70, 61), (4, 6)), ((61, 70), (1, 8)), ((9, 7), (31, 40)), ((3, 80), (50, 5))],
)
@pytest.mark.parametrize("char", ["d", "f", "l", "h", "B"])
def test_larger_planes(boundary: str, mode: str, shapes: Any, char: str) -> None:
    pair = array(1, shapes[0], char), array(2, shapes[1], char)
    check_in_plane(pair, mode, boundary, 5)
    if mode != "valid" or all(n >= k for n, k in zip(*shapes, strict=True)):
        assert taken("convolve2d", *pair, mode, boundary, 5)


def taken(name: str, *args: Any, **kwargs: Any) -> bool:
    """Whether a call is ours rather than the original's."""
    with np.errstate(all="ignore"):  # a variance of 0 is divided by, as in the original
        return getattr(ours, name).__wrapped__(*args, **kwargs) is not NotImplemented


def test_what_is_meant_to_be_fast_is_ours() -> None:
    for char in "fd":
        image, kernel = array(1, (80, 90), char), array(2, (7, 7), char)
        signal, short = array(3, (5000,), char), array(4, (31,), char)
        for mode in MODES:
            for method in ("auto", "direct", "fft"):
                assert taken("convolve", image, kernel, mode, method)
                assert taken("correlate", image, kernel, mode, method)
                assert taken("convolve", signal, short, mode, method)
            assert taken("fftconvolve", image, kernel, mode)
            assert taken("oaconvolve", signal, short, mode)
            assert taken("fftconvolve", image, image, mode)
            assert taken("fftconvolve", array(1, (6, 40), char), array(2, (1, 9), char), mode, axes=-1)
        assert taken("wiener", image)
        assert taken("sepfir2d", image, short, short)
        assert taken("medfilt2d", image, 5)
        assert taken("choose_conv_method", image, kernel)
    for char in "bBhHiIlL":
        image, kernel = array(1, (80, 90), char), array(2, (7, 7), char)
        assert taken("convolve", image, kernel)
        assert taken("convolve2d", image, kernel)
        assert taken("fftconvolve", image, kernel)
        assert taken("medfilt2d", image)
        assert (
            taken("wiener", image) or char == "b"
        )  # of whose squares, which wrap, a variance happens to be 0


@pytest.mark.parametrize("char", ["f", "d"])
@pytest.mark.parametrize("n", [1, 2, 97, 1009, 65537, 1_000_003])
@pytest.mark.parametrize("k", [1, 2, 31, 997, 40_009])
def test_signals(n: int, k: int, char: str) -> None:
    a, b = array(n, (n,), char), array(k, (k,), char)
    for mode in MODES if n < 10**6 else ("same",):
        got = ours.fftconvolve(a, b, mode)
        want = theirs.oaconvolve(a.astype("d"), b.astype("d"), mode)
        assert got.dtype == a.dtype
        scale = np.abs(a).max() * np.sqrt(float(min(n, k))) * np.abs(b).max() * 4
        np.testing.assert_allclose(got / scale, want / scale, rtol=0, atol=20 * eps(got))


@pytest.mark.parametrize("char", ["f", "d"])
@pytest.mark.parametrize(
    "shapes",
    [
        ((1031, 1009), (31, 17)),
        ((3001, 300), (63, 63)),
        ((200, 4000), (5, 90)),
        ((900, 900), (401, 3)),
        ((64, 65, 66), (9, 8, 7)),
    ],
)
def test_images_in_tiles_and_whole(shapes: Any, char: str) -> None:
    a, b = array(1, shapes[0], char), array(2, shapes[1], char)
    for mode in MODES:
        got = ours.oaconvolve(a, b, mode)
        want = theirs.fftconvolve(a.astype("d"), b.astype("d"), mode)
        assert got.shape == want.shape
        assert got.dtype == a.dtype
        scale = np.sqrt(float(b.size)) * 16
        np.testing.assert_allclose(got / scale, want / scale, rtol=0, atol=20 * eps(got))


@pytest.mark.parametrize("k", [1, 2, 3, 8])
@pytest.mark.parametrize("n", [(40,), (40, 41), (9, 10, 11), (6000,), (900, 700)])
def test_impulses_come_out_where_the_original_puts_them(n: Any, k: int) -> None:
    kernel = np.arange(1.0, 1 + k ** len(n)).reshape((k,) * len(n))
    for place in (tuple(m // 2 for m in n), (0,) * len(n), tuple(m - 1 for m in n)):
        image = np.zeros(n)
        image[place] = 1
        full = np.zeros(tuple(m + k - 1 for m in n))
        full[tuple(slice(p, p + k) for p in place)] = kernel
        for mode, first, less in (("full", 0, 0), ("same", (k - 1) // 2, k - 1), ("valid", k - 1, 2 * k - 2)):
            want = full[tuple(slice(first, first + m + k - 1 - less) for m in n)]
            for name in ("fftconvolve", "oaconvolve", "convolve"):
                got = getattr(ours, name)(image, kernel, mode)
                np.testing.assert_allclose(got, want, atol=1e-12 * kernel.sum())
            got = ours.correlate(image, np.flip(kernel), mode)
            np.testing.assert_allclose(got, want, atol=1e-12 * kernel.sum())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize(
    "shapes", [((9000,), (21,)), ((60, 70), (5, 5)), ((60, 70), (20, 20)), ((30,), (30,))]
)
def test_not_finite(bad: float, shapes: Any) -> None:
    for place in (0, 1):
        pair = [array(1, shapes[0], "d"), array(2, shapes[1], "d")]
        pair[1].ravel()[2] = 0
        pair[place].ravel()[5] = bad
        for name, more in (
            ("convolve", ("same", "direct")),
            ("convolve", ("same", "fft")),
            ("convolve", ("full", "auto")),
            ("correlate", ("same", "direct")),
            ("fftconvolve", ("same",)),
            ("oaconvolve", ("valid",)),
            *((("convolve2d", ("same", "symm")),) if len(shapes[0]) == 2 else ()),
        ):
            want, got = (
                outcome(getattr(theirs, name), *pair, *more),
                outcome(getattr(ours, name), *pair, *more),
            )
            np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11 * (abs(bad) if bad == 1e300 else 30))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_not_finite_in_small_arrays(name: str, bad: float) -> None:
    """In "same" mode a second array reaches beyond the first, and the original multiplies it by the zeros there."""
    rng = np.random.default_rng(3)
    for _ in range(200):
        ndim = rng.integers(1, 4)
        pair = [rng.normal(size=rng.integers(1, {1: 30, 2: 9, 3: 5}[ndim], ndim)) for _ in range(2)]
        place = pair[rng.integers(2)]
        place.flat[rng.integers(place.size)] = bad
        for mode in MODES:
            for method in ("auto", "direct"):
                want, got = (outcome(getattr(module, name), *pair, mode, method) for module in (theirs, ours))
                if isinstance(want, type):
                    assert got is want
                else:
                    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)


def test_a_warning_tells_of_nan() -> None:
    a = array(1, (300,), "d")
    a[0] = np.nan
    with pytest.warns(RuntimeWarning, match="NAN or inf"):
        ours.convolve(a, array(2, (20,), "d"), method="fft")


@pytest.mark.parametrize("name", ["convolve", "correlate", "convolve2d", "correlate2d"])
@pytest.mark.parametrize("large", [1e20, np.inf, np.nan])
def test_large_numbers_are_no_reason_to_warn(name: str, large: float) -> None:
    a = array(1, (128, 128), "f")
    a[:64] *= np.float32(large)
    plus = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], "f")
    for kernel in (plus, plus.astype("d"), np.ones((20, 20), "f")):
        assert warned(getattr(ours, name), a, kernel) <= warned(getattr(theirs, name), a, kernel)
    if "2d" not in name and large == 1e20:
        assert not warned(getattr(ours, name), a * np.float32(1e17), kernel.astype("h") * 3000, method="fft")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("char", ["l", "B", "?"])
@pytest.mark.parametrize(
    "shapes", [((4,), (2,)), ((2000,), (1200,)), ((60, 50), (3, 3)), ((60, 50), (30, 30))]
)
def test_the_choice_refuses_what_is_not_finite_among_integers(bad: float, char: str, shapes: Any) -> None:
    a, b = array(1, shapes[0], "d"), array(2, shapes[1], char)
    a.ravel()[1] = bad
    for name in ("convolve", "correlate", "choose_conv_method"):
        for pair in ((a, b), (b, a), (a.astype("f"), b)):
            want = outcome(getattr(theirs, name), *pair)
            got = outcome(getattr(ours, name), *pair)
            if isinstance(want, type) or char != "?":
                assert isinstance(want, type)
                assert got is want
            elif isinstance(want, np.ndarray):
                np.testing.assert_array_equal(np.isnan(got), np.isnan(want))


@pytest.mark.parametrize(
    "shapes", [((2858,), (115,)), ((684,), (310,)), ((60, 60), (60, 60)), ((12, 8), (15, 7))]
)
@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_whole_numbers_that_do_not_fit_wrap_around_by_either_method(shapes: Any, dtype: Any) -> None:
    """The original's cast of an FFT's result leaves undefined what becomes of them."""
    rng = np.random.default_rng(1)
    limits = np.iinfo(dtype)
    a, b = (rng.integers(limits.min, limits.max, s).astype(dtype) for s in shapes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in ("auto", "fft", "direct"):
            np.testing.assert_array_equal(
                ours.convolve(a, b, method=method), theirs.convolve(a, b, method="direct")
            )


@pytest.mark.parametrize("tiny", [1e-15, 1e-16, 1e-17, 1e-200])
@pytest.mark.parametrize("char", ["f", "d"])
def test_sepfir2d_knows_small_kernels_that_are_not_symmetric(tiny: float, char: str) -> None:
    a = array(0, (128, 128), char)
    if char == "f" and tiny < 1e-30:
        return
    lopsided = (np.array([1.0, 2, 5, 3, 0]) * tiny).astype(char)
    odd = (np.array([1.0, 2, 0, -3, 1]) * tiny).astype(char)
    v = np.array([1.0, 2, 1], char)
    for kernels in ((lopsided, v), (v, lopsided), (odd, v), (lopsided, odd / tiny)):
        want = theirs.sepfir2d(a, *kernels)
        np.testing.assert_allclose(
            ours.sepfir2d(a, *kernels), want, rtol=0, atol=10 * eps(want) * np.abs(want).max()
        )
    # Those that are symmetric but for rounding are ours, and small ones too.
    window = np.hamming(9).astype(char)
    assert taken("sepfir2d", a, window, window)
    assert taken("sepfir2d", a, v * np.array(1e-20, char), v)


@pytest.mark.parametrize("tiny", [1e-17, 1e-30, 1e-300])
def test_small_weights_count(tiny: float) -> None:
    a = array(1, (60, 50), "d")
    b = np.full((5, 5), tiny)
    np.testing.assert_allclose(ours.convolve2d(a, b), theirs.convolve2d(a, b), atol=1e-13 * tiny)
    np.testing.assert_allclose(ours.fftconvolve(a, b), theirs.fftconvolve(a, b), atol=1e-13 * tiny)
    small = np.full((5, 5), 1e-36, np.float32)
    np.testing.assert_allclose(
        ours.fftconvolve(a.astype("f"), small), theirs.fftconvolve(a, small), atol=1e-41
    )


@given(
    seed=seeds,
    char=st.sampled_from(REAL + "e?"),
    shape=st.lists(st.integers(1, 14), min_size=1, max_size=3).map(tuple),
    size=st.one_of(st.none(), st.integers(1, 6), st.lists(st.integers(1, 7), min_size=1, max_size=3)),
    noise=st.one_of(st.none(), st.floats(0.01, 5)),
)
@examples(60)
def test_wiener(seed: int, char: str, shape: Any, size: Any, noise: float | None) -> None:
    a = array(seed, shape, char)
    want, got = outcome(theirs.wiener, a, size, noise), outcome(ours.wiener, a, size, noise)
    if isinstance(want, type):
        assert got is want
        return
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    # A variance that rounding left of none is divided by, there and here.
    k = size if isinstance(size, list) else [3 if size is None else size] * a.ndim
    if np.prod(k) == 1 or a.size == 1:
        return
    # So is one that should be 0: the original's sums may come from an FFT, ours are exact.
    with np.errstate(over="ignore"):
        squares = a**2
    window = np.ones(k)
    sums, powers = (
        theirs.correlate(x.astype(float), window, "same", "direct") / window.size for x in (a, squares)
    )
    varied = np.abs(powers - sums**2) > 1e-9 * max(1.0, float(np.abs(powers).max()))
    np.testing.assert_allclose(
        got[varied], want[varied], rtol=1e-6, atol=1e-6 * max(1.0, float(np.abs(a).max()))
    )


def test_wiener_of_flat_patches_is_the_originals() -> None:
    a = np.zeros((40, 50))
    a[10:20, 10:20] = 7.0
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(ours.wiener(a), theirs.wiener(a), atol=1e-9)
    assert not warned(ours.wiener, a)
    big = array(3, (400, 301), "f")
    # The original's sums go through single-precision FFTs here.
    np.testing.assert_allclose(ours.wiener(big, (5, 3)), theirs.wiener(big, (5, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        ours.wiener(big, (5, 3)), theirs.wiener(big.astype("d"), (5, 3)), rtol=1e-5, atol=1e-6
    )
    assert ours.wiener(big, (5, 3)).dtype == np.float64
    big[3, 4] = np.nan
    np.testing.assert_array_equal(outcome(ours.wiener, big), outcome(theirs.wiener, big))


@pytest.mark.parametrize("char", ["f", "d", "h"])
@pytest.mark.parametrize("value", [100, 0.1, 0, 3.7, -1.0501, -1.0501005807596453])
@pytest.mark.parametrize("shape", [(103,), (64, 64)])
def test_wiener_of_a_flat_image(char: str, value: float, shape: Any) -> None:
    """Variances that should be 0 are divided by, and what rounding leaves of them may decide the answer."""
    a = np.full(shape, value, char)
    a.flags.writeable = False
    for size in (1, 3, 5):
        for noise in (None, 0, 0.0, 1e-20, 1e-3, -1.0, np.nan):
            assert warned(ours.wiener, a, size, noise) <= warned(theirs.wiener, a, size, noise)
            if char == "f" and a.ndim == 2 and noise is not None:
                continue  # single-precision FFTs make variances of nothing there
            np.testing.assert_allclose(
                outcome(ours.wiener, a, size, noise),
                outcome(theirs.wiener, a, size, noise),
                rtol=1e-5 if char == "f" else 1e-9,
                atol=1e-12,
            )


@given(
    seed=seeds,
    char=st.sampled_from(DTYPES),
    taps=st.sampled_from("fdlD"),
    shape=st.tuples(st.integers(9, 90), st.integers(9, 90)),
    lengths=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    layout=st.sampled_from(LAYOUTS),
)
@examples(60)
def test_sepfir2d(seed: int, char: str, taps: str, shape: Any, lengths: Any, layout: str) -> None:
    a = laid_out(array(seed, shape, char), layout)
    row, column = array(seed + 1, lengths[:1], taps), array(seed + 2, lengths[1:], taps)
    want, got = outcome(theirs.sepfir2d, a, row, column), outcome(ours.sepfir2d, a, row, column)
    if isinstance(want, type):
        assert got is want
        return
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    scale = float(np.abs(a).max() * np.abs(row).sum() * np.abs(column).sum()) + 1e-30
    np.testing.assert_allclose(got / scale, want / scale, rtol=0, atol=10 * eps(want))


def test_sepfir2d_with_kernels_longer_than_the_image() -> None:
    a = array(1, (4, 5), "d")
    row, column = array(2, (21,), "d"), array(3, (15,), "d")
    wide = np.pad(a, ((7, 7), (10, 10)), "symmetric")
    np.testing.assert_allclose(
        ours.sepfir2d(a, row, column), theirs.convolve2d(wide, np.outer(column, row), "valid"), atol=1e-12
    )


@pytest.mark.parametrize("char", ["f", "d", "h", "l", "B", "F", "D", ">d"])
def test_sepfir2d_with_kernels_longer_than_an_axis(char: str) -> None:
    """Of every dtype; the original, which writes beyond its arrays then, is asked about an image with a border."""
    a = (array(1, (6, 19), char[-1]) * 9).astype(char)
    for lengths in ((21, 3), (3, 13), (23, 29)):
        row, column = array(2, lengths[:1], "f"), array(3, lengths[1:], "f")
        wide = np.pad(a, 15, "symmetric")
        want = theirs.sepfir2d(wide, row, column)[15:-15, 15:-15]
        for kernels in ((row, column), (row.tolist(), column)):
            got = ours.sepfir2d(a, *kernels)
            assert got.dtype == want.dtype
            np.testing.assert_allclose(got, want, atol=20 * eps(want) * np.abs(want).max())
    assert ours.sepfir2d(np.ones((2, 2)), [1.0] * 2001, [1.0] * 2001).tolist() == [[2001.0**2] * 2] * 2
    assert outcome(ours.sepfir2d, a, np.ones(22, "f"), np.ones(3, "f")) is ValueError


@given(
    seed=seeds,
    char=st.sampled_from(DTYPES),
    shape=st.lists(st.integers(0, 24), min_size=1, max_size=3).map(tuple),
    size=st.one_of(st.integers(-1, 13), st.none(), st.lists(st.integers(1, 9), min_size=2, max_size=2)),
    layout=st.sampled_from(LAYOUTS),
)
@examples(60)
@example(seed=1, char="d", shape=(3, 4), size=9, layout="plain")
@example(seed=1, char="B", shape=(40, 50), size=3, layout="plain")
def test_medfilt2d(seed: int, char: str, shape: Any, size: Any, layout: str) -> None:
    if 0 in shape:
        shape = (3, *shape[1:])
    a = laid_out(array(seed, shape, char), layout)
    want, got = outcome(theirs.medfilt2d, a, size), outcome(ours.medfilt2d, a, size)
    if isinstance(want, type):
        assert got is want
        return
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("char", ["h", "l", "L", "B", "f", "d"])
def test_medfilt2d_warns_of_windows_larger_than_the_image(char: str) -> None:
    for shape, size in (((5, 2), 3), ((5, 2), (1, 3)), ((2, 9), None), ((8, 4), 5), ((3, 3), 3)):
        a = array(1, shape, char)
        assert warned(ours.medfilt2d, a, size) == warned(theirs.medfilt2d, a, size)
        np.testing.assert_array_equal(outcome(ours.medfilt2d, a, size), outcome(theirs.medfilt2d, a, size))


def test_numpys_scalars_are_accelerated() -> None:
    a, k = array(1, (80, 90), "d"), array(2, (7, 7), "d")
    for name, args in (
        ("wiener", (a, np.int64(3), np.float64(0.5))),
        ("wiener", (a, (np.int32(3), 5))),
        ("medfilt2d", (a, np.int64(3))),
        ("medfilt2d", (a, [np.int64(3), 5])),
        ("convolve2d", (a, k, "same", "fill", np.float64(2.5))),
        ("convolve2d", (a.astype("l"), k.astype("l"), "same", "fill", np.uint8(3))),
    ):
        assert taken(name, *args)
        np.testing.assert_allclose(
            getattr(ours, name)(*args), getattr(theirs, name)(*args), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("char", ["l", "L"])
def test_medians_of_integers_that_a_double_does_not_hold(char: str) -> None:
    a = 2**60 + np.random.default_rng(1).integers(0, 3000, (20, 21)).astype(char)
    np.testing.assert_array_equal(ours.medfilt2d(a), theirs.medfilt2d(a))


@pytest.mark.parametrize("chars", ["dd", "ll", "BB", "Bd", "dl", "?B"])
@pytest.mark.parametrize("k", [3, 40])
def test_the_choice_is_what_convolve_does(monkeypatch: Any, chars: str, k: int) -> None:
    a, b = array(1, (60, 60), chars[0]), array(2, (k, k), chars[1])
    for big in (1, 2**55) if chars == "ll" else (1,):
        chosen, done = ours.choose_conv_method(a * big, b), []
        with monkeypatch.context() as patch:
            for module, method in ((_convolve._fft, "fft"), (_convolve._direct, "direct")):
                way = module.convolution
                patch.setattr(module, "convolution", lambda *c, w=way, m=method, d=done: d.append(m) or w(*c))
            ours.convolve(a * big, b)
        assert done == [chosen]


def test_choice_of_a_method() -> None:
    small, large = array(1, (300, 300), "d"), array(2, (40, 40), "d")
    assert ours.choose_conv_method(small, array(2, (3, 3), "d")) == "direct"
    assert ours.choose_conv_method(small, large) == "fft"
    for pair in (
        (array(1, (9,), "l") * 2**50, array(2, (5,), "l")),
        (array(1, (9,), "?"), array(2, (5,), "?")),
        (small.astype("g"), large),
    ):
        assert ours.choose_conv_method(*pair) == theirs.choose_conv_method(*pair)
    method, seconds = ours.choose_conv_method(small, large, measure=True)
    assert method == min(seconds, key=seconds.get)
    assert set(seconds) == {"fft", "direct"}
    assert all(s > 0 for s in seconds.values())
    with pytest.raises(ValueError, match="mode"):
        ours.choose_conv_method(small, large, mode="all")


def test_whole_numbers_stay_exact() -> None:
    """Beyond 2^53 no FFT in double could have them."""
    rng = np.random.default_rng(1)
    a, b = rng.integers(-(2**60), 2**60, (300, 60)), rng.integers(-(2**60), 2**60, (30, 30))
    for method in ("auto", "direct"):
        got = ours.convolve(a, b, "valid", method)
        want = sum(int(a[29 - i, 29 - j]) * int(b[i, j]) for i in range(30) for j in range(30))
        assert int(got[0, 0]) == (want + 2**63) % 2**64 - 2**63


THREADS_SCRIPT = """
import hashlib
import numpy as np
import fastdeblur.scipy.signal as signal
rng = np.random.default_rng(1)
image, kernel = (rng.normal(size=s).astype("f") for s in ((1000, 900), (25, 25)))
line, short = rng.normal(size=200_000), rng.normal(size=101)
results = (
    signal.fftconvolve(image, kernel), signal.fftconvolve(image[:500], image[:500]), signal.oaconvolve(line, short),
    signal.convolve2d(image, kernel[:5, :5]), signal.wiener(image), signal.sepfir2d(image, kernel[0], kernel[1]),
)
print([hashlib.sha256(r).hexdigest() for r in results])
"""


def test_one_and_many_threads_agree() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", THREADS_SCRIPT],
            cwd=Path(__file__).parent,  # not the root, whose source tree would hide an installed package
            env={**os.environ, "OMP_NUM_THREADS": threads},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for threads in ("1", "3")
    }
    assert len(printed) == 1


def test_lists_and_scalars_are_the_originals() -> None:
    assert ours.convolve([1, 2, 3], [0, 1, 0.5]).tolist() == [0, 1, 2.5, 4, 1.5]
    assert ours.fftconvolve(np.float64(3), 4) == 12
    assert ours.fftconvolve([], [1.0]).shape == (0,)


@pytest.mark.parametrize(
    "call",
    [
        lambda c, a: c.signal_fft_convolve(a, a, np.empty((20, 20)), (0, 0), (20, 20)),
        lambda c, a: c.signal_fft_convolve(a, a, np.empty((9, 9)), (3, 3), (0, 20)),
        lambda c, a: c.signal_fft_convolve(a, a, np.empty((9, 9)), (0, 0), (4, 4)),
        lambda c, a: c.signal_fft_convolve(a, a, np.empty((9, 9)), (-1, 0), (20, 20)),
        lambda c, a: c.signal_fft_convolve(a, a, np.empty((9, 9)), (0, 0), (20,)),
        lambda c, a: c.signal_fft_convolve(a, a, np.empty((9, 9), np.int32), (0, 0), (20, 20)),
        lambda c, a: c.signal_fft_convolve(a, a.astype("D"), np.empty((9, 9)), (0, 0), (20, 20)),
        lambda c, a: c.signal_fft_convolve(a[0], a[0], np.empty((18,))[::2], (0,), (20,)),
        lambda c, a: c.signal_overlap_save(a[0], a[0], np.empty(30), 0, 30),
        lambda c, a: c.signal_overlap_save(a[0], a[0], np.empty(9), 0, 5),
        lambda c, a: c.signal_overlap_save(a, a, np.empty((9, 9)), 0, 30),
        lambda c, a: c.signal_wiener(a, np.empty((9, 8)), np.empty((9, 9)), 9.0, None),
    ],
)
def test_the_core_refuses_what_would_leave_its_arrays(call: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        call(core(), array(1, (9, 9), "d"))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_opposite_weights_make_nothing_of_a_flat_image(dtype: str) -> None:
    flat, edge = np.full((70, 90), 0.3, dtype), np.array([[0.1, -0.1]])
    assert not ours.convolve2d(flat, edge, "valid").any()
    assert not ours.correlate(flat, edge, "valid", method="direct").any()
