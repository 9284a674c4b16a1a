"""PSFs rasterised on a real GPU against those of `fastdeblur.psf`; skipped where there is none. Nothing else calls them yet."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import need
from fastdeblur import psf
from fastdeblur.backends import cuda
from test_gpu_arrays import Library

# Of the largest share. Shares are differences, so that the device's functions and its fused products show in the last digits.
LIMIT = {"float32": 1.2e-7, "float64": 1e-12}

LENGTHS = np.array([0, 0.7, 1.0, 5.5, 20, 41.3])
ANGLES = np.array([0, 45, 10, 30, -90, 123.4])
RADII = np.array([0, 0.5, 0.51, 1.0, 3.25, 9])
SIGMAS = np.array([[0, 0, 0], [1, 1, 1], [0.3, 2, 0], [0.01, 1.5, 3], [1.2, 0.5, 0.7]])


@pytest.fixture
def core():
    need("cuda")
    return cuda.core()


@pytest.fixture(params=["cupy", "torch"])
def library(request, core):
    made = Library(request.param)
    if request.param == "torch" and not made.module.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    return made


def rasterised(core, library, dtype, shape, draw):
    """What ``draw`` fills device memory with; every pixel of it must be written, and nothing beyond."""
    size = int(np.prod(shape))
    memory = library.put(np.full(size + 64, -7, dtype))
    address = memory.__cuda_array_interface__["data"][0]
    draw(out=(address, np.dtype(dtype).str, shape), device=0, stream=0)
    core.synchronize(0, 0)
    host = library.get(memory)
    assert (host[size:] == -7).all()
    return host[:size].reshape(shape)


def compare(made, expected, dtype):
    assert made.dtype == dtype
    assert made.shape == expected.shape
    assert (made >= 0).all()
    for kernel, wanted in zip(made.astype(np.float64), expected, strict=True):
        assert np.abs(kernel - wanted).max() <= LIMIT[dtype] * wanted.max()
        assert abs(kernel.sum() - 1) <= 100 * LIMIT[dtype]


@pytest.mark.parametrize("shape", [(45, 47), (64, 50)], ids=str)
def test_motion(core, library, dtype, shape):
    made = rasterised(
        core,
        library,
        dtype,
        (len(LENGTHS), *shape),
        lambda **where: core.psf_motion(lengths=LENGTHS, angles=ANGLES, **where),
    )
    compare(made, psf.motion(LENGTHS, ANGLES, shape=shape), dtype)


def test_motion_along_a_row_longer_than_a_block(core, library, dtype):
    lengths, angles = np.array([3.0, 191.7]), np.zeros(2)
    made = rasterised(
        core,
        library,
        dtype,
        (2, 1, 200),
        lambda **where: core.psf_motion(lengths=lengths, angles=angles, **where),
    )
    compare(made, psf.motion(lengths, angles, shape=(1, 200)), dtype)


@pytest.mark.parametrize("shape", [(19, 21), (64, 150)], ids=str)
def test_defocus(core, library, dtype, shape):
    made = rasterised(
        core, library, dtype, (len(RADII), *shape), lambda **where: core.psf_defocus(radii=RADII, **where)
    )
    compare(made, psf.defocus(RADII, shape=shape), dtype)


@pytest.mark.parametrize("shape", [(9, 16, 21), (8, 13, 131)], ids=str)
def test_gaussian(core, library, dtype, shape):
    made = rasterised(
        core, library, dtype, (len(SIGMAS), *shape), lambda **where: core.psf_gaussian(sigmas=SIGMAS, **where)
    )
    compare(made, psf.gaussian(tuple(SIGMAS.T), shape=shape), dtype)


def test_gaussian_of_two_axes(core, library, dtype):
    sigmas = np.array([[0, 0.8, 2.5], [0, 3, 0]])
    made = rasterised(
        core, library, dtype, (2, 1, 24, 27), lambda **where: core.psf_gaussian(sigmas=sigmas, **where)
    )
    compare(made[:, 0], psf.gaussian((sigmas[:, 1], sigmas[:, 2]), shape=(24, 27)), dtype)


def test_work_is_ordered_on_the_stream(core):
    """The memory is still to be filled by slow work on the stream when the call is made."""
    cupy = pytest.importorskip("cupy")
    with cupy.cuda.Stream(non_blocking=True) as stream:
        busy = cupy.ones((4096, 4096), np.float32)
        for _ in range(20):
            busy = busy @ busy * np.float32(1e-4)
        out = cupy.full((len(RADII), 19, 21), -7, np.float64)
        core.psf_defocus(device=0, radii=RADII, out=(out.data.ptr, "<f8", out.shape), stream=stream.ptr)
        host = out.get(stream=stream)
    compare(host, psf.defocus(RADII, shape=(19, 21)), "float64")


@pytest.mark.parametrize("shape", [(0, 5, 5), (1, 5, 0)], ids=str)
def test_kernels_of_no_pixel_are_refused(core, shape):
    with pytest.raises(ValueError, match="out"):
        core.psf_defocus(device=0, radii=np.ones(shape[0]), out=(0, "<f4", shape), stream=0)
