"""What the generators of photography and optics refuse, each by the argument's name, before any work."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

from fastdeblur import psf
from fastdeblur.errors import InvalidArgument, OutOfMemory, Unsupported
from test_docstrings import documented, section

PATH = [(0.0, 0.0), (3.0, 1.0), (4.0, 4.0)]
SHUTTER = {"rows": 3, "row_time": 0.1, "exposure": 1.0}
LENS = {"wavelength": 0.5, "na": 0.8, "pixel_size": 0.1, "truncation": 0.2}


def trajectory(points=PATH, times=None, **k):
    return psf.trajectory(points, times, **k)


def rolling_shutter(points=PATH, times=None, **k):
    return psf.rolling_shutter(points, times, **{**SHUTTER, **k})


def airy(**k):
    return psf.airy(**{**LENS, **k})


def zernike(coefficients=None, **k):
    return psf.zernike({4: 0.1} if coefficients is None else coefficients, **{**LENS, **k})


def moffat(fwhm=3.0, beta=3.0, **k):
    return psf.moffat(fwhm, beta, **k)


def kolmogorov(r0=0.1, wavelength=5e-7, pixel_scale=0.5, **k):
    return psf.kolmogorov(r0, wavelength, pixel_scale=pixel_scale, **k)


def camera_shake(n=2, **k):
    return psf.camera_shake(n, **k)


def blades(radius=3.0, blades=5, **k):
    return psf.defocus(radius, blades=blades, **k)


def turned(sigma=(1.0, 2.0), angle=30.0, **k):
    return psf.gaussian(sigma, angle=angle, **k)


NOT_NUMBERS = [math.nan, math.inf, 1j, "5", None, [], [1.0, math.nan], [[1], [2, 3]], True]
NUMBERS = {
    (trajectory, "points"), (trajectory, "times"), (rolling_shutter, "points"), (rolling_shutter, "row_time"),
    (rolling_shutter, "exposure"), (camera_shake, "exposure"), (camera_shake, "anxiety"), (airy, "wavelength"),
    (airy, "pixel_size"), (airy, "refractive_index"), (airy, "obstruction"), (airy, "truncation"),
    (zernike, "wavelength"), (zernike, "obstruction"), (moffat, "beta"), (moffat, "truncation"),
    (kolmogorov, "pixel_scale"), (kolmogorov, "truncation"), (blades, "rotation"), (turned, "angle"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "name"), sorted(NUMBERS, key=str), ids=lambda v: getattr(v, "__name__", v))
def test_numbers_must_be_real_and_finite(call, name):
    for value in NOT_NUMBERS:
        if value is None and name in ("times", "first_row"):
            continue
        with pytest.raises(InvalidArgument, match=rf"^{name}: .*got ") as error:
            call(**{name: value})
        assert len(str(error.value)) < 220


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: trajectory([1, 2]), r"points: expected shape \(\.\.\., p, 2\), got \(2,\)"),
        (lambda: trajectory([[1, 2, 3]]), r"points: expected shape"),
        (lambda: trajectory([[0, 0], [2e6, 0]]), r"points: expected at most 1e\+06 pixels"),
        (lambda: trajectory(times=[0, 1]), r"times: expected shape \(\.\.\., 3\), one for each point, got \(2,\)"),
        (lambda: trajectory(times=3), r"times: expected shape"),
        (lambda: trajectory(times=[0, 2, 1]), r"times: expected times that never fall"),
        (lambda: trajectory(times=[1, 1, 1]), r"times: expected a path that takes time"),
        (lambda: trajectory(np.zeros((2, 4, 2)), np.ones((3, 4)).cumsum(1)), r"points, times: expected batches that"),
        (lambda: trajectory(source="square"), r"source: expected one of 'pixel', 'point', got 'square'"),
        (lambda: trajectory(centre=1), r"centre: expected True or False, got 1"),
        (lambda: trajectory(shape=(3, 3)), r"shape: expected to cut off at most 1% .* cuts off 0\.\d+ of 1"),
        (lambda: trajectory(centre=False, shape=(3, 3)), r"shape: expected to cut off at most 1%"),
        (lambda: rolling_shutter([[0, 0]]), r"points: expected one path \(p, 2\) of at least 2 points"),
        (lambda: rolling_shutter(np.zeros((2, 3, 2))), r"points: expected one path"),
        (lambda: rolling_shutter(rows=0), r"rows: expected an integer >= 1, got 0"),
        (lambda: rolling_shutter(rows=2.5), r"rows: expected an integer >= 1, got 2\.5"),
        (lambda: rolling_shutter(rows=[[1]]), r"rows: expected an integer or numbers \(n,\), got shape \(1, 1\)"),
        (lambda: rolling_shutter(row_time=-1), r"row_time: expected values that are finite and at least 0, got -1"),
        (lambda: rolling_shutter(row_time=[1, 2]), r"row_time: expected one number, got shape \(2,\)"),
        (lambda: rolling_shutter(exposure=0), r"exposure: expected a number > 0, got 0"),
        (lambda: rolling_shutter(rows=30), r"times: expected a path over all exposures, from 0 to 3\.9, got 0 to 2"),
        (lambda: rolling_shutter(first_row=-0.1), r"times: expected a path over all exposures, from -0\.1"),
        (lambda: rolling_shutter(rows=[-1]), r"times: expected a path over all exposures"),
        (lambda: rolling_shutter(shape=(1, 1)), r"shape: expected to cut off at most 1%"),
        (lambda: camera_shake(0), r"n: expected an integer >= 1, got 0"),
        (lambda: camera_shake(1.5), r"n: expected an integer >= 1, got 1\.5"),
        (lambda: camera_shake(size=0), r"size: expected an integer >= 1"),
        (lambda: camera_shake(size=(3, 3)), r"size: expected an integer >= 1"),
        (lambda: camera_shake(seed=-1), r"seed: expected an integer >= 0"),
        (lambda: camera_shake(seed="no"), r"seed: expected an integer >= 0"),
        (lambda: camera_shake(seed=0.5), r"seed: expected an integer >= 0"),
        (lambda: camera_shake(exposure=0), r"exposure: expected values in \(0, 1\], got 0\.0"),
        (lambda: camera_shake(exposure=[0.5, 1.1]), r"exposure: expected values in \(0, 1\], got 1\.1"),
        (lambda: camera_shake(anxiety=1.5), r"anxiety: expected values in \[0, 1\], got 1\.5"),
        (lambda: camera_shake(anxiety=-1), r"anxiety: expected values that are finite and at least 0"),
        (lambda: camera_shake(anxiety=[0, 0, 0]), r"n, exposure, anxiety: expected shapes that broadcast"),
        (lambda: camera_shake(length=30.1), r"length: expected at most 30 pixels for size 31, got 30\.1"),
        (lambda: camera_shake(length=-1), r"length: expected a finite number >= 0"),
        (lambda: camera_shake(steps=0), r"steps: expected an integer >= 1"),
        (lambda: camera_shake(steps=10**6), r"steps: expected at most 100000"),
        (lambda: camera_shake(source=""), r"source: expected one of"),
        (lambda: airy(wavelength=0), r"wavelength: expected values > 0, got 0"),
        (lambda: airy(wavelength=[0.5, -1]), r"wavelength: expected values > 0, got -1"),
        (lambda: airy(na=1.2), r"na: expected at most the refractive index 1\.0, got 1\.2"),
        (lambda: airy(na=0), r"na: expected values > 0, got 0"),
        (lambda: airy(na=None), r"na, f_number: expected one of the two, got neither"),
        (lambda: airy(f_number=4), r"na, f_number: expected one of the two, got both"),
        (lambda: airy(na=None, f_number=-4), r"f_number: expected values > 0"),
        (lambda: airy(pixel_size=-0.1), r"pixel_size: expected values > 0"),
        (lambda: airy(pixel_size=1000), r"pixel_size: expected at most 318 wavelength / \(2 NA\)"),
        (lambda: airy(refractive_index=0), r"refractive_index: expected values > 0"),
        (lambda: airy(obstruction=1), r"obstruction: expected values in \[0, 1\), got 1"),
        (lambda: airy(obstruction=-0.1), r"obstruction: expected values that are finite and at least 0"),
        (lambda: airy(truncation=0), r"truncation: expected a number in \(0, 0\.5\], got 0"),
        (lambda: airy(truncation=0.6), r"truncation: expected a number in"),
        (lambda: airy(truncation=[0.1]), r"truncation: expected a number in"),
        (lambda: airy(wavelength=[1, 2], na=[0.1, 0.2, 0.3]), r"wavelength, .*: expected shapes that broadcast"),
        (lambda: airy(na=[0.1, 0.2], refractive_index=[1, 1, 1]), r".*: expected shapes that broadcast"),
        (lambda: airy(shape=(3, 3)), r"shape: expected to cut off at most 20%"),
        (lambda: zernike(3.0), r"coefficients: expected a mapping .*got 3\.0"),
        (lambda: zernike({0: 1}), r"coefficients: Noll's index: expected an integer >= 1, got 0"),
        (lambda: zernike({4.0: 1}), r"coefficients: Noll's index: expected an integer >= 1"),
        (lambda: zernike({2000: 1}), r"coefficients: expected Noll's index to be at most 1000, got 2000"),
        (lambda: zernike({4: math.nan}), r"coefficients\[4\]: expected values that are finite"),
        (lambda: zernike([0, "x"]), r"coefficients\[2\]: expected a real number"),
        (lambda: zernike({4: [1, 2], 5: [1, 2, 3]}), r".*coefficients\[5\]: expected shapes that broadcast"),
        (lambda: zernike({4: 1e4}, shape=(9, 9)), r"coefficients: expected a phase below 20000 radians"),
        (lambda: zernike(na=1.5), r"na: expected at most the refractive index"),
        (lambda: moffat(0), r"fwhm: expected values > 0, got 0"),
        (lambda: moffat(beta=1), r"beta: expected values > 1, got 1"),
        (lambda: moffat(None), r"fwhm, alpha: expected one of the two, got neither"),
        (lambda: moffat(3, alpha=3), r"fwhm, alpha: expected one of the two, got both"),
        (lambda: moffat(None, alpha=-1), r"alpha: expected values > 0"),
        (lambda: moffat([1, 2], [3, 4, 5]), r"fwhm, beta: expected shapes that broadcast"),
        (lambda: moffat(shape=(3, 3)), r"shape: expected to cut off at most 1% .*\(fwhm, beta\) = \[3\., 3\.\]"),
        (lambda: kolmogorov(None), r"r0, wavelength, seeing: expected r0 and wavelength, or seeing, got wavelength"),
        (lambda: kolmogorov(None, None), r"r0, wavelength, seeing: .*got none"),
        (lambda: kolmogorov(seeing=1), r"r0, wavelength, seeing: .*got r0 and wavelength and seeing"),
        (lambda: kolmogorov(-1), r"r0: expected values > 0"),
        (lambda: kolmogorov(pixel_scale=0), r"pixel_scale: expected values > 0"),
        (lambda: blades(blades=2), r"blades: expected an integer >= 3, got 2"),
        (lambda: blades(blades=5.0), r"blades: expected an integer >= 3"),
        (lambda: blades(blades=1001), r"blades: expected at most 1000"),
        (lambda: blades(blades=None, rotation=10), r"rotation: has a meaning only with blades, got 10"),
        (lambda: blades(-1), r"radius: expected values that are finite and at least 0"),
        (lambda: blades([1, 2], rotation=[1, 2, 3]), r"radius, rotation: expected shapes that broadcast"),
        (lambda: blades(shape=(3, 3)), r"shape: expected to cut off at most 1%"),
        (lambda: turned(2.0), r"angle: has a meaning only for sigma = \(sigma_y, sigma_x\), got 30"),
        (lambda: turned((1, 2, 3)), r"angle: has a meaning only for"),
        (lambda: turned(shape=(3, 3)), r"shape: expected to cut off at most 1% .*\(sigma_y, sigma_x, angle\)"),
        (lambda: turned((1, [1, 2]), angle=[1, 2, 3]), r"sigma\[0\], sigma\[1\], angle: expected shapes that"),
        (lambda: psf.combine(), r"psfs: expected at least one PSF, got none"),
        (lambda: psf.combine(np.ones((3, 3)), np.ones(3)), r"psfs: expected one number of axes, 1 to 3, got 2, 1"),
        (lambda: psf.combine(np.ones((3, 3)), np.zeros((3, 3))), r"psfs\[1\]: expected a positive, finite sum, got 0"),
        (lambda: psf.combine([[1, math.nan]]), r"psfs\[0\]: expected finite values"),
        (lambda: psf.combine(np.ones((0, 3))), r"psfs\[0\]: expected at least one pixel"),
        (lambda: psf.combine(np.ones(3), ndim=2), r"psfs\[0\]: expected at least 2 axes"),
        (lambda: psf.combine(np.ones(3), ndim=4), r"ndim: expected 1, 2 or 3"),
        (lambda: psf.combine(np.ones((2, 3)), np.ones((3, 3)), ndim=1), r"psfs: expected batches that broadcast"),
        (lambda: psf.combine(np.ones(3), dtype=int), r"dtype: expected float32 or float64"),
    ],
)  # fmt: skip
def test_refused(call, says):
    with pytest.raises(InvalidArgument, match=f"^{says}"):
        call()


CALLS = [trajectory, rolling_shutter, camera_shake, airy, zernike, moffat, kolmogorov, blades, turned]


@pytest.mark.parametrize("call", CALLS)
def test_options_are_checked(call):
    for dtype in (int, np.float16, "no such type", None):
        with pytest.raises(InvalidArgument, match=r"^dtype: expected float32 or float64, got "):
            call(dtype=dtype)
    for backend in ("numba", "", None, 1):
        with pytest.raises(InvalidArgument, match=r"^backend: expected .*got "):
            call(backend=backend)
    for n_threads in (-1, 1.5, "2", None, True):
        with pytest.raises(InvalidArgument, match=r"^n_threads: expected .*got "):
            call(n_threads=n_threads)
    if call is not camera_shake:
        for shape in (5, (5,), (5, 5.0), (5, 0)):
            with pytest.raises(InvalidArgument, match=r"^(shape(\[\d\])?|sigma): expected .*got "):
                call(shape=shape)


@pytest.mark.parametrize(
    "call",
    [
        lambda: psf.moffat(1e9, 1.5),
        lambda: psf.airy(0.5, na=0.8, pixel_size=1e-3, truncation=1e-6),
        lambda: psf.zernike({}, 0.5, na=0.8, pixel_size=1e-3, truncation=1e-6),
        lambda: psf.kolmogorov(seeing=1e9, pixel_scale=1e-3),
        lambda: psf.camera_shake(10**9),
        lambda: psf.defocus(1e9, blades=5),
        lambda: psf.gaussian((1e9, 1), angle=45),
        lambda: psf.trajectory([(-1e6, -1e6), (1e6, 1e6)]),
    ],
)
def test_memory_that_cannot_be_had(call):
    with pytest.raises(OutOfMemory, match=r"^psf: \d+ kernel\(s\) of shape \("):
        call()


@pytest.mark.parametrize("call", CALLS)
def test_native_by_name_never_falls_back(call, monkeypatch):
    from fastdeblur import _isa

    def missing():
        raise ImportError("no core here")

    monkeypatch.setattr(_isa, "load_core", missing)
    with pytest.raises(Unsupported, match=r"^backend: 'native' cannot be used: no core here"):
        call(backend="native")


def test_the_core_refuses_arrays_that_do_not_fit(native):
    from fastdeblur._isa import load_core

    core = load_core()
    out = np.empty((2, 5, 5))
    path, times = np.zeros((1, 3, 2)), np.zeros((1, 3))
    which, two = np.zeros(2, np.int64), np.zeros((2, 2))
    with pytest.raises(ValueError, match=r"^paths: expected shape \(1, 3, 2\)"):
        core.psf_paths(path[:, :2], times, which, two, two, True, out, 1)
    with pytest.raises(ValueError, match=r"^which: expected indices of paths"):
        core.psf_paths(path, times, which + 1, two, two, True, out, 1)
    with pytest.raises(ValueError, match=r"^windows: expected shape \(2, 2\)"):
        core.psf_paths(path, times, which, two[:1], two, True, out, 1)
    with pytest.raises(ValueError, match=r"^exposures: "):
        core.psf_camera_shake(
            (1, 1), (1, 1), np.ones(2), np.ones(2) * 2, 9, 4.0, (1.0, 1.0, 1.0), True, out, 1
        )
    with pytest.raises(ValueError, match=r"^weights: expected shape \(3\)"):
        core.psf_moffat(1.0, 2.0, np.ones(3), np.ones(2), out[0], 1)
    with pytest.raises(ValueError, match=r"^table: expected at least 8 values"):
        core.psf_radial(np.ones(7), 1.0, 1.0, False, np.ones(3), np.ones(3), out[0], 1)
    with pytest.raises(ValueError, match=r"^rotations: expected shape \(2\)"):
        core.psf_polygon(np.ones(2), np.ones(1), 5, out, 1)
    with pytest.raises(ValueError, match=r"^imag: expected shape \(2, 3\)"):
        core.psf_pupil_image(
            np.ones(2),
            np.ones((2, 3)),
            np.ones((2, 3)),
            np.ones((2, 2)),
            1.0,
            np.ones(2),
            np.ones(2),
            out[0],
            1,
        )
    with pytest.raises(ValueError, match=r"^out: expected 2-D"):
        core.psf_turned_gaussian(1.0, 1.0, 1.0, 0.0, 1.0, 3, out, 1)
    with pytest.raises(TypeError):  # a converted copy would be filled and lost
        core.psf_moffat(1.0, 2.0, np.ones(3), np.ones(3), np.empty((5, 5), np.float32), 1)


@pytest.mark.parametrize(
    "function",
    [psf.trajectory, psf.rolling_shutter, psf.camera_shake, psf.airy, psf.zernike, psf.moffat, psf.kolmogorov,
     psf.combine, psf.defocus, psf.gaussian],
)  # fmt: skip
def test_every_parameter_is_documented_and_nothing_else(function):
    doc = inspect.getdoc(function)
    assert documented(doc) == set(inspect.signature(function).parameters)
    assert "InvalidArgument" in section(doc, "Raises")
    assert "shape // 2" in doc or "size // 2" in doc
