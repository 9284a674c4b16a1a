"""The CuPy backend. On a GPU the parity tests run it as it is; here its logic and its kernels' text run over a stand-in."""

from __future__ import annotations

import numpy as np
import pytest

import fastdeblur
import standin_cupy
from fastdeblur import DeviceError, InvalidArgument, OutOfMemory, Unsupported
from fastdeblur._geometry import Frame
from fastdeblur.backends import cupy_, get_backend
from fastdeblur.backends.cupy_ import CupyOps
from fastdeblur.backends.numpy_ import NumpyOps
from standin_cuda import FakeTensor

from cases import CASES, case

pytestmark = pytest.mark.skipif(standin_cupy.COMPILER is None, reason="no compiler for the kernels")

PSF = np.ones((3, 3))
REAL = {"backend": "cupy"}


@pytest.fixture
def cupy():
    with standin_cupy.installed() as module:
        yield module


def rel_l2(result, expected):
    return np.linalg.norm(result.astype(np.float64) - expected) / np.linalg.norm(expected)


# One of each kind of problem; the parity tests run all of them on a GPU.
SOME = [
    c
    for i, c in enumerate(CASES)
    if i % 5 == 0 or "everything" in c.name or "tol" in c.name or "holed" in c.name
]


@pytest.mark.parametrize("problem", SOME, ids=str)
def test_matches_reference(problem, dtype, cupy):
    result = problem.run("cupy", dtype)
    assert type(result) is np.ndarray
    assert result.dtype == dtype
    assert rel_l2(result, problem.run("numpy")) <= problem.tolerance[dtype]


@pytest.mark.parametrize(
    "name",
    [
        "wiener-channels-last",
        "wiener-identity-3d",
        "rl-everything-unknown",
        "rl-weights-channels",
        "rl-channels-last",
    ],
)
def test_device_arrays_stay_on_the_device(name, dtype, cupy):
    problem = case(name)
    arguments = {"image": problem.image(dtype), **problem.arguments(dtype)}
    moved = {k: cupy.asarray(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    result = problem.function()(**moved, psf=problem.psf)
    assert type(result) is cupy.ndarray
    np.testing.assert_array_equal(result.get(), problem.run("cupy", dtype))
    out = cupy.asarray(np.full(problem.shape, -7, dtype))
    assert problem.function()(**moved, psf=cupy.asarray(problem.psf), out=out) is out
    np.testing.assert_array_equal(out.get(), result.get())


def test_operations_match_the_reference(dtype, cupy, rng):
    """One by one, where a method's result would hide a slip."""
    shape = (7, 9, 10)
    reference, ops = NumpyOps(np.dtype(dtype)), CupyOps(np.dtype(dtype))
    for boundary in ("reflect", "edge", "zero", "unknown", "periodic"):
        frame = Frame.of(shape, (3, 4, 5), boundary)
        image = rng.normal(size=shape).astype(dtype)
        grid = reference.extend(image, frame)
        extended = ops.extend(cupy.asarray(image), frame)
        np.testing.assert_allclose(
            extended.get(), grid, rtol=1e-6 if dtype == "float32" else 1e-14, atol=1e-7
        )
        assert np.array_equal(ops.crop(extended, frame).get(), image)
        kernel = rng.normal(size=(3, 4, 25))  # larger than the grid on one axis
        np.testing.assert_allclose(
            ops.otf(kernel, frame).get(),
            reference.otf(kernel, frame),
            rtol=1e-4 if dtype == "float32" else 1e-10,
            atol=1e-4,
        )
    a, b, c = (rng.uniform(-1, 1, shape).astype(dtype) for _ in range(3))
    on = [cupy.asarray(x) for x in (a, b, c)]
    close = {"rtol": 1e-5 if dtype == "float32" else 1e-12, "atol": 1e-7}
    for name, scalars in (
        ("ratio", (0.25, 0.5)), ("extrapolate", (0.7,)), ("momentum", (0.3, 0.6, 0.75))
    ):  # fmt: skip
        count = {"momentum": 3}.get(name, 2)
        expected = getattr(reference, name)(*(a, b, c)[:count], *scalars)
        np.testing.assert_allclose(getattr(ops, name)(*on[:count], *scalars).get(), expected, **close)
    for norm in (None, c):
        expected = reference.scaled(a, b, norm, 0.3)
        got = ops.scaled(on[0], on[1], None if norm is None else on[2], 0.3)
        np.testing.assert_allclose(got.get(), expected, **close)
    np.testing.assert_allclose(ops.dot(on[0], on[1]), reference.dot(a, b), rtol=1e-6)
    np.testing.assert_allclose(ops.total(on[0]), reference.total(a), rtol=1e-6)
    holed = a.copy()
    holed[c < 0] = np.nan
    weights = np.maximum(c, 0)
    np.testing.assert_allclose(
        ops.weighted(cupy.asarray(holed), cupy.asarray(weights)).get(),
        reference.weighted(holed, weights),
        **close,
    )


def test_callback_sees_the_result_s_kind(cupy):
    problem = case("rl-unknown-31x37")
    seen = []
    problem.run("cupy", "float32", num_iter=2, callback=lambda state: seen.append(state.estimate()))
    on_device = problem.run(
        "auto", "float32", image=cupy.asarray(problem.image("float32")), num_iter=2,
        callback=lambda state: seen.append(state.estimate()),
    )  # fmt: skip
    assert [type(x) for x in seen] == [np.ndarray] * 2 + [cupy.ndarray] * 2
    np.testing.assert_array_equal(seen[1], seen[3].get())
    np.testing.assert_array_equal(on_device.get(), seen[3].get())


def test_nothing_is_summed_up_for_nobody(cupy, monkeypatch):
    """Each sum is a wait for the device."""
    calls = []
    monkeypatch.setattr(CupyOps, "dot", lambda self, a, b: calls.append(1) or 1.0)
    case("rl-unknown-31x37").run("cupy", "float32", num_iter=5)
    assert not calls


def test_a_bad_image_is_told_as_on_the_host(cupy):
    image = np.ones((20, 30), np.float32)
    image[4, 7] = np.nan
    for function, parameter in ((fastdeblur.wiener, 0.1), (fastdeblur.richardson_lucy, 3)):
        with pytest.raises(
            InvalidArgument, match=r"image: expected finite values, got nan at index \(4, 7\)"
        ):
            function(cupy.asarray(image), PSF, parameter)
    image[4, 7] = -1
    with pytest.raises(InvalidArgument, match=r"image: expected values >= 0, got -1.0 at index \(4, 7\)"):
        fastdeblur.richardson_lucy(cupy.asarray(image), PSF)
    assert np.isfinite(fastdeblur.wiener(cupy.asarray(image), PSF, 0.1).get()).all()


@pytest.mark.parametrize("name", ["weights", "init"])
@pytest.mark.parametrize(
    ("value", "rule"), [(np.nan, "finite values"), (-1, "values >= 0"), (np.inf, "finite values")]
)
def test_bad_weights_and_init_are_told_as_on_the_host(name, value, rule, cupy):
    bad = np.ones((20, 30), np.float32)
    bad[4, 7] = value
    image = cupy.asarray(np.ones((20, 30), np.float32))
    with pytest.raises(InvalidArgument, match=rf"{name}: expected {rule}, got {value}.* at index \(4, 7\)"):
        fastdeblur.richardson_lucy(image, PSF, **{name: cupy.asarray(bad)})


def test_weights_without_any(cupy):
    image = cupy.asarray(np.ones((2, 20, 30), np.float32))
    weights = np.ones((2, 20, 30))
    weights[1] = 0
    with pytest.raises(InvalidArgument, match="weights: expected at least one positive value per image"):
        fastdeblur.richardson_lucy(image, PSF, weights=cupy.asarray(weights))


def test_streams(cupy):
    """The work runs on the image's stream; others are waited for before and after."""
    streams = set()
    original = CupyOps.rfft

    def spied(self, image):
        streams.add(standin_cupy.current.stream[-1])
        return original(self, image)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CupyOps, "rfft", spied)
        with cupy.cuda.ExternalStream(77):
            image = cupy.asarray(np.ones((20, 30), np.float32))
            plan = fastdeblur.Deconvolver((20, 30), PSF)
            plan.wiener(image, 0.1)
        assert streams == {0, 77}  # the plan is made on the default one, and waited for
        out = cupy.asarray(np.zeros((20, 30), np.float32))

        class Elsewhere(cupy.ndarray):
            @property
            def __cuda_array_interface__(self):
                return {**super().__cuda_array_interface__, "stream": 5}

        Elsewhere.__module__ = "cupy"
        image = Elsewhere(np.ones((20, 30), np.float32))
        standin_cupy.current.synchronized.clear()
        plan.wiener(image, 0.1, out=out)
        assert standin_cupy.current.synchronized == [0, ("device", 0), 5]


def test_a_call_waits_where_memory_may_be_given_to_others(cupy):
    plan = fastdeblur.Deconvolver((20, 30), PSF, device="cuda", backend="cupy")
    host = np.ones((20, 30), np.float32)
    for image, out, waits in (
        (cupy.asarray(host), cupy.asarray(host), []),
        (FakeTensor(host, stream=9), FakeTensor(host.copy(), stream=9), [9]),
    ):
        plan.wiener(image, 0.1, out=out)  # the first on a stream waits for the plan
        standin_cupy.current.synchronized.clear()
        plan.wiener(image, 0.1, out=out)
        assert standin_cupy.current.synchronized == waits


def test_out_of_memory(cupy):
    image = np.ones((200, 300), np.float32)
    standin_cupy.current.limit = 245_000
    with pytest.raises(
        OutOfMemory, match=r"about .* GB on cuda:0, of which .* GB could not be had: 3.22 GB are free"
    ):
        fastdeblur.wiener(image, PSF, 0.1, backend="cupy")
    standin_cupy.current.limit = 100_000
    on_device = cupy.ndarray(image)
    with pytest.raises(OutOfMemory, match=r"out: an array of shape \(200, 300\) and dtype float32 takes"):
        fastdeblur.wiener(on_device, PSF, 0.1)
    standin_cupy.current.limit = None
    result = fastdeblur.wiener(on_device, PSF, 0.1)  # usable afterwards
    np.testing.assert_allclose(result.get(), 1, rtol=1e-5)


def test_a_failing_device(cupy, monkeypatch):
    def fail(self, image):
        raise standin_cupy.CUDARuntimeError("cudaErrorIllegalAddress")

    monkeypatch.setattr(CupyOps, "rfft", fail)
    with pytest.raises(DeviceError, match="device: cuda:1 failed: cudaErrorIllegalAddress"):
        fastdeblur.wiener(np.ones((9, 9)), PSF, 0.1, backend="cupy", device="cuda:1")


def test_a_callback_s_own_error_stays_its_own(cupy):
    def callback(state):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine") as caught:
        fastdeblur.richardson_lucy(np.ones((9, 9)), PSF, backend="cupy", callback=callback)
    assert type(caught.value) is RuntimeError


def test_why_not(monkeypatch):
    with standin_cupy.installed(devices=0):
        assert get_backend("cupy").why_not() == "CuPy finds no CUDA device"
        with pytest.raises(Unsupported, match="backend: 'cupy' cannot run wiener: CuPy finds no CUDA device"):
            fastdeblur.wiener(np.ones((9, 9)), PSF, 0.1, backend="cupy")
    with standin_cupy.installed() as cupy:
        assert get_backend("cupy").why_not() == ""
        assert get_backend("cupy").why_not_device(1) == ""
        assert get_backend("cupy").why_not_device(2) == "there is no cuda:2, only 2 devices"

        def broken():
            raise standin_cupy.CUDARuntimeError("cudaErrorInsufficientDriver: too old\nmore")

        cupy.cuda.runtime.getDeviceCount = broken
        cupy_.why_not_cupy.cache_clear()
        assert "CUDARuntimeError: cudaErrorInsufficientDriver: too old)" in get_backend("cupy").why_not()
    monkeypatch.setattr(cupy_, "find_spec", lambda name: None)
    cupy_.why_not_cupy.cache_clear()
    assert get_backend("cupy").why_not() == "CuPy is not installed"
    monkeypatch.undo()
    cupy_.why_not_cupy.cache_clear()


def test_estimate_of_memory(cupy):
    size = fastdeblur.estimate_memory("wiener", (100, 100), (3, 3), backend="cupy")
    assert size > 4 * 100 * 100
    assert fastdeblur.estimate_memory("wiener", (100, 100), (3, 3), device="cpu") > 0
