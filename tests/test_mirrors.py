"""Modules that stand in for others: what is ours is marked, everything else is the original's."""

from __future__ import annotations

import importlib
import inspect
import multiprocessing
import pickle
import pydoc
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import fastdeblur
from dropin_calls import arguments
from fastdeblur._dropin import replaces as wrapper
from invented import invented

MODULES = ("scipy.signal", "scipy.ndimage", "skimage.restoration")


@pytest.fixture(params=MODULES)
def pair(request):
    """(our module, its original)"""
    original = pytest.importorskip(request.param)
    return importlib.import_module(f"fastdeblur.{request.param}"), original


def functions():
    """(module, name) of everything that is ours."""
    for module in MODULES:
        try:
            ours = importlib.import_module(f"fastdeblur.{module}")
        except ImportError:
            continue
        for name in ours.fastdeblur_names:
            yield pytest.param(ours, name, id=f"{module}.{name}")


FUNCTIONS = list(functions())


def test_all_names_pass_through(pair):
    ours, original = pair
    assert list(ours.__all__) == list(original.__all__)
    for name in original.__all__:
        if name not in ours.fastdeblur_names:
            assert getattr(ours, name) is getattr(original, name)
    assert set(dir(original)) <= set(dir(ours))
    assert set(ours.fastdeblur_names) <= set(ours.__all__)
    with pytest.raises(AttributeError, match=rf"module '{ours.__name__}' has no attribute 'nonsense'"):
        _ = ours.nonsense


def test_star_import(pair):
    ours, _ = pair
    names = {}
    exec(f"from {ours.__name__} import *", names)
    assert set(ours.__all__) <= set(names)


def test_help_names_what_is_ours(pair):
    ours, _ = pair
    assert "fastdeblur_names" in ours.__doc__


SUBMODULES = {
    "scipy.signal.windows": "hann",
    "scipy.signal.windows._windows": "hann",
    "scipy.signal._signaltools": "lfilter",
    "scipy.ndimage._filters": "rank_filter",
    "skimage.restoration.uft": "laplacian",
    "skimage.restoration.deconvolution": "uft",
}


@pytest.mark.parametrize("name", SUBMODULES)
def test_submodules_are_the_originals(name):
    original = pytest.importorskip(name)
    ours = importlib.import_module(f"fastdeblur.{name}")
    assert ours is original
    assert ours.__name__ == ours.__spec__.name == name
    assert getattr(ours, SUBMODULES[name]) is getattr(original, SUBMODULES[name])


def test_submodules_may_be_imported_before_the_originals():
    pytest.importorskip("skimage")
    code = "".join(
        f"import fastdeblur.{n} as ours, {n} as original; assert ours is original\n" for n in SUBMODULES
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True)


def test_submodules_that_are_not_there(pair):
    ours, _ = pair
    with pytest.raises(ModuleNotFoundError, match="nonsense"):
        importlib.import_module(f"{ours.__name__}.nonsense")


def test_a_missing_original_says_what_to_install():
    code = (
        "import sys; sys.modules['skimage'] = None\n"
        "try:\n    import fastdeblur.skimage.restoration\n"
        "except ModuleNotFoundError as error:\n    print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    assert "pip install scikit-image" in result.stdout


# ----------------------------------------------------------------------------------------------- our own functions


@pytest.mark.parametrize(("module", "name"), FUNCTIONS)
def test_a_function_looks_like_the_original(module, name):
    function = getattr(module, name)
    original = function.__fastdeblur_original__
    assert original is getattr(importlib.import_module(module.__name__.removeprefix("fastdeblur.")), name)
    assert function.__name__ == function.__qualname__ == name
    assert function.__module__ == module.__name__
    assert function.__doc__
    try:
        theirs = inspect.signature(original)
    except ValueError:
        return
    assert inspect.signature(function) == theirs
    # The text of ours must agree, or the wrapper would leave calls, or all of them, to the original.
    mine = inspect.signature(function.__wrapped__)
    parameters = [(p.name, p.kind, p.default) for p in mine.parameters.values()]
    assert parameters == [(p.name, p.kind, p.default) for p in theirs.parameters.values()]
    assert name in pydoc.render_doc(function, renderer=pydoc.plaintext).split("\n")[0]


@pytest.mark.parametrize(("module", "name"), FUNCTIONS)
def test_a_function_can_be_pickled(module, name):
    function = getattr(module, name)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with fastdeblur.patch():
            pickled = pickle.dumps(function, protocol)
            assert pickle.loads(pickled) is function
        assert pickle.loads(pickled) is function


@pytest.mark.parametrize(("module", "name"), FUNCTIONS)
def test_falling_back_while_patched_ends(module, name, monkeypatch):
    """Originals that reach ours through their globals, in a process where ours takes nothing."""
    home = module.__name__.removeprefix("fastdeblur.")
    args, kwargs = arguments(home, name)
    expected = getattr(module, name).__fastdeblur_original__(*args, **kwargs)
    monkeypatch.setattr(wrapper, "core", lambda: None)
    with fastdeblur.patch():
        result = getattr(importlib.import_module(home), name)(*args, **kwargs)
    assert str(result) == str(expected)


@pytest.mark.parametrize(("module", "name"), FUNCTIONS)
def test_patched_functions_give_the_originals_answer(module, name):
    """The whole tree of calls below the public name, with ours wherever ours is."""
    home = module.__name__.removeprefix("fastdeblur.")
    args, kwargs = arguments(home, name)
    expected = getattr(module, name).__fastdeblur_original__(*args, **kwargs)
    with fastdeblur.patch():
        result = getattr(importlib.import_module(home), name)(*args, **kwargs)
    if isinstance(result, str):
        return  # the name of a method, which may be another one for our kernels
    for ours, theirs in zip(
        *((x if isinstance(x, tuple) else (x,)) for x in (result, expected)), strict=True
    ):
        if isinstance(theirs, np.ndarray | float | np.floating):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


def answer(function, image):
    return function(image, 1.0)


def test_a_function_travels_to_another_process():
    pytest.importorskip("scipy")
    ndimage = importlib.import_module("fastdeblur.scipy.ndimage")
    image = np.random.default_rng(0).random((9, 8))
    # From a patched process to one that is not.
    with fastdeblur.patch(), multiprocessing.get_context("spawn").Pool(1) as pool:
        import scipy.ndimage

        result = pool.apply(answer, (scipy.ndimage.gaussian_filter, image))
    np.testing.assert_allclose(result, ndimage.gaussian_filter(image, 1.0), rtol=1e-12)


def test_reloading_while_patched_captures_the_true_originals(monkeypatch):
    pytest.importorskip("scipy")
    monkeypatch.setattr(wrapper, "core", lambda: types.ModuleType("core"))
    with invented(scipy_ndimage=["gaussian_filter"]):
        import scipy.ndimage

        original = scipy.ndimage.gaussian_filter
        with fastdeblur.patch():
            again = wrapper.replaces(scipy.ndimage.gaussian_filter)(lambda input, sigma: NotImplemented)  # noqa: A006
        assert again.__fastdeblur_original__ is original
