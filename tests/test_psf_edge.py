"""PSFs from slanted edges: the edge blurred in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from fastdeblur import psf
from fastdeblur.errors import InvalidArgument


def edge(shape, angle, sigma, *, flip=False):
    """A dark and a bright half, their border at an angle (degrees, counter-clockwise), integrated over the pixels."""
    h, w = shape
    y, x = np.mgrid[:h, :w].astype(float)
    normal = np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))
    nodes, weights = np.polynomial.legendre.leggauss(5)
    out = np.zeros(shape)
    for a, wa in zip(nodes / 2, weights / 2, strict=True):
        for b, wb in zip(nodes / 2, weights / 2, strict=True):
            across = (x + a - w / 2 + 0.37) * normal[0] + (y + b - h / 2 + 0.21) * normal[1]
            out += wa * wb * ndtr((-across if flip else across) / sigma)
    return 0.2 + 0.6 * out


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("angle", [4, 17, 83, 95, -8, 120, 33])
@pytest.mark.parametrize("sigma", [0.7, 1.5])
def test_a_gaussian_edge_gives_the_gaussian(angle, sigma, flip):
    measured = psf.from_edge(edge((70, 81), angle, sigma, flip=flip), (13, 15), full=True)
    true = psf.gaussian(sigma, shape=(13, 15))
    # A pixel's square is not round: seen along the edge it is a little wider or narrower.
    assert np.linalg.norm(measured.psf - true) <= 2e-2 * np.linalg.norm(true)
    assert abs((measured.angle - angle + 90) % 180 - 90) <= 0.01
    assert measured.psf.min() >= 0
    assert measured.psf.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("noise", [0.002, 0.01])
def test_noise(rng, noise):
    image = edge((100, 90), 7, 1.5) + rng.normal(0, noise, (100, 90))
    true = psf.gaussian(1.5, shape=(13, 13))
    measured = psf.from_edge(image, (13, 13))
    assert np.linalg.norm(measured - true) <= (0.02 if noise < 0.005 else 0.06) * np.linalg.norm(true)


def test_profiles():
    found = psf.from_edge(edge((80, 80), 6, 2.0), (15, 15), full=True)
    width = np.sqrt(2.0**2 + 1 / 12)
    assert np.abs(found.edge_spread - ndtr(found.distance / width)).max() <= 5e-3
    assert found.line_spread.sum() * 0.25 == pytest.approx(1)
    assert np.allclose(found.line_spread, found.line_spread[::-1])


def test_even_shapes_have_their_origin_at_half_the_shape():
    image = edge((80, 80), 6, 1.5)
    odd, even = psf.from_edge(image, (13, 13)), psf.from_edge(image, (12, 14))
    part = even[:, 1:] / even[:, 1:].sum()
    assert np.allclose(part, odd[:12] / odd[:12].sum(), rtol=0, atol=2e-4)


def test_dtypes():
    image = np.rint(200 * edge((60, 60), 6, 1.5)).astype(np.uint8)
    measured = psf.from_edge(image, (9, 9))
    assert measured.dtype == np.float32
    assert measured.sum() == pytest.approx(1, abs=1e-6)


def test_errors(rng):
    good = edge((60, 60), 6, 1.5)
    with pytest.raises(InvalidArgument, match=r"^image: expected an edge, got a constant image"):
        psf.from_edge(np.ones((60, 60)), (9, 9))
    with pytest.raises(InvalidArgument, match=r"^image: expected an? "):
        psf.from_edge(rng.normal(0, 1, (60, 60)), (9, 9))
    for angle in (0, 90, 0.5):
        with pytest.raises(InvalidArgument, match=r"^image: expected an edge at least 1 degree off"):
            psf.from_edge(edge((60, 60), angle, 1.5), (9, 9))
    with pytest.raises(InvalidArgument, match=r"^image: expected an edge long and slanted enough"):
        psf.from_edge(edge((60, 60), 45, 1.5), (9, 9))
    with pytest.raises(InvalidArgument, match=r"^shape: expected a PSF that reaches less than"):
        psf.from_edge(good, (61, 61))
    with pytest.raises(InvalidArgument, match=r"^shape: expected 2 axes"):
        psf.from_edge(good, (9,))
    with pytest.raises(InvalidArgument, match=r"^full: expected True or False"):
        psf.from_edge(good, (9, 9), full="yes")
    with pytest.raises(InvalidArgument, match=r"^image: expected at least 8 x 8"):
        psf.from_edge(good[:7], (3, 3))
    for bad in (np.ones(60), np.ones((9, 9, 3)), np.full((60, 60), np.inf), good * 1j):
        with pytest.raises(InvalidArgument, match=r"^image: "):
            psf.from_edge(bad, (9, 9))
