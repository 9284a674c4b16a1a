"""Every public docstring says shapes, units, ranges, errors and the source."""

from __future__ import annotations

import inspect
import re

import pytest

import fastdeblur
from fastdeblur import estimate, nets, psf

FUNCTIONS = {
    "deblur": fastdeblur.deblur,
    "wiener": fastdeblur.wiener,
    "richardson_lucy": fastdeblur.richardson_lucy,
    "estimate_memory": fastdeblur.estimate_memory,
    "psf.gaussian": psf.gaussian,
    "psf.motion": psf.motion,
    "psf.defocus": psf.defocus,
    "psf.born_wolf": psf.born_wolf,
    "psf.gibson_lanni": psf.gibson_lanni,
    "psf.from_beads": psf.from_beads,
    "psf.from_edge": psf.from_edge,
    "psf.from_image": psf.from_image,
    "psf.psf2otf": psf.psf2otf,
    "psf.otf2psf": psf.otf2psf,
    "psf.edgetaper": psf.edgetaper,
    "psf.resample": psf.resample,
    "psf.crop_energy": psf.crop_energy,
    "psf.check": psf.check,
    "estimate.noise": estimate.noise,
    "estimate.motion": estimate.motion,
    "estimate.defocus": estimate.defocus,
    "estimate.gaussian": estimate.gaussian,
    "estimate.kind": estimate.kind,
    "nets.load": nets.load,
    "nets.from_torch": nets.from_torch,
}
CALLABLES = {**FUNCTIONS, "Deconvolver": fastdeblur.Deconvolver}
METHODS = {"wiener": fastdeblur.wiener, "richardson_lucy": fastdeblur.richardson_lucy}


def section(doc, title):
    match = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", doc, re.M | re.S)
    return match.group(1) if match else ""


def documented(doc):
    """Names in the Parameters section: "a, b : type" lines and "a, b" lines; prose has spaces elsewhere."""
    names = set()
    for line in section(doc, "Parameters").splitlines():
        if match := re.fullmatch(r"(\w+(?:, \w+)*)(?: : .*)?", line):
            names |= set(match.group(1).split(", "))
    return names


@pytest.mark.parametrize("name", CALLABLES)
def test_every_parameter_is_documented_and_nothing_else(name):
    function = CALLABLES[name]
    assert documented(inspect.getdoc(function)) == set(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", CALLABLES)
def test_raises(name):
    assert "InvalidArgument" in section(inspect.getdoc(CALLABLES[name]), "Raises")


@pytest.mark.parametrize("name", METHODS)
def test_methods_say_shapes_units_result_and_source(name):
    doc = inspect.getdoc(METHODS[name])
    parameters = section(doc, "Parameters")
    assert "(..., H, W)" in parameters
    assert "linear light" in parameters
    assert "shape // 2" in parameters
    for boundary in ("reflect", "edge", "zero", "periodic"):
        assert f'"{boundary}"' in parameters
    returns = section(doc, "Returns")
    assert "float64" in returns
    assert "float32" in returns
    assert "unit" in returns
    assert re.search(r"doi:10\.\d{4,}/\S+", section(doc, "References"))
    for error in ("InvalidArgument", "Unsupported", "OutOfMemory"):
        assert error in section(doc, "Raises")


@pytest.mark.parametrize("name", fastdeblur.__all__)
def test_every_public_name_has_a_docstring(name):
    assert inspect.getdoc(getattr(fastdeblur, name)) or name == "__version__"


@pytest.mark.parametrize("kind", [fastdeblur.Deconvolver, fastdeblur.Iteration, nets.Model, nets.Summary])
def test_every_public_member_has_a_docstring(kind):
    for name, member in inspect.getmembers(kind):
        if not name.startswith("_") and (callable(member) or isinstance(member, property)):
            assert inspect.getdoc(member), name


def test_signatures_are_the_published_ones():
    """What scripts rely on: names, order, defaults."""
    text = {name: str(inspect.signature(f, eval_str=False)) for name, f in FUNCTIONS.items()}
    plain = {
        name: re.sub(r": [^=,)]*(\[[^\]]*\][^=,)]*)*", "", s.partition(" ->")[0]).replace(" ", "")
        for name, s in text.items()
    }
    assert plain["wiener"] == (
        "(image,psf,balance,*,reg='laplacian',boundary='edge',channel_axis=None,out=None,n_threads=0,"
        "backend='auto',device=None)"
    )
    assert plain["richardson_lucy"] == (
        "(image,psf,num_iter=30,*,boundary='unknown',acceleration=None,background=0.0,weights=None,init=None,tol=None,"
        "callback=None,channel_axis=None,out=None,n_threads=0,backend='auto',device=None)"
    )


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", fastdeblur.__version__)
