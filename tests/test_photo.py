"""The one call for a blurred photo: it gains on what is blurred, leaves the rest alone, and never guesses."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.signal import fftconvolve

import fastdeblur
from fastdeblur import Deblurred, InvalidArgument, _light, estimate, psf
from fastdeblur.estimate._nonblind import hyper_laplacian
from fastdeblur.estimate._tiles import Tile
from fastdeblur.photo import _find, _parts, _plausible
from fastdeblur.photo import _restore as restoring
from fastdeblur.photo._defects import defects, mended, spreads
from fastdeblur.photo._numbers import Numbers

data = pytest.importorskip("skimage.data")


@cache
def scene(name="camera"):
    """Linear light in [0, 1]."""
    top, left, height, width = {
        "camera": (64, 100, 200, 220), "coins": (20, 20, 200, 220), "astronaut": (0, 130, 190, 200),
    }[name]  # fmt: skip
    return _light.decode_srgb(getattr(data, name)()[top : top + height, left : left + width] / 255.0)


def as_photo(light, top=255):
    dtype = np.uint8 if top == 255 else np.uint16
    return np.rint(top * _light.encode_srgb(np.clip(light, 0, 1))).astype(dtype)


def blurred(light, kernel, noise=0.003):
    """(the blurred light, the sharp light of the same frame)."""
    h, w = kernel.shape
    planes = light if light.ndim == 3 else light[..., np.newaxis]
    y = np.stack([fftconvolve(planes[..., c], kernel, "valid") for c in range(planes.shape[2])], -1)
    y += noise * np.random.default_rng(7).standard_normal(y.shape)
    sharp = planes[h // 2 : h // 2 + y.shape[0], w // 2 : w // 2 + y.shape[1]]
    return (y, sharp) if light.ndim == 3 else (y[..., 0], sharp[..., 0])


def psnr(photo, sharp):
    """Of 8-bit photos, without a rim."""
    inner = (slice(12, -12), slice(12, -12))
    return -10 * np.log10(np.mean((photo[inner] / 255.0 - sharp[inner] / 255.0) ** 2))


def hook():
    """A shaken hand: a bent path, slower at its end."""
    path = np.array([(0, 0), (4, 1), (7, 3), (8, 6), (8, 7)], float)
    return psf.trajectory(path, np.array([0, 0.2, 0.5, 0.8, 1.0]))


# The gain is half of what was measured.
CASES = {
    "motion": (psf.motion(11, 30), "camera", 3.5),
    "defocus": (psf.defocus(3.2), "coins", 3.0),
    "gaussian": (psf.gaussian(1.6), "coins", 1.9),
    "shake": (hook(), "coins", 3.5),
}


@cache
def case(name):
    kernel, where, _ = CASES[name]
    y, sharp = blurred(scene(where), kernel)
    return as_photo(y), as_photo(sharp)


@cache
def undone(name, quality):
    return fastdeblur.deblur(case(name)[0], quality=quality, full=True)


# ----------------------------------------------------------------------------------------------- what is blurred


@pytest.mark.parametrize("quality", ["best", "fast"])
@pytest.mark.parametrize("name", CASES)
def test_blur_is_found_and_undone(name, quality):
    photo, sharp = case(name)
    found = undone(name, quality)
    assert found.kind == name
    assert found.confidence > 0.4
    assert found.image.dtype == np.uint8
    assert found.image.shape == photo.shape
    assert psnr(found.image, sharp) > psnr(photo, sharp) + CASES[name][2] * (1 if quality == "best" else 0.9)


def test_what_was_found_is_told():
    found = undone("motion", "best")
    assert isinstance(found, Deblurred)
    assert found.parameters["length"] == pytest.approx(11, abs=0.7)
    assert found.parameters["angle"] == pytest.approx(30, abs=3)
    assert found.psf.sum() == pytest.approx(1)
    assert found.psf.dtype == np.float64
    assert found.method == "hyper-laplacian"
    assert found.assumed_noise >= max(0.006, found.noise)
    assert found.noise == pytest.approx(0.003, rel=0.5)
    assert found.confidence_map.shape == found.image.shape
    assert found.confidence_map.dtype == np.float32
    assert 0 <= found.confidence_map.min() <= found.confidence_map.max() <= found.confidence <= 1
    assert found.varies is False
    assert undone("defocus", "best").parameters.keys() == {"radius"}
    assert undone("gaussian", "best").parameters.keys() == {"sigma_major", "sigma_minor", "angle"}
    assert undone("shake", "best").parameters == {}


def test_image_alone_is_the_default():
    photo = case("defocus")[0]
    alone = fastdeblur.deblur(photo, kind="defocus")
    assert isinstance(alone, np.ndarray)
    assert np.abs(alone.astype(int) - undone("defocus", "best").image).max() <= 2


def test_the_photo_is_not_written_to():
    photo = case("defocus")[0].copy()
    photo.flags.writeable = False
    fastdeblur.deblur(photo, kind="defocus", quality="fast")
    assert_array_equal(photo, case("defocus")[0])


def test_any_number_of_threads_gives_the_same_bits():
    photo = case("shake")[0][:130, :140]
    one, three = (fastdeblur.deblur(photo, kind="shake", n_threads=n, full=True) for n in (1, 3))
    assert_array_equal(one.image, three.image)
    assert_array_equal(one.psf, three.psf)


@pytest.mark.parametrize("axis", [0, -1])
def test_colour(axis):
    y, sharp = blurred(scene("astronaut"), psf.motion(9, 60))
    photo, sharp = as_photo(y), as_photo(sharp)
    given_so = np.moveaxis(photo, -1, axis)
    known = {"psf": psf.motion(9, 60)} if axis == 0 else {"kind": "motion"}
    found = fastdeblur.deblur(given_so, quality="fast", channel_axis=axis, full=True, **known)
    assert found.image.shape == given_so.shape
    assert found.confidence_map.shape == photo.shape[:2]
    assert psnr(np.moveaxis(found.image, axis, -1), sharp) > psnr(photo, sharp) + 1.5


def test_equal_channels_are_grey():
    photo = case("defocus")[0]
    grey = fastdeblur.deblur(photo, kind="defocus", quality="fast")
    colour = fastdeblur.deblur(np.stack([photo] * 3), kind="defocus", quality="fast", channel_axis=0)
    for channel in colour:
        assert np.abs(channel.astype(int) - grey.astype(int)).max() <= 1


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64", "float16"])
def test_dtype_and_unit_are_kept(dtype):
    y, _ = blurred(scene("coins"), psf.defocus(3.2))
    if dtype == "uint8":
        photo, as_light = as_photo(y), lambda p: _light.decode_srgb(p / 255.0)
    elif dtype == "uint16":
        photo, as_light = as_photo(y, 65535), lambda p: _light.decode_srgb(p / 65535.0)
    else:
        photo, as_light = (1000 * y).astype(dtype), lambda p: p / 1000
    before = photo.copy()
    result = fastdeblur.deblur(photo, psf.defocus(3.2), quality="fast")
    assert result.dtype == photo.dtype
    assert_array_equal(photo, before)
    exact = fastdeblur.deblur(y, psf.defocus(3.2), quality="fast")
    assert np.abs(as_light(result.astype(float)) - np.clip(exact, 0, 1)).mean() < 0.01


def test_the_unit_does_not_matter():
    y, _ = blurred(scene("coins"), psf.defocus(3.2))
    one = fastdeblur.deblur(y, kind="defocus")
    assert fastdeblur.deblur(1e4 * y, kind="defocus") == pytest.approx(1e4 * one, abs=1.0)


def test_gamma_says_what_light_is():
    y, _ = blurred(scene("coins"), psf.defocus(3.2), noise=0)
    light = fastdeblur.deblur(y, psf.defocus(3.2))
    for gamma, encode in (("srgb", _light.encode_srgb), (2.2, lambda v: np.clip(v, 0, None) ** (1 / 2.2))):
        result = fastdeblur.deblur(encode(np.clip(y, 0, None)), psf.defocus(3.2), gamma=gamma)
        assert np.abs(result - encode(np.clip(light, 1e-4, None)))[light > 0.01].mean() < 0.005
    photo = as_photo(y)
    assert_array_equal(
        fastdeblur.deblur(photo, psf.defocus(3), gamma="srgb"), fastdeblur.deblur(photo, psf.defocus(3))
    )
    assert not np.array_equal(
        fastdeblur.deblur(photo, psf.defocus(3), gamma="none"), fastdeblur.deblur(photo, psf.defocus(3))
    )


# ------------------------------------------------------------------------------------------------- a known blur


@pytest.mark.parametrize("kernel", [psf.motion(11, 30), 7 * psf.motion(11, 30), np.ones((4, 6))])
@pytest.mark.parametrize("quality", ["best", "fast"])
def test_a_given_psf_is_undone(kernel, quality):
    y, sharp = blurred(scene(), kernel / kernel.sum())
    photo, sharp = as_photo(y), as_photo(sharp)
    found = fastdeblur.deblur(photo, kernel, quality=quality, full=True)
    assert (found.kind, found.confidence, found.parameters) == ("given", 1.0, {})
    assert found.psf == pytest.approx(kernel / kernel.sum())
    # An even kernel's middle is at shape // 2, and scipy's valid part begins half a pixel elsewhere: both agree here.
    rows, columns = ((n + 1) % 2 for n in kernel.shape)
    sharp = np.roll(sharp, (rows, columns), (0, 1))
    assert psnr(found.image, sharp) > psnr(photo, sharp) + 1.5


def test_an_impulse_is_no_blur():
    photo = case("motion")[0]
    found = fastdeblur.deblur(photo, [[2.0]], full=True)
    assert_array_equal(found.image, photo)
    assert (found.kind, found.method) == ("given", "none")


@pytest.mark.parametrize("shape", [(9, 9), (9, 31), (16, 17)])
def test_small_photos_with_a_given_psf(shape):
    photo = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert fastdeblur.deblur(photo, psf.gaussian(0.8)).shape == shape
    one = np.full(shape, 77, np.uint8)
    assert_array_equal(fastdeblur.deblur(one, psf.motion(5, 20)), one)
    assert_array_equal(fastdeblur.deblur(one, psf.motion(5, 20), quality="fast"), one)


@pytest.mark.parametrize("kernel", [psf.defocus(4.0), psf.motion(11, 30)])
def test_no_ring_around_what_is_clipped(kernel):
    """A lamp four times as bright as the sensor counts, on a plain wall, which the lamp's blur is removed from."""
    light = np.full((160, 180), 0.2)
    light[70:76, 80:86] = 4.0
    y, sharp = blurred(light, kernel, noise=0.002)
    photo, sharp = as_photo(y), as_photo(sharp).astype(int)
    assert 50 < np.sum(photo == 255) < 150
    wall = sharp < 255

    def off(result):
        return np.abs(result.astype(int) - sharp)[wall].sum()

    # Taken at their word, the clipped pixels ring through the whole wall.
    naive = hyper_laplacian(_light.decode_srgb(photo / 255.0), kernel, 0.008)
    result = fastdeblur.deblur(photo, kernel)
    assert off(result) < 0.4 * off(as_photo(naive))
    assert off(result) < 1.3 * off(photo)


# ---------------------------------------------------------------------------------------- what had better be left


def with_defects(photo, share, seed=3):
    """Hot and dead pixels, none beside another; and which they are."""
    rng = np.random.default_rng(seed)
    bad = np.zeros(photo.shape, bool)
    bad[1:-1:4, 1:-1:4] = rng.random(bad[1:-1:4, 1:-1:4].shape) < 16 * share
    result = photo.copy()
    result[bad] = np.where(rng.random(int(bad.sum())) < 0.8, 255, 0)
    return result, bad


@pytest.mark.parametrize("known", [True, False])
def test_hot_and_dead_pixels_do_not_ring(known):
    kernel = psf.defocus(4.0)
    light, truth = blurred(scene(), kernel)
    photo, truth = as_photo(light), as_photo(truth)
    spoilt, bad = with_defects(photo, 5e-4)
    options = {"psf": kernel} if known else {}
    wanted, found = (fastdeblur.deblur(p, full=True, **options) for p in (photo, spoilt))
    assert found.kind == wanted.kind

    def away(result, where):
        return float(np.sqrt(np.mean((result[where] - truth[where].astype(float)) ** 2)))

    assert away(found.image, ~bad) < 1.15 * away(wanted.image, ~bad)  # twice without
    seen = bad & (np.abs(spoilt - photo.astype(float)) > 100)
    assert seen.sum() > 10
    assert away(found.image, seen) < 1.2 * away(wanted.image, seen)  # they are gone as well
    assert not found.confidence_map[seen].any()


def test_points_of_light_are_no_defects_where_the_psf_could_make_them():
    stars = np.full((64, 64), 0.1)
    stars[10::9, 10::9] = np.linspace(0.5, 1.0, 36).reshape(6, 6)
    narrow = psf.gaussian(0.5)
    found = fastdeblur.deblur(stars.astype(np.float32), narrow, gamma="none", full=True)
    assert (found.image > 0.45).sum() == 36
    assert found.confidence_map.all()
    assert spreads(psf.gaussian(1.0))
    assert not spreads(narrow)


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    dtype=st.sampled_from([np.uint8, np.int16, np.float32]),
    seed=st.integers(0, 2**32 - 1),
)
def test_mended_pixels_have_the_median_of_their_neighbours(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    plane = (100 + rng.integers(0, 3, shape)).astype(dtype)
    at = tuple(int(rng.integers(0, n)) for n in shape)
    plane[at] = 250 if seed % 2 else 0
    mask = defects(plane[None].astype(np.float32) / 128, np.zeros(1))
    expected = np.zeros(shape, bool)
    expected[at] = min(shape) >= 3
    assert_array_equal(mask[0], expected)
    result = mended(plane[None], mask)[0]
    assert result.dtype == dtype
    assert_array_equal(result[~expected], plane[~expected])
    if expected.any():
        around = np.pad(plane, 1, mode="reflect")[at[0] : at[0] + 3, at[1] : at[1] + 3].ravel()
        assert result[at] in (np.rint(np.median(np.delete(around, 4))), np.median(np.delete(around, 4)))


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.uint8])
def test_mended_pixels_of_the_largest_value_do_not_wrap_around(dtype):
    top = np.iinfo(dtype).max
    plane = np.full((1, 5, 5), top, dtype)
    plane[0, 2, 2] = 0
    mask = plane == 0
    result = mended(plane, mask)
    assert result[0, 2, 2] >= 0.999 * top
    assert_array_equal(result[~mask], plane[~mask])


@pytest.mark.parametrize("name", ["coins", "astronaut"])
def test_a_sharp_photo_comes_back_as_it_was(name):
    photo = as_photo(scene(name))
    found = fastdeblur.deblur(photo, channel_axis=-1 if photo.ndim == 3 else None, full=True)
    assert (found.kind, found.method, found.assumed_noise, found.psf.shape) == ("sharp", "none", 0.0, (1, 1))
    assert_array_equal(found.image, photo)
    assert not np.shares_memory(found.image, photo)


NOTHING = {
    "constant": np.full((90, 100), 0.3),
    "black": np.zeros((90, 100), np.uint8),
    "saturated": np.full((90, 100), 255, np.uint8),
    "noise": 0.5 + 0.05 * np.random.default_rng(1).standard_normal((100, 120)),
    "integer noise": np.random.default_rng(2).integers(90, 120, (80, 100)).astype(np.uint16),
    "ramp": np.add.outer(np.arange(80), np.arange(90)).astype(np.uint8),
    "one pixel": np.eye(1, 96 * 96, 96 * 48 + 48).reshape(96, 96),
    "booleans": np.ones((70, 70), bool),
}


@pytest.mark.parametrize("kind", ["auto", "shake"])
@pytest.mark.parametrize("name", NOTHING)
def test_nothing_is_made_of_nothing(name, kind):
    image = NOTHING[name]
    found = fastdeblur.deblur(image, kind=kind, full=True)
    assert_array_equal(found.image, image)
    assert found.image.dtype == (np.float32 if image.dtype == bool else image.dtype)
    assert found.kind in ("unknown", "sharp")
    assert found.psf.shape == (1, 1)
    assert not found.confidence_map.any() or found.kind == "sharp"
    if name != "one pixel":
        assert (found.kind, found.confidence) == ("unknown", 0.0)


def test_a_wrong_kernel_is_refused():
    """It makes what cannot be light, in the whole photo; the right one does not."""
    light = scene()
    y, _ = blurred(light, psf.motion(13, 20))
    planes = y[np.newaxis].astype(np.float32)
    nowhere = np.zeros(planes.shape, bool)
    for quality in ("best", "fast"):
        right, wrong = (
            restoring.restore(
                planes, _find.Blur(kernel, "motion", 0.9), np.full(1, 0.003), nowhere, quality, 1
            )
            for kernel in (psf.motion(13, 20), psf.motion(31, 110))
        )
        assert right is not None
        assert right.share.mean() > 0.9
        assert wrong is None


def test_a_blur_that_is_refused_is_not_told(monkeypatch):
    monkeypatch.setattr(estimate, "motion", lambda *_, **__: estimate.Motion(31.0, 110.0, 0.9))
    photo = case("motion")[0]
    found = fastdeblur.deblur(photo, kind="motion", full=True)
    assert (found.kind, found.confidence, found.method) == ("unknown", 0.0, "none")
    assert_array_equal(found.image, photo)


def test_a_photo_of_doubtful_confidence_is_left(monkeypatch):
    weak = estimate.Kind(
        "motion", 0.2, estimate.Motion(11.0, 30.0, 0.2), {"shake": 0.0}, False, np.empty((0, 0), object)
    )
    monkeypatch.setattr(_find, "told", lambda *_, **__: weak)
    found = fastdeblur.deblur(case("motion")[0], full=True)
    assert (found.kind, found.confidence) == ("unknown", 0.0)


def test_a_hint_at_shake_is_followed(monkeypatch):
    """The spectrum says sharp, not quite sure: only a kernel beyond doubt counts then."""
    photo = case("shake")[0]

    def told(hint):
        scores = {"shake": hint, "sharp": 1 - hint}
        return lambda *_, **__: estimate.Kind(
            "sharp", 1 - hint, None, scores, False, np.empty((0, 0), object)
        )

    searched = []

    def kernel_of(confidence, psf):
        def kernel(*_, **__):
            searched.append(confidence)
            return estimate.KernelEstimate(psf, confidence, (25, 25), (), 0.0, False)

        return kernel

    monkeypatch.setattr(estimate, "kernel", kernel_of(0.95, hook()))
    monkeypatch.setattr(_find, "told", told(0.01))
    assert fastdeblur.deblur(photo, full=True).kind == "sharp"
    monkeypatch.setattr(_find, "told", told(0.2))
    assert fastdeblur.deblur(photo, quality="fast", full=True).kind == "sharp"
    assert not searched
    found = fastdeblur.deblur(photo, full=True)
    assert (found.kind, found.confidence) == ("shake", 0.95)
    monkeypatch.setattr(estimate, "kernel", kernel_of(0.5, hook()))
    found = fastdeblur.deblur(photo, full=True)
    assert (found.kind, found.confidence) == ("sharp", 0.8)
    assert searched == [0.95, 0.5]


def test_half_seen_kernels_of_sharp_photos_are_not_believed(monkeypatch):
    """With clipped highlights the confidence ends at 0.5: then a kernel that is mostly one pixel tells nothing."""
    photo = case("shake")[0]
    sharp = 0.6 * np.pad([[1.0]], [(k // 2,) * 2 for k in hook().shape]) + 0.4 * hook()
    for psf_, kind in ((hook(), "shake"), (sharp, "unknown")):
        estimated = estimate.KernelEstimate(psf_, 0.5, (25, 25), (), 0.1, False)
        monkeypatch.setattr(estimate, "kernel", lambda *_, estimated=estimated, **__: estimated)
        assert fastdeblur.deblur(photo, kind="shake", full=True).kind == kind


def test_a_kernel_that_fills_its_frame_is_not_believed(monkeypatch):
    """Unless it is a path from one side to the other."""
    speckle = np.random.default_rng(0).random((13, 15)) ** 2
    for kernel, kind in ((speckle / speckle.sum(), "unknown"), (hook(), "shake")):
        estimated = estimate.KernelEstimate(kernel, 0.95, kernel.shape, (), 0.0, False)
        monkeypatch.setattr(estimate, "kernel", lambda *_, estimated=estimated, **__: estimated)
        assert fastdeblur.deblur(case("shake")[0], kind="shake", full=True).kind == kind
    assert _find.fills(speckle / speckle.sum(), (13, 15))
    assert not _find.fills(speckle / speckle.sum(), (15, 25))


# ---------------------------------------------------------------------------------------------------- callback


def test_the_callback_sees_the_search_and_can_end_it():
    photo = case("shake")[0]
    seen = []

    def end(state):
        seen.append(state.iteration)
        if len(seen) == 3:
            raise StopIteration

    found = fastdeblur.deblur(photo, kind="shake", callback=end, full=True)
    assert seen == [1, 2, 3]
    assert found.kind == "unknown"
    assert_array_equal(found.image, photo)


def test_an_exception_in_the_callback_ends_the_call():
    def fail(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fastdeblur.deblur(case("shake")[0], kind="shake", callback=fail)


# ------------------------------------------------------------------------------------------------------- parts


@settings(max_examples=20)
@given(st.sampled_from([np.uint8, np.uint16, np.int16, np.int64, np.float32, np.float64]), st.integers(0, 99))
def test_numbers_come_back(dtype, seed):
    rng = np.random.default_rng(seed)
    high = min(np.iinfo(dtype).max, 10**6) if np.issubdtype(dtype, np.integer) else 1000
    array = rng.uniform(0, high, (2, 9, 8)).astype(dtype)
    for law in ("srgb", 1.0, 2.2):
        numbers = Numbers.of(array, law)
        light = numbers.light(array)
        assert light.dtype == np.float32
        assert 0.1 < np.quantile(np.abs(light), 0.999) < 10
        back = numbers.back(light, np.dtype(dtype))
        assert back.dtype == dtype
        np.testing.assert_allclose(
            back.astype(float), array.astype(float), rtol=3e-6, atol=0.51 if high > 1000 else 0
        )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int64])
def test_integers_are_cut_to_their_range(dtype):
    limits = np.iinfo(dtype)
    numbers = Numbers(1.0, float(limits.max), 1.0)
    low, high = numbers.back(np.array([-9, 9], np.float32), np.dtype(dtype))
    assert low == limits.min
    assert limits.max - high <= limits.max / 2**52


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 4), st.integers(0, 4), st.integers(0, 99))
def test_mean_around_is_a_box_filter(height, width, down, across, seed):
    plane = np.random.default_rng(seed).random((height, width))
    size = (2 * down + 1, 2 * across + 1)
    total, count = (uniform_filter(np.pad(a, 9), size)[9:-9, 9:-9] for a in (plane, np.ones_like(plane)))
    np.testing.assert_allclose(_plausible.mean_around(plane, (down, across)), total / count, atol=1e-12)


def test_sharp_tiles_are_no_part_of_the_blur():
    def tile(row, kind, differs):
        return Tile(slice(row, row + 40), slice(0, 60), kind, (), 0.9, differs)

    tiles = np.array(
        [[tile(0, "sharp", True)], [tile(40, "defocus", True)], [tile(80, "sharp", False)]], object
    )
    part = _parts.blurred_part(120, 60, tiles)
    assert part.dtype == np.float32
    assert not part[:30].any()
    assert (part[50:] == 1).all()
    assert (np.diff(part[28:52, 5]) >= 0).all()
    assert (_parts.blurred_part(9, 7, np.empty((0, 0), object)) == 1).all()


def test_flat_and_even_photos_have_no_edges():
    y, x = np.mgrid[:90, :100] / 100
    for plane in (
        0 * x,
        x,
        x + y,
        (x - 0.5) ** 2 / 4,
        0.01 * np.random.default_rng(0).standard_normal((90, 100)),
    ):
        assert not _find.has_edges(plane.astype(np.float32))
    for kernel in (psf.gaussian(8), psf.motion(40, 20)):
        light, _ = blurred(scene("astronaut"), kernel, 0.02)
        assert _find.has_edges(light.mean(-1).astype(np.float32))


def test_the_busiest_part_has_the_texture():
    plane = np.zeros((200, 300), np.float32)
    plane[100:, 180:] = gaussian_filter(np.random.default_rng(0).random((100, 120)), 1)
    rows, columns = _find.busiest(plane, 100 * 150)
    assert plane[rows, columns].shape == (100, 150)
    assert rows.start > 50
    assert columns.start > 100
    assert plane[_find.busiest(plane, plane.size)].shape == plane.shape


# ------------------------------------------------------------------------------------------------------- errors

IMAGE = np.full((80, 90), 0.5)


def spoilt(value):
    image = IMAGE.copy()
    image[4, 7] = value
    return image


BAD = [
    ("image", None, "real numeric dtype, got object"),
    ("image", "photo.jpg", "real numeric dtype, got <U9"),
    ("image", IMAGE.astype(complex), "real numeric dtype, got complex128"),
    ("image", np.ma.masked_less(IMAGE, 0.1), "masked array"),
    ("image", 3.0, r"expected 2-D \(H, W\), or 3-D with channel_axis, got shape \(\)"),
    ("image", np.zeros(80), r"expected 2-D \(H, W\), or 3-D with channel_axis, got shape \(80,\)"),
    (
        "image",
        np.zeros((80, 80, 3)),
        r"expected 2-D \(H, W\), or 3-D with channel_axis, got shape \(80, 80, 3\)",
    ),
    ("image", np.zeros((0, 80)), "at least"),
    ("image", spoilt(np.nan), r"expected finite values, got nan at index \(4, 7\)"),
    ("image", spoilt(-np.inf), r"expected finite values, got -inf at index \(4, 7\)"),
    ("image", spoilt(1e31), r"got 1e\+31 at index \(4, 7\)"),
    (
        "image",
        np.zeros((63, 200)),
        r"expected at least 64 x 64 pixels to find the blur in, got shape \(63, 200\)",
    ),
    ("psf", "motion", "real numeric dtype, got <U6"),
    ("psf", np.ones(3), r"expected 2-D \(h, w\), got shape \(3,\)"),
    ("psf", np.ones((3, 3, 3)), r"expected 2-D \(h, w\), got shape \(3, 3, 3\)"),
    ("psf", np.zeros((3, 3)), "positive, finite sum, got 0"),
    ("psf", np.full((3, 3), np.nan), "finite values, got nan"),
    ("psf", np.ones((81, 3)), r"expected at most the image's size \(80, 90\), got shape \(81, 3\)"),
    ("kind", "blur", "one of 'auto', 'motion', 'defocus', 'gaussian', 'shake', got 'blur'"),
    ("kind", None, "one of .*got None"),
    ("kind", "sharp", "one of .*got 'sharp'"),
    ("quality", "good", "one of 'best', 'fast', got 'good'"),
    ("quality", 1, "one of .*got 1"),
    ("gamma", "linear", "one of 'auto', 'srgb', 'none', got 'linear'"),
    ("gamma", 0, "expected a number from 0.1 to 10, got 0"),
    ("gamma", -2.2, "expected a finite number >= 0, got -2.2"),
    ("gamma", np.nan, "expected a finite number >= 0, got nan"),
    ("gamma", None, "expected a finite number >= 0, got None"),
    ("channel_axis", -1, r"image: expected 3-D with channel_axis, got shape \(80, 90\)"),
    ("channel_axis", 1.0, "an integer or None, got 1.0"),
    ("channel_axis", 5, "expected -2 to 1 for 2 image axes, got 5"),
    ("full", "yes", "expected True or False, got 'yes'"),
    ("full", 1, "expected True or False, got 1"),
    ("callback", 3, "expected a callable, got int"),
    ("n_threads", -1, "an integer >= 0, got -1"),
    ("n_threads", 1.5, "an integer >= 0, got 1.5"),
]


@pytest.mark.parametrize(
    ("name", "value", "says"), BAD, ids=lambda v: str(v)[:20] if isinstance(v, str) else ""
)
def test_bad_arguments(name, value, says, monkeypatch):
    def never(*_, **__):
        raise AssertionError("work has begun")

    monkeypatch.setattr(_find, "fitted", never)
    monkeypatch.setattr(estimate, "noise", never)
    with pytest.raises(InvalidArgument, match=says) as raised:
        fastdeblur.deblur(**{"image": IMAGE, name: value})
    assert str(raised.value).startswith("image: " if "image:" in says else f"{name}: ")


def test_a_kind_beside_a_psf_is_refused():
    with pytest.raises(InvalidArgument, match="kind: expected 'auto' where psf is given, got 'motion'"):
        fastdeblur.deblur(IMAGE, psf.motion(5), kind="motion")


def test_memory_that_ends_is_told(monkeypatch):
    def full(*_, **__):
        raise MemoryError("no more")

    monkeypatch.setattr(estimate, "noise", full)
    with pytest.raises(fastdeblur.OutOfMemory, match="deblur: no more"):
        fastdeblur.deblur(IMAGE, psf.motion(5))


def test_the_name_is_lazy_and_listed():
    assert {"deblur", "Deblurred"} <= set(fastdeblur.__all__)
    assert {"deblur", "Deblurred"} <= set(dir(fastdeblur))
    assert fastdeblur.deblur is fastdeblur.photo.deblur


@pytest.mark.parametrize("top", [50_000.0, 65_000.0])
def test_float16_stays_finite(top):
    light = scene("coins")
    photo = (light / light.max() * top).astype(np.float16)
    sharp = fastdeblur.deblur(photo, psf.defocus(3))
    assert sharp.dtype == np.float16
    assert np.isfinite(sharp).all()


def test_results_compare_by_identity():
    first, second = (fastdeblur.deblur(np.zeros((64, 64)), full=True) for _ in range(2))
    assert first != second
    assert len({first, second, first}) == 2


@pytest.mark.parametrize("gamma", [0.05, 1e300, 0, -1])
def test_gammas_out_of_range_are_refused(gamma):
    with pytest.raises(InvalidArgument, match="gamma: expected"):
        fastdeblur.deblur(np.zeros((64, 64)), gamma=gamma)


def test_white_is_one_for_floats_in_srgb():
    dark = np.rint(60 * scene("coins")).astype(np.uint8)
    as_bytes, as_float = (
        fastdeblur.deblur(photo, psf.defocus(2), gamma="srgb") for photo in (dark, dark / 255)
    )
    assert_allclose(np.clip(as_float, 0, 1), as_bytes / 255, atol=0.51 / 255)


# ------------------------------------------------------------------------------------------------- extreme values


@pytest.mark.parametrize("psf_given", [False, True])
@pytest.mark.parametrize(
    "values",
    [
        lambda y: 1e30 * y / y.max(),
        lambda y: 1e-30 * y,
        lambda y: np.where(y == y.max(), 1e30, y),
        lambda y: np.where(y == y.max(), 1e30, 1e-30 * y),
        lambda y: np.where(y == y.max(), -1e30, y),
    ],
    ids=["large", "small", "one large", "far apart", "one negative"],
)
def test_extreme_values_stay_numbers(values, psf_given):
    y = values(blurred(scene("coins")[:120, :110], psf.motion(11, 30))[0])
    for dtype in (np.float32, np.float64):
        photo = y.astype(dtype)
        found = fastdeblur.deblur(photo, psf.motion(11, 30) if psf_given else None)
        assert found.dtype == dtype
        assert np.isfinite(found).all()


def test_a_sharp_crop_of_a_photo_is_left_alone():
    photo = data.camera()[100:336, 120:376]
    found = fastdeblur.deblur(photo, full=True)
    assert_array_equal(found.image, photo)
    assert found.method == "none"
