"""PSFs at the ends of what float64 holds: a clear error or a right answer, never NaN, and in no endless time."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from fastdeblur import psf
from fastdeblur.errors import InvalidArgument, OutOfMemory

BACKENDS = ("auto", "numpy")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("radius", "blades"), [(1e155, 6), (1e300, 5)])
def test_a_polygon_too_large_for_its_area_is_refused(radius, blades, backend):
    with pytest.raises(OutOfMemory, match="radius"):
        psf.defocus(radius, blades=blades, shape=(5, 5), backend=backend)


HUGE = np.full((4, 4), 1e308)
REFUSED = {
    "combine, overflow": (lambda: psf.combine(HUGE), r"psfs\[0\]: expected a positive, finite sum"),
    "combine, cancelled": (lambda: psf.combine([[1e300, -1e300, 1e-10]]), r"psfs\[0\]: expected a"),
    "combine, almost cancelled": (lambda: psf.combine([[1e9, -1e9, 1.0]]), r"psfs\[0\]: .* cancel"),
    "crop_energy": (lambda: psf.crop_energy([1e9, -1e9, 1.0]), "psf: .* cancel"),
    "crop_energy, extreme": (lambda: psf.crop_energy([1e300, -1e300, 1e-200]), "psf: expected a"),
    "edgetaper": (
        lambda: psf.edgetaper(np.full((16, 16), 1e308), np.ones((3, 3))),
        r"image: expected values within",
    ),
    "psf2otf": (lambda: psf.psf2otf(HUGE, (4, 4)), "psf: expected values within"),
    "otf2psf": (lambda: psf.otf2psf(HUGE), "otf: expected values within"),
    "otf2psf, imaginary": (lambda: psf.otf2psf(1j * HUGE), "otf: expected values within"),
    "airy, beyond the medium": (lambda: psf.airy(0.5, f_number=0.1, pixel_size=0.1), "f_number: expected"),
    "airy, index": (
        lambda: psf.airy(0.5, f_number=2, pixel_size=0.1, refractive_index=-3),
        "refractive_index: expected values > 0",
    ),
    "zernike, index": (
        lambda: psf.zernike({}, 0.5, f_number=2, pixel_size=0.1, refractive_index="abc"),
        "refractive_index: expected",
    ),
    "airy, no phase": (
        lambda: psf.airy(1e300, na=1e-10, pixel_size=1e-300, shape=(5, 5)),
        "pixel_size: expected at least",
    ),
    "airy, two units": (
        lambda: psf.airy(520, na=0.8, pixel_size=[500, 0.1], shape=(5, 5), truncation=0.5),
        r"pixel_size: expected at least a thousandth of wavelength / na \(0.65\), got 0.1: are they in one unit\?",
    ),
    "zernike, two units": (
        lambda: psf.zernike({}, 520, f_number=4, pixel_size=3.5, shape=(5, 5), truncation=0.5),
        r"pixel_size: expected at least a thousandth of 2 wavelength f_number \(4.16\), got 3.5: are they in one unit\?",
    ),
    "kolmogorov, none": (lambda: psf.kolmogorov(seeing=1e-300, pixel_scale=1e300), "seeing, pixel_scale:"),
    "kolmogorov, endless": (
        lambda: psf.kolmogorov(seeing=1e300, pixel_scale=1e-300),
        "seeing, pixel_scale:",
    ),
    "trajectory": (lambda: psf.trajectory([(0, 0), (5, 0)], [-1e308, 1e308]), "times: expected a duration"),
    "rolling_shutter, ragged": (
        lambda: psf.rolling_shutter([(0, 0), (9, 0)], rows=[[1], [1, 2]], row_time=0.1, exposure=0.1),
        "rows: expected",
    ),
    "rolling_shutter, too short": (
        lambda: psf.rolling_shutter([(0, 0), (9, 0)], rows=[1], row_time=0.5, exposure=1e-18),
        "exposure: expected one that the times' precision tells from none",
    ),
    "from_image": (
        lambda: psf.from_image(np.eye(5), background=np.array([1, 2])),
        "background: expected a finite number",
    ),
    "gaussian, cut off": (lambda: psf.gaussian((0.1, 1e14), angle=30, shape=(3, 3)), "shape: expected"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_computed_is_refused_by_name(name):
    call, message = REFUSED[name]
    with pytest.raises(InvalidArgument, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: psf.psf2otf(np.ones((3, 3)), (10**6, 10**6)),
        lambda: psf.from_image(np.eye(5), shape=(10**6, 10**6), background=0),
        lambda: psf.gaussian((1e308, 1.5e308), angle=33, shape=(3, 3)),
        lambda: psf.zernike({}, 0.5, na=0.8, pixel_size=0.1, shape=(10**6, 10**6)),
    ],
)
def test_what_does_not_fit_into_memory_is_refused(call):
    with pytest.raises(OutOfMemory):
        call()


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (
            lambda: psf.zernike({2: 1500}, 0.5, na=0.8, pixel_size=0.1, shape=(5, 5)),
            "coefficients: the nodes",
        ),
        (lambda: psf.airy(0.5, na=0.8, pixel_size=90, shape=(1, 4001)), "psf: the table"),
    ],
)
def test_what_a_psf_is_computed_from_asks_for_its_memory(monkeypatch, call, what):
    monkeypatch.setattr("fastdeblur._checks._available_memory", lambda: 1 << 28)
    with pytest.raises(OutOfMemory, match=what):
        call()


def test_a_batch_names_the_psf_that_cannot_be_normalised():
    with pytest.raises(InvalidArgument, match=r"psfs\[1\]: expected a positive, finite sum, got -1"):
        psf.combine(np.ones((2, 3)), [[1.0, 1.0, 1.0], [0.0, -1.0, 0.0]], ndim=1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_late_clock_loses_no_exposure(backend):
    options = {"rows": 3, "row_time": 0.1, "exposure": 1e-8, "backend": backend}
    late = psf.rolling_shutter([(0, 0), (9, 0)], [1.7e9, 1.7e9 + 1], **options)
    assert np.array_equal(late, psf.rolling_shutter([(0, 0), (9, 0)], [0, 1], **options))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("beta", [1e12, 1e16, 1e300])
def test_moffat_becomes_the_gaussian_of_its_width(beta, backend):
    wide = psf.moffat(4.0, beta, shape=(21, 21), backend=backend)
    limit = psf.gaussian(4.0 / (2 * math.sqrt(2 * math.log(2))), shape=(21, 21))
    assert np.abs(wide - limit).max() <= 1e-11


@pytest.mark.parametrize("backend", BACKENDS)
def test_moffat_far_smaller_than_a_pixel_is_an_impulse(backend):
    kernel = psf.moffat(alpha=1e-300, beta=3, shape=(5, 5), backend=backend)
    assert np.array_equal(kernel, psf.gaussian(0.0, shape=(5, 5)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("narrow", [1e-300, 1e-200, 1e-10, 0.01])
def test_a_turned_gaussian_within_a_pixel_is_an_impulse(narrow, backend):
    kernel = psf.gaussian((narrow, 2 * narrow), angle=33, shape=(3, 3), backend=backend)
    assert np.abs(kernel - psf.gaussian(0.0, shape=(3, 3))).max() < 1e-100


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("wide", [1e5, 1e6, 1e14])
def test_a_long_turned_gaussian_takes_no_longer_than_its_frame(wide, backend):
    begin = time.process_time()
    with pytest.raises(InvalidArgument, match="shape: expected to cut off at most"):
        psf.gaussian((0.1, wide), angle=1e-6, shape=(3, 3), backend=backend)
    assert time.process_time() - begin < 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_smear_is_cut_where_no_light_of_it_reaches_the_frame(backend):
    # 7.8 of 8.8 deviations on either side: the frame loses less than it may, and the cut nodes hold nothing of it.
    whole = psf.gaussian((0.5, 6.0), angle=20, shape=(301, 301), backend=backend)
    part = psf.gaussian((0.5, 6.0), angle=20, shape=(31, 41), backend=backend)
    inner = whole[135:166, 130:171]
    assert np.abs(part - inner / inner.sum()).max() <= 1e-15


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_shortest_exposure_is_an_impulse(backend):
    kernel = psf.camera_shake(size=21, exposure=1e-315, seed=0, source="point", backend=backend)
    assert kernel.sum() == 1
    assert kernel[10, 10] == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_coarse_pixels_cost_no_more_than_seconds(backend):
    begin = time.process_time()
    kernel = psf.airy(0.5, na=0.8, pixel_size=90, shape=(65, 65), backend=backend)
    assert kernel[32, 32] > 0.99
    assert time.process_time() - begin < 10
