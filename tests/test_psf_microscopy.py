"""Microscopes' PSFs against Debye's and Kirchhoff's integrals by independent quadrature, and their laws."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import integrate, special

from fastdeblur import psf

WATER = {"wavelength": 0.52, "na": 1.2, "ns": 1.33, "pixel_size": 0.1, "z_step": 0.25}
AIR = {"wavelength": 0.52, "na": 0.8, "refractive_index": 1.0, "pixel_size": 0.15, "z_step": 0.4}


def amplitude(distance, phase, k, na):
    """The pupil's integral by Gauss-Legendre along the sine's root, with far more nodes than waves: (n,) complex."""
    x, w = np.polynomial.legendre.leggauss(700)
    u = (x + 1) / 2  # p = sqrt(1 - u^2) tames a root at the rim: p dp = -u du
    p = np.sqrt(1 - u * u)
    return special.j0(k * na * np.multiply.outer(distance, p)) @ (w / 2 * u * np.exp(1j * phase(p)))


def volume_by_quadrature(shape, pixel, intensity):
    """intensity(distance, slice) integrated over each pixel with 7 x 7 Gauss-Legendre nodes; sum 1."""
    d, h, w = shape
    x, weight = np.polynomial.legendre.leggauss(7)
    place = [(np.arange(n) - n // 2)[:, None] + x / 2 for n in (h, w)]
    distance = pixel * np.hypot(place[0][:, :, None, None], place[1][None, None])
    unique, inverse = np.unique(np.round(distance, 12), return_inverse=True)
    out = np.empty(shape)
    for z in range(d):
        values = intensity(unique, z)[inverse].reshape(distance.shape)
        out[z] = np.einsum("yixj,i,j->yx", values, weight, weight)
    return out / out.sum()


def gibson_lanni_phase(p, z, *, wavelength, na, ns, depth=0.0, ni=1.518, ni0=None, ti0=150.0, ng=1.5255, ng0=None,
                       tg=170.0, tg0=None, **_):  # fmt: skip
    """The optical path, term by term as Gibson and Lanni have it."""
    ni0, ng0, tg0 = ni0 or ni, ng0 or ng, tg0 or tg
    s = min(na, ns) * p

    def root(n):
        return np.sqrt(np.maximum(n * n - s * s, 0))

    path = depth * root(ns) + (ti0 - depth - z) * root(ni) - ti0 * root(ni0) + tg * root(ng) - tg0 * root(ng0)
    return 2 * np.pi / wavelength * path


GIBSON_LANNI = {
    "matched": WATER | {"ns": 1.518},
    "water": WATER | {"depth": 3.0},
    "cover slip": WATER | {"depth": 1.0, "tg": 175.0, "tg0": 170.0, "ng": 1.523, "ng0": 1.5255},
    "oil": WATER | {"ni": 1.515, "ni0": 1.518, "ti0": 140.0},
    "strong aberration": WATER | {"depth": 90.0, "tg": 300.0, "tg0": 170.0},
    "aperture beyond the sample's index": WATER | {"na": 1.45, "depth": 2.0},
}


KIRCHHOFF_SHAPE = (4, 10, 11)


@cache
def kirchhoff(name):
    k = GIBSON_LANNI[name]
    na = min(k["na"], k["ns"])

    def intensity(distance, z):
        return (
            abs(
                amplitude(
                    distance,
                    lambda p: gibson_lanni_phase(p, (z - KIRCHHOFF_SHAPE[0] // 2) * 0.25, **k),
                    2 * np.pi / 0.52,
                    na,
                )
            )
            ** 2
        )

    return volume_by_quadrature(KIRCHHOFF_SHAPE, 0.1, intensity)


@pytest.mark.parametrize("name", GIBSON_LANNI)
def test_gibson_lanni_against_kirchhoffs_integral(backend_of_psf, name):
    k, shape, oracle = GIBSON_LANNI[name], KIRCHHOFF_SHAPE, kirchhoff(name)
    kernel = psf.gibson_lanni(shape, **k, focus="nominal", backend=backend_of_psf)
    assert np.linalg.norm(kernel - oracle) <= 2e-6 * np.linalg.norm(oracle)
    single = psf.gibson_lanni(shape, **k, focus="nominal", backend=backend_of_psf, dtype=np.float32)
    assert single.dtype == np.float32
    assert np.linalg.norm(single - oracle) <= 3e-6 * np.linalg.norm(oracle)


@pytest.mark.parametrize("defocus", ["exact", "paraxial"])
@pytest.mark.parametrize("shape", [(1, 9, 9), (4, 7, 10), (3, 1, 11), (2, 1, 1)])
def test_born_wolf_against_debyes_integral(backend_of_psf, defocus, shape):
    def intensity(distance, z):
        dz = 0.4 * (z - shape[0] // 2)

        def phase(p):
            s2 = (0.8 * p) ** 2
            return 2 * np.pi / 0.52 * dz * (np.sqrt(1 - s2) if defocus == "exact" else -s2 / 2)

        return abs(amplitude(distance, phase, 2 * np.pi / 0.52, 0.8)) ** 2

    oracle = volume_by_quadrature(shape, 0.15, intensity)
    kernel = psf.born_wolf(shape, **AIR, defocus=defocus, backend=backend_of_psf)
    assert np.linalg.norm(kernel - oracle) <= 2e-6 * np.linalg.norm(oracle)


def test_born_wolf_on_the_axis_against_adaptive_quadrature(backend_of_psf):
    """Pixels so small that they are points: the integral by QUADPACK, and where it has one, its closed form."""
    k = {"wavelength": 0.5, "na": 1.3, "refractive_index": 1.33, "pixel_size": 4e-4, "z_step": 0.2}
    kernel = psf.born_wolf((11, 1, 1), **k, backend=backend_of_psf)[:, 0, 0]
    values = []
    for z in 0.2 * (np.arange(11) - 5):
        wave = [
            integrate.quad(lambda p, z=z, f=f: f(2 * np.pi / 0.5 * z * np.sqrt(1.33**2 - (1.3 * p) ** 2)) * p, 0, 1,
                           epsabs=1e-12, limit=200)[0]
            for f in (np.cos, np.sin)
        ]  # fmt: skip
        values.append(wave[0] ** 2 + wave[1] ** 2)
    assert np.allclose(kernel, np.array(values) / sum(values), rtol=4e-6, atol=1e-12)
    paraxial = psf.born_wolf((11, 1, 1), **k, defocus="paraxial", backend=backend_of_psf)[:, 0, 0]
    u = 2 * np.pi / 0.5 * 1.3**2 / 1.33 * 0.2 * (np.arange(11) - 5)
    closed = np.sinc(u / (4 * np.pi)) ** 2  # Born and Wolf 8.8 (26)
    assert np.allclose(paraxial, closed / closed.sum(), rtol=4e-6, atol=1e-12)


def test_in_focus_it_is_the_airy_pattern(backend_of_psf):
    kernel = psf.born_wolf((1, 1, 41), **AIR | {"pixel_size": 0.01}, backend=backend_of_psf)[0, 0]
    v = 2 * np.pi / 0.52 * 0.8 * 0.01 * np.abs(np.arange(41) - 20)
    airy = np.where(v == 0, 1, 2 * special.j1(v) / np.where(v == 0, 1, v)) ** 2
    assert np.abs(kernel / kernel.max() - airy).max() <= 2e-3  # the pixel's own width
    assert kernel[20] == kernel.max()


@cache
def confocal(pinhole):
    radius = pinhole * 0.61 * 0.52 / 0.8
    lengths = {"emission": 0.52, "excitation": 0.45}
    fine = np.linspace(0, 2.5, 2001)

    def light(distance, z, length):
        def phase(p):
            return 2 * np.pi / length * 0.4 * (z - 1) * np.sqrt(1 - (0.8 * p) ** 2)

        return abs(amplitude(distance, phase, 2 * np.pi / length, 0.8)) ** 2

    def intensity(distance, z):
        if not pinhole:
            detected = light(distance, z, lengths["emission"])
        else:
            # The disk cut into rings and sectors, the light from a fine table.
            table = light(fine, z, lengths["emission"])
            r = (np.arange(40) + 0.5) / 40 * radius
            a = (np.arange(40) + 0.5) / 40 * np.pi
            x, y = (r[:, None] * f(a) for f in (np.cos, np.sin))
            detected = np.zeros_like(distance)
            for i in range(40):
                there = np.hypot(distance[:, None] + x[i], y[i])
                detected += r[i] * np.interp(there, fine, table).mean(1)
        return detected * light(distance, z, lengths["excitation"])

    return volume_by_quadrature((3, 7, 7), 0.15, intensity)


@pytest.mark.parametrize("pinhole", [0.0, 1.0, 3.0])
def test_confocal_is_excitation_times_detection(backend_of_psf, pinhole):
    oracle = confocal(pinhole)
    kernel = psf.born_wolf((3, 7, 7), **AIR, excitation=0.45, pinhole=pinhole, backend=backend_of_psf)
    assert np.linalg.norm(kernel - oracle) <= (1e-3 if pinhole else 2e-6) * np.linalg.norm(oracle)


def test_axial_samples_average_over_the_slice(backend_of_psf):
    thick = psf.born_wolf((3, 7, 7), **AIR, axial_samples=4, backend=backend_of_psf)
    nodes, weights = np.polynomial.legendre.leggauss(4)
    total = np.zeros((3, 7, 7))
    fine = psf.born_wolf((801, 7, 7), **AIR | {"z_step": 0.4 / 200}, backend="auto")
    for node, weight in zip(nodes, weights, strict=True):
        for k in range(3):
            place = 400 + 200 * (k - 1 + node / 2)
            below = int(place)
            total[k] += weight * (fine[below] + (place - below) * (fine[below + 1] - fine[below]))
    total /= total.sum()
    assert (
        np.abs(thick - total).max() <= 2e-5 * total.max()
    )  # lines between planes of a two hundredth of a slice


@pytest.mark.parametrize("shape", [(5, 11, 11), (4, 10, 8), (3, 7, 13), (1, 1, 1), (2, 17, 2)])
def test_is_a_psf_with_all_symmetries(backend_of_psf, shape):
    kernel = psf.gibson_lanni(shape, **WATER, depth=1.0, backend=backend_of_psf)
    assert kernel.shape == shape
    assert kernel.min() >= 0
    assert abs(kernel.sum() - 1) <= 1e-12
    d, h, w = shape
    ideal = psf.born_wolf(shape, **AIR, backend=backend_of_psf)
    for k in (kernel, ideal):
        odd = k[:, 1 - h % 2 :, 1 - w % 2 :]
        assert np.array_equal(odd, odd[:, ::-1])
        assert np.array_equal(odd, odd[:, :, ::-1])
        n = min(odd.shape[1:])
        square = odd[:, (odd.shape[1] - n) // 2 :, (odd.shape[2] - n) // 2 :][:, :n, :n]
        assert np.array_equal(square, np.swapaxes(square, 1, 2))
    through = ideal[1 - d % 2 :]
    assert np.allclose(through, through[::-1], rtol=0, atol=1e-10)


def test_widefield_slices_hold_the_same_light(backend_of_psf):
    """Parseval: what crosses each plane is the pupil's light; the frame must only be large enough."""
    slices = psf.born_wolf((3, 255, 255), **AIR | {"pixel_size": 0.3}, backend="auto").sum((1, 2))
    assert np.allclose(slices, 1 / 3, rtol=2e-3)


def test_matched_layers_are_born_wolf(backend_of_psf):
    shape = (5, 9, 9)
    matched = psf.gibson_lanni(shape, **WATER | {"ns": 1.518}, backend=backend_of_psf)
    ideal = psf.born_wolf(
        shape,
        wavelength=0.52,
        na=1.2,
        refractive_index=1.518,
        pixel_size=0.1,
        z_step=0.25,
        backend=backend_of_psf,
    )
    assert np.allclose(matched, ideal, rtol=0, atol=1e-9)


@pytest.mark.parametrize("depth", [0.0, 1.0, 5.0, 30.0])
def test_brightest_focus_puts_the_peak_on_the_origin(depth):
    kernel = psf.gibson_lanni((41, 1, 1), **WATER | {"z_step": 0.02, "pixel_size": 0.01}, depth=depth)[
        :, 0, 0
    ]
    assert np.argmax(kernel) == 20
    # By parts of a slice: the parabola through the three highest ends within a tenth of one.
    a, b, c = kernel[19:22]
    assert abs(0.5 * (a - c) / (a - 2 * b + c)) <= 0.1


def test_in_water_the_nominal_focus_must_go_deeper():
    """Oil above water: the focus lies less deep than the objective moves, by about ns / ni."""
    kernel = psf.gibson_lanni((401, 1, 1), **WATER | {"na": 0.3, "z_step": 0.05}, depth=20.0, focus="nominal")
    shift = 0.05 * (int(np.argmax(kernel)) - 200)
    assert shift == pytest.approx(20.0 * (1.518 / 1.33 - 1), rel=0.03)


def test_backends_agree(native):
    for k in GIBSON_LANNI.values():
        one = psf.gibson_lanni((8, 20, 17), **k, backend="native")
        other = psf.gibson_lanni((8, 20, 17), **k, backend="numpy")
        assert np.abs(one - other).max() <= 1e-7 * other.max()


def test_the_number_of_threads_never_changes_a_bit(native):
    def kernel(n):
        return psf.gibson_lanni((9, 40, 33), **WATER, depth=2.0, excitation=0.488, pinhole=1.0, n_threads=n)

    one = kernel(1)
    for n in (0, 2, 3, 7):
        assert np.array_equal(kernel(n), one)


def test_coarse_and_fine_pixels_hold_the_same_light(backend_of_psf):
    """Pixels of 3 x 3 finer ones: their sums."""
    fine = psf.born_wolf((3, 27, 27), **AIR | {"pixel_size": 0.05}, backend=backend_of_psf)
    coarse = psf.born_wolf((3, 9, 9), **AIR, backend=backend_of_psf)
    assert np.allclose(fine.reshape(3, 9, 3, 9, 3).sum((2, 4)), coarse, rtol=0, atol=1e-7 * coarse.max())
