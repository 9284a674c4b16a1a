"""PSF generators against closed forms, exact rational sums, quadrature and supersampling; and their laws."""

from __future__ import annotations

import itertools
import math
import os
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdeblur import psf
from fastdeblur.errors import InvalidArgument, OutOfMemory, Unsupported
from fastdeblur.psf import _common

SLACK = 1e-12

lengths = st.floats(0, 60)
angles = st.floats(-720, 720)
radii = st.floats(0, 25)
sigmas = st.floats(0, 8)
few = settings(max_examples=60, deadline=None)


def native_why_not() -> str:
    try:
        psf.motion(1.0, backend="native")
    except Unsupported as error:
        return str(error)
    return ""


def require(backend: str) -> str:
    """Skip where a backend is missing, or fail where FASTDEBLUR_REQUIRE says that it must not be."""
    if backend == "native" and (why := native_why_not()):
        if "native" in os.environ.get("FASTDEBLUR_REQUIRE", "").replace(" ", "").split(","):
            pytest.fail(why)
        pytest.skip(why)
    return backend


@pytest.fixture(params=["numpy", "native"], scope="module")
def backend(request):
    return require(request.param)


@pytest.fixture(scope="module")
def native():
    return require("native")


def axes_of(kernel, ndim=2):
    return tuple(range(kernel.ndim - ndim, kernel.ndim))


def coordinates(shape):
    return np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij")


def assert_is_psf(kernel, *, centred=True):
    """One kernel: finite, non-negative, sum 1, and its centroid on the origin."""
    assert kernel.dtype == np.float64
    assert np.isfinite(kernel).all()
    assert kernel.min() >= 0
    assert abs(math.fsum(kernel.ravel()) - 1) <= SLACK
    if centred:
        for axis in coordinates(kernel.shape):
            assert abs(math.fsum((kernel * axis).ravel())) <= 1e-9


# --------------------------------------------------------------------------------------------------- motion


def line_by_rational_clipping(length, cos, sin, shape):
    """Exact: the part of the line inside each pixel's square, by clipping in rational numbers."""
    h, w = shape
    out = np.zeros(shape)
    half = Fraction(length) / 2
    for row in range(h):
        for column in range(w):
            low, high = -half, half
            for centre, direction in ((Fraction(column - w // 2), cos), (Fraction(h // 2 - row), sin)):
                if direction == 0:
                    if abs(centre) >= Fraction(1, 2):
                        high = low
                    continue
                borders = sorted(
                    [(centre - Fraction(1, 2)) / direction, (centre + Fraction(1, 2)) / direction]
                )
                low, high = max(low, borders[0]), min(high, borders[1])
            out[row, column] = max(Fraction(0), high - low) / (2 * half)
    return out


@pytest.mark.parametrize("triple", [(3, 4, 5), (5, 12, 13), (8, 15, 17), (20, 21, 29), (0, 1, 1)])
@pytest.mark.parametrize("length", [2.5, 5, 10, 13, 23.25])
def test_motion_is_the_exact_length_in_each_pixel(backend, triple, length):
    a, b, c = triple
    for cos, sin in ((a, b), (b, a), (-a, b), (a, -b)):
        kernel = psf.motion(length, math.degrees(math.atan2(sin, cos)), shape=(25, 25), backend=backend)
        exact = line_by_rational_clipping(length, Fraction(cos, c), Fraction(sin, c), kernel.shape)
        assert np.abs(kernel - exact).max() <= 1e-14


@pytest.mark.parametrize("shape", [(9, 12), (12, 9), (10, 10)])
def test_motion_on_even_shapes_has_its_origin_at_half_the_shape(backend, shape):
    kernel = psf.motion(7.5, math.degrees(math.atan2(3, 4)), shape=shape, backend=backend)
    exact = line_by_rational_clipping(7.5, Fraction(4, 5), Fraction(3, 5), shape)
    assert np.abs(kernel - exact).max() <= 1e-14


@pytest.mark.parametrize("angle", [0.01, 17, 44.999, 45.001, 89.99, 123.4, -31])
def test_motion_against_supersampling(backend, angle):
    kernel = psf.motion(14.3, angle, shape=(17, 17), backend=backend)
    n = 400_000
    t = (np.arange(n) + 0.5) / n * 14.3 - 14.3 / 2
    rows = np.floor(8 - t * np.sin(np.deg2rad(angle)) + 0.5).astype(int)
    columns = np.floor(8 + t * np.cos(np.deg2rad(angle)) + 0.5).astype(int)
    sampled = np.bincount(rows * 17 + columns, minlength=17 * 17).reshape(17, 17) / n
    assert np.abs(kernel - sampled).max() <= 3 / n


def test_motion_closed_forms(backend):
    def motion(*args):
        return psf.motion(*args, backend=backend)

    assert np.allclose(motion(5, 0), np.full((1, 5), 0.2), rtol=0, atol=1e-15)
    assert np.allclose(motion(4, 0), [[0.125, 0.25, 0.25, 0.25, 0.125]], rtol=0, atol=1e-15)
    assert np.allclose(motion(2, 90), [[0.25], [0.5], [0.25]], rtol=0, atol=1e-15)
    # Through the pixels' corners: nothing in the pixels beside the diagonal.
    assert np.array_equal(motion(3 * math.sqrt(2), 45) != 0, np.eye(3, dtype=bool)[::-1])
    assert np.allclose(motion(3 * math.sqrt(2), 135), np.eye(3) / 3, rtol=0, atol=1e-15)


def test_motion_turns_counter_clockwise_as_seen(backend):
    kernel = psf.motion(9, 30, backend=backend)
    y, x = coordinates(kernel.shape)
    assert (kernel * x * -y).sum() > 0  # rows run downwards


@pytest.mark.parametrize(("length", "shape"), [(5, (1, 5)), (5.001, (1, 7)), (4.999, (1, 5)), (1, (1, 1))])
def test_motion_default_shape_is_just_large_enough(length, shape):
    assert psf.motion(length, 0).shape == shape
    assert psf.motion(length, 90).shape == shape[::-1]


def test_motion_default_shape_ignores_rounding():
    # 5 sqrt 2 at 45 degrees ends on a pixel's corner, whatever way the product rounds.
    assert psf.motion(5 * math.sqrt(2), 45).shape == (5, 5)
    assert psf.motion(10, math.degrees(math.atan2(3, 4))).shape == (7, 9)


@few
@given(length=lengths, angle=angles)
def test_motion_is_a_psf_with_the_symmetries_of_the_grid(backend, length, angle):
    def motion(a):
        return psf.motion(length, a, shape=(63, 63), backend=backend)

    kernel = motion(angle)
    assert_is_psf(kernel)
    assert np.array_equal(kernel, kernel[::-1, ::-1])
    if math.fmod(angle, 180) == math.fmod(angle + 180, 180):  # else the sum was rounded
        assert np.array_equal(kernel, motion(angle + 180))
    assert np.allclose(kernel[:, ::-1], motion(-angle), rtol=0, atol=1e-15)
    if (90 - angle) + angle == 90 and 90 - (90 - angle) == angle:
        assert np.allclose(kernel[::-1, ::-1].T, motion(90 - angle), rtol=0, atol=1e-15)


@few
@given(length=lengths, angle=st.integers(0, 11).map(lambda k: 15.0 * k))
def test_motion_at_90_degrees_more_is_a_quarter_turn(backend, length, angle):
    here = psf.motion(length, angle, backend=backend)
    turned = psf.motion(length, angle + 90, backend=backend)
    assert turned.shape == here.shape[::-1]
    assert np.allclose(turned, np.rot90(here), rtol=0, atol=1e-15)


@few
@given(length=lengths, angle=angles)
def test_motion_has_the_second_moments_of_the_line(backend, length, angle):
    """The kernel's variance is the line's to within what integrating over a pixel can move."""
    kernel = psf.motion(length, angle, backend=backend)
    y, x = coordinates(kernel.shape)
    for axis, part in ((x, math.cos(math.radians(angle))), (y, math.sin(math.radians(angle)))):
        line = (length * part) ** 2 / 12
        pixel = math.sqrt(1 / 4)
        assert abs(math.sqrt((kernel * axis**2).sum()) - math.sqrt(line)) <= pixel + 1e-9


# -------------------------------------------------------------------------------------------------- defocus


def disk_by_quadrature(radius, size):
    """Each pixel's area inside the disk: adaptive quadrature of the clipped chord, broken at its kinks."""
    from scipy.integrate import quad

    reach = size // 2
    out = np.zeros((size, size))

    def chord(x, low, high):
        y = math.sqrt(max(0.0, radius**2 - x * x))
        return max(0.0, min(high, y) - max(low, -y))

    for v in range(reach + 1):
        kinks = [math.sqrt(radius**2 - y * y) for y in (v - 0.5, v + 0.5) if abs(y) < radius] + [radius]
        for u in range(reach + 1):
            points = sorted(
                {u - 0.5, u + 0.5, *(s * k for k in kinks for s in (-1, 1) if abs(s * k - u) < 0.5)}
            )
            area = sum(
                quad(chord, a, b, args=(v - 0.5, v + 0.5), epsabs=1e-13, epsrel=1e-13)[0]
                for a, b in itertools.pairwise(points)
                if b - a > 1e-12  # the arc through a corner breaks the chord there twice
            )
            for y, x in ((v, u), (-v, u), (v, -u), (-v, -u)):
                out[reach + y, reach + x] = area
    return out / (math.pi * radius**2)


@pytest.mark.parametrize("radius", [0.51, 0.6, math.sqrt(0.5), 0.8, 1, 1.5, 2.3, math.sqrt(12.5), 5])
def test_defocus_against_quadrature(backend, radius):
    kernel = psf.defocus(radius, backend=backend)
    assert np.abs(kernel - disk_by_quadrature(radius, kernel.shape[0])).max() <= 1e-11


@pytest.mark.parametrize("radius", [0.7, 1.9, 3.25])
def test_defocus_against_supersampling(backend, radius):
    kernel = psf.defocus(radius, backend=backend)
    size, n = kernel.shape[0], 400
    x = (np.arange(size * n) + 0.5) / n - size / 2
    inside = x[:, None] ** 2 + x[None, :] ** 2 <= radius**2
    sampled = inside.reshape(size, n, size, n).sum((1, 3)) / inside.sum()
    assert np.abs(kernel - sampled).max() <= 2e-4


def test_defocus_closed_forms(backend):
    for radius in (0, 0.2, 0.5):
        assert np.array_equal(psf.defocus(radius, backend=backend), [[1.0]])
    # A disk a little larger than its pixel: four circular segments hang over the borders.
    r = 0.6
    segment = r * r * math.acos(0.5 / r) - 0.5 * math.sqrt(r * r - 0.25)
    disk = math.pi * r * r
    expected = np.array([[0, segment, 0], [segment, disk - 4 * segment, segment], [0, segment, 0]]) / disk
    assert np.abs(psf.defocus(r, backend=backend) - expected).max() <= 1e-15
    # Pixels wholly inside hold 1 / (pi r^2) each.
    kernel = psf.defocus(7.25, backend=backend)
    y, x = coordinates(kernel.shape)
    whole = np.hypot(np.abs(x) + 0.5, np.abs(y) + 0.5) <= 7.25
    assert np.abs(kernel[whole] * math.pi * 7.25**2 - 1).max() <= 1e-13


def test_defocus_of_a_very_large_radius(backend):
    kernel = psf.defocus(500.0, backend=backend)
    assert kernel.shape == (1001, 1001)
    assert_is_psf(kernel)
    assert kernel.max() == pytest.approx(1 / (math.pi * 500**2), rel=1e-12)
    assert kernel[500, 0] > 0  # the rim's last pixel: a sliver of height 1/2
    # The sliver: half a pixel deep at its middle, and the arc falls by 1/(8 R) at the pixel's sides.
    assert kernel[500, 0] / kernel.max() == pytest.approx(0.5 - 1 / (24 * 500), abs=1e-9)


@few
@given(radius=radii)
def test_defocus_is_a_psf_with_all_eight_symmetries(backend, radius):
    kernel = psf.defocus(radius, backend=backend)
    assert_is_psf(kernel)
    assert kernel.shape[0] == kernel.shape[1] == 2 * max(0, math.ceil(radius * (1 - 1e-12) - 0.5)) + 1
    for image in (kernel[::-1], kernel[:, ::-1], kernel.T):
        assert np.array_equal(kernel, image)
    if kernel.shape[0] > 1:  # just large enough
        assert kernel[0].sum() > 0


def test_defocus_on_even_shapes_has_its_origin_at_half_the_shape(backend):
    odd = psf.defocus(3.2, backend=backend)
    even = psf.defocus(3.2, shape=(8, 10), backend=backend)
    expected = np.zeros((8, 10))
    expected[1:8, 2:9] = odd  # origins: 3 -> 4 and 3 -> 5
    assert np.allclose(even, expected, rtol=0, atol=1e-15)


# ------------------------------------------------------------------------------------------------- gaussian


@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.5, 1, 2.75, 40])
def test_gaussian_against_the_normal_distribution(backend, sigma):
    from scipy.special import ndtr

    kernel = psf.gaussian(sigma, ndim=1, backend=backend)
    k = np.abs(np.arange(kernel.size) - kernel.size // 2)
    exact = ndtr(-(k - 0.5) / sigma) - ndtr(-(k + 0.5) / sigma)
    assert np.abs(kernel - exact / exact.sum()).max() <= 1e-15
    # The documented loss: less than 5.8e-7 of the mass lies outside the default shape.
    assert 1 - exact.sum() <= 5.8e-7


def test_gaussian_tail_keeps_its_digits(backend):
    from scipy.special import erfc

    kernel = psf.gaussian(1.0, ndim=1, shape=(41,), backend=backend)
    tail = (erfc(19.5 / math.sqrt(2)) - erfc(20.5 / math.sqrt(2))) / 2  # 3e-85
    assert kernel[0] == pytest.approx(tail, rel=1e-11)


def test_gaussian_against_supersampling(backend):
    kernel = psf.gaussian((0.4, 0.9), backend=backend)
    n = 200
    profiles = []
    for sigma, size in zip((0.4, 0.9), kernel.shape, strict=True):
        x = (np.arange(size * n) + 0.5) / n - size / 2
        profile = np.exp(-0.5 * (x / sigma) ** 2).reshape(size, n).sum(1)
        profiles.append(profile / profile.sum())
    assert np.abs(kernel - np.outer(*profiles)).max() <= 1e-5


def test_gaussian_axes_are_those_of_the_array(backend):
    kernel = psf.gaussian((0.5, 1.0, 2.0), backend=backend)
    assert kernel.shape == (5, 11, 21)
    assert_is_psf(kernel)
    for axis, sigma in enumerate((0.5, 1.0, 2.0)):
        profile = kernel.sum(tuple(a for a in range(3) if a != axis))
        assert np.allclose(profile, psf.gaussian(sigma, ndim=1, backend=backend), rtol=0, atol=1e-15)


def test_gaussian_of_sigma_zero_is_an_impulse_on_that_axis(backend):
    assert np.array_equal(psf.gaussian(0, backend=backend), [[1.0]])
    kernel = psf.gaussian((0, 1.5), shape=(3, 15), backend=backend)
    assert np.array_equal(kernel[[0, 2]], np.zeros((2, 15)))
    assert np.allclose(kernel[1], psf.gaussian(1.5, ndim=1, backend=backend), rtol=0, atol=1e-15)
    assert np.array_equal(psf.gaussian(5e-324, shape=(3, 3), backend=backend), np.outer([0, 1, 0], [0, 1, 0]))


@few
@given(sigma=st.tuples(sigmas, sigmas))
def test_gaussian_is_a_psf_and_separable(backend, sigma):
    kernel = psf.gaussian(sigma, backend=backend)
    assert_is_psf(kernel)
    assert np.array_equal(kernel, kernel[::-1, ::-1])
    assert np.allclose(kernel, np.outer(kernel.sum(1), kernel.sum(0)), rtol=0, atol=1e-15)
    assert np.allclose(kernel.T, psf.gaussian(sigma[::-1], backend=backend), rtol=0, atol=1e-15)


def test_gaussian_tuple_is_one_sigma_per_axis_and_a_list_or_array_a_batch(backend):
    def gaussian(*args, **kwargs):
        return psf.gaussian(*args, backend=backend, **kwargs)

    assert gaussian(1.0).shape == (11, 11)
    assert gaussian(1.0, ndim=1).shape == (11,)
    assert gaussian(1.0, ndim=3).shape == (11, 11, 11)
    assert gaussian((1.0,)).shape == (11,)
    assert gaussian((1.0, 2.0)).shape == (11, 21)
    assert gaussian((1.0, 2.0, 2.0)).shape == (11, 21, 21)
    assert gaussian([1.0, 2.0]).shape == (2, 21, 21)
    assert gaussian(np.array([1.0, 2.0])).shape == (2, 21, 21)
    assert gaussian([1.0, 2.0], ndim=1).shape == (2, 21)
    assert gaussian([[1.0], [2.0]]).shape == (2, 1, 21, 21)
    assert gaussian((np.array([1.0, 2.0]), 0.5)).shape == (2, 21, 5)
    assert gaussian(1.0, shape=(13,)).shape == (13,)
    assert gaussian(np.float32(1.0)).shape == (11, 11)


# --------------------------------------------------------------------------- batches, precision and threads

GENERATORS = {
    "motion": lambda **k: psf.motion([0, 1.5, 5, 9, 21], [0, 12.5, 30, -45, 90], **k),
    "defocus": lambda **k: psf.defocus([0, 0.4, 0.9, 3.3, 8], **k),
    "gaussian": lambda **k: psf.gaussian([0, 0.05, 0.7, 2.2, 3], **k),
    "gaussian 3-D": lambda **k: psf.gaussian((0.5, np.array([1, 2, 3.0]), 0.7), **k),
}


def test_a_batch_holds_the_single_kernels(backend):
    batch = psf.motion([5, 9, 21], [0, 30, 45], backend=backend)
    assert batch.shape == (3, 15, 15)
    for kernel, length, angle in zip(batch, [5, 9, 21], [0, 30, 45], strict=True):
        assert np.array_equal(kernel, psf.motion(length, angle, shape=(15, 15), backend=backend))
        assert_is_psf(kernel)
    batch = psf.defocus([[1, 2.5], [0.2, 4]], backend=backend)
    assert batch.shape == (2, 2, 9, 9)
    for index, radius in np.ndenumerate([[1, 2.5], [0.2, 4]]):
        assert np.array_equal(batch[index], psf.defocus(radius, shape=(9, 9), backend=backend))
    batch = psf.gaussian((np.array([[1.0], [2.0]]), np.array([0.5, 0.7, 0.9])), backend=backend)
    assert batch.shape == (2, 3, 21, 9)
    for index, _ in np.ndenumerate(np.empty((2, 3))):
        one = psf.gaussian(([1.0, 2.0][index[0]], [0.5, 0.7, 0.9][index[1]]), shape=(21, 9), backend=backend)
        assert np.array_equal(batch[index], one)


def test_parameters_broadcast(backend):
    assert psf.motion([[5], [9]], [0, 30, 45], backend=backend).shape[:2] == (2, 3)
    assert psf.motion(5, np.arange(0, 180, 20.0)[::2], backend=backend).shape[0] == 5
    assert psf.motion([5], 3, backend=backend).ndim == 3


@pytest.mark.parametrize("name", GENERATORS)
def test_native_matches_the_reference(native, name):
    make = GENERATORS[name]
    assert np.abs(make(backend="native") - make(backend="numpy")).max() <= SLACK


@few
@given(length=lengths, angle=angles, radius=radii, sigma=st.tuples(sigmas, sigmas))
def test_native_matches_the_reference_anywhere(native, length, angle, radius, sigma):
    for make in (
        lambda b: psf.motion(length, angle, backend=b),
        lambda b: psf.defocus(radius, backend=b),
        lambda b: psf.gaussian(sigma, backend=b),
    ):
        assert np.abs(make("native") - make("numpy")).max() <= SLACK


@pytest.mark.parametrize("name", GENERATORS)
def test_the_number_of_threads_never_changes_a_bit(native, name):
    make = GENERATORS[name]
    one = make(backend="native", n_threads=1)
    for n_threads in (0, 2, 3, 7, 10**20):
        assert np.array_equal(make(backend="native", n_threads=n_threads), one)


def test_one_large_kernel_is_the_same_for_any_number_of_threads(native):
    for make in (lambda n: psf.defocus(150.3, n_threads=n), lambda n: psf.motion(700, 33, n_threads=n)):
        assert np.array_equal(make(1), make(3))


@pytest.mark.parametrize("name", GENERATORS)
def test_float32_is_rounded_from_float64_and_sums_to_one(backend, name):
    double, single = GENERATORS[name](backend=backend), GENERATORS[name](backend=backend, dtype=np.float32)
    assert single.dtype == np.float32
    assert np.abs(single - double).max() <= 2e-7
    axes = axes_of(single, 3 if "3-D" in name else 2)
    assert np.abs(single.sum(axes, dtype=np.float64) - 1).max() <= 1e-7


def test_results_are_writable_contiguous_and_the_caller_s_own(backend):
    kernel = psf.motion(5, 10, backend=backend)
    assert kernel.flags.c_contiguous
    kernel[...] = 0
    assert psf.motion(5, 10, backend=backend).sum() == pytest.approx(1)


# --------------------------------------------------------------------------------------------------- frames


def test_a_larger_shape_pads_with_zeros(backend):
    small = psf.motion(9, 30, backend=backend)
    large = psf.motion(9, 30, shape=(21, 31), backend=backend)
    h, w = small.shape
    inner = large[10 - h // 2 : 11 + h // 2, 15 - w // 2 : 16 + w // 2]
    assert np.allclose(inner, small, rtol=0, atol=1e-15)
    assert np.count_nonzero(large) == np.count_nonzero(inner)


@pytest.mark.parametrize(
    ("make", "inside", "outside"),
    [
        (lambda s: psf.motion(9.05, 0, shape=(1, s)), 9, 7),
        (lambda s: psf.motion(9.05, 90, shape=(s, 1)), 9, 7),
        (lambda s: psf.motion(9.9, 0, shape=(3, s)), 11, 9),
        (lambda s: psf.defocus(4.52, shape=(s, s)), 9, 8),
        (lambda s: psf.gaussian(2.0, shape=(s, s)), 13, 11),
        (lambda s: psf.gaussian((1.0, 0.0, 0.5), shape=(s, 1, 9)), 7, 3),
    ],
)
def test_a_shape_may_cut_off_one_percent_and_no_more(make, inside, outside):
    assert make(inside).sum() == pytest.approx(1, abs=SLACK)
    with pytest.raises(InvalidArgument, match=r"^shape: expected to cut off at most 1% .* got \("):
        make(outside)


def test_the_message_says_how_much_a_shape_cuts_off():
    with pytest.raises(InvalidArgument, match=r"cuts off 0\.5 of 1 at \(length, angle\) = \[10\., *0\.\]"):
        psf.motion([2, 10, 4], 0, shape=(1, 5))
    with pytest.raises(InvalidArgument, match=r"cuts off 0\.0455 of 1 at sigma = \[0\.25\]"):
        psf.gaussian(0.25, shape=(1,))


# --------------------------------------------------------------------------------------------------- errors

NON_NEGATIVE = {
    "length": lambda v, **k: psf.motion(v, **k),
    "radius": lambda v, **k: psf.defocus(v, **k),
    "sigma": lambda v, **k: psf.gaussian(v, **k),
}
PARAMETERS = NON_NEGATIVE | {"angle": lambda v, **k: psf.motion(5, v, **k)}
BAD_NUMBERS = [
    math.nan, math.inf, -math.inf, [1.0, math.nan], 1j, [1, 2j], "5", ["5"], b"5", None, True, [True], [],
    [[]], [[1], [2, 3]], {}, object(), np.array([1.0], dtype=object), 10**400,
    np.ma.masked_equal([1.0, 2.0], 2.0),
    np.array(["2026-01-01"], dtype="M8[D]"),
]  # fmt: skip


@pytest.mark.parametrize("value", BAD_NUMBERS, ids=lambda v: repr(v)[:20])
@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_must_be_real_finite_numbers(name, value):
    with pytest.raises(InvalidArgument, match=rf"^{name}: expected .*got ") as error:
        PARAMETERS[name](value)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("name", NON_NEGATIVE)
def test_sizes_must_not_be_negative(name):
    with pytest.raises(
        InvalidArgument, match=rf"^{name}: expected values that are finite and at least 0, got -1"
    ):
        NON_NEGATIVE[name](-1)
    with pytest.raises(InvalidArgument, match=rf"^{name}: .* got -2.0 at index 1$"):
        NON_NEGATIVE[name]([3, -2])
    with pytest.raises(InvalidArgument, match=rf"^{name}: .* got -0.5 at index \(1, 0\)$"):
        NON_NEGATIVE[name]([[3, 2], [-0.5, -1]])


def test_a_long_double_beyond_float64_is_not_finite():
    value = np.longdouble("1e400")
    if np.isfinite(value):
        with pytest.raises(InvalidArgument, match=r"^length: expected values that are finite"):
            psf.motion(value)


@pytest.mark.parametrize(
    "shape", [5, 5.0, "55", (), (5,), (5, 5, 5), (5, 5.0), (5, "5"), (5, 0), (5, -5), (True, 5), {5, 6},
              np.array(5), (5, (5,)), (5, 10**30)]
)  # fmt: skip
@pytest.mark.parametrize("name", NON_NEGATIVE)
def test_shape_must_be_positive_ints(name, shape):
    if name == "sigma" and shape in ((5,), (5, 5, 5)):
        return  # gaussian takes its number of axes from shape
    with pytest.raises(InvalidArgument, match=r"^shape(\[\d\])?: expected .*got "):
        NON_NEGATIVE[name](0.5, shape=shape)


@pytest.mark.parametrize("name", PARAMETERS)
def test_options_are_checked(name):
    make = PARAMETERS[name]
    for dtype in (int, np.float16, complex, "no such type", None, object, "U4"):
        with pytest.raises(InvalidArgument, match=r"^dtype: expected float32 or float64, got "):
            make(1.0, dtype=dtype)
    for backend in ("numba", "", None, 1):
        with pytest.raises(InvalidArgument, match=r"^backend: expected .*got "):
            make(1.0, backend=backend)
    for n_threads in (-1, 1.5, "2", None, True):
        with pytest.raises(InvalidArgument, match=r"^n_threads: expected .*got "):
            make(1.0, n_threads=n_threads)


def test_gaussian_number_of_axes_must_agree():
    for kwargs in ({"ndim": 0}, {"ndim": 4}, {"ndim": 2.0}, {"ndim": "2"}, {"ndim": True}):
        with pytest.raises(InvalidArgument, match=r"^ndim: expected .*got "):
            psf.gaussian(1.0, **kwargs)
    with pytest.raises(
        InvalidArgument, match=r"^sigma: expected one number of axes, got 2 from ndim, 3 from sigma"
    ):
        psf.gaussian((1, 2, 2), ndim=2)
    with pytest.raises(InvalidArgument, match=r"^sigma: .*got 2 from shape, 1 from sigma"):
        psf.gaussian((1,), shape=(5, 5))
    with pytest.raises(InvalidArgument, match=r"^shape: .*got 2 from ndim, 1 from shape"):
        psf.gaussian(1, ndim=2, shape=(15,))
    with pytest.raises(InvalidArgument, match=r"^sigma: expected 1 to 3 entries"):
        psf.gaussian((1, 1, 1, 1))
    with pytest.raises(InvalidArgument, match=r"^sigma: expected at least one value"):
        psf.gaussian(())
    with pytest.raises(InvalidArgument, match=r"^sigma\[1\]: expected values .*got -1"):
        psf.gaussian((1, -1))


def test_parameters_that_do_not_broadcast():
    with pytest.raises(
        InvalidArgument, match=r"^length, angle: expected shapes that broadcast, got \(2,\), \(3,\)"
    ):
        psf.motion([1, 2], [1, 2, 3])
    with pytest.raises(InvalidArgument, match=r"^sigma\[0\], sigma\[1\]: expected shapes that broadcast"):
        psf.gaussian(([1, 2], [1, 2, 3]))


@pytest.mark.parametrize("name", NON_NEGATIVE)
@pytest.mark.parametrize("value", [1e9, 1e14, 1e100, 1e308])
def test_memory_that_cannot_be_had(name, value):
    kwargs = {"angle": 45.0} if name == "length" else {}
    # A size that is no exact number of pixels is not made up.
    says = r"psf: 1 kernel\(s\) of shape \("
    if value > 1e15:
        says = rf"{name}: a kernel for {re.escape(f'{value:g}')} pixels cannot be allocated"
    with pytest.raises(OutOfMemory, match=f"^{says}"):
        NON_NEGATIVE[name](value, **kwargs)


@pytest.mark.parametrize("name", NON_NEGATIVE)
def test_parameters_whose_memory_cannot_be_had(name):
    with pytest.raises(OutOfMemory, match=r"^(motion|defocus|gaussian): Unable to allocate"):
        NON_NEGATIVE[name](np.broadcast_to(3.0, (1 << 40,)))


@pytest.mark.parametrize("name", NON_NEGATIVE)
def test_a_shape_whose_memory_cannot_be_had(name):
    with pytest.raises(OutOfMemory, match=r"^psf: 1 kernel\(s\) of shape \(4611686018427387903, "):
        NON_NEGATIVE[name](1.0, shape=(2**62 - 1, 2**62 - 1))


def test_a_batch_whose_memory_cannot_be_had():
    many = np.broadcast_to(1e5, (20_000,))
    with pytest.raises(OutOfMemory, match=r"^psf: 20000 kernel\(s\)"):
        psf.defocus(many)


def test_an_allocation_that_fails_is_named(monkeypatch):
    def fail(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(_common.np, "empty", fail)
    with pytest.raises(OutOfMemory, match=r"^psf: 1 kernel\(s\) of shape \(5, 5\) cannot be allocated"):
        psf.defocus(2.0)


def test_native_by_name_never_falls_back(monkeypatch):
    from fastdeblur import _isa

    def missing():
        raise ImportError("no core here")

    monkeypatch.setattr(_isa, "load_core", missing)
    with pytest.raises(Unsupported, match=r"^backend: 'native' cannot be used: no core here"):
        psf.motion(5, backend="native")
    assert psf.motion(5, backend="auto").shape == (1, 5)


def test_the_core_refuses_arrays_that_do_not_fit(native):
    from fastdeblur._isa import load_core

    core = load_core()
    with pytest.raises(ValueError, match=r"^lengths: expected shape \(3\)"):
        core.psf_motion(np.ones(2), np.ones(3), np.empty((3, 5, 5)), 1)
    with pytest.raises(ValueError, match=r"^radii: "):
        core.psf_defocus(np.ones((3, 1)), np.empty((3, 5, 5)), 1)
    with pytest.raises(ValueError, match=r"^sigmas: "):
        core.psf_gaussian(np.ones((3, 2)), np.empty((3, 1, 5, 5)), 1)
    with pytest.raises(ValueError, match=r"^out: expected 3-D"):
        core.psf_defocus(np.ones(3), np.empty((3, 5)), 1)
    with pytest.raises(TypeError):  # a converted copy would be filled and lost
        core.psf_defocus(np.ones(3), np.empty((3, 5, 5), np.float32), 1)
    read_only = np.empty((1, 5, 5))
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        core.psf_defocus(np.ones(1), read_only, 1)
