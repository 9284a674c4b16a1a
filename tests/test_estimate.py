"""Estimators of blur and noise: they are right on photos and on invented scenes, turn with the image, and never guess."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import scipy.signal
import scipy.special

import fastdeblur
from fastdeblur import estimate, psf
from fastdeblur.errors import InvalidArgument
from fastdeblur.estimate import _transfer
from fastdeblur.estimate._likelihood import SpectrumFit
from fastdeblur.estimate._periodogram import periodogram, smooth_size
from fastdeblur.estimate.kind import fitted, formula_instead

SPECTRAL = (estimate.motion, estimate.defocus, estimate.gaussian, estimate.kind)
ALL = (*SPECTRAL, estimate.noise)


@cache
def leaves(size: int = 330, seed: int = 3) -> np.ndarray:
    """Dead leaves: disks of all sizes over each other, whose spectrum is that of a photo."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    image = np.full((size, size), 0.5)
    for _ in range(1200):
        radius = 3 / math.sqrt(rng.uniform(0.0015, 1))
        cy, cx = rng.uniform(-20, size + 20, 2)
        inside = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
        image[inside] = rng.uniform(0.1, 0.9)
    return scipy.signal.convolve(image, psf.gaussian(0.45), mode="valid")


@cache
def camera() -> np.ndarray:
    data = pytest.importorskip("skimage.data")
    return data.camera()[64:400, 64:464] / 255


def blurred(scene, kernel, sigma=0.005, seed=0):
    y = scipy.signal.oaconvolve(scene, kernel, mode="valid")
    return y + sigma * np.random.default_rng(seed).standard_normal(y.shape)


def turn(a, b):
    return (a - b + 90) % 180 - 90


# --------------------------------------------------------------------------------------------------- accuracy


@pytest.mark.parametrize(
    ("scene", "length", "angle", "sigma"),
    [(camera, 6.0, 52.0, 0.004), (leaves, 13.3, 121.0, 0.02), (camera, 31.0, 77.5, 0.008)],
)
def test_motion_is_found(scene, length, angle, sigma):
    found = estimate.motion(blurred(scene(), psf.motion(length, angle), sigma))
    assert abs(found.length - length) <= 1.0
    assert abs(turn(found.angle, angle)) <= 3
    assert found.confidence > 0.4
    assert 0 <= found.angle < 180


@pytest.mark.parametrize(
    ("scene", "radius", "sigma"), [(camera, 2.0, 0.004), (camera, 4.7, 0.02), (leaves, 10.5, 0.008)]
)
def test_defocus_is_found(scene, radius, sigma):
    found = estimate.defocus(blurred(scene(), psf.defocus(radius), sigma))
    assert abs(found.radius - radius) <= 0.4
    assert found.confidence > 0.2


@pytest.mark.parametrize(
    ("scene", "width", "sigma"), [(camera, 1.0, 0.003), (leaves, 2.1, 0.01), (camera, 4.0, 0.003)]
)
def test_gaussian_is_found(scene, width, sigma):
    found = estimate.gaussian(blurred(scene(), psf.gaussian(width), sigma))
    assert found.sigma == pytest.approx(width, rel=0.2)
    assert found.sigma_major >= found.sigma_minor


def test_stretched_gaussian_is_found():
    truth = estimate.Gaussian(3.0, 1.2, 35.0, 1.0)
    found = estimate.gaussian(blurred(leaves(), truth.psf(), 0.002))
    assert found.sigma_major == pytest.approx(3.0, rel=0.2)
    assert found.sigma_minor == pytest.approx(1.2, rel=0.3)
    assert abs(turn(found.angle, 35)) <= 8


@pytest.mark.parametrize("sigma", [0.005, 0.02, 0.05])
@pytest.mark.parametrize("kernel", [np.ones((1, 1)), psf.gaussian(1.5)])
def test_noise_is_measured(sigma, kernel):
    y = blurred(leaves(), kernel, sigma)
    assert estimate.noise(y) == pytest.approx(sigma, rel=0.12)


def test_noise_of_pure_noise_and_of_integers(rng):
    y = 0.5 + 0.03 * rng.standard_normal((200, 150))
    assert estimate.noise(y) == pytest.approx(0.03, rel=0.05)
    assert estimate.noise(np.rint(255 * y).astype(np.uint8)) == pytest.approx(255 * 0.03, rel=0.05)


def test_noise_of_channels(rng):
    y = leaves()[..., None] + np.array([0.01, 0.02, 0.04]) * rng.standard_normal((*leaves().shape, 3))
    levels = estimate.noise(y, channel_axis=-1)
    assert levels.shape == (3,)
    assert levels == pytest.approx([0.01, 0.02, 0.04], rel=0.15)
    assert levels[1] == estimate.noise(y[..., 1])


def test_eight_bits_and_channels_do_for_motion():
    y = blurred(leaves(), psf.motion(14.0, 30.0), 0.01)
    bits = np.clip(np.rint(255 * y), 0, 255).astype(np.uint8)
    colour = np.stack([bits, bits // 2, 255 - bits], -1)[..., :2]
    for image, axis in ((bits, None), (np.moveaxis(colour, -1, 0), 0)):
        found = estimate.motion(image, channel_axis=axis)
        assert abs(found.length - 14) <= 1
        assert abs(turn(found.angle, 30)) <= 3


def test_clipped_highlights_are_left_out():
    scene = leaves().copy()
    for y, x in ((60, 80), (200, 150), (120, 260), (280, 60)):
        scene[y : y + 12, x : x + 12] = 40.0
    y = np.minimum(blurred(scene, psf.defocus(5.0), 0.004), 1.0)
    assert 0.005 < np.mean(y == 1) < 0.1
    found = estimate.defocus(y)
    assert abs(found.radius - 5) <= 0.4


# ------------------------------------------------------------------------------------------------------- laws


@pytest.fixture(scope="module")
def smeared():
    return blurred(leaves(), psf.motion(12.0, 28.0), 0.008)


@pytest.fixture(scope="module")
def smear(smeared):
    return estimate.motion(smeared)


def test_motion_turns_with_the_image(smeared, smear):
    for image, angle in ((np.rot90(smeared), smear.angle + 90), (smeared[:, ::-1], 180 - smear.angle)):
        found = estimate.motion(image)
        assert abs(turn(found.angle, angle)) <= 0.5
        assert found.length == pytest.approx(smear.length, abs=0.1)


def test_motion_does_not_depend_on_scale_offset_or_dtype(smeared, smear):
    for image in (-1e4 * smeared - 100.0, 1e-6 * smeared.astype(np.float32)):
        found = estimate.motion(image)
        assert found.length == pytest.approx(smear.length, abs=0.05)
        assert abs(turn(found.angle, smear.angle)) <= 0.3
        assert found.confidence == pytest.approx(smear.confidence, abs=0.02)


def test_motion_does_not_depend_on_an_offset_that_float64_holds(smeared, smear):
    for offset in (1e6, -1e8):
        found = estimate.motion(smeared + offset)
        assert found.length == pytest.approx(smear.length, abs=0.05)
        assert found.confidence == pytest.approx(smear.confidence, abs=0.02)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rounding_is_no_contrast(dtype):
    ulp = np.spacing(dtype(0.75))
    rounded = dtype(0.75) + ulp * np.random.default_rng(0).integers(0, 2, (80, 80)).astype(dtype)
    assert estimate.motion(rounded).confidence == 0


def test_the_image_is_not_changed(smeared):
    before = smeared.copy()
    estimate.defocus(smeared)
    estimate.noise(smeared)
    assert np.array_equal(before, smeared)


def test_noise_has_the_images_unit():
    y = blurred(leaves(), np.ones((1, 1)), 0.02)
    assert estimate.noise(1000 * y + 5) == pytest.approx(1000 * estimate.noise(y), rel=1e-6)


def test_max_length_is_kept(smeared):
    assert estimate.motion(smeared[:150, :150], max_length=8).length <= 8 + 1e-9


def test_lines_within_a_row_are_said_to_lie_along_it():
    found = estimate.motion(blurred(leaves()[:200, :200], psf.motion(8.0, 5.0), 0.004))
    assert found.angle == 0  # psf.motion(8, 5) is a row of pixels
    assert abs(found.length - 8) <= 0.5


# ------------------------------------------------------------------------------------------ confidence and kind

NOTHING = {
    "constant": np.full((120, 100), 0.3),
    "constant integers": np.full((120, 100), 255, np.uint8),
    "zero": np.zeros((80, 80)),
    "noise": 0.5 + 0.05 * np.random.default_rng(1).standard_normal((100, 120)),
    "noise of integers": np.random.default_rng(2).integers(90, 120, (80, 100)).astype(np.uint8),
    "one bright pixel": np.eye(1, 96 * 96, 96 * 48 + 48).reshape(96, 96),
}


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_is_told_from_nothing(name):
    image = NOTHING[name]
    assert estimate.motion(image).confidence < 0.1
    assert estimate.defocus(image).confidence < 0.1
    assert estimate.gaussian(image).confidence < 0.1
    kind = estimate.kind(image)
    assert kind.kind == "unknown" or kind.confidence < 0.5
    if "constant" in name or name == "zero":
        assert kind.kind == "unknown"
        assert kind.confidence == 0
        assert estimate.noise(image) == 0
        assert np.array_equal(estimate.motion(image).psf(), [[1.0]])


Y, X = np.mgrid[:256, :256] / 256


def row_noise():
    return np.repeat(np.random.default_rng(0).standard_normal((160, 1)), 160, 1)


def faint_noise(sigma=0.001):
    return sigma * np.random.default_rng(0).standard_normal(X.shape)


# Sharp, or without any detail, and nothing like a photo: a blur makes their spectra likelier by thousands of nats, but not likely.
DRAWN = {
    "ramp": lambda: X + 0.3 * Y,
    "ramp of 8 bits": lambda: np.rint(255 * (X + 0.3 * Y) / 1.3).astype(np.uint8),
    "bowl": lambda: (X - 0.5) ** 2 + (Y - 0.4) ** 2,
    "noisy bowl": lambda: (X - 0.5) ** 2 + (Y - 0.4) ** 2 + faint_noise(),
    "step": lambda: (X > 0.5).astype(float),
    "noisy step": lambda: (X > 0.5) + faint_noise(),
    "oblique step": lambda: (X + 0.6 * Y > 0.7) + faint_noise(),
    "boxes": lambda: ((X * 6 % 1 > 0.4) & (Y * 6 % 1 > 0.4)) + faint_noise(),
    "one box": lambda: ((abs(X - 0.5) < 0.2) & (abs(Y - 0.5) < 0.1)) + faint_noise(),
    "disk": lambda: (np.hypot(X - 0.5, Y - 0.5) < 0.3) + faint_noise(),
    "rows": row_noise,
    "noisy rows": lambda: row_noise() + faint_noise(0.01)[:160, :160],
}


@pytest.mark.parametrize("name", DRAWN)
def test_no_blur_is_told_with_confidence_of_what_is_no_photo(name):
    image = DRAWN[name]()
    for estimator in (estimate.motion, estimate.defocus, estimate.gaussian):
        assert estimator(image).confidence < 0.25


@pytest.mark.parametrize("name", ["ramp", "noisy step", "boxes"])
def test_no_kind_of_blur_is_told_with_confidence_of_what_is_no_photo(name):
    kind = estimate.kind(DRAWN[name]())
    assert max(kind.scores[family] for family in ("motion", "defocus", "gaussian")) < 0.25


@pytest.mark.parametrize("scene", [leaves, camera])
def test_sharp_photos_are_sharp(scene):
    y = blurred(scene(), np.ones((1, 1)), 0.004)
    kind = estimate.kind(y)
    assert kind.kind == "sharp"
    assert kind.estimate is None
    assert max(kind.scores[name] for name in ("motion", "defocus", "gaussian")) < 0.4


def shake() -> np.ndarray:
    """A hook, with uneven speed."""
    kernel = np.zeros((25, 25))
    for t in np.linspace(0, 1, 4000):
        x, y = 12 + 9 * math.cos(4 * t) * (0.4 + t * t), 12 - 9 * math.sin(5 * t * t)
        kernel[round(y), round(x)] += 1 + math.cos(9 * t)
    return kernel / kernel.sum()


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("motion", psf.motion(15, 60)),
        ("defocus", psf.defocus(4.2)),
        ("gaussian", psf.gaussian(2.5)),
        ("shake", shake()),
    ],
)
def test_kind_is_told(name, kernel):
    kind = estimate.kind(blurred(leaves(), kernel, 0.004))
    assert kind.kind == name
    assert kind.confidence == kind.scores[name] > 0.5
    assert sum(kind.scores.values()) == pytest.approx(1, abs=1e-6) or kind.scores["sharp"] == 0
    expected = {"motion": estimate.Motion, "defocus": estimate.Defocus, "gaussian": estimate.Gaussian}.get(
        name
    )
    assert isinstance(kind.estimate, expected) if expected else kind.estimate is None


def test_blur_of_half_the_frame_varies():
    scene = np.tile(leaves(430, 5), (1, 2))
    out_of_focus = blurred(scene, psf.defocus(5.0), 0.004)
    scene = scene[5:-5, 5:-5]
    half = scene.shape[1] // 2
    mixed = np.concatenate([scene[:, :half], out_of_focus[:, half:]], 1)
    kind = estimate.kind(mixed)
    assert kind.varies
    assert kind.tiles.shape == (2, 4)
    kinds = [[tile.kind for tile in row] for row in kind.tiles]
    assert all(row[0] == "sharp" and row[3] == "defocus" for row in kinds)
    tile = kind.tiles[1, 3]
    assert tile.parameters[0] == pytest.approx(5, abs=1)
    assert (tile.rows.stop, tile.columns.stop) == mixed.shape
    assert not estimate.kind(out_of_focus[:, :half]).varies


def test_a_small_frame_has_no_tiles():
    assert estimate.kind(blurred(leaves(200, 5), psf.defocus(3.0))).tiles.size == 0


# ---------------------------------------------------------------------------------------------------- results


def test_psf_of_the_estimates():
    assert np.array_equal(estimate.Motion(9.0, 30.0, 1.0).psf(), psf.motion(9, 30))
    assert estimate.Motion(9.0, 30.0, 1.0).psf(dtype=np.float32).dtype == np.float32
    assert np.array_equal(estimate.Defocus(3.0, 1.0).psf(), psf.defocus(3))
    assert np.array_equal(estimate.Gaussian(2.0, 2.0, 0.0, 1.0).psf(), psf.gaussian(2))
    assert np.array_equal(estimate.Gaussian(3.0, 1.0, 40.0, 1.0).psf(), psf.gaussian((1, 3), angle=40))
    small = estimate.Gaussian(2.0, 1.0, 40.0, 1.0).psf(shape=(15, 17), dtype=np.float32)
    assert small.shape == (15, 17)
    assert small.dtype == np.float32


def by_quadrature(major, minor, angle, shape):
    """The density at 16 x 16 points of each pixel, `major` along the angle."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    y, x = ((np.arange(n) - n // 2)[:, None] + nodes / 2 for n in shape)
    y, x = -y[:, :, None, None], x[None, None]
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    form = ((c * x + s * y) / major) ** 2 + ((c * y - s * x) / minor) ** 2
    kernel = np.einsum("ypxq,p,q->yx", np.exp(-form / 2), weights, weights)
    return kernel / kernel.sum()


@pytest.mark.parametrize(("major", "minor"), [(3.0, 1.0), (2.0, 1.9), (1.5, 0.4)])
def test_turned_gaussian_kernel(major, minor):
    along_rows = estimate.Gaussian(major, minor, 90.0, 1.0).psf()
    exact = psf.gaussian((major, minor), shape=along_rows.shape)
    assert np.abs(along_rows - exact).max() <= 1e-6
    kernel = estimate.Gaussian(major, minor, 30.0, 1.0).psf()
    assert np.abs(kernel - by_quadrature(major, minor, 30.0, kernel.shape)).max() <= 1e-6
    assert kernel.sum() == pytest.approx(1)
    assert np.allclose(kernel, kernel[::-1, ::-1])
    y, x = (np.arange(n) - n // 2 for n in kernel.shape)
    xx, yy = (kernel * x**2).sum(), (kernel * (-y[:, None]) ** 2).sum()
    xy = (kernel * x * -y[:, None]).sum()
    # Moments of the pixels' squares add 1/12.
    c, s = math.cos(math.radians(30)), math.sin(math.radians(30))
    assert xx == pytest.approx((major * c) ** 2 + (minor * s) ** 2 + 1 / 12, rel=2e-3)
    assert yy == pytest.approx((major * s) ** 2 + (minor * c) ** 2 + 1 / 12, rel=2e-3)
    assert xy == pytest.approx((major**2 - minor**2) * c * s, rel=5e-3, abs=1e-4)


# ----------------------------------------------------------------------------------------------------- errors

BAD = {
    "scalar": (3.0, {}),
    "one axis": (np.zeros(100), {}),
    "three axes": (np.zeros((100, 100, 100)), {}),
    "colour without its axis": (np.zeros((100, 100, 3)), {}),
    "channel axis on two axes": (np.zeros((100, 100)), {"channel_axis": -1}),
    "channel axis out of range": (np.zeros((100, 100, 3)), {"channel_axis": 3}),
    "channel axis no integer": (np.zeros((100, 100, 3)), {"channel_axis": 1.5}),
    "complex": (np.zeros((100, 100), complex), {}),
    "object": (np.full((100, 100), None), {}),
    "masked": (np.ma.zeros((100, 100)), {}),
    "NaN": (np.where(np.eye(100) > 0, np.nan, 1.0), {}),
    "infinite": (np.where(np.eye(100) > 0, np.inf, 1.0), {}),
    "empty": (np.zeros((0, 100)), {}),
    "small": (np.zeros((15, 100)), {}),
}


@pytest.mark.parametrize("function", ALL, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", BAD)
def test_bad_images_are_refused(function, name):
    image, options = BAD[name]
    with pytest.raises(InvalidArgument, match=r"image|channel_axis"):
        function(image, **options)


@pytest.mark.parametrize("function", SPECTRAL, ids=lambda f: f.__name__)
def test_small_images_are_refused(function):
    with pytest.raises(
        InvalidArgument, match=r"image: expected at least 64 x 64 pixels, got shape \(63, 200\)"
    ):
        function(np.ones((63, 200)))
    function(leaves()[:64, :66])


@pytest.mark.parametrize("value", [2, -1, math.nan, math.inf, "9", 50])
def test_max_length_is_checked(value):
    image = leaves()[:120, :120]
    with pytest.raises(InvalidArgument, match="max_length"):
        estimate.motion(image, max_length=value)


# ------------------------------------------------------------------------------------------------------ parts


def test_spectrum_of_white_noise_is_flat_and_its_freedom_right():
    noise = np.random.default_rng(4).standard_normal((600, 500)).astype(np.float32)
    cells = periodogram(noise, None, (64,))[0]
    assert cells.power.mean() == pytest.approx(1, rel=0.02)
    assert np.average((cells.power - 1) ** 2 * cells.dof) == pytest.approx(1, abs=0.3)


def test_masked_pixels_do_not_count():
    noise = np.random.default_rng(4).standard_normal((256, 256)).astype(np.float32)
    weights = np.ones_like(noise)
    noise[100:130, 90:140] = 1e4
    weights[96:134, 86:144] = 0
    cells = periodogram(noise, weights, (64,))[0]
    assert cells.power.mean() == pytest.approx(1, rel=0.05)


def test_tiles_of_a_large_frame_make_one_spectrum():
    noise = np.random.default_rng(4).standard_normal((1500, 1100)).astype(np.float32)
    cells = periodogram(noise, None, (64,))[0]
    assert cells.power.mean() == pytest.approx(1, rel=0.02)


def test_a_fit_without_any_signal_goes_on():
    noise = np.random.default_rng(4).standard_normal((100, 120)).astype(np.float32)
    fit = SpectrumFit(periodogram(noise, None, (64,))[0])
    transfer = np.full((2, fit.cells.fx.size), 1e-12, np.float32)
    theta = fit.start(transfer)
    theta[:, 0] = -200
    cost, theta = fit.fit(transfer, theta)
    assert np.isfinite(cost).all()
    # Few cells, and their logarithms: one frame's level scatters.
    assert np.exp(theta[:, -1]) == pytest.approx([1, 1], rel=0.2)


def test_smooth_sizes():
    for n in range(32, 300):
        size, rest = smooth_size(n), smooth_size(n)
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        assert size % 2 == 0
        assert rest == 1
        assert 0.85 * n <= size <= n


def test_bessel_function():
    x = np.linspace(1e-3, 200, 20_000, dtype=np.float32)
    exact = 2 * scipy.special.j1(x.astype(float)) / x
    assert np.abs(_transfer._jinc(x) - exact).max() <= 1e-6


@pytest.mark.parametrize(("length", "angle"), [(9.0, 0.0), (17.3, 33.0), (22.0, 96.0)])
def test_transfer_function_of_the_kernel(length, angle):
    cells = periodogram(leaves().astype(np.float32), None, (64,))[0]
    kernel = psf.motion(length, angle)
    y, x = (np.arange(n) - n // 2 for n in kernel.shape)
    expected = np.zeros(cells.fx.size)
    for sign in (-1, 1):
        shift = sign * np.sqrt(
            np.cos(np.deg2rad(angle)) ** 2 * cells.vx + np.sin(np.deg2rad(angle)) ** 2 * cells.vy
        )
        fx, fy = cells.fx + shift * np.cos(np.deg2rad(angle)), cells.fy + shift * np.sin(np.deg2rad(angle))
        phase = np.exp(-2j * np.pi * (fx[:, None, None] * x - fy[:, None, None] * y[:, None]))
        expected += np.abs((phase * kernel).sum((1, 2))) ** 2 / 2
    found = _transfer.motion_kernel(cells, np.array([[length, angle]]))[0]
    assert np.abs(found - expected).max() <= 1e-5


@pytest.mark.parametrize("shape", [(1, 1), (4, 7), (9, 8)])
def test_transfer_function_of_any_kernel(shape):
    """The mean of |H|^2 over four points around each cell's middle, with rows counted downwards and frequencies upwards."""
    cells = periodogram(leaves().astype(np.float32), None, (64,))[0]
    kernel = np.random.default_rng(2).random(shape)
    kernel /= kernel.sum()
    y, x = (np.arange(n) - n // 2 for n in shape)
    expected = np.zeros(cells.fx.size)
    for right, up in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        fx, fy = cells.fx + right * np.sqrt(cells.vx), cells.fy + up * np.sqrt(cells.vy)
        phase = np.exp(-2j * np.pi * (fx[:, None, None] * x - fy[:, None, None] * y[:, None]))
        expected += np.abs((phase * kernel).sum((1, 2))) ** 2 / 4
    assert np.abs(_transfer.kernel(cells, kernel)[0] - expected).max() <= 1e-5


BENT = psf.trajectory(np.array([(0, 0), (6, 1), (9, 6), (6, 9)], float), np.array([0, 0.3, 0.8, 1.0]))


@pytest.mark.parametrize(
    ("kernel", "name"), [(psf.motion(12, 35), "motion"), (psf.defocus(3.5), "defocus"), (BENT, None)]
)
def test_a_formula_takes_the_place_of_a_kernel_that_tells_no_more(kernel, name):
    light = leaves()
    y = scipy.signal.fftconvolve(light, kernel, "valid")
    y += 0.004 * np.random.default_rng(1).standard_normal(y.shape)
    fits = fitted(y, None)
    instead = formula_instead(fits, kernel)  # the kernel itself: what a perfect search would find
    assert name == (instead and instead.kind)
    if name is not None:
        assert instead.confidence >= 0.25
        assert instead.estimate.confidence == instead.confidence
        # Not for a kernel that has the blur's size but is another: that tells less still.
        assert formula_instead(fits, np.rot90(BENT)).kind == name


def test_the_layer_is_public():
    assert fastdeblur.estimate is estimate
