"""A compiled CUDA core without a GPU: the module's contract kept by the native core, device memory being the host's."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from weakref import WeakSet

import numpy as np
import pytest

import fastdeblur
from fastdeblur import _isa


class OutOfDeviceMemory(MemoryError):
    def __init__(self, asked, free):
        super().__init__(f"asked {asked}, free {free}")
        self.asked, self.free = asked, free


def _array(located, shape):
    """The array behind (address, dtype, strides, whether on the device)."""
    if located is None:
        return None
    pointer, typestr, strides, on_device = located
    assert isinstance(pointer, int)
    assert isinstance(on_device, bool)
    assert len(strides) == len(shape)
    holder = SimpleNamespace(
        __array_interface__={
            "shape": shape, "typestr": typestr, "data": (pointer, False), "strides": strides, "version": 3
        }
    )  # fmt: skip
    return np.asarray(holder)


class Refused(Exception):
    """What a Wiener filter cannot take."""


def net(core, native, devices):
    """Networks, in float32 whatever the precision."""

    class Net:
        def __init__(self, *, device, precision, **arguments):
            assert 0 <= device < devices
            core.calls.append(("net", device, precision))
            check(core)
            self.net = native.Net(**arguments)
            self.channels = arguments["channels"]

        def run(self, image, out, height, width, white, limit, wiener, stream):
            core.calls.append(("run net", {image[3], out[3]}, stream))
            check(core)
            shape = (self.channels, height, width)
            values = _array(image, shape).astype(np.float32) / np.float32(white)
            if not (np.abs(values) <= limit).all():
                return "image"

            def planes(number, given, made):
                x = given.reshape(-1, *given.shape[2:]).copy()
                y = np.empty_like(x)
                if not wiener(number, x.ctypes.data, y.ctypes.data, *x.shape, stream):
                    raise Refused
                made[...] = y.reshape(made.shape)

            result = np.empty(shape, np.float32)
            try:
                self.net.run(values, result, planes, 1, 0)
            except Refused:
                return "overflow"
            if not np.isfinite(result).all():
                return "overflow"
            _array(out, shape)[...] = result * np.float32(white)
            return ""

        def memory(self, height, width):
            return float(self.net.memory(height, width, 1, 0))

        def kept(self):
            return self.net.kept()

        def release(self):
            core.calls.append(("release",))

    return Net


def check(core):
    if core.fail and core.fail[-1] is None:
        core.fail.pop()
    elif core.fail:
        raise core.fail.pop()  # of which no name is kept, nor of the frames that it comes through


def module(devices=2):
    """The module "fastdeblur._cuda"; its attribute ``calls`` tells what it was given."""
    core = ModuleType("fastdeblur._cuda")
    native = _isa.load_core()
    core.calls = []
    core.fail = []  # exceptions to raise in the next calls, the last one first; None for a call that works
    core.plans = WeakSet()
    core.most_plans = 0  # at a time
    core.OutOfDeviceMemory = OutOfDeviceMemory
    core.why_not = lambda: "" if devices else "there is no CUDA device"
    core.device_count = lambda: devices
    core.devices = lambda: [
        {
            "index": i, "name": "Stand-in", "compute_capability": (9, 0), "total": 80 << 30, "free": 79 << 30,
            "driver": 13000, "runtime": 13000, "cufft": "12.0",
        }
        for i in range(devices)
    ]  # fmt: skip
    core.set_allocator = lambda allocate, release: core.calls.append(("allocator", allocate, release))
    core.synchronize = lambda device, stream: core.calls.append(("synchronize", device, stream))
    core.release_pool = lambda device: core.calls.append(("release_pool", device))

    core.Net = net(core, native, devices)

    def bind(suffix):
        class Deconvolver:
            def __init__(self, device, **arguments):
                assert 0 <= device < devices
                core.calls.append(("plan", device))
                core.plans.add(self)
                core.most_plans = max(core.most_plans, len(core.plans))
                check(core)
                self.frame = tuple(arguments["frame"])
                self.plan = getattr(native, f"Deconvolver{suffix}")(threads=1, **arguments)

            def _planes(self, planes):
                return [
                    (
                        _array(i, self.frame),
                        _array(o, self.frame),
                        psf,
                        *(_array(x, self.frame) for x in more),
                    )
                    for i, o, psf, *more in planes
                ]

            def _note(self, planes, stream):
                flags = {x[3] for plane in planes for x in plane if isinstance(x, tuple)}
                core.calls.append(("run", flags, stream))
                check(core)

            def wiener(self, planes, balance, reg, power, stream):
                self._note(planes, stream)
                return self.plan.wiener(self._planes(planes), balance, reg, power)

            def richardson_lucy(
                self, planes, num_iter, acceleration, background, sigma, measured, on_iteration, stream
            ):
                self._note(planes, stream)
                told = None
                if on_iteration is not None:

                    def told(plane, iteration, change, estimate):
                        def fill(located):
                            estimate(_array(located, self.frame))

                        return on_iteration(plane, iteration, change, fill)

                return self.plan.richardson_lucy(
                    self._planes(planes), num_iter, acceleration, background, sigma, measured, told
                )

        Deconvolver.__name__ = f"Deconvolver{suffix}"
        return Deconvolver

    for suffix in ("F32", "F64"):
        setattr(core, f"Deconvolver{suffix}", bind(suffix))
        count = getattr(native, f"bytes{suffix}")
        setattr(core, f"bytes{suffix}", lambda count=count, **given: count(threads=1, **given))
    return core


@contextmanager
def installed(devices=2):
    """``fastdeblur._cuda`` is the stand-in inside."""
    from fastdeblur.backends import _pool, cuda

    def forget():
        cuda.why_not_cuda.cache_clear()
        cuda.device_count.cache_clear()

    with pytest.MonkeyPatch.context() as patch:
        made = module(devices)
        patch.setitem(sys.modules, "fastdeblur._cuda", made)
        patch.setattr(fastdeblur, "_cuda", made, raising=False)
        patch.setattr(_pool, "_taken", False)
        forget()
        yield made
    forget()


class FakeTensor:
    """An array of a library of nobody's, in "device" memory that is host memory; only the interface tells of it."""

    def __init__(self, host, *, stream=None, readonly=False, device=0, **changed):
        self.host, self.device = host, device
        interface = host.__array_interface__
        self.interface = {
            "shape": host.shape,
            "typestr": host.dtype.str,
            "data": (interface["data"][0], readonly),
            "strides": host.strides,
            "version": 3,
            "stream": stream,
            **changed,
        }

    @property
    def __cuda_array_interface__(self):
        return self.interface

    def __dlpack_device__(self):
        return (2, self.device)
