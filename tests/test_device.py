"""Where a call computes, and what it says when it cannot."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import fastdeblur
import standin_cuda
from conftest import why_not
from fastdeblur import DeviceError, InvalidArgument, Unsupported, get_device, set_device, use_device

PSF = np.ones((3, 3))
IMAGE = np.ones((20, 30), np.float32)

WITHOUT_GPU = bool(why_not("cuda") and why_not("cupy"))
needs_native = pytest.mark.skipif(bool(why_not("native")), reason="the stand-in needs the native core")


@pytest.fixture
def core():
    with standin_cuda.installed() as made:
        yield made
    set_device(None)


def devices(core):
    return [c[1] for c in core.calls if c[0] == "plan"]


@needs_native
def test_host_arrays_stay_on_the_cpu_unless_told(core):
    assert get_device() == "cpu"
    fastdeblur.wiener(IMAGE, PSF, 0.1)
    fastdeblur.richardson_lucy(IMAGE, PSF, 2, device="cpu")
    assert not core.calls
    fastdeblur.wiener(IMAGE, PSF, 0.1, device="cuda")
    fastdeblur.richardson_lucy(IMAGE, PSF, 2, device="cuda:1")
    fastdeblur.Deconvolver(IMAGE.shape, PSF, device="cuda:1").wiener(IMAGE, 0.1)
    fastdeblur.wiener(IMAGE, PSF, 0.1, backend="cuda")
    assert devices(core) == [0, 1, 1, 0]


@needs_native
def test_set_device_is_for_all_threads(core):
    set_device("cuda:1")
    assert get_device() == "cuda:1"
    thread = threading.Thread(target=lambda: fastdeblur.wiener(IMAGE, PSF, 0.1))
    thread.start()
    thread.join()
    fastdeblur.wiener(IMAGE, PSF, 0.1, backend="cuda")
    assert devices(core) == [1, 1]
    fastdeblur.wiener(IMAGE, PSF, 0.1, device="cpu")
    fastdeblur.wiener(IMAGE, PSF, 0.1, backend="native")
    assert devices(core) == [1, 1]
    set_device(None)
    fastdeblur.wiener(IMAGE, PSF, 0.1)
    assert devices(core) == [1, 1]
    assert get_device() == "cpu"


@needs_native
def test_use_device_is_for_a_block_and_its_thread(core):
    set_device("cuda:1")
    others = []
    with use_device("cuda"):
        assert get_device() == "cuda:0"
        thread = threading.Thread(target=lambda: others.append(get_device()))
        thread.start()
        thread.join()
        with use_device("cpu"):
            assert get_device() == "cpu"
            fastdeblur.wiener(IMAGE, PSF, 0.1)
        fastdeblur.wiener(IMAGE, PSF, 0.1)
    assert others == ["cuda:1"]
    assert get_device() == "cuda:1"
    assert devices(core) == [0]
    with pytest.raises(KeyError), use_device("cpu"):
        raise KeyError
    assert get_device() == "cuda:1"


BAD = [
    3,
    "gpu",
    "cuda:",
    "cuda:x",
    "cuda:-1",
    "cuda:12345",
    "CUDA",
    b"cuda",
    "cuda:1 ",
    "cuda:\u0661",
    ["cuda"],
]


@pytest.mark.parametrize("value", BAD, ids=repr)
def test_no_device(value):
    match = "device: expected 'cpu', 'cuda' or 'cuda:' and a number, got"
    for call in (
        lambda: set_device(value),
        lambda: use_device(value).__enter__(),
        lambda: fastdeblur.wiener(IMAGE, PSF, 0.1, device=value),
        lambda: fastdeblur.richardson_lucy(IMAGE, PSF, device=value),
        lambda: fastdeblur.Deconvolver(IMAGE.shape, PSF, device=value),
        lambda: fastdeblur.estimate_memory("wiener", (20, 30), (3, 3), device=value),
    ):
        with pytest.raises(InvalidArgument, match=match):
            call()
    assert get_device() == "cpu"


@needs_native
def test_a_device_that_is_not_there(core):
    set_device("cuda")
    for call in (
        lambda: set_device("cuda:7"),
        lambda: use_device("cuda:7").__enter__(),
        lambda: fastdeblur.wiener(IMAGE, PSF, 0.1, device="cuda:7"),
        lambda: fastdeblur.Deconvolver(IMAGE.shape, PSF, device="cuda:7"),
        lambda: fastdeblur.estimate_memory("wiener", (20, 30), (3, 3), device="cuda:7"),
    ):
        with pytest.raises(
            DeviceError, match=r"device: 'cuda:7' cannot be used: .*there is no cuda:7, only 2 devices"
        ):
            call()
    assert get_device() == "cuda:0"
    with pytest.raises(Unsupported, match=r"backend: 'cuda' cannot run wiener: there is no cuda:7"):
        fastdeblur.wiener(IMAGE, PSF, 0.1, backend="cuda", device="cuda:7")


@needs_native
def test_a_backend_and_a_device_that_contradict_each_other(core):
    with pytest.raises(
        InvalidArgument, match=r"backend: 'native' computes in host memory, got .*device='cuda:0'"
    ):
        fastdeblur.wiener(IMAGE, PSF, 0.1, backend="native", device="cuda")
    with pytest.raises(InvalidArgument, match=r"backend: 'cuda' computes on a CUDA device, got device='cpu'"):
        fastdeblur.wiener(IMAGE, PSF, 0.1, backend="cuda", device="cpu")


@pytest.mark.skipif(not WITHOUT_GPU, reason="there is a GPU")
def test_without_a_gpu():
    with pytest.raises(DeviceError, match=r"device: 'cuda' cannot be used: cuda: .*; cupy: "):
        set_device("cuda")
    with pytest.raises(DeviceError, match=r"device: 'cuda:0' cannot be used: cuda: .*; cupy: "):
        fastdeblur.wiener(IMAGE, PSF, 0.1, device="cuda")
    with pytest.raises(Unsupported, match=r"backend: 'cuda' cannot run wiener: "):
        fastdeblur.wiener(IMAGE, PSF, 0.1, backend="cuda")
    assert get_device() == "cpu"
    np.testing.assert_allclose(fastdeblur.wiener(IMAGE, PSF, 0.1), 1, rtol=1e-5)
