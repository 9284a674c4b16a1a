"""PSFs of diffraction and of the air against SciPy's Bessel functions, quadrature and Fourier integrals."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdeblur import psf
from fastdeblur.psf import _noll
from fastdeblur.psf._quadrature import gauss_legendre

kolmogorov = importlib.import_module("fastdeblur.psf.kolmogorov")  # the package's name is the function's

few = settings(max_examples=10)


def relative(kernel, oracle):
    return np.linalg.norm(kernel - oracle) / np.linalg.norm(oracle)


def pixel_integrals(profile, size, count=24):
    """Gauss-Legendre in each pixel of a round profile, over the frame's sum."""
    places, weights = np.polynomial.legendre.leggauss(count)
    x = np.add.outer(np.arange(size) - size // 2, places / 2)
    r = np.hypot(x[:, None, :, None], x[None, :, None, :])
    kernel = np.einsum("yxqp,q,p->yx", profile(r), weights, weights)
    return kernel / kernel.sum()


def airy_profile(unit, obstruction):
    from scipy.special import j1

    def profile(r):
        v = np.maximum(unit * r, 1e-9)
        amplitude = j1(v) / v
        if obstruction:
            amplitude = amplitude - obstruction * j1(obstruction * v) / v
        return amplitude**2

    return profile


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("unit", "obstruction"), [(0.3, 0), (1.5, 0), (1.5, 0.3), (2.5, 0.6), (6, 0), (20, 0.2)]
)
def test_airy_against_quadrature(backend_of_psf, unit, obstruction, dtype):
    kernel = psf.airy(
        0.5, f_number=4, pixel_size=unit * 2 / math.pi, obstruction=obstruction, truncation=0.5, shape=(9, 9) if unit > 2
        else (25, 25), dtype=dtype, backend=backend_of_psf,
    )  # fmt: skip
    count = 24 + int(2 * unit)
    oracle = pixel_integrals(airy_profile(unit, obstruction), kernel.shape[0], count)
    assert relative(kernel, oracle) <= (1e-10 if dtype == np.float64 else 1e-6)


def test_airy_s_light_beyond_a_square_is_the_closed_form(backend_of_psf):
    """A frame cuts off what Rayleigh's J0^2 + J1^2 says of circles inside and around it."""
    from scipy.special import j0, j1

    def beyond(v):
        return j0(v) ** 2 + j1(v) ** 2

    with pytest.raises(psf._common.InvalidArgument, match=r"cuts off 0\.\d+ of 1 at \(wavelength,") as error:
        psf.airy(0.5, f_number=4, pixel_size=1, truncation=1e-6, shape=(15, 15), backend=backend_of_psf)
    lost = float(str(error.value).split("which cuts off ")[1].split(" of 1")[0])
    unit = math.pi / 2
    assert beyond(7.5 * math.sqrt(2) * unit) < lost < beyond(7.5 * unit)


def test_na_and_f_number_are_one_thing():
    by_na = psf.airy(0.5, na=0.125, pixel_size=1.0)
    assert np.array_equal(by_na, psf.airy(0.5, f_number=4, pixel_size=1.0))
    assert np.allclose(by_na, psf.airy(500.0, na=0.125, pixel_size=1000.0), rtol=0, atol=1e-15)  # any unit


def test_zernike_without_terms_is_airy(backend_of_psf):
    kwargs = {
        "f_number": 4,
        "pixel_size": 1.0,
        "truncation": 0.3,
        "shape": (21, 24),
        "backend": backend_of_psf,
    }
    for obstruction in (0.0, 0.35):
        plain = psf.zernike({}, 0.5, obstruction=obstruction, **kwargs)
        assert relative(plain, psf.airy(0.5, obstruction=obstruction, **kwargs)) <= 1e-8
        assert np.allclose(
            plain, psf.zernike({1: 0.7}, 0.5, obstruction=obstruction, **kwargs), rtol=0, atol=1e-12
        )


def test_zernike_against_a_polar_fourier_integral(backend_of_psf):
    """The pupil on rings instead of columns, the pixels on other nodes."""
    terms, unit, e, size = {4: 0.1, 6: -0.08, 7: 0.15, 11: 0.07, 19: 0.03}, 1.3, 0.25, 7
    kernel = psf.zernike(
        terms, 1.0, f_number=1, pixel_size=unit / math.pi, obstruction=e, truncation=0.5, shape=(size, size),
        backend=backend_of_psf,
    )  # fmt: skip
    radial, weight = np.polynomial.legendre.leggauss(30)
    radius = (e + 1) / 2 + (1 - e) / 2 * radial
    theta = 2 * np.pi * np.arange(64) / 64
    x, y = np.outer(radius, np.cos(theta)), np.outer(radius, np.sin(theta))
    r = np.hypot(x, y)
    wave = (  # Noll's table
        terms[4] * np.sqrt(3) * (2 * r**2 - 1)
        + terms[6] * np.sqrt(6) * (x**2 - y**2)
        + terms[7] * np.sqrt(8) * (3 * r**2 - 2) * y
        + terms[11] * np.sqrt(5) * (6 * r**4 - 6 * r**2 + 1)
        + terms[19] * np.sqrt(12) * (5 * r**5 - 4 * r**3) / r**3 * (3 * x**2 * y - y**3)
    )
    pupil = (np.exp(2j * np.pi * wave) * (radius * weight)[:, None]).ravel()
    places, weights = np.polynomial.legendre.leggauss(9)
    at = np.add.outer(np.arange(size) - size // 2, places / 2).ravel()
    across, up = np.exp(-1j * unit * np.outer(at, x.ravel())), np.exp(1j * unit * np.outer(at, y.ravel()))
    light = np.abs((up * pupil) @ across.T) ** 2
    oracle = np.einsum("yqxp,q,p->yx", light.reshape(size, 9, size, 9), weights, weights)
    assert relative(kernel, oracle / oracle.sum()) <= 1e-6


def test_tilt_moves_the_image_right_and_up(backend_of_psf):
    kwargs = {"f_number": 4, "pixel_size": 1.0, "truncation": 0.3, "backend": backend_of_psf}
    unit = math.pi / 2
    plain = psf.zernike({}, 0.5, shape=(41, 41), **kwargs)
    moved = psf.zernike(
        {2: 3 * unit / (4 * math.pi), 3: 2 * unit / (4 * math.pi)}, 0.5, shape=(41, 41), **kwargs
    )
    part, other = plain[12:29, 12:29], moved[10:27, 15:32]  # 3 pixels to the right, 2 up
    assert relative(part / part.sum(), other / other.sum()) <= 1e-8


def test_zernike_s_default_shape_is_the_smallest(backend_of_psf):
    kwargs = {"f_number": 4, "pixel_size": 1.0, "backend": backend_of_psf}
    kernel = psf.zernike({4: 0.3}, 0.5, truncation=0.05, **kwargs)
    inner = tuple(n - 2 for n in kernel.shape)
    assert psf.zernike({4: 0.3}, 0.5, truncation=0.05, shape=kernel.shape, **kwargs).shape == kernel.shape
    with pytest.raises(psf._common.InvalidArgument, match=r"^shape: expected to cut off at most 5%"):
        psf.zernike({4: 0.3}, 0.5, truncation=0.05, shape=inner, **kwargs)


@pytest.mark.parametrize("count", [1, 2, 3, 20, 71, 300])
def test_gauss_legendre_nodes_are_numpy_s(count):
    places, weights = gauss_legendre(count)
    expected = np.polynomial.legendre.leggauss(count)
    assert np.abs(places - expected[0]).max() <= 1e-14
    assert np.abs(weights - expected[1]).max() <= 1e-13


def test_noll_s_polynomials():
    assert [_noll.degrees(j) for j in range(1, 12)] == [
        (0, 0), (1, 1), (1, -1), (2, 0), (2, -2), (2, 2), (3, -1), (3, 1), (3, -3), (3, 3), (4, 0)
    ]  # fmt: skip
    # Orthonormal on the disk: rings of Gauss-Legendre nodes in r^2, even angles.
    place, weight = np.polynomial.legendre.leggauss(40)
    radius = np.sqrt((place + 1) / 2)
    theta = 2 * np.pi * (np.arange(80) + 0.5) / 80
    x, y = np.outer(radius, np.cos(theta)), np.outer(radius, np.sin(theta))
    indices = [*range(1, 67), 231, 400]
    values = np.stack([_noll.polynomial(j, x, y) for j in indices])
    gram = np.einsum("ipq,jpq,p->ij", values, values, weight / 2 / 80)
    assert np.abs(gram - np.eye(len(indices))).max() <= 1e-10


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("fwhm", "beta"), [(0.6, 2.5), (3, 4.765), (3, 1.5), (2, 20)])
def test_moffat_against_quadrature(backend_of_psf, fwhm, beta, dtype):
    kernel = psf.moffat(fwhm, beta, shape=(9, 9), truncation=0.5, dtype=dtype, backend=backend_of_psf)
    alpha = fwhm / (2 * math.sqrt(2 ** (1 / beta) - 1))
    oracle = pixel_integrals(lambda r: (1 + (r / alpha) ** 2) ** -beta, 9, 60)
    assert relative(kernel, oracle) <= (1e-10 if dtype == np.float64 else 1e-6)
    same = psf.moffat(alpha=alpha, beta=beta, shape=(9, 9), truncation=0.5, backend=backend_of_psf)
    assert relative(kernel, same) <= 1e-6


@given(fwhm=st.floats(0.05, 8), beta=st.floats(1.6, 30))
@few
def test_moffat_is_a_psf_with_all_eight_symmetries(backend_of_psf, fwhm, beta):
    kernel = psf.moffat(
        fwhm, beta, truncation=0.2, backend=backend_of_psf, shape=(41, 41) if beta < 2 else None
    )
    assert kernel.min() >= 0
    assert abs(kernel.sum() - 1) <= 1e-12
    for image in (kernel[::-1], kernel[:, ::-1], kernel.T):
        assert np.array_equal(kernel, image)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_kolmogorov_against_its_transfer_function(backend_of_psf, dtype):
    from scipy.integrate import quad
    from scipy.special import j0

    scale, size, count = 1.7, 5, 8  # wavelength / r0 in pixels

    def profile(r):
        values, where = np.unique(np.round(r, 12), return_inverse=True)
        transfer = [
            quad(lambda f, v=v: math.exp(-kolmogorov.STRUCTURE * f ** (5 / 3)) * j0(2 * math.pi * f * v / scale) * f, 0, 4.5,
                 epsabs=1e-11, limit=400)[0] for v in values
        ]  # fmt: skip
        return np.array(transfer)[where].reshape(r.shape)

    oracle = pixel_integrals(profile, size, count)
    kernel = psf.kolmogorov(
        0.1, 0.1 * scale * math.pi / 648000, pixel_scale=1.0, shape=(size, size), truncation=0.5, dtype=dtype,
        backend=backend_of_psf,
    )  # fmt: skip
    assert relative(kernel, oracle) <= 2e-7


def test_kolmogorov_s_constants():
    from scipy.optimize import brentq
    from scipy.special import jv

    t, w = np.polynomial.legendre.leggauss(400)
    f = (t + 1) * 2.25

    def profile(rho):
        return float(
            np.sum(w * f * np.exp(-kolmogorov.STRUCTURE * f ** (5 / 3)) * jv(0, 2 * np.pi * f * rho))
        )

    half = brentq(lambda rho: profile(rho) - profile(0) / 2, 0.1, 1)
    assert pytest.approx(2 * half, rel=1e-6) == kolmogorov.FWHM
    assert pytest.approx(6.8839 / 2, rel=1e-5) == kolmogorov.STRUCTURE


def test_kolmogorov_s_table_meets_itself_between_its_two_ways():
    rho = np.array([12.0, 20.0, 30.0])
    assert np.allclose(kolmogorov._by_quadrature(rho), kolmogorov._by_series(rho), rtol=1e-9, atol=0)
    tail = kolmogorov.light_beyond().tail(1.0)
    assert np.allclose(
        tail(np.array([0.37, 3.3, 11.1])), kolmogorov._by_quadrature(np.array([0.37, 3.3, 11.1])), 1e-9
    )
    assert np.allclose(tail(np.array([41.7, 1e4])), kolmogorov._by_series(np.array([41.7, 1e4])), 1e-9)
    assert tail(np.array([1e9]))[0] == pytest.approx(kolmogorov._by_series(np.array([1e9]))[0], rel=1e-3)


def test_seeing_is_the_full_width_at_half_maximum():
    arcsecond = math.pi / 648000
    by_r0 = psf.kolmogorov(0.15, 5e-7, pixel_scale=0.3)
    by_seeing = psf.kolmogorov(seeing=kolmogorov.FWHM * 5e-7 / 0.15 / arcsecond, pixel_scale=0.3)
    assert np.allclose(by_r0, by_seeing, rtol=0, atol=1e-14)


CALLS = {
    "airy": lambda **k: psf.airy(
        [0.4, 0.6], na=0.7, pixel_size=[[0.2], [0.3]], obstruction=0.1, truncation=0.1, **k
    ),
    "zernike": lambda **k: psf.zernike(
        {4: [0, 0.2]}, [[0.4], [0.6]], na=0.7, pixel_size=0.2, truncation=0.1, **k
    ),
    "moffat": lambda **k: psf.moffat([2, 3], [[2.5], [4]], **k),
    "kolmogorov": lambda **k: psf.kolmogorov([0.1, 0.2], [[5e-7], [7e-7]], pixel_scale=0.5, **k),
}


@pytest.mark.parametrize("name", CALLS)
def test_batches_backends_and_threads(native, name):
    kernels = CALLS[name](backend="native", n_threads=1)
    assert kernels.shape[:2] == (2, 2)
    assert np.abs(kernels.sum((2, 3)) - 1).max() <= 1e-12
    offset = np.arange(kernels.shape[2]) - kernels.shape[2] // 2
    assert np.abs(kernels.sum(2) @ offset).max() <= 1e-6
    assert np.abs(kernels.sum(3) @ offset).max() <= 1e-6
    assert np.array_equal(CALLS[name](backend="native", n_threads=3), kernels)
    assert np.abs(CALLS[name](backend="numpy") - kernels).max() <= 1e-12
    single = CALLS[name](backend="native", dtype=np.float32)
    assert single.dtype == np.float32
    assert np.abs(single - kernels).max() <= 2e-7
    even = CALLS[name](backend="native", shape=(22, 25)) if name != "zernike" else None
    if even is not None:
        assert np.allclose(even[..., 1:, :], even[..., :0:-1, ::-1], rtol=0, atol=1e-15)
