"""What is no plain NumPy array gets the original's answer, or its own library's, and no mask is lost in silence."""

from __future__ import annotations

import importlib
import sys
import types
import warnings

import numpy as np
import pytest

import fastdeblur
from fastdeblur._dropin import replaces as wrapper
from invented import ANSWER, calls, invented

scipy_ndimage = pytest.importorskip("scipy.ndimage")

IMAGE = np.arange(42, dtype=np.float32).reshape(6, 7)


@pytest.fixture(autouse=True)
def _invented(monkeypatch):
    monkeypatch.setattr(wrapper, "core", lambda: types.ModuleType("core"))
    calls.clear()
    with invented(
        scipy_ndimage=["gaussian_filter", "uniform_filter", "convolve"],
        scipy_signal=["convolve", "choose_conv_method"],
    ):
        yield


def ours():
    return importlib.import_module("fastdeblur.scipy.ndimage")


def same_as_original(name, *args, **kwargs):
    """Same type and values, or the same exception."""
    expected, result = (
        outcome(f, *args, **kwargs) for f in (getattr(scipy_ndimage, name), getattr(ours(), name))
    )
    assert type(result) is type(expected)
    if isinstance(expected, Exception):
        assert str(result) == str(expected)
    else:
        np.testing.assert_array_equal(np.asarray(result), np.asarray(expected))


def outcome(function, *args, **kwargs):
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return error


class Wrapped:
    """As pandas and xarray do it: no array, but it can become one."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


class Labelled(np.ndarray):
    pass


@pytest.mark.parametrize(
    "value",
    [
        IMAGE.astype(object),
        IMAGE.view(Labelled),
        IMAGE.astype("U"),
        IMAGE.tolist(),
        tuple(map(tuple, IMAGE.tolist())),
        Wrapped(IMAGE),
        np.float32(3),
        3.0,
        2 + 1j,
        None,
        "text",
        [],
        np.ma.masked,
        memoryview(IMAGE),
    ],
    ids=lambda v: type(v).__name__,
)
def test_anything_else_gets_what_the_original_does(value):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastdeblur.MaskWarning)
        same_as_original("gaussian_filter", value, 1)
        same_as_original("uniform_filter", value, 3)


def test_a_matrix():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        same_as_original("gaussian_filter", np.matrix(IMAGE), 1)


def test_plain_arrays_are_ours():
    assert ours().gaussian_filter(IMAGE, 1) == ANSWER
    assert ours().gaussian_filter(input=IMAGE, sigma=1) == ANSWER


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((IMAGE,), {}),
        ((IMAGE, 1), {"nonsense": 1}),
        ((IMAGE, 1), {"sigma": 2}),
        ((IMAGE, 1, 0, None, "reflect", 0.0, 4.0, None, None, 1, 2), {}),
    ],
)
def test_wrong_calls_raise_what_the_original_raises(args, kwargs):
    with pytest.raises(TypeError) as expected:
        scipy_ndimage.gaussian_filter(*args, **kwargs)
    calls.clear()

    # A function with a signature of its own, as the real ones have it.
    @wrapper.replaces(scipy_ndimage.gaussian_filter)
    def gaussian_filter(
        input, sigma, order=0, output=None, mode="reflect", cval=0.0, truncate=4.0, *, radius=None, axes=None  # noqa: A002
    ):  # fmt: skip
        return ANSWER

    with pytest.raises(TypeError) as caught:
        gaussian_filter(*args, **kwargs)
    assert str(caught.value).partition("()")[2] == str(expected.value).partition("()")[2]


def test_a_dropped_mask_is_told():
    masked = np.ma.masked_less(IMAGE.astype(float), 5)
    with pytest.warns(fastdeblur.MaskWarning, match="gaussian_filter: the original ignores masks") as caught:
        result = ours().gaussian_filter(masked, 1)
    assert caught[0].filename == __file__
    assert not isinstance(result, np.ma.MaskedArray)
    np.testing.assert_array_equal(result, scipy_ndimage.gaussian_filter(masked, 1))
    with pytest.warns(fastdeblur.MaskWarning):
        ours().convolve(IMAGE.astype(float), weights=np.ma.masked_less(np.ones((3, 3)), 2))


def test_no_warning_where_no_mask_is_lost():
    masked = np.ma.masked_less(IMAGE.astype(float), 5)
    ours().gaussian_filter(np.ma.array(IMAGE), 1)  # nothing is masked
    ours().gaussian_filter(IMAGE.astype(float), 1, output=np.ma.zeros((6, 7)))
    signal = importlib.import_module("fastdeblur.scipy.signal")
    assert signal.choose_conv_method(masked, np.ones((3, 3))) in ("direct", "fft")
    assert isinstance(call(np.ma.ravel, lambda a: NotImplemented, masked), np.ma.MaskedArray)


# ------------------------------------------------------------------------------------------------ other libraries


@pytest.fixture
def cupy(monkeypatch):
    """A CuPy that has no GPU: an array type of that name, and one function of cupyx."""
    package = types.ModuleType("cupy")
    package.ndarray = type("ndarray", (), {"__module__": "cupy"})
    ndimage = types.ModuleType("cupyx.scipy.ndimage")
    ndimage.gaussian_filter = lambda *args, **kwargs: ("CuPy's", args, kwargs)
    for name, module in {
        "cupy": package,
        "cupyx": types.ModuleType("cupyx"),
        "cupyx.scipy": types.ModuleType("cupyx.scipy"),
        "cupyx.scipy.ndimage": ndimage,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    return package


def test_cupy_arrays_go_to_cupys_function(cupy):
    array = cupy.ndarray()
    assert ours().gaussian_filter(array, 1, mode="wrap") == ("CuPy's", (array, 1), {"mode": "wrap"})
    assert ours().gaussian_filter(sigma=2, input=array)[0] == "CuPy's"
    with fastdeblur.patch():
        assert scipy_ndimage.gaussian_filter(array, 1)[0] == "CuPy's"


def test_cupy_arrays_where_cupy_has_no_such_function(cupy):
    array = cupy.ndarray()
    same_as_original("uniform_filter", array, 3)


def test_where_cupy_and_cucim_keep_a_function(cupy, monkeypatch):
    restoration = pytest.importorskip("skimage.restoration")
    from skimage.restoration import wiener

    assert wrapper._cupy_function(wiener) is None
    for name in ("cucim", "cucim.skimage", "cucim.skimage.restoration"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["cucim.skimage.restoration"].wiener = "cuCIM's"
    sys.modules["cucim.skimage.restoration"].denoise_tv_chambolle = "cuCIM's"
    assert wrapper._cupy_function(wiener) == "cuCIM's"
    assert wrapper._cupy_function(restoration.denoise_tv_chambolle) == "cuCIM's"


@pytest.mark.parametrize("library", ["torch", "dask.array"])
def test_other_arrays_get_what_the_original_does(library):
    module = pytest.importorskip(library)
    make = module.from_numpy if library == "torch" else module.from_array
    same_as_original("gaussian_filter", make(IMAGE), 1)


# ---------------------------------------------------------------------------------------------------- the wrapper


def call(original, ours, *args, **kwargs):
    return wrapper.replaces(original)(ours)(*args, **kwargs)


def test_another_version_of_the_original_is_respected():
    """Ours was written for f(a, b=1, *, c=2)."""

    def mine(a, b=1, *, c=2):
        return "ours"

    def same(a, b=1, *, c=2):
        return "theirs"

    def newer(a, b=1, d=0, *, c=2, e=3):
        return "theirs"

    def older(a, b=1):
        return "theirs"

    def otherwise(a, b=5, *, c=2):
        return "theirs"

    def reordered(b, a=1, *, c=2):
        return "theirs"

    assert call(same, mine, 1, 2, c=3) == "ours"
    assert call(newer, mine, 1, 2) == "ours"
    assert call(newer, mine, 1, 2, 3) == "theirs"
    assert call(newer, mine, 1, e=3) == "theirs"
    assert call(older, mine, 1, b=2) == "ours"
    with pytest.raises(TypeError, match="older"):
        call(older, mine, 1, c=2)
    assert call(otherwise, mine, 1) == "theirs"
    assert call(reordered, mine, 1) == "theirs"


def test_errors_of_ours_are_not_hidden():
    def broken(a):
        raise KeyError(a)

    with pytest.raises(KeyError):
        call(lambda a: a, broken, 1)


@pytest.mark.slow
def test_the_wrapper_costs_less_than_a_microsecond(monkeypatch):
    import timeit

    from fastdeblur import _isa

    monkeypatch.undo()  # the real core()
    if _isa.why_not():
        pytest.skip("without a core every call goes to the original")

    def gaussian_filter(input, sigma, order=0, mode="reflect"):  # noqa: A002
        return input

    wrapped = wrapper.replaces(gaussian_filter)(gaussian_filter)
    names = {"bare": gaussian_filter, "wrapped": wrapped}

    def cost(function):
        # Other programs run too: slices that are short enough to pass undisturbed, and the shortest of many.
        timer = timeit.Timer(f"{function}(1, 2, mode='x')", globals=names)
        return min(timer.timeit(500) for _ in range(200)) / 500

    assert cost("wrapped") - cost("bare") < 1e-6
