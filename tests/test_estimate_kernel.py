"""Blind kernels: found where there is something to find, and never where there is not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.signal import fftconvolve

from conftest import need
from fastdeblur import estimate, psf
from fastdeblur.errors import InvalidArgument
from fastdeblur.estimate import _support as support


def shake():
    """A bent stroke, 9 x 9."""
    kernel = np.zeros((9, 9))
    for row, column, mass in ((1, 1, 1), (2, 2, 2), (3, 3, 2), (4, 4, 1), (4, 5, 2), (4, 6, 2), (5, 7, 3)):
        kernel[row, column] = mass
    return support.centred(kernel / kernel.sum())


def scene(height=170, width=150, seed=3):
    """Overlapping rectangles and disks of many sizes and levels: edges of all directions."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width), 0.5)
    rows, columns = np.mgrid[:height, :width]
    for _ in range(90):
        y, x, size = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(3, 25)
        if rng.random() < 0.5:
            inside = (rows - y) ** 2 + (columns - x) ** 2 < size**2
        else:
            inside = (abs(rows - y) < size) & (abs(columns - x) < rng.uniform(3, 25))
        image[inside] = rng.uniform(0.05, 0.95)
    return image


def blurred(kernel, noise=0.005, seed=0, **kwargs):
    image = fftconvolve(scene(**kwargs), kernel, "valid")
    return image + np.random.default_rng(seed).normal(0, noise, image.shape)


def likeness(a, b):
    """Largest correlation of two kernels over shifts."""
    return (fftconvolve(a, b[::-1, ::-1]) / (np.linalg.norm(a) * np.linalg.norm(b))).max()


@pytest.fixture(scope="module")
def photo():
    return blurred(shake()).astype(np.float32)


@pytest.fixture(scope="module")
def found(photo):
    return estimate.kernel(photo, 11)


def check_kernel(kernel):
    assert kernel.dtype == np.float64
    assert (kernel >= 0).all()
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    assert all(abs(offset) <= 1 for offset in support.centroid(kernel))


def test_finds_a_shake(found):
    check_kernel(found.psf)
    assert found.psf.shape == found.size == (11, 11)
    assert likeness(found.psf, shake()) > 0.85
    assert found.confidence > 0.6
    assert not found.stopped


def test_reference_agrees(photo, found):
    reference = estimate.kernel(photo, 11, backend="numpy")
    native = estimate.kernel(photo, 11, backend=need("native"))
    assert likeness(reference.psf, native.psf) > 0.98


def test_unknown_size_is_found(photo):
    found = estimate.kernel(photo)
    check_kernel(found.psf)
    assert likeness(found.psf, shake()) > 0.8
    assert all(n % 2 == 1 and n <= 25 for n in found.psf.shape)


def test_rectangular_frame():
    line = psf.motion(9, 0)
    found = estimate.kernel(blurred(line), (3, 13))
    assert found.psf.shape == (3, 13)
    assert likeness(found.psf, line) > 0.8


def test_threads_do_not_matter(photo, found):
    for n_threads in (1, 2, 3):
        assert_array_equal(estimate.kernel(photo, 11, n_threads=n_threads).psf, found.psf)


def test_unit_does_not_matter(photo, found):
    scaled = estimate.kernel(photo.astype(np.float64) * 4000 + 100, 11)
    assert likeness(scaled.psf, found.psf) > 0.99


@pytest.mark.parametrize(
    ("scale", "offset"), [(1e-8, 0), (1e-17, 0), (1e-300, 0), (1e20, 0), (1, 1e8), (1, -1e8)]
)
def test_no_unit_is_too_small_and_no_offset_too_large(photo, found, scale, offset):
    scaled = estimate.kernel(photo.astype(np.float64) * scale + offset, 11)
    assert likeness(scaled.psf, found.psf) > 0.99
    assert scaled.confidence == pytest.approx(found.confidence, abs=0.05)


@pytest.mark.parametrize("size", [np.array(11), np.int64(11), np.array([11, 11])])
def test_size_may_come_from_numpy(photo, found, size):
    assert_array_equal(estimate.kernel(photo, size).psf, found.psf)


def test_equal_channels_are_grey(photo, found):
    for axis in (0, 1, -1):
        colour = np.stack([photo] * 3, axis)
        assert_array_equal(estimate.kernel(colour, 11, channel_axis=axis).psf, found.psf)


def test_clipped_lights_are_left_out():
    image = scene()
    image[60:66, 60:66] = image[100:106, 40:46] = 30  # lamps, far above what the sensor holds
    image = fftconvolve(image, shake(), "valid") + np.random.default_rng(0).normal(0, 0.005, (162, 142))
    found = estimate.kernel(np.clip(image, 0, 1), 11)
    assert 0 < found.masked < 0.5
    assert likeness(found.psf, shake()) > 0.75


@pytest.mark.parametrize("name", ["camera", "coins"])
def test_sharp_photo_is_not_blurred_with_confidence(name):
    skimage_data = pytest.importorskip("skimage.data")
    sharp = getattr(skimage_data, name)()[60:260, 60:260]
    found = estimate.kernel(sharp, 13)
    assert found.confidence < 0.5
    rows, columns = (np.arange(13) - 6.0,) * 2
    spread = (found.psf * (rows[:, np.newaxis] ** 2 + columns**2)).sum()
    assert spread <= 1.5  # squared pixels; shake() has 5
    if found.confidence == 0:
        assert_array_equal(found.psf, support.impulse((13, 13)))


def test_blurred_photo_is_told_from_a_sharp_one():
    skimage_data = pytest.importorskip("skimage.data")
    kernel = np.kron(shake(), np.full((2, 2), 0.25))[1:, 1:]
    image = fftconvolve(skimage_data.camera()[60:276, 100:316] / 255.0, kernel / kernel.sum(), "valid")
    found = estimate.kernel(image + np.random.default_rng(0).normal(0, 0.01, image.shape), 19)
    assert found.confidence > 0.5
    assert likeness(found.psf, kernel) > 0.7


# ------------------------------------------------------------------------------------------- nothing to be found


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((64, 64)),
        np.full((64, 64), 255, np.uint8),
        np.random.default_rng(0).normal(0.5, 0.1, (96, 80)),
        np.random.default_rng(1).normal(0.5, 1e-4, (65, 64)).astype(np.float32),
        np.random.default_rng(2).poisson(5.0, (90, 90)),
    ],
    ids=["black", "all clipped", "noise", "faint noise", "photon noise"],
)
@pytest.mark.parametrize("size", [None, 9])
def test_no_structure_no_kernel(image, size):
    found = estimate.kernel(image, size)
    assert found.confidence == 0
    assert_array_equal(found.psf, support.impulse(found.psf.shape))


# ---------------------------------------------------------------------------------------------------- callback


def test_callback_sees_every_alternation(photo, found):
    seen = []

    def look(progress):
        seen.append((progress.iteration, progress.scale))
        assert progress.num_iter == 5 * progress.scales
        assert progress.size == (11, 11)
        assert progress.psf().sum() == pytest.approx(1)
        progress.psf()[:] = 0  # a copy

    result = estimate.kernel(photo, 11, callback=look)
    assert_array_equal(result.psf, found.psf)
    assert [iteration for iteration, _ in seen] == list(range(1, 5 * len(found.scales) + 1))
    assert seen[-1][1] == len(found.scales)


@pytest.mark.parametrize("size", [11, None])
def test_callback_stops(photo, size):
    seen = []

    def stop(progress):
        seen.append(progress)
        if len(seen) == 3:
            raise StopIteration
        return True  # which says nothing

    result = estimate.kernel(photo, size, callback=stop)
    assert len(seen) == 3
    assert result.stopped
    assert result.confidence == 0
    check_kernel(result.psf)


def test_callback_error_ends_the_call(photo):
    def fail(progress):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        estimate.kernel(photo, 11, callback=fail)


# ------------------------------------------------------------------------------------------------------ errors

IMAGE = np.ones((40, 40))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": IMAGE[0]}, r"image: expected 2-D \(h, w\), got shape \(40,\)"),
        ({"image": np.ones((40, 40, 3))}, "image: .*channel_axis"),
        ({"image": np.ones((4, 40, 40, 3)), "channel_axis": -1}, "image: expected 3 axes"),
        ({"image": np.ones((0, 40))}, "image: expected at least one pixel"),
        ({"image": np.ones((12, 40))}, "image: expected at least 16 pixels"),
        ({"image": IMAGE * 1j}, "image: expected a real numeric dtype"),
        ({"image": np.where(np.eye(40) > 0, np.nan, 1)}, "image: expected finite values, got nan"),
        ({"image": np.ones((40, 40, 3)), "channel_axis": 3}, "channel_axis: expected -3 to 2"),
        ({"image": np.ones((40, 40, 3)), "channel_axis": 1.0}, "channel_axis: expected an integer"),
        ({"size": 8}, "size: expected an odd number of pixels, got 8"),
        ({"size": (5, 6)}, "size: expected an odd number"),
        ({"size": 0}, "size: expected an integer >= 1, got 0"),
        ({"size": -3}, "size: expected an integer >= 1, got -3"),
        ({"size": 5.0}, "size: expected an integer"),
        ({"size": (5, 5, 5)}, "size: expected an odd integer or two"),
        ({"size": "5"}, "size: expected an integer"),
        ({"image": np.where(np.eye(40) > 0, 1e308, -1e308)}, "image: expected values within"),
        ({"size": np.array(35)}, "size: expected at most half of the image"),
        ({"size": np.array(5.0)}, "size: expected an integer"),
        ({"size": 21}, "size: expected at most half of the image"),
        ({"callback": 3}, "callback: expected a callable, got int"),
        ({"n_threads": -1}, "n_threads: expected an integer >= 0"),
        ({"backend": "cuda"}, "backend: expected one of"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        estimate.kernel(**{"image": IMAGE, **arguments})


@pytest.mark.parametrize("shape", [(17, 16), (31, 64), (97, 101)])
@pytest.mark.parametrize("size", [1, 3, (1, 5), (5, 1)])
def test_odd_shapes(shape, size):
    image = scene(*shape)
    result = estimate.kernel(image, size)
    assert result.psf.shape == (size if isinstance(size, tuple) else (size, size))
    check_kernel(result.psf)
