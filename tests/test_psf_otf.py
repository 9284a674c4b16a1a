"""psf2otf, otf2psf and edgetaper against direct sums, and their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdeblur import psf
from fastdeblur.errors import InvalidArgument

SHAPES = st.integers(1, 3).flatmap(lambda n: st.tuples(*[st.integers(1, 7)] * n))


def periodic_convolution(image, kernel):
    """The definition: each pixel of the kernel moves the image by its distance from the origin."""
    out = np.zeros_like(image, dtype=float)
    for index, weight in np.ndenumerate(kernel):
        out += weight * np.roll(
            image, [i - n // 2 for i, n in zip(index, kernel.shape, strict=True)], range(image.ndim)
        )
    return out


@given(shape=SHAPES, more=st.tuples(*[st.integers(0, 4)] * 3), seed=st.integers(0, 99))
def test_otf_is_the_convolution_s_and_comes_back(shape, more, seed):
    rng = np.random.default_rng(seed)
    grid = tuple(n + m for n, m in zip(shape, more, strict=False))
    kernel, image = rng.random(shape), rng.random(grid)
    otf = psf.psf2otf(kernel, grid)
    assert otf.shape == grid
    assert otf.dtype == np.complex128
    assert otf.flat[0] == pytest.approx(kernel.sum())
    assert np.allclose(
        np.fft.ifftn(np.fft.fftn(image) * otf).real, periodic_convolution(image, kernel), atol=1e-12
    )
    half = otf[..., : grid[-1] // 2 + 1]
    assert np.allclose(np.fft.irfftn(np.fft.rfftn(image) * half, grid, range(len(grid))), periodic_convolution(image, kernel),
                       atol=1e-12)  # fmt: skip
    assert np.allclose(psf.otf2psf(otf, shape), kernel, rtol=0, atol=1e-13)
    assert np.allclose(psf.psf2otf(psf.otf2psf(otf), grid), otf, rtol=0, atol=1e-12)


def test_an_impulse_on_the_origin_is_1_everywhere():
    for shape in ((5, 4), (1, 1), (2, 3, 4)):
        impulse = np.zeros(shape)
        impulse[tuple(n // 2 for n in shape)] = 1
        assert np.allclose(psf.psf2otf(impulse, tuple(n + 3 for n in shape)), 1)


def test_single_precision_stays():
    kernel = psf.gaussian(1.0, dtype=np.float32)
    otf = psf.psf2otf(kernel, (16, 17))
    assert otf.dtype == np.complex64
    back = psf.otf2psf(otf, kernel.shape)
    assert back.dtype == np.float32
    assert np.abs(back - kernel).max() <= 1e-7


def test_errors():
    with pytest.raises(
        InvalidArgument, match=r"^shape: expected at least the PSF's \(3, 3\) on each axis, got \(2, 9\)"
    ):
        psf.psf2otf(np.ones((3, 3)), (2, 9))
    with pytest.raises(InvalidArgument, match=r"^shape: expected 2 axes"):
        psf.psf2otf(np.ones((3, 3)), (9,))
    for bad in (np.ones((1, 1, 1, 1)), 1.0, np.ones((0, 3)), "psf", [np.nan], [1j]):
        with pytest.raises(InvalidArgument, match=r"^psf: "):
            psf.psf2otf(bad, (9,))
    with pytest.raises(InvalidArgument, match=r"^otf: expected the full spectrum of a real PSF"):
        psf.otf2psf(np.exp(1j * np.arange(5.0)))
    with pytest.raises(InvalidArgument, match=r"^shape: expected at most the OTF's \(5,\)"):
        psf.otf2psf(np.ones(5), (6,))
    for bad in (np.ones((1, 1, 1, 1)), 1.0, np.ones((0, 3)), "otf", [np.nan], [[1], [1, 2]]):
        with pytest.raises(InvalidArgument, match=r"^otf: "):
            psf.otf2psf(bad)


# ------------------------------------------------------------------------------------------------ edgetaper


def taper_by_definition(image, kernel):
    kernel = kernel / kernel.sum()
    weight = np.ones(image.shape)
    for axis, n in enumerate(image.shape):
        line = kernel.sum(tuple(a for a in range(kernel.ndim) if a != axis))
        # Autocorrelation on a circle of n - 1 pixels, summed directly.
        around = np.zeros(n - 1)
        for i, a in enumerate(line):
            for j, b in enumerate(line):
                around[(j - i) % (n - 1)] += a * b
        weight = weight * (1 - np.append(around, around[0]) / around.max()).reshape(
            [-1 if a == axis else 1 for a in range(image.ndim)]
        )
    mixed = weight * image + (1 - weight) * periodic_convolution(image, kernel)
    return np.clip(mixed, image.min(), image.max())


@pytest.mark.parametrize(
    ("shape", "kernel"),
    [((31,), (5,)), ((20, 17), (4, 7)), ((20, 17), (1, 1)), ((8, 9, 11), (3, 4, 5)), ((14, 14), (7, 7))],
)
def test_edgetaper_is_matlab_s(rng, shape, kernel, dtype):
    image, k = rng.random(shape).astype(dtype), rng.random(kernel)
    tapered = psf.edgetaper(image, k)
    assert tapered.dtype == dtype
    tolerance = 1e-12 if dtype == "float64" else 1e-6
    assert np.allclose(tapered, taper_by_definition(image.astype(float), k), rtol=0, atol=tolerance)


def test_edgetaper_keeps_the_middle_and_joins_the_borders(rng):
    ramp = np.add.outer(np.arange(60.0), 2 * np.arange(50.0))
    k = psf.gaussian(2.0)
    tapered = psf.edgetaper(ramp, k)
    n = max(k.shape)
    assert np.allclose(tapered[n:-n, n:-n], ramp[n:-n, n:-n], rtol=0, atol=1e-9)
    before, after = np.abs(ramp[0] - ramp[-1]), np.abs(tapered[0] - tapered[-1])
    assert after.max() < 0.35 * before.max()
    assert np.allclose(psf.edgetaper(np.full((45, 42), 7.0), k), 7)


def test_edgetaper_channels_and_stacks(rng):
    image, k = rng.random((4, 20, 21, 3)), psf.motion(5, 30)
    tapered = psf.edgetaper(image, k, channel_axis=-1)
    for i in range(4):
        for c in range(3):
            assert np.allclose(tapered[i, :, :, c], psf.edgetaper(image[i, :, :, c], k), rtol=0, atol=1e-13)
    assert psf.edgetaper((255 * image).astype(np.uint8), k, channel_axis=3).dtype == np.float32


def test_edgetaper_errors():
    image, k = np.ones((20, 20)), np.ones((3, 3))
    with pytest.raises(InvalidArgument, match=r"^psf: expected at most half of the image's \(20, 20\)"):
        psf.edgetaper(image, np.ones((11, 3)))
    with pytest.raises(InvalidArgument, match=r"^psf: expected a positive, finite sum"):
        psf.edgetaper(image, -k)
    with pytest.raises(InvalidArgument, match=r"^psf: expected 2 axes, one PSF for all channels"):
        psf.edgetaper(np.ones((20, 20, 3)), np.ones((3, 3, 3)), channel_axis=2)
    with pytest.raises(InvalidArgument, match=r"^channel_axis: "):
        psf.edgetaper(image, k, channel_axis=5)
    with pytest.raises(InvalidArgument, match=r"^image: expected finite"):
        psf.edgetaper(np.full((20, 20), np.nan), k)
    with pytest.raises(InvalidArgument, match=r"^image: expected a real"):
        psf.edgetaper(image * 1j, k)
