"""`patch` and `unpatch`: every name of the originals' packages, and every name back."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest

import fastdeblur
from dropin_calls import CALLS
from fastdeblur._dropin import replaces as wrapper
from invented import ANSWER, calls, invented

pytest.importorskip("scipy")

PACKAGE = Path(fastdeblur.__file__).parent
IMAGE = np.ones((6, 7), np.float32)


@pytest.fixture(autouse=True)
def _invented(monkeypatch):
    """With a core, which these tests do not compute with."""
    monkeypatch.setattr(wrapper, "core", lambda: types.ModuleType("core"))
    calls.clear()
    with invented(
        scipy_ndimage=["gaussian_filter", "gaussian_filter1d", "convolve1d", "uniform_filter"],
        scipy_signal=["convolve", "correlate", "fftconvolve", "wiener"],
    ):
        yield


def bound():
    """(module, name) -> id of the object, for all names of SciPy and scikit-image."""
    return {
        (name, attribute): id(value)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in ("scipy", "skimage") and isinstance(module, types.ModuleType)
        for attribute, value in list(vars(module).items())
        if isinstance(value, types.FunctionType)
    }


def is_patched(module="scipy.ndimage", name="gaussian_filter"):
    return hasattr(getattr(importlib.import_module(module), name), "__fastdeblur_original__")


def test_all_names_are_replaced_and_all_come_back():
    import scipy.ndimage
    import scipy.signal
    from scipy.ndimage import _filters
    from scipy.signal import _savitzky_golay

    before = bound()
    fastdeblur.patch()
    for module in (scipy.ndimage, _filters):
        assert module.gaussian_filter is importlib.import_module("fastdeblur.scipy.ndimage").gaussian_filter
        assert module.gaussian_filter(IMAGE, 1) == ANSWER
    # A name that another module had imported before.
    assert hasattr(_savitzky_golay.convolve1d, "__fastdeblur_original__")
    # The two packages' functions of one name are told apart.
    assert scipy.signal.convolve.__fastdeblur_original__.__module__ == "scipy.signal._signaltools"
    assert not hasattr(scipy.ndimage.convolve, "__fastdeblur_original__")
    fastdeblur.unpatch()
    assert bound() == before


def test_names_that_scikit_image_imported_are_replaced():
    metrics = pytest.importorskip("skimage.metrics._structural_similarity")
    feature = importlib.import_module("skimage.feature.template")
    with fastdeblur.patch():
        assert hasattr(metrics.uniform_filter, "__fastdeblur_original__")
        assert hasattr(feature.fftconvolve, "__fastdeblur_original__")
    assert not hasattr(metrics.uniform_filter, "__fastdeblur_original__")


def test_originals_reach_ours_through_their_globals():
    import scipy.ndimage

    with fastdeblur.patch():
        # Not plain float32, so the original does it; it filters its axes with gaussian_filter1d, which is ours.
        result = scipy.ndimage.gaussian_filter(IMAGE.astype(float), 1)
        assert calls["gaussian_filter1d"] == 2
    np.testing.assert_array_equal(result, scipy.ndimage.gaussian_filter(IMAGE.astype(float), 1))


def test_blocks_nest_and_survive_exceptions():
    with pytest.raises(ZeroDivisionError), fastdeblur.patch():  # noqa: PT012
        with fastdeblur.patch("scipy.ndimage"):
            assert is_patched()
        assert is_patched()
        raise ZeroDivisionError
    assert not is_patched()


def test_a_block_ends_what_it_began_and_no_more():
    fastdeblur.patch("scipy.signal")
    with fastdeblur.patch():
        assert is_patched()
    assert not is_patched()
    assert is_patched("scipy.signal", "wiener")
    fastdeblur.unpatch()
    assert not is_patched("scipy.signal", "wiener")


def test_only_the_named_modules_are_patched():
    with fastdeblur.patch("scipy.ndimage"):
        assert is_patched()
        assert not is_patched("scipy.signal", "convolve")
    with pytest.raises(fastdeblur.InvalidArgument, match=r"modules: .*got 'numpy'"):
        fastdeblur.patch("numpy")


def test_patching_twice_is_undone_once():
    fastdeblur.unpatch()
    fastdeblur.patch()
    fastdeblur.patch()
    fastdeblur.unpatch()
    assert not is_patched()
    fastdeblur.unpatch()


def test_unpatch_ends_open_blocks():
    with fastdeblur.patch():
        with fastdeblur.patch():
            fastdeblur.unpatch()
            assert not is_patched()
            fastdeblur.patch()
        # What was patched after unpatch() is not the block's to end.
        assert is_patched()
    assert is_patched()
    fastdeblur.unpatch()
    assert not is_patched()


def test_a_block_can_be_entered_again():
    block = fastdeblur.patch()
    for _ in range(2):
        with block:
            assert is_patched()
            with block:
                assert is_patched()
            assert is_patched()
        assert not is_patched()


def test_threads():
    before = bound()
    failures = []

    def work():
        for _ in range(10):
            with fastdeblur.patch():
                if not is_patched():
                    failures.append("not patched inside a block")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert bound() == before


def test_a_module_that_was_taken_out_is_restored_too(monkeypatch):
    from scipy.ndimage import _filters

    with fastdeblur.patch():
        monkeypatch.delitem(sys.modules, "scipy.ndimage._filters")
    assert not hasattr(_filters.gaussian_filter, "__fastdeblur_original__")


def test_other_peoples_changes_are_kept():
    import scipy.ndimage

    def theirs():
        pass

    before = scipy.ndimage.gaussian_filter
    try:
        with fastdeblur.patch():
            scipy.ndimage.gaussian_filter = theirs
        assert scipy.ndimage.gaussian_filter is theirs
    finally:
        scipy.ndimage.gaussian_filter = before


def test_users_names_are_not_touched():
    from scipy.ndimage import gaussian_filter

    with fastdeblur.patch():
        assert not hasattr(gaussian_filter, "__fastdeblur_original__")
        assert gaussian_filter(IMAGE, 1) is not ANSWER


def test_without_a_core_the_originals_answer(monkeypatch):
    import scipy.ndimage

    monkeypatch.setattr(wrapper, "core", lambda: None)
    expected = scipy.ndimage.gaussian_filter(IMAGE, 1)
    with fastdeblur.patch():
        np.testing.assert_array_equal(scipy.ndimage.gaussian_filter(IMAGE, 1), expected)
    assert not calls


# ------------------------------------------------------------------------------------- in a process of their own


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(__file__).parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


# What stands in front of every original: nothing is accelerated, all is passed on.
INVENT = """
import sys, threading, types
import fastdeblur
from fastdeblur._dropin import mirror, replaces
from fastdeblur._dropin.patching import MODULES
replaces.core = lambda: types.ModuleType("core")
NAMES = {"scipy.ndimage": ["convolve1d"], "scipy.signal": ["convolve", "fftconvolve"], "skimage.restoration": ["wiener"]}
real = mirror.mirror
def invented(name, original, ours):
    from invented import invent
    real(name, original, {n: invent(getattr(original, n)) for n in NAMES[original.__name__]})
mirror.mirror = invented
def names(function):
    return [f"{m}.{n}" for m, module in list(sys.modules.items()) if m.startswith(("scipy", "skimage"))
            for n, v in list(vars(module).items()) if getattr(v, "__fastdeblur_original__", None) is function]
def ours_anywhere():
    return [f"{m}.{n}" for m, module in list(sys.modules.items()) if m.startswith(("scipy", "skimage"))
            for n, v in list(vars(module).items()) if "__fastdeblur_original__" in getattr(v, "__dict__", {})]
"""


def test_an_original_is_patched_when_it_is_imported():
    python(
        INVENT
        + """
fastdeblur.patch()
assert not {"scipy", "skimage"} & set(sys.modules)
import importlib.util
assert importlib.util.find_spec("scipy.signal").name == "scipy.signal"
import scipy.signal
from scipy.signal import fftconvolve
from importlib.resources import files
assert (files("scipy.signal") / "__init__.py").is_file()
assert type(scipy.signal.__loader__).__name__ == type(scipy.signal.__spec__.loader).__name__ == "SourceFileLoader"
assert fftconvolve is scipy.signal.fftconvolve is scipy.signal._signaltools.fftconvolve
assert hasattr(fftconvolve, "__fastdeblur_original__")
assert hasattr(scipy.signal._savitzky_golay.convolve1d, "__fastdeblur_original__")
fastdeblur.unpatch()
assert not ours_anywhere(), ours_anywhere()
assert not [f for f in sys.meta_path if type(f).__module__ == "fastdeblur._dropin.arrival"]
"""
    )


def test_the_drop_in_may_be_imported_first():
    python(
        INVENT
        + """
with fastdeblur.patch():
    import fastdeblur.scipy.signal as ours
    import scipy.signal
    assert scipy.signal.convolve is ours.convolve
assert scipy.signal.convolve is ours.convolve.__fastdeblur_original__
"""
    )


def test_nothing_is_patched_after_unpatch():
    python(
        INVENT
        + """
fastdeblur.patch()
fastdeblur.unpatch()
import scipy.signal
assert not ours_anywhere()
"""
    )


def test_modules_imported_while_patched_are_restored():
    pytest.importorskip("skimage")
    python(
        INVENT
        + """
import skimage
with fastdeblur.patch():
    # Lazily, by a first use; these bind names of SciPy as they are imported.
    assert hasattr(skimage.restoration.wiener, "__fastdeblur_original__")
    skimage.metrics.structural_similarity
    skimage.feature.match_template
    places = ours_anywhere()
    for place in ("skimage.restoration.wiener", "skimage.restoration.deconvolution.wiener",
                  "skimage.restoration.deconvolution.convolve", "skimage.feature.template.fftconvolve"):
        assert place in places, places
assert not ours_anywhere(), ours_anywhere()
import numpy
skimage.restoration.wiener(numpy.ones((8, 8)), numpy.ones((3, 3)), 0.1)
"""
    )


def test_import_from_several_threads():
    python(
        INVENT
        + """
fastdeblur.patch()
import scipy.fft, scipy.linalg, scipy.special  # begun by two threads at once, these may fail by themselves, with plain SciPy too
assert not {"scipy.signal", "scipy.ndimage"} & set(sys.modules)
errors = []
def use(name):
    try:
        __import__(name)
    except BaseException as error:
        errors.append(error)
names = ["scipy.signal", "fastdeblur.scipy.signal", "scipy.ndimage", "fastdeblur.scipy.ndimage"]
threads = [threading.Thread(target=use, args=(name,)) for name in names]
[t.start() for t in threads]
[t.join() for t in threads]
assert not errors, errors
import scipy.signal, scipy.ndimage
assert hasattr(scipy.signal.convolve, "__fastdeblur_original__")
assert hasattr(scipy.ndimage.convolve1d, "__fastdeblur_original__")
"""
    )


def test_scipys_array_api_mode():
    python(
        INVENT
        + """
fastdeblur.patch()
import numpy, scipy.ndimage
assert scipy.ndimage.convolve1d(numpy.ones((5, 5), numpy.float32), numpy.ones(3)) == "ours"
assert (scipy.ndimage.convolve1d(numpy.ones((5, 5)), numpy.ones(3)) == 3).all()
""",
        SCIPY_ARRAY_API="1",
    )


def test_scipy_need_not_be_there():
    python(
        """
import sys
sys.modules["scipy"] = None
sys.modules["skimage"] = None
import fastdeblur
with fastdeblur.patch():
    pass
"""
    )


# --------------------------------------------------------------------------------------------- the real functions

DROP_INS = sorted(
    path
    for package in ("scipy", "skimage")
    for path in (PACKAGE / package).rglob("*.py")
    if "__pycache__" not in path.parts
)


@pytest.mark.parametrize("path", DROP_INS, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_function_looks_an_original_up_while_it_runs(path):
    """While patched it would find ours, itself perhaps, and call itself for ever; decorators look up once, when imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    originals = {"_original"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            originals |= {
                (a.asname or a.name).partition(".")[0]
                for a in node.names
                if a.name.partition(".")[0] in ("scipy", "skimage")
            }
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.Lambda)):
            continue
        body = function.body if isinstance(function.body, list) else [function.body]
        for node in (n for statement in body for n in ast.walk(statement)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in CALLS:
                assert node.value.id not in originals, f"{path}:{node.lineno}: {ast.unparse(node)}"
