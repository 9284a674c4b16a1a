"""Arrays of other libraries: which are taken where they are, what is read of them, and what is refused."""

from __future__ import annotations

import ctypes
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import fastdeblur
import standin_cuda
import standin_cupy
from conftest import why_not
from fastdeblur import InvalidArgument, OutOfMemory, Unsupported, _arrays, _libraries
from fastdeblur._arrays import DeviceArray
from standin_cuda import FakeTensor

PSF = np.ones((3, 3))
IMAGE = np.random.default_rng(6).uniform(0.1, 1, (20, 30)).astype(np.float32)

needs_native = pytest.mark.skipif(bool(why_not("native")), reason="the stand-in needs the native core")


@pytest.fixture
def core():
    with standin_cuda.installed() as made:
        yield made


@pytest.fixture
def cupy():
    with standin_cupy.installed() as module:
        yield module


def expected():
    return fastdeblur.wiener(IMAGE, PSF, 0.1, backend="native")


# ------------------------------------------------------------------------------------------------- the view


def test_a_view_never_reads():
    """Over addresses that nothing is at: any read would crash."""
    value = FakeTensor(IMAGE)
    value.interface["data"] = (4096, False)
    view = _arrays.read(value, "image")
    assert (view.pointer, view.shape, view.strides, view.device, view.size) == (
        4096,
        (20, 30),
        (120, 4),
        0,
        600,
    )
    assert view[3].pointer == 4096 + 360
    assert view[3, 5].shape == ()
    assert view[3, 5].pointer == 4096 + 380
    assert view[::-1, 2:].strides == (-120, 4)
    assert view.transpose(1, 0).shape == view.transpose((1, 0)).shape == (30, 20)
    assert "cuda:0" in repr(view)
    assert view.overlaps(view[3])
    assert not view[:3].overlaps(view[3:])
    assert not view[:, ::2].overlaps(view[:, 1::2])


def test_what_is_on_a_device():
    assert _arrays.on_device(FakeTensor(IMAGE))
    for value in (
        IMAGE,
        IMAGE.tolist(),
        3,
        None,
        "text",
        memoryview(IMAGE),
        IMAGE[0, 0],
        FakeTensor,
        np.ma.array(IMAGE),
    ):
        assert not _arrays.on_device(value)
    torch = sys.modules.get("torch")
    if torch is not None:
        assert not _arrays.on_device(torch.ones(3))


REFUSED = [
    ({"typestr": "<c8"}, "real numeric dtype, got complex64"),
    ({"typestr": ">f4"}, "this machine's byte order on a device, got >f4"),
    ({"typestr": "nonsense"}, "real numeric dtype, got nonsense"),
    ({"stream": 0}, "interface's stream to be None, 1, 2 or a handle, got 0"),
    ({"mask": FakeTensor(IMAGE > 0)}, "a masked array's mask would be lost"),
    ({"data": (0, False)}, "an array that has memory, got a null pointer"),
    ({"data": None}, "an array that tells its memory, got FakeTensor"),
    ({"strides": (4,)}, "a shape and as many strides"),
    ({"shape": (0, 30)}, r"at least one pixel, got shape \(0, 30\)"),
    ({"shape": (20, 0), "data": (0, False)}, r"at least one pixel, got shape \(20, 0\)"),
    ({"shape": (), "strides": ()}, "at least one axis, got a scalar"),
]


@pytest.mark.parametrize(("changed", "rule"), REFUSED, ids=lambda v: str(v)[:20])
def test_refused(changed, rule):
    with pytest.raises(InvalidArgument, match=f"image: .*{rule}"):
        fastdeblur.wiener(FakeTensor(IMAGE, **changed), PSF, 0.1)


def test_functions_of_the_host_refuse_device_arrays():
    for call in (
        lambda: fastdeblur.deblur(FakeTensor(np.ones((80, 80)))),
        lambda: fastdeblur.estimate.noise(FakeTensor(np.ones((80, 80)))),
        lambda: fastdeblur.psf.edgetaper(FakeTensor(IMAGE), PSF),
    ):
        with pytest.raises(
            InvalidArgument, match="image: expected an array in host memory, got FakeTensor on a CUDA device"
        ):
            call()


# ------------------------------------------------------------------------------------- places that do not agree


@needs_native
def test_a_cpu_backend_refuses_device_arrays(core):
    for backend in ("native", "numba", "numpy"):
        with pytest.raises(
            InvalidArgument, match=f"backend: '{backend}' computes in host memory, got an array"
        ):
            fastdeblur.wiener(FakeTensor(IMAGE), PSF, 0.1, backend=backend)
        with pytest.raises(
            InvalidArgument, match=f"backend: '{backend}' computes in host memory, got an array"
        ):
            fastdeblur.richardson_lucy(FakeTensor(IMAGE), PSF, backend=backend)
    assert not core.calls


@needs_native
def test_another_device_than_the_call_says(core):
    with pytest.raises(
        InvalidArgument,
        match=r"image: expected an array on cuda:1, as device='cuda:1' says, got one on cuda:0",
    ):
        fastdeblur.wiener(FakeTensor(IMAGE), PSF, 0.1, device="cuda:1")
    with pytest.raises(
        InvalidArgument, match=r"image: expected an array in host memory, as device='cpu' says"
    ):
        fastdeblur.richardson_lucy(FakeTensor(IMAGE), PSF, device="cpu")


@needs_native
@pytest.mark.parametrize("name", ["weights", "init", "out"])
def test_arrays_in_different_places(name, core):
    other = np.ones((20, 30), np.float32)
    image = FakeTensor(IMAGE)
    out = {"out": FakeTensor(np.empty_like(IMAGE))}  # nobody makes one for this library
    places = "in host memory|on cuda:1|on cuda:0"
    for given, value in ((image, other), (IMAGE, FakeTensor(other)), (image, FakeTensor(other, device=1))):
        more = out if given is image and name != "out" else {}
        more = {**more, name: value}
        with pytest.raises(
            InvalidArgument, match=rf"{name}: expected an array ({places}), as the image is, got"
        ):
            fastdeblur.richardson_lucy(given, PSF, **more)
    assert not [c for c in core.calls if c[0] == "run"]


@needs_native
def test_the_psf_and_a_kernel_may_be_anywhere(core, cupy):
    kernel = np.array([[0.0, 1.0], [-1.0, 0.5]])
    on_device = fastdeblur.wiener(IMAGE, cupy.asarray(PSF), 0.1, reg=cupy.asarray(kernel))
    np.testing.assert_array_equal(on_device, fastdeblur.wiener(IMAGE, PSF, 0.1, reg=kernel))
    plan = fastdeblur.Deconvolver(IMAGE.shape, cupy.asarray(PSF))
    np.testing.assert_array_equal(plan.wiener(IMAGE, 0.1), expected())


OUTS = [
    (lambda a: FakeTensor(a, readonly=True), "a writable array, got a read-only one"),
    (lambda a: FakeTensor(a.astype(np.float64)), "dtype float32, got float64"),
    (lambda a: FakeTensor(a[1:]), r"shape \(20, 30\), got \(19, 30\)"),
    (lambda a: FakeTensor(np.broadcast_to(a[:1], a.shape)), "distinct elements, got strides"),
    (lambda a: FakeTensor(a, data=(a.__array_interface__["data"][0] + 1, False)), "aligned elements"),
    (lambda a: FakeTensor(IMAGE), "memory of its own, got an array that overlaps image"),
    (lambda a: FakeTensor(IMAGE[::-1]), "memory of its own, got an array that overlaps image"),
    (lambda a: [1, 2], "an array on cuda:0, as the image is, got list"),
]


@needs_native
@pytest.mark.parametrize(("make", "rule"), OUTS, ids=lambda v: v if isinstance(v, str) else "")
def test_out_is_checked(make, rule, core):
    untouched = np.full_like(IMAGE, -7)
    with pytest.raises(InvalidArgument, match=f"out: expected {rule}"):
        fastdeblur.wiener(FakeTensor(IMAGE), PSF, 0.1, out=make(untouched))
    assert (untouched == -7).all()


def test_without_anyone_to_make_the_result(core, monkeypatch):
    monkeypatch.setattr(_libraries, "find_spec", lambda name: None)
    with pytest.raises(Unsupported, match="out: arrays of this library need CuPy"):
        fastdeblur.wiener(FakeTensor(IMAGE), PSF, 0.1)


# ------------------------------------------------------------------------------------------ DLPack, and owners


class Managed(ctypes.Structure):
    """DLManagedTensor's beginning, by the standard's own words rather than by the reader's."""

    _fields_ = [
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32), ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16), ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p), ("byte_offset", ctypes.c_uint64), ("manager", ctypes.c_void_p), ("deleter", ctypes.c_void_p),
    ]  # fmt: skip


class OnlyDLPack:
    def __init__(self, host, *, strides=True, offset=0, **changed):
        self.host, self.streams = host, []
        kinds = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
        self.shape_vector = (ctypes.c_int64 * host.ndim)(*host.shape)
        self.stride_vector = (ctypes.c_int64 * host.ndim)(*(s // host.itemsize for s in host.strides))
        self.managed = Managed(
            data=host.__array_interface__["data"][0] - offset, device_type=2, device_id=1, ndim=host.ndim,
            code=kinds[host.dtype.kind], bits=8 * host.itemsize, lanes=1, shape=ctypes.addressof(self.shape_vector),
            strides=ctypes.addressof(self.stride_vector) if strides else None, byte_offset=offset,
        )  # fmt: skip
        for name, value in changed.items():
            setattr(self.managed, name, value)

    def __dlpack_device__(self):
        return (2, 1)

    def __dlpack__(self, stream=None):
        self.streams.append(stream)
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return new(ctypes.addressof(self.managed), b"dltensor", None)


@pytest.mark.parametrize("kind", ["float32", "float64", "uint8", "int16", "bool"])
def test_dlpack_is_read(kind):
    host = np.ones((4, 6), kind)
    for value in (OnlyDLPack(host), OnlyDLPack(host, strides=False, offset=64), OnlyDLPack(host[::2, ::-1])):
        view = _arrays.read(value, "image")
        assert (view.dtype, view.device, view.shape) == (np.dtype(kind), 1, value.host.shape)
        assert view.strides == value.host.strides
        assert view.pointer == value.host.__array_interface__["data"][0]
        assert value.streams == [1]


def test_dlpack_s_other_types():
    for value in (
        OnlyDLPack(np.ones(3, complex)),
        OnlyDLPack(np.ones(3), lanes=2),
        OnlyDLPack(np.ones(3), bits=4),
    ):
        with pytest.raises(InvalidArgument, match="image: expected a real numeric dtype, got DLPack's type"):
            _arrays.read(value, "image")

    class Broken(OnlyDLPack):
        def __dlpack__(self, stream=None):
            raise BufferError("requires a gradient")

    with pytest.raises(
        InvalidArgument, match=r"that DLPack can hand over, got Broken \(requires a gradient\)"
    ):
        _arrays.read(Broken(np.ones(3)), "image")


@needs_native
def test_dlpack_in_and_out(core):
    out = np.empty_like(IMAGE)
    given = OnlyDLPack(out)
    assert fastdeblur.wiener(OnlyDLPack(IMAGE), PSF, 0.1, out=given) is given
    np.testing.assert_array_equal(out, expected())
    assert core.calls[0] == ("plan", 1)


class Nameless(FakeTensor):
    """Tells no device."""

    __dlpack_device__ = None


def test_the_driver_says_whose_memory_it_is(monkeypatch):
    def answer(found, attribute, pointer):
        assert attribute == 9
        if pointer.value == 4096:
            return 1
        found._obj.value = 3
        return 0

    monkeypatch.setattr(_libraries, "_driver", lambda: SimpleNamespace(cuPointerGetAttribute=answer))
    assert _arrays.read(Nameless(IMAGE), "image").device == 3
    freed = Nameless(IMAGE, data=(4096, False))
    with pytest.raises(
        InvalidArgument, match=r"init: .* an address that the driver does not know .*was it freed"
    ):
        _arrays.read(freed, "init")


# ---------------------------------------------------------------------------------------------- torch, numba, JAX


class Tensor(FakeTensor):
    is_cuda = True
    requires_grad = False
    dtype = layout = "strided"

    def __init__(self, host, **changed):
        super().__init__(host, **changed)
        self.device = SimpleNamespace(index=0)
        self.dlpack_device = None

    def is_complex(self):
        return self.host.dtype.kind == "c"

    def is_neg(self):
        return False

    def is_floating_point(self):
        return self.host.dtype.kind == "f"

    def to(self, dtype):
        return Tensor(self.host.astype(dtype))

    def cpu(self):
        return self

    def numpy(self):
        return self.host.copy()

    def amin(self, dim, keepdim):
        return Tensor(np.asarray(self.host.min(dim, keepdims=keepdim)))

    def amax(self, dim, keepdim):
        return Tensor(np.asarray(self.host.max(dim, keepdims=keepdim)))

    def copy_(self, other):
        self.host[...] = other.host

    def __truediv__(self, other):
        return Tensor(self.host / other.host)


@pytest.fixture
def torch(monkeypatch):
    """A torch without a GPU, and as little of it as is used."""
    made = ModuleType("torch")
    state = SimpleNamespace(stream=42, synchronized=[], fail=False)

    class Stream:
        def __init__(self, handle, device=None):
            self.cuda_stream = handle

        def synchronize(self):
            state.synchronized.append(self.cuda_stream)

        def __enter__(self):
            self.before, state.stream = state.stream, self.cuda_stream

        def __exit__(self, *error):
            state.stream = self.before

    class OutOfMemoryError(RuntimeError):
        pass

    def empty(shape, dtype, device):
        assert device == "cuda:0"
        if state.fail:
            raise OutOfMemoryError
        return Tensor(np.empty(shape, dtype))

    def as_tensor(value, device):
        if isinstance(value, np.ndarray):
            return Tensor(value.copy())
        return Tensor(standin_cupy._view(value.__cuda_array_interface__))

    Tensor.__module__ = "torch"
    made.float32, made.float64, made.bfloat16, made.strided = np.float32, np.float64, "bfloat16", "strided"
    made.empty, made.as_tensor, made.OutOfMemoryError, made.state = empty, as_tensor, OutOfMemoryError, state
    made.cuda = SimpleNamespace(
        current_stream=lambda device: Stream(state.stream), stream=lambda s: s, ExternalStream=Stream,
        mem_get_info=lambda device: (1 << 30, 2 << 30),
        caching_allocator_alloc=None, caching_allocator_delete=None,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", made)
    return made


@needs_native
def test_torch_in_torch_out(core, torch):
    result = fastdeblur.wiener(Tensor(IMAGE), PSF, 0.1)
    assert type(result) is Tensor
    np.testing.assert_array_equal(result.host, expected())
    assert core.calls[-1] == ("run", {True}, 42)
    out = Tensor(np.empty_like(IMAGE))
    assert fastdeblur.wiener(Tensor(IMAGE), PSF, 0.1, out=out) is out
    np.testing.assert_array_equal(out.host, expected())
    weights = np.random.default_rng(0).uniform(0, 3, IMAGE.shape)
    result = fastdeblur.richardson_lucy(
        Tensor(IMAGE), Tensor(PSF), 3, weights=Tensor(weights), init=Tensor(IMAGE)
    )
    host = fastdeblur.richardson_lucy(IMAGE, PSF, 3, weights=weights, init=IMAGE, backend="native")
    np.testing.assert_array_equal(result.host, host)
    counts = (weights * 3).astype(np.int32)
    result = fastdeblur.richardson_lucy(Tensor(IMAGE), PSF, 3, weights=Tensor(counts))
    np.testing.assert_array_equal(
        result.host, fastdeblur.richardson_lucy(IMAGE, PSF, 3, weights=counts, backend="native")
    )


@needs_native
def test_torch_s_bad_values_and_memory(core, torch):
    image = IMAGE.copy()
    image[4, 7] = np.nan
    with pytest.raises(InvalidArgument, match=r"image: expected finite values, got nan at index \(4, 7\)"):
        fastdeblur.wiener(Tensor(image), PSF, 0.1)
    with pytest.raises(InvalidArgument, match=r"init: expected finite values, got nan at index \(4, 7\)"):
        fastdeblur.richardson_lucy(Tensor(IMAGE), PSF, init=Tensor(image))
    torch.state.fail = True
    with pytest.raises(
        OutOfMemory, match=r"out: an array of shape \(20, 30\) .* on cuda:0, 1.07 GB are free"
    ):
        fastdeblur.wiener(Tensor(IMAGE), PSF, 0.1)


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"requires_grad": True}, r"without gradients, which would be lost; pass image.detach\(\)"),
        ({"dtype": "bfloat16"}, "real numeric dtype, got bfloat16"),
        ({"layout": "sparse_coo"}, "a dense tensor, got sparse_coo"),
        ({"is_neg": lambda: True}, r"plain values, got a negated view; pass image.resolve_neg\(\)"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_tensors_that_are_refused(changed, rule, torch):
    tensor = Tensor(IMAGE)
    for name, value in changed.items():
        setattr(tensor, name, value)
    with pytest.raises(InvalidArgument, match=f"image: expected .*{rule}"):
        fastdeblur.wiener(tensor, PSF, 0.1)


@needs_native
def test_a_tensor_on_another_stream_than_cupy_s_array(core, torch, cupy):
    """The image's stream waits for the output's, whose next user must find the result."""
    out = cupy.asarray(np.empty_like(IMAGE))
    standin_cupy.current.synchronized.clear()
    assert fastdeblur.wiener(Tensor(IMAGE), PSF, 0.1, out=out) is out
    assert core.calls[-1] == ("run", {True}, 42)
    assert standin_cupy.current.synchronized == [0]
    assert torch.state.synchronized == [42]


def test_tensors_on_the_cpu_become_numpy_arrays():
    torch = pytest.importorskip("torch")
    result = fastdeblur.wiener(torch.from_numpy(IMAGE), torch.from_numpy(PSF), 0.1)
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, fastdeblur.wiener(IMAGE, PSF, 0.1))


@needs_native
def test_numba_in_numba_out(core, monkeypatch):
    from contextlib import nullcontext

    class DeviceNDArray(FakeTensor):
        pass

    DeviceNDArray.__module__ = "numba.cuda.cudadrv.devicearray"
    numba, cuda = ModuleType("numba"), ModuleType("numba.cuda")
    cuda.gpus = [nullcontext()]
    cuda.device_array = lambda shape, dtype: DeviceNDArray(np.empty(shape, dtype))
    numba.cuda = cuda
    monkeypatch.setitem(sys.modules, "numba", numba)
    monkeypatch.setitem(sys.modules, "numba.cuda", cuda)
    result = fastdeblur.wiener(DeviceNDArray(IMAGE), PSF, 0.1, backend="cuda")
    assert type(result) is DeviceNDArray
    np.testing.assert_array_equal(result.host, expected())


@needs_native
def test_jax_in_jax_out(core, cupy, monkeypatch):
    class Array(FakeTensor):
        waited = False

        def block_until_ready(self):
            self.waited = True

    Array.__module__ = "jaxlib.xla_extension"
    jax, dlpack = ModuleType("jax"), ModuleType("jax.dlpack")
    dlpack.from_dlpack = lambda made: Array(made.get())
    jax.dlpack = dlpack
    monkeypatch.setitem(sys.modules, "jax", jax)
    monkeypatch.setitem(sys.modules, "jax.dlpack", dlpack)
    image = Array(IMAGE)
    result = fastdeblur.wiener(image, PSF, 0.1)
    assert image.waited
    assert type(result) is Array
    np.testing.assert_array_equal(result.host, expected())
    with pytest.raises(InvalidArgument, match="out: expected a writable array, got a read-only one"):
        fastdeblur.wiener(image, PSF, 0.1, out=Array(np.empty_like(IMAGE)))


def test_the_view_is_known_to_cupy(cupy):
    view = _arrays.read(FakeTensor(IMAGE), "image")
    assert isinstance(view, DeviceArray)
    np.testing.assert_array_equal(cupy.asarray(view[3:, ::2]).get(), IMAGE[3:, ::2])
