"""A CuPy without a GPU: exactly the functions that fastdeblur uses, over host memory that only this module may touch.

As with the real one, its arrays mix with no NumPy array, have no ``__array__``, and its kernels are the CUDA C++ text, which the
host's compiler compiles here. So the logic and the kernels' bodies are tested without a GPU.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

COMPILER = shutil.which("g++") or shutil.which("clang++")

_folder = None
_loaded = {}

PRELUDE = """
#include <complex>
#include <cstdint>
#include <type_traits>
template <class R> using complex = std::complex<R>;
template <class V> struct Raw {  // as cupy/carray.cuh: a linear index into an array of any strides
  const char* data; int ndim; const int64_t* shape; const int64_t* strides;
  const V& operator[](int64_t i) const {
    const char* at = data;
    for (int axis = ndim - 1; axis >= 0; --axis) { at += i % shape[axis] * strides[axis]; i /= shape[axis]; }
    return *reinterpret_cast<const V*>(at);
  }
};
"""


def c_name(dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        return f"complex<{c_name(np.empty(0, dtype).real.dtype)}>"
    if dtype.kind == "b":
        return "bool"
    if dtype.kind in "iu":
        return f"{'u' * (dtype.kind == 'u')}int{8 * dtype.itemsize}_t"
    return {4: "float", 8: "double"}[dtype.itemsize]


def compiled(source):
    global _folder
    if source not in _loaded:
        if _folder is None:
            _folder = tempfile.TemporaryDirectory(prefix="fastdeblur-kernels-")
        path = Path(_folder.name) / f"{hashlib.sha256(source.encode()).hexdigest()[:16]}.so"
        path.with_suffix(".cpp").write_text(source, encoding="utf-8")
        command = [COMPILER, "-std=c++17", "-O1", "-shared", "-fPIC", "-ffp-contract=off", "-Wall", "-Werror"]
        command += ["-Wno-unused-function", "-Wno-unused-local-typedefs"]
        subprocess.run([*command, "-o", str(path), str(path.with_suffix(".cpp"))], check=True)
        _loaded[source] = ctypes.CDLL(str(path)).run
    return _loaded[source]


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801
    """Its module is "cupy", set where the module is made."""

    def __init__(self, host, device=0, base=None):
        self._host = host
        self.device = SimpleNamespace(id=device)
        self._base = base

    shape = property(lambda self: self._host.shape)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    dtype = property(lambda self: self._host.dtype)

    @property
    def __cuda_array_interface__(self):
        interface = dict(self._host.__array_interface__)
        interface["strides"] = self._host.strides
        interface["version"] = 3
        interface["stream"] = max(current.stream[-1], 1)
        interface.pop("descr")
        return interface

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method != "__call__":
            return NotImplemented
        for x in inputs:
            if isinstance(x, np.ndarray):
                raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        out = kwargs.pop("out", None)
        if out is not None:
            kwargs["out"] = tuple(o._host for o in out)
        result = ufunc(*(x._host if isinstance(x, ndarray) else x for x in inputs), **kwargs)
        return out[0] if out is not None else ndarray(np.asarray(result), self.device.id)

    def __getitem__(self, index):
        return ndarray(self._host[index if isinstance(index, tuple) else (index,)], self.device.id)

    def __setitem__(self, index, value):
        if not isinstance(value, ndarray):
            raise TypeError(f"cannot set from {type(value)}")
        self._host[index] = value._host

    def __float__(self):
        return float(self._host)

    def min(self):
        return ndarray(np.asarray(self._host.min()), self.device.id)

    def max(self):
        return ndarray(np.asarray(self._host.max()), self.device.id)

    def get(self):
        return self._host.copy()


current = SimpleNamespace(stream=[0], device=[0], synchronized=[], live=0, limit=None, allocations=0)


def _made(host):
    """What the pool gives; as much as the limit lets it."""
    if current.limit is not None and host.nbytes > current.limit:
        raise OutOfMemoryError(
            f"Out of memory allocating {host.nbytes:,} bytes (allocated so far: 512 bytes)."
        )
    current.allocations += 1
    return ndarray(host, current.device[-1])


class OutOfMemoryError(MemoryError):
    pass


class CUDARuntimeError(RuntimeError):
    pass


def _view(interface):
    holder = SimpleNamespace(
        __array_interface__={
            "shape": interface["shape"],
            "typestr": interface["typestr"],
            "data": interface["data"],
            "strides": interface["strides"],
            "version": 3,
        }
    )
    return np.asarray(holder)


def asarray(value, dtype=None):
    if isinstance(value, ndarray):
        host = value._host
        return value if dtype is None or host.dtype == dtype else _made(host.astype(dtype))
    interface = getattr(value, "__cuda_array_interface__", None)
    if interface is not None:
        host = _view(interface)
        return (
            _made(host.astype(dtype))
            if dtype is not None and host.dtype != dtype
            else ndarray(host, base=value)
        )
    host = np.array(value, dtype)
    if (host.dtype.itemsize > 8 and host.dtype.kind == "f") or not host.dtype.isnative:
        raise ValueError(f"Unsupported dtype {host.dtype}")
    return _made(host)


def asnumpy(value):
    return value._host.copy()


def ascontiguousarray(value):
    return ndarray(np.ascontiguousarray(value._host), value.device.id)


def _function(name):
    def call(*args, **kwargs):
        def host(x):
            if isinstance(x, np.ndarray):
                raise TypeError("Unsupported type <class 'numpy.ndarray'>")
            return x._host if isinstance(x, ndarray) else x

        if kwargs.get("out") is not None:
            out = kwargs["out"]
            getattr(np, name)(*map(host, args), **{k: host(v) for k, v in kwargs.items()})
            return out
        return _made(np.asarray(getattr(np, name)(*map(host, args), **kwargs)))

    return call


class ElementwiseKernel:
    def __init__(self, in_params, out_params, operation, name="kernel", preamble=""):
        self.inputs = [p.split() for p in in_params.split(",")]
        self.outputs = [p.split() for p in out_params.split(",")]
        self.operation, self.name, self.preamble = operation, name, preamble
        assert len(self.outputs) == 1

    def __call__(self, *args):
        given = len(args) == len(self.inputs) + 1
        assert given or len(args) == len(self.inputs), self.name
        out_type = self.outputs[0][0]
        generic, arrays, declared, body = {}, [], [], []
        for i, (parameter, value) in enumerate(zip(self.inputs, args, strict=False)):
            raw, kind, name = "raw" in parameter, parameter[-2], parameter[-1]
            assert not isinstance(value, np.ndarray), f"{self.name}: NumPy array for {name}"
            host = value._host if isinstance(value, ndarray) else np.asarray(value)
            if len(kind) == 1:
                assert generic.setdefault(kind, host.dtype) == host.dtype
            elif not isinstance(value, ndarray):
                host = host.astype(kind)
            assert str(host.dtype) == str(np.dtype(generic.get(kind, kind if len(kind) > 1 else host.dtype)))
            arrays.append((raw, host, name, i))
        shapes = [host.shape for raw, host, *_ in arrays if not raw]
        out = args[-1]._host if given else np.empty(np.broadcast_shapes(*shapes), out_type)
        for raw, host, name, i in arrays:
            c = c_name(host.dtype)
            if raw:
                declared.append(
                    f"const Raw<{c}> {name}{{static_cast<const char*>(p[{i}]), int(n[{i}]), s[{i}], t[{i}]}};"
                )
            else:
                body.append(f"const {c} {name} = static_cast<const {c}*>(p[{i}])[i];")
        for kind, dtype in generic.items():
            declared.append(f"typedef {c_name(dtype)} {kind};")
        source = (
            f"{PRELUDE}{self.preamble}\n"
            'extern "C" void run(int64_t size, const void* const* p, const int64_t* n, const int64_t* const* s, '
            f"const int64_t* const* t, {c_name(out_type)}* result) {{ (void)n; (void)s; (void)t;\n"
            + "\n".join(declared)
            + "\nfor (int64_t i = 0; i < size; ++i) {\n"
            + "\n".join(body)
            + f"\n{c_name(out_type)} {self.outputs[0][1]};\n{self.operation};\nresult[i] = {self.outputs[0][1]};\n}}}}\n"
        )
        run = compiled(source)
        result = np.empty(out.shape, out_type)
        laid = [h if raw else np.ascontiguousarray(np.broadcast_to(h, out.shape)) for raw, h, *_ in arrays]
        vectors = [(ctypes.c_int64 * max(a.ndim, 1))(*v) for a in laid for v in (a.shape, a.strides)]
        count = len(laid)
        pointers = (ctypes.c_void_p * count)(*(a.__array_interface__["data"][0] for a in laid))
        ndims = (ctypes.c_int64 * count)(*(a.ndim for a in laid))
        dims, strides = (
            (ctypes.c_void_p * count)(*(ctypes.addressof(v) for v in vectors[k::2])) for k in (0, 1)
        )
        at = ctypes.c_void_p(result.__array_interface__["data"][0])
        run(ctypes.c_int64(result.size), pointers, ndims, dims, strides, at)
        if given:
            args[-1]._host[...] = result
            return args[-1]
        return _made(result)


class ReductionKernel:
    def __init__(self, in_params, out_params, map_expr, reduce_expr, post_map_expr, identity, name="reduce"):
        assert (reduce_expr, post_map_expr, identity) == ("a + b", "y = a", "0")
        assert out_params == "float64 y"
        self.inner = ElementwiseKernel(in_params, "float64 y", f"y = {map_expr}", name)

    def __call__(self, *args):
        return ndarray(np.asarray(self.inner(*args)._host.sum()))


@contextmanager
def _entered(stack, value):
    stack.append(value)
    try:
        yield
    finally:
        stack.pop()


class Device:
    def __init__(self, ordinal=None):
        self.id = current.device[-1] if ordinal is None else ordinal

    def __enter__(self):
        current.device.append(self.id)
        return self

    def __exit__(self, *error):
        current.device.pop()

    def synchronize(self):
        current.synchronized.append(("device", self.id))


class ExternalStream:
    def __init__(self, ptr):
        self.ptr = ptr

    @staticmethod
    def from_external(stream):
        version, handle = stream.__cuda_stream__()
        assert version == 0
        return ExternalStream(handle)

    def __enter__(self):
        current.stream.append(self.ptr)
        return self

    def __exit__(self, *error):
        current.stream.pop()

    def synchronize(self):
        current.synchronized.append(self.ptr)


ExternalStream.null = ExternalStream(0)


def _transform(name):
    def call(array, *args):
        host = array._host
        half = np.result_type(host.dtype, np.complex64)
        result = getattr(np.fft, name)(host, *args)
        return _made(result.astype(half if name == "rfftn" else np.empty(0, half).real.dtype))

    return call


def module(devices=2):
    """The module "cupy"."""
    cupy = ModuleType("cupy")
    ndarray.__module__ = "cupy"
    OutOfMemoryError.__module__ = CUDARuntimeError.__module__ = "cupy"
    for thing in (ndarray, asarray, asnumpy, ascontiguousarray, ElementwiseKernel, ReductionKernel):
        setattr(cupy, thing.__name__, thing)
    for name in ("empty", "zeros", "full", "roll", "where", "divide", "min", "max"):
        setattr(cupy, name, _function(name))
    cupy.fft = SimpleNamespace(rfftn=_transform("rfftn"), irfftn=_transform("irfftn"))
    cupy.cuda = SimpleNamespace(
        Device=Device,
        ExternalStream=ExternalStream,
        Stream=ExternalStream,
        get_current_stream=lambda: ExternalStream(current.stream[-1]),
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        runtime=SimpleNamespace(
            getDeviceCount=lambda: devices,
            memGetInfo=lambda: (3 << 30, 8 << 30),
            CUDARuntimeError=CUDARuntimeError,
        ),
    )
    cupy.get_default_memory_pool = lambda: SimpleNamespace(free_all_blocks=lambda: None)
    cupy.__spec__ = SimpleNamespace(name="cupy", loader=None)
    return cupy


@contextmanager
def installed(devices=2):
    """``import cupy`` gives the stand-in inside."""
    from fastdeblur.backends import cupy_

    def forget():
        for cached in (cupy_.why_not_cupy, cupy_.kernels):
            cached.cache_clear()
        current.synchronized.clear()
        current.limit = None

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", module(devices))
        forget()
        yield sys.modules["cupy"]
    forget()
