"""Random camera shake: streams, reproducibility, the frame that always fits, and its limits."""

from __future__ import annotations

import numpy as np
import pytest

from fastdeblur import psf


def centroids(kernels):
    offsets = [np.arange(n) - n // 2 for n in kernels.shape[-2:]]
    return np.stack([kernels.sum(-1) @ offsets[0], kernels.sum(-2) @ offsets[1]])


@pytest.mark.parametrize("size", [1, 2, 3, 8, 31, 32])
def test_kernels_are_psfs_with_their_centroid_on_the_origin(backend_of_psf, size):
    kernels = psf.camera_shake(9, size=size, seed=3, anxiety=0.01, backend=backend_of_psf)
    assert kernels.shape == (9, size, size)
    assert kernels.min() >= 0
    assert np.abs(kernels.sum((1, 2)) - 1).max() <= 1e-12
    assert np.abs(centroids(kernels)).max() <= 1e-9


@pytest.mark.parametrize("source", ["pixel", "point"])
@pytest.mark.parametrize("steps", [1, 7, 512])
def test_native_matches_the_reference(native, source, steps):
    kwargs = {"seed": 12, "steps": steps, "source": source, "exposure": np.linspace(0.01, 1, 70)}
    one = psf.camera_shake(70, anxiety=np.linspace(0, 0.05, 70), backend="native", **kwargs)
    other = psf.camera_shake(70, anxiety=np.linspace(0, 0.05, 70), backend="numpy", **kwargs)
    assert np.abs(one - other).max() <= 1e-9


def test_same_seed_same_kernels_for_any_number_of_threads(native):
    one = psf.camera_shake(101, seed=7, n_threads=1)
    for n_threads in (0, 2, 5):
        assert np.array_equal(psf.camera_shake(101, seed=7, n_threads=n_threads), one)
    assert not np.array_equal(psf.camera_shake(101, seed=8), one)
    assert not np.array_equal(psf.camera_shake(3), psf.camera_shake(3))  # a fresh seed each time


def test_a_batch_begins_with_a_smaller_one(backend_of_psf):
    many = psf.camera_shake(10, seed=[1, 2], backend=backend_of_psf)
    assert np.array_equal(psf.camera_shake(3, seed=[1, 2], backend=backend_of_psf), many[:3])
    alone = psf.camera_shake(seed=np.random.SeedSequence([1, 2]), backend=backend_of_psf)
    assert alone.shape == (31, 31)
    assert np.array_equal(alone, many[0])


def test_parameters_broadcast(backend_of_psf):
    kernels = psf.camera_shake(4, seed=0, size=9, exposure=[[0.5], [1.0]], backend=backend_of_psf)
    assert kernels.shape == (2, 4, 9, 9)
    flat = psf.camera_shake(8, seed=0, size=9, exposure=[0.5] * 4 + [1.0] * 4, backend=backend_of_psf)
    assert np.array_equal(kernels.reshape(8, 9, 9), flat)


def test_every_path_fits_the_frame(native):
    """A larger frame around paths of the same length holds nothing more: kernels are neither cut nor squeezed."""
    for size in (30, 31):
        length = 2 * ((size - 1) // 2)
        small = psf.camera_shake(2000, size=size, seed=1, anxiety=np.linspace(0, 0.03, 2000))
        large = psf.camera_shake(2000, size=61, seed=1, anxiety=np.linspace(0, 0.03, 2000), length=length)
        first = 30 - size // 2
        inner = large[:, first : first + size, first : first + size]
        assert np.abs(inner - small).max() <= 1e-12
        assert np.abs(inner.sum((1, 2)) - 1).max() <= 1e-12


def test_no_anxiety_is_straight_even_motion(backend_of_psf):
    kernel = psf.camera_shake(seed=5, anxiety=0, length=20, backend=backend_of_psf)
    direction = 2 * np.pi * np.random.Generator(np.random.PCG64(5)).random()
    end = 10 * np.array([np.cos(direction), np.sin(direction)])
    assert np.abs(kernel - psf.trajectory([-end, end], shape=(31, 31))).max() <= 1e-12


def test_a_longer_exposure_goes_on_where_a_shorter_one_ends(backend_of_psf):
    """Half the path is the mean of its two quarters, and the second one has no kernel of its own: positions tell."""
    steps = 64
    by_time = [
        psf.camera_shake(seed=2, size=61, length=30, steps=steps, exposure=e, backend=backend_of_psf)
        for e in (0.25, 0.5, 1.0)
    ]
    spread = [
        np.sum(k * (np.add.outer((np.arange(61) - 30) ** 2, (np.arange(61) - 30) ** 2))) for k in by_time
    ]
    assert spread[0] < spread[1] < spread[2]
    # A line seen for half the time is half as long.
    half, whole = (
        psf.camera_shake(seed=2, anxiety=0, length=length, exposure=e, backend=backend_of_psf)
        for length, e in ((20, 0.5), (10, 1.0))
    )
    assert np.abs(half - whole).max() <= 1e-12


def test_anxiety_bends_paths(native):
    def extent(anxiety):
        kernels = psf.camera_shake(400, seed=4, anxiety=anxiety)
        offset = np.arange(31) - 15
        return np.sqrt(np.mean(kernels.sum(-1) @ offset**2 + kernels.sum(-2) @ offset**2))

    straight, default, shaky = extent(0), extent(0.005), extent(0.03)
    assert straight > 1.2 * default > 1.2 * 1.2 * shaky


def test_float32(backend_of_psf):
    double = psf.camera_shake(5, seed=0, backend=backend_of_psf)
    single = psf.camera_shake(5, seed=0, backend=backend_of_psf, dtype=np.float32)
    assert single.dtype == np.float32
    assert np.abs(single - double).max() <= 1e-7
    assert np.abs(single.sum((1, 2), dtype=np.float64) - 1).max() <= 1e-7
