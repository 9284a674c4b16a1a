"""Bessel functions, both texts, against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from fastdeblur.psf import _bessel

X = np.concatenate(
    [np.linspace(0, 60, 40_001), np.geomspace(60, 1e5, 10_001), [8.0, np.nextafter(8, 9), _bessel.FAR]]
)


def computed(backend):
    if backend == "numpy":
        return _bessel.j0_j1(X)
    from fastdeblur._isa import load_core

    j0, j1 = np.empty_like(X), np.empty_like(X)
    load_core().psf_bessel(X, j0, j1)
    return j0, j1


@pytest.mark.parametrize("which", ["numpy", "native"])
def test_against_scipy(which, request):
    if which == "native":
        request.getfixturevalue("native")
    for ours, oracle in zip(computed(which), (special.j0(X), special.j1(X)), strict=True):
        # Beyond 100 the rounding of x itself shows, in SciPy's values too.
        assert np.abs(ours - oracle)[X <= 100].max() <= 5e-15
        assert np.abs(ours - oracle).max() <= 1e-12


def test_shape_is_kept():
    zero, one = _bessel.j0_j1(np.array([[0.0, 1.0, 30.0]]))
    assert zero.shape == one.shape == (1, 3)
    assert zero[0, 0] == 1
    assert one[0, 0] == 0


def test_the_core_refuses_arrays_that_do_not_fit(native):
    from fastdeblur._isa import load_core

    with pytest.raises(ValueError, match=r"^j0, j1: expected the shape"):
        load_core().psf_bessel(np.ones(3), np.ones(3), np.ones(2))
