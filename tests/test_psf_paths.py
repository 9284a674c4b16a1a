"""PSFs of paths and of rolling shutters: exact areas and times against closed forms and dense sampling; their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fastdeblur import psf

places = st.floats(-6, 6).map(lambda v: round(v, 6))
paths = st.integers(1, 8).flatmap(lambda n: arrays(np.float64, (n, 2), elements=places))
WALK = np.cumsum(np.random.default_rng(5).normal(size=(12, 2)), axis=0)
CLOCK = np.cumsum(np.random.default_rng(6).random(12))


def centroid(kernel):
    h, w = kernel.shape
    return np.array([kernel.sum(0) @ (np.arange(w) - w // 2), kernel.sum(1) @ (np.arange(h) - h // 2)])


def sampled(points, times, shape, source, n=200_001):
    """The path at many moments, each put down by itself."""
    t = times[0] + (np.arange(n) + 0.5) / n * (times[-1] - times[0])
    x, y = (np.interp(t, times, points[:, axis]) + shape[1 - axis] // 2 for axis in (0, 1))
    kernel = np.zeros(shape)
    if source == "point":
        np.add.at(kernel, (np.floor(y + 0.5).astype(int), np.floor(x + 0.5).astype(int)), 1 / n)
        return kernel
    j, i = np.floor(y).astype(int), np.floor(x).astype(int)
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        np.add.at(kernel, (j + dy, i + dx), np.abs(1 - dy - (y - j)) * np.abs(1 - dx - (x - i)) / n)
    return kernel


@pytest.mark.parametrize("source", ["pixel", "point"])
def test_against_dense_sampling(backend_of_psf, source):
    kernel = psf.trajectory(WALK, CLOCK, source=source, centre=False, backend=backend_of_psf)
    assert np.linalg.norm(kernel - sampled(WALK, CLOCK, kernel.shape, source)) <= 1e-4 * np.linalg.norm(
        kernel
    )


def test_closed_forms(backend_of_psf):
    def trajectory(*args, **kwargs):
        return psf.trajectory(*args, centre=False, backend=backend_of_psf, **kwargs)

    # The square leaves one pixel for the next; then along a diagonal: int (1-t)^2, t (1-t) and t^2.
    assert np.allclose(trajectory([(0, 0), (1, 0)]), [[0, 0.5, 0.5]], rtol=0, atol=1e-15)
    expected = np.array([[0, 0, 0], [0, 2, 1], [0, 1, 2]]) / 6
    assert np.allclose(trajectory([(0, 0), (1, 1)]), expected, rtol=0, atol=1e-15)
    # At rest: linear interpolation between pixels, y down; a point of light knows only the nearest pixel.
    expected = np.array([[0, 0, 0], [0, 0.3, 0.1], [0, 0.45, 0.15]])
    assert np.allclose(trajectory([(0.25, 0.6)]), expected, rtol=0, atol=1e-15)
    assert np.array_equal(trajectory([(0.25, 0.6)], source="point"), [[0], [0], [1]])
    # Fast, then slow: weights are times, not lengths. A jump takes none.
    slow = trajectory([(-1, 0), (0, 0), (1, 0)], [0, 1, 4], source="point")
    assert np.allclose(slow, [[1 / 8, 1 / 8 + 3 / 8, 3 / 8]], rtol=0, atol=1e-15)
    jump = trajectory([(-1, 0), (-1, 0), (1, 0), (1, 0)], [0, 1, 1, 4])
    assert np.allclose(jump, [[0.25, 0, 0.75]], rtol=0, atol=1e-15)


@pytest.mark.parametrize(("length", "angle"), [(10, 30), (7.3, 0), (5, 90), (12.9, 171)])
def test_a_straight_path_of_a_point_is_motion(backend_of_psf, length, angle):
    end = length / 2 * np.array([np.cos(np.deg2rad(angle)), -np.sin(np.deg2rad(angle))])
    kernel = psf.trajectory([-end, end], source="point", shape=(15, 15), backend=backend_of_psf)
    motion = psf.motion(length, angle, shape=(15, 15), backend=backend_of_psf)
    assert np.abs(kernel - motion).max() <= 1e-12


@given(path=paths)
def test_a_square_of_light_keeps_the_path_s_mean(backend_of_psf, path):
    times = np.arange(len(path)) ** 2.0
    mean = path[0]
    if len(path) > 1:
        mean = np.diff(times) @ (path[1:] + path[:-1]) / 2 / times[-1]
    kernel = psf.trajectory(path, times, centre=False, backend=backend_of_psf)
    assert kernel.min() >= 0
    assert abs(kernel.sum() - 1) <= 1e-12
    assert np.abs(centroid(kernel) - mean).max() <= 1e-9
    assert np.abs(centroid(psf.trajectory(path, times, backend=backend_of_psf))).max() <= 1e-9


@given(path=paths, source=st.sampled_from(["pixel", "point"]))
def test_native_matches_the_reference(native, path, source):
    one, other = (psf.trajectory(path, source=source, centre=False, backend=b) for b in ("native", "numpy"))
    assert np.abs(one - other).max() <= 1e-12


@given(path=paths, source=st.sampled_from(["pixel", "point"]))
def test_the_way_back_and_a_mirror_change_nothing_else(backend_of_psf, path, source):
    def trajectory(points):
        return psf.trajectory(points, source=source, centre=False, shape=(15, 15), backend=backend_of_psf)

    kernel = trajectory(path)
    assert np.abs(trajectory(path[::-1]) - kernel).max() <= 1e-12
    if source == "pixel":  # a point exactly between two pixels is in one of them
        assert np.abs(trajectory(path * [-1, 1]) - kernel[:, ::-1]).max() <= 1e-12
        assert np.abs(trajectory(path[:, ::-1]) - kernel.T).max() <= 1e-12


def test_default_shape_is_just_large_enough():
    for reach, size in ((1, 3), (1.25, 5), (2, 5)):
        kernel = psf.trajectory([(-reach, 0), (reach, 0)])
        assert kernel.shape == (1, size)
        assert kernel[0, 0] > 0
    assert psf.trajectory([(-1.5, 0), (1.5, 0)], source="point").shape == (1, 3)
    assert psf.trajectory([(0, 0), (0, 3)], centre=False).shape == (7, 1)


def test_batches_broadcast_and_threads_change_nothing(backend_of_psf):
    batch = np.stack([WALK, WALK[::-1] / 2])[:, None]
    clocks = np.stack([CLOCK, CLOCK**2, CLOCK**3])
    kernels = psf.trajectory(batch, clocks, backend=backend_of_psf, n_threads=1)
    assert kernels.shape[:2] == (2, 3)
    for i, k in np.ndindex(2, 3):
        one = psf.trajectory(batch[i, 0], clocks[k], shape=kernels.shape[2:], backend=backend_of_psf)
        assert np.array_equal(kernels[i, k], one)
    assert np.array_equal(kernels, psf.trajectory(batch, clocks, backend=backend_of_psf, n_threads=3))
    single = psf.trajectory(batch, clocks, backend=backend_of_psf, dtype=np.float32)
    assert single.dtype == np.float32
    assert np.abs(single - kernels).max() <= 1e-7


@pytest.mark.parametrize("source", ["pixel", "point"])
@pytest.mark.parametrize("centre", [True, False])
def test_each_row_of_a_rolling_shutter_sees_its_part_of_the_path(backend_of_psf, source, centre):
    kwargs = {"source": source, "centre": centre, "backend": backend_of_psf}
    times = CLOCK - CLOCK[0]
    exposure, row_time = times[-1] / 4, times[-1] / 60
    rows = psf.rolling_shutter(WALK, times, rows=45, row_time=row_time, exposure=exposure, **kwargs)
    assert rows.shape[0] == 45
    for r in (0, 7, 30, 44):
        begin, end = r * row_time, r * row_time + exposure
        inner = times[(times > begin) & (times < end)]
        t = np.concatenate([[begin], inner, [end]])
        part = np.stack([np.interp(t, times, WALK[:, axis]) for axis in (0, 1)], axis=1)
        alone = psf.trajectory(part, t, shape=rows.shape[1:], **kwargs)
        assert np.abs(rows[r] - alone).max() <= 1e-12


def test_rows_that_share_out_the_exposure_add_up_to_the_whole(backend_of_psf):
    whole = psf.trajectory(WALK, centre=False, shape=(21, 21), backend=backend_of_psf)
    parts = psf.rolling_shutter(
        WALK, rows=5, row_time=2.2, exposure=2.2, centre=False, shape=(21, 21), backend=backend_of_psf
    )
    assert np.abs(parts.mean(axis=0) - whole).max() <= 1e-12


def test_a_band_of_rows_is_named_by_its_middle(native):
    kwargs = {"row_time": 0.1, "exposure": 2.0, "shape": (21, 21), "centre": False}
    every = psf.rolling_shutter(WALK, rows=20, **kwargs)
    assert np.array_equal(psf.rolling_shutter(WALK, rows=[3, 17], **kwargs), every[[3, 17]])
    assert psf.rolling_shutter(WALK, rows=[7.5], **kwargs).shape == (1, 21, 21)
    threads = [psf.rolling_shutter(WALK, rows=20, n_threads=n, **kwargs) for n in (1, 3)]
    assert np.array_equal(*threads)
