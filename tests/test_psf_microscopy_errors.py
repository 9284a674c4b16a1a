"""Every argument of the microscopes' PSFs has its own error."""

from __future__ import annotations

import numpy as np
import pytest

from fastdeblur import psf
from fastdeblur.errors import InvalidArgument, OutOfMemory, Unsupported

GIBSON_LANNI = {
    "shape": (3, 5, 5),
    "wavelength": 0.5,
    "na": 1.2,
    "ns": 1.33,
    "pixel_size": 0.1,
    "z_step": 0.2,
}
BORN_WOLF = {
    "shape": (3, 5, 5), "wavelength": 0.5, "na": 1.2, "refractive_index": 1.33, "pixel_size": 0.1, "z_step": 0.2,
}  # fmt: skip


def make(function, **changes):
    base = GIBSON_LANNI if function is psf.gibson_lanni else BORN_WOLF
    return function(**base | changes)


BOTH = pytest.mark.parametrize("function", [psf.gibson_lanni, psf.born_wolf])
NUMBERS = ("wavelength", "na", "pixel_size", "z_step", "excitation")


@BOTH
@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [0, -0.5, np.nan, np.inf, "1", 1j, [0.5]])
def test_lengths_and_aperture_are_positive(function, name, value):
    with pytest.raises(InvalidArgument, match=rf"^{name}: expected a finite number .*got "):
        make(function, **{name: value})


@pytest.mark.parametrize("name", ["ni", "ni0", "ng", "ng0", "ns"])
@pytest.mark.parametrize("value", [0.9, 0, -1.5, np.nan, "1.5"])
def test_indices_are_at_least_that_of_vacuum(name, value):
    with pytest.raises(InvalidArgument, match=rf"^{name}: expected a finite number >= 1, got "):
        make(psf.gibson_lanni, **{name: value})


@pytest.mark.parametrize("name", ["ni", "ni0", "ng", "ng0"])
def test_light_of_the_aperture_must_pass_the_layers(name):
    with pytest.raises(
        InvalidArgument, match=rf"^{name}: expected a refractive index of at least .* na=1.45, got 1.33"
    ):
        make(psf.gibson_lanni, na=1.45, **{name: 1.33})
    with pytest.raises(InvalidArgument, match=r"^refractive_index: .* na=1.45, got 1.33"):
        make(psf.born_wolf, na=1.45, refractive_index=1.33)


def test_an_aperture_above_the_sample_s_index_is_cut():
    assert np.allclose(make(psf.gibson_lanni, na=1.45), make(psf.gibson_lanni, na=1.33), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["depth", "tg", "tg0"])
def test_thicknesses_are_not_negative(name):
    with pytest.raises(InvalidArgument, match=rf"^{name}: expected a finite number >= 0, got -1"):
        make(psf.gibson_lanni, **{name: -1})


def test_the_objective_stays_above_the_cover_slip():
    with pytest.raises(InvalidArgument, match=r"^ti0: expected a finite number > 0, got 0"):
        make(psf.gibson_lanni, ti0=0)
    with pytest.raises(
        InvalidArgument, match=r"^ti0: expected a working distance .* 150.2 micrometres, got 150"
    ):
        make(psf.gibson_lanni, depth=150, ti0=150)


def test_lengths_in_the_wrong_unit():
    for name in ("tg", "tg0", "ti0"):
        with pytest.raises(InvalidArgument, match=rf"^{name}: expected at most 100000 micrometres, got 1.7e"):
            make(psf.gibson_lanni, **{name: 1.7e8})
    with pytest.raises(
        InvalidArgument, match=r"^z_step: expected a stack of at most 1e\+06 wavelengths, got 200000.0 with 3"
    ):
        make(psf.born_wolf, z_step=2e5)


def test_extreme_but_possible(backend_of_psf):
    """Strong aberrations and absurd scales end in a PSF or in a named error."""
    kernel = make(psf.gibson_lanni, depth=140.0, tg=1000.0, tg0=170.0, backend=backend_of_psf)
    assert abs(kernel.sum() - 1) <= 1e-12
    width, depth = 0.5 / 1.2, 0.5 / (1.33 - np.sqrt(1.33**2 - 1.2**2))
    for extreme in (
        {"pixel_size": 1.001e-3 * width},
        {"pixel_size": 19.99 * width},
        {"z_step": 1.001e-3 * depth},
        {"z_step": 99.9 * depth},
        {"shape": (1, 5, 5), "z_step": 1e-300},  # which it does not need
        {"wavelength": 1e12, "pixel_size": 1e11, "z_step": 1e12},
        {"na": 1e-9, "pixel_size": 1e8, "z_step": 1e5, "shape": (1, 5, 5)},
    ):
        kernel = make(psf.born_wolf, backend=backend_of_psf, **extreme)
        assert abs(kernel.sum() - 1) <= 1e-12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wavelength": 500}, r"pixel_size: expected at least a thousandth of wavelength / na (0.4167 micrometres), got 0.1"),
        ({"wavelength": 500, "shape": (1, 5, 5)}, "pixel_size: expected at least a thousandth of wavelength / na (0.4167"),
        ({"wavelength": 500, "pixel_size": 100}, "z_step: expected at least a thousandth of wavelength / (n - sqrt("),
        ({"excitation": 488}, "pixel_size: expected at least a thousandth of excitation / na (0.4067 micrometres), got 0.1"),
        ({"excitation": 4.88e-7}, "pixel_size: expected at most 20 excitation / na (8.133e-06 micrometres), got 0.1"),
        ({"pixel_size": 1e-4}, "pixel_size: expected at least a thousandth of wavelength / na (0.0004167 micrometres), got 0.0001"),
        ({"pixel_size": 100}, "pixel_size: expected at most 20 wavelength / na (8.333 micrometres), got 100"),
        ({"z_step": 2e-4}, "z_step: expected at least a thousandth of wavelength / (n - sqrt(n^2 - na^2)) (0.000"),
        ({"z_step": 130}, "z_step: expected at most 100 wavelength / (n - sqrt(n^2 - na^2)) ("),
        ({"shape": (1, 5, 5), "axial_samples": 2, "z_step": 200}, "z_step: expected at most 100 wavelength / ("),
        ({"na": 1e-200}, "pixel_size: expected at least a thousandth of wavelength / na ("),
    ],
)  # fmt: skip
@BOTH
def test_lengths_in_two_units(function, changes, message):
    with pytest.raises(InvalidArgument) as caught:
        make(function, **changes)
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith(": are they in one unit?")


@BOTH
def test_other_arguments(function):
    for shape in (5, (5, 5), (3, 5, 0), (3, 5.0, 5), "abc"):
        with pytest.raises(InvalidArgument, match=r"^shape(\[\d\])?: expected "):
            make(function, shape=shape)
    for samples in (0, 1.5, 65, None):
        with pytest.raises(InvalidArgument, match=r"^axial_samples: expected "):
            make(function, axial_samples=samples)
    for pinhole in (-1, 21, "1"):
        with pytest.raises(InvalidArgument, match=r"^pinhole: expected "):
            make(function, excitation=0.45, pinhole=pinhole)
    with pytest.raises(InvalidArgument, match=r"^pinhole: expected 0 for a widefield PSF"):
        make(function, pinhole=1.0)
    with pytest.raises(InvalidArgument, match=r"^dtype: expected float32 or float64"):
        make(function, dtype=int)
    with pytest.raises(InvalidArgument, match=r"^backend: expected "):
        make(function, backend="numba")
    with pytest.raises(InvalidArgument, match=r"^n_threads: expected "):
        make(function, n_threads=-1)
    with pytest.raises(OutOfMemory, match=r"^psf: "):
        make(function, shape=(101, 10**6, 10**6))


def test_named_choices():
    with pytest.raises(InvalidArgument, match=r"^defocus: expected one of 'exact', 'paraxial'"):
        make(psf.born_wolf, defocus="debye")
    with pytest.raises(InvalidArgument, match=r"^focus: expected one of 'brightest', 'nominal'"):
        make(psf.gibson_lanni, focus="best")


@BOTH
def test_native_by_name_never_falls_back(function, monkeypatch):
    from fastdeblur import _isa

    def missing():
        raise ImportError("no core here")

    monkeypatch.setattr(_isa, "load_core", missing)
    with pytest.raises(Unsupported, match=r"^backend: 'native' cannot be used: no core here"):
        make(function, backend="native")
    assert make(function).shape == (3, 5, 5)


def test_the_core_refuses_arrays_that_do_not_fit(native):
    from fastdeblur._isa import load_core

    core, rule = load_core(), (np.zeros(2), np.ones(2))
    with pytest.raises(ValueError, match=r"^coefficients: expected the shape"):
        core.psf_pupil(True, np.ones(3), np.ones((3, 2, 4)), 0.1, np.ones((7, 5)), 1)
    with pytest.raises(ValueError, match=r"^out: expected \(n, planes\)"):
        core.psf_pupil(True, np.ones(3), np.ones((3, 2, 4)), 0.1, np.ones((0, 4)), 1)
    with pytest.raises(ValueError, match=r"^profile: expected \(n, d\)"):
        core.psf_revolve(np.ones((5, 3)), 0.1, *rule, np.empty((3, 9, 9)), 1)
    with pytest.raises(ValueError, match=r"^weights: expected one"):
        core.psf_revolve(np.ones((500, 3)), 0.1, np.zeros(2), np.ones(3), np.empty((3, 9, 9)), 1)
    with pytest.raises(ValueError, match=r"^out: expected \(d, h, w\)"):
        core.psf_revolve(np.ones((500, 3)), 0.1, *rule, np.empty((9, 9)), 1)
