"""Real arrays of real libraries on a real GPU; skipped where there is none. What the stand-ins cannot show is shown here."""

from __future__ import annotations

import gc
import importlib
import warnings
from typing import Any

import numpy as np
import pytest

import fastdeblur
from conftest import need
from fastdeblur import OutOfMemory

from cases import case

GPU_BACKENDS = ("cuda", "cupy")
NAMES = (
    "wiener-reflect-31x37",
    "wiener-channels-last",
    "rl-everything-unknown",
    "rl-weights-channels",
    "rl-unknown-11x13x17",
)


class Library:
    """Makes arrays of a library on the GPU, and reads them back."""

    def __init__(self, name: str):
        self.name = name
        self.module: Any = pytest.importorskip("numba.cuda" if name == "numba" else name)

    def put(self, host: np.ndarray) -> Any:
        if self.name == "cupy":
            return self.module.asarray(host)
        if self.name == "torch":
            return self.module.from_numpy(np.ascontiguousarray(host)).cuda()
        if self.name == "numba":
            with warnings.catch_warnings():  # that it would rather have CuPy's arrays
                warnings.simplefilter("ignore")
                return self.module.to_device(np.ascontiguousarray(host))
        jax = self.module
        if host.dtype == np.float64 and not jax.config.jax_enable_x64:
            pytest.skip("JAX keeps to float32 unless told otherwise")
        return jax.device_put(host, jax.devices("gpu")[0])

    def get(self, array: Any) -> np.ndarray:
        if self.name == "cupy":
            return array.get()
        if self.name == "torch":
            return array.cpu().numpy()
        if self.name == "numba":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return array.copy_to_host()
        return np.asarray(array)


@pytest.fixture(params=GPU_BACKENDS)
def gpu(request):
    return need(request.param)


@pytest.fixture(params=["cupy", "torch", "numba", "jax"])
def library(request, gpu):
    return Library(request.param)


@pytest.mark.parametrize("name", NAMES)
def test_a_library_s_arrays_come_back_as_its_own(name, library, gpu, dtype):
    problem = case(name)
    arguments = {"image": problem.image(dtype), **problem.arguments(dtype)}
    moved = {
        k: library.put(v.astype(dtype)) if isinstance(v, np.ndarray) and k != "reg" else v
        for k, v in arguments.items()
    }
    result = problem.function()(**moved, psf=problem.psf, backend=gpu)
    assert type(result) is type(moved["image"])
    expected = problem.run("numpy")
    host = library.get(result)
    assert host.dtype == dtype
    assert np.linalg.norm(host - expected) <= problem.tolerance[dtype] * np.linalg.norm(expected)
    if library.name in ("cupy", "torch"):
        out = library.put(np.full(problem.shape, -7, dtype))
        assert problem.function()(**moved, psf=library.put(problem.psf), out=out, backend=gpu) is out
        np.testing.assert_array_equal(library.get(out), host)


def test_strided_views_are_read_and_written_where_they_are(gpu):
    cupy = pytest.importorskip("cupy")
    problem = case("wiener-reflect-31x37")
    image = problem.image("float32")
    big, result = cupy.zeros((62, 74), np.float32), cupy.full((62, 74), -7, np.float32)
    view = big[::2, ::-2]
    view[...] = cupy.asarray(image)
    problem.run(gpu, "float32", image=view, out=result[1::2, ::2])
    np.testing.assert_allclose(result[1::2, ::2].get(), problem.run("numpy", "float32"), rtol=1e-4, atol=1e-4)
    assert bool((result[::2] == -7).all())
    assert bool((result[:, 1::2] == -7).all())


def test_work_is_ordered_after_the_image_s_stream(gpu):
    """The image is being written by slow work on its stream when the call is made."""
    cupy = pytest.importorskip("cupy")
    problem = case("wiener-larger")
    expected = problem.run(gpu, "float32")
    source = cupy.asarray(problem.image("float32"))
    plan = fastdeblur.Deconvolver(problem.shape, problem.psf, backend=gpu)
    image = cupy.zeros(problem.shape, np.float32)
    cupy.cuda.Device().synchronize()
    with cupy.cuda.Stream(non_blocking=True) as stream:
        busy = cupy.ones((4096, 4096), np.float32)
        for _ in range(20):
            busy = busy @ busy * np.float32(1e-4)
        image[...] = source
        result = plan.wiener(image, **problem.arguments("float32"))
        image[...] = 0  # must wait for the call's reads
        host = result.get(stream=stream)
    np.testing.assert_array_equal(host, expected)


def test_memory_that_cannot_be_had(gpu):
    cupy = pytest.importorskip("cupy")
    free = cupy.cuda.runtime.memGetInfo()[0]
    side = int((free / 4 / 2.2) ** 0.5)  # image and result fit, the transform's arrays do not
    image = cupy.ones((side, side), np.float32)
    with pytest.raises(OutOfMemory, match="cuda:0"):
        fastdeblur.richardson_lucy(image, np.ones((3, 3)), 2, backend=gpu)
    part = fastdeblur.wiener(image[:512, :512], np.ones((3, 3)), 0.1, backend=gpu)
    np.testing.assert_allclose(part.get(), 1, rtol=1e-4)
    del image, part
    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    assert cupy.cuda.runtime.memGetInfo()[0] > 0.8 * free


def test_nothing_stays(gpu):
    cupy = pytest.importorskip("cupy")
    pool = cupy.get_default_memory_pool()
    image = np.ones((500, 700), np.float32)

    def left():
        gc.collect()
        pool.free_all_blocks()
        if gpu == "cuda":
            importlib.import_module("fastdeblur._cuda").release_pool(0)
        return cupy.cuda.runtime.memGetInfo()[0]

    fastdeblur.wiener(image, np.ones((3, 3)), 0.1, backend=gpu)
    before = left()
    for _ in range(20):
        fastdeblur.richardson_lucy(image, np.ones((3, 3)), 2, backend=gpu)
        fastdeblur.Deconvolver(image.shape, np.ones((3, 3)), backend=gpu).wiener(image, 0.1)
    assert left() >= before - (64 << 20)


def test_a_device_that_failed_is_said_so_and_the_host_goes_on(gpu):
    image = np.ones((20, 30), np.float32)
    with pytest.raises(fastdeblur.Unsupported, match="there is no cuda:99"):
        fastdeblur.wiener(image, np.ones((3, 3)), 0.1, backend=gpu, device="cuda:99")
    np.testing.assert_allclose(fastdeblur.wiener(image, np.ones((3, 3)), 0.1), 1, rtol=1e-5)
