"""The compiled core: the fused passes on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur import _isa
from fastdeblur._geometry import AxisMap, Frame
from fastdeblur.backends import Plane, Spec
from fastdeblur.ops import CHECKS

_SUFFIX = {np.dtype(np.float32): "F32", np.dtype(np.float64): "F64"}
_READABLE = "biuf"  # kinds whose items of at most 8 bytes the core reads as they are, but for float16


def isa() -> str:
    """The instruction-set level of the core that is in use, "x86-64-v3" say; raises ImportError if there is none."""
    return str(_isa.load_core().isa)


def default_threads() -> int:
    """What n_threads=0 means."""
    return int(_isa.load_core().default_threads())


class NativePlan:
    """A compiled plan with its images checked and its answers turned into errors."""

    def __init__(self, core: ModuleType, frame: Frame, psfs: NDArray[Any], n_threads: int, keep: bool):
        around = "edge" if frame.boundary == "unknown" else frame.boundary
        self._frame = frame
        self._dtype = psfs.dtype
        self._plan = getattr(core, f"Deconvolver{_SUFFIX[psfs.dtype]}")(
            psfs=psfs,
            data_maps=_as_tuples(frame.maps()),
            init_maps=_as_tuples(frame.maps(around)),
            keep=keep,
            threads=n_threads,
            **_geometry(frame),
        )

    def run(self, method: str, params: Any, planes: Sequence[Plane]) -> None:
        arguments = [
            (
                _readable(p.image),
                p.out,
                p.psf,
                *(a if a is None else _readable(a) for a in (p.weights, p.init)),
            )
            for p in planes
        ]
        bad = getattr(self, f"_{method}")(params, planes, arguments)
        if bad is not None:
            CHECKS[method](planes[bad[0]], self._frame, self._dtype)
            raise AssertionError(
                f"the core refused image {bad[0]} for a reason ({bad[1]}) that does not show"
            )

    def _wiener(self, params: Any, planes: Sequence[Plane], arguments: list[Any]) -> Any:
        from fastdeblur.backends.numpy_ import NumpyOps
        from fastdeblur.methods.wiener import reg_power

        if isinstance(params.reg, str) and params.power is None:
            return self._plan.wiener(arguments, params.balance, params.reg, None)
        power = np.ascontiguousarray(reg_power(params, self._frame, NumpyOps(self._dtype)), self._dtype)
        return self._plan.wiener(arguments, params.balance, "power", power)

    def _richardson_lucy(self, params: Any, planes: Sequence[Plane], arguments: list[Any]) -> Any:
        on_iteration = None
        if params.watched:

            def on_iteration(index: int, iteration: int, change: float, estimate: Any) -> bool:
                def copied() -> NDArray[Any]:
                    out = np.empty(self._frame.shape, self._dtype)
                    estimate(out)
                    return out

                return bool(params.goes_on(planes[index], iteration, change, copied))

        return self._plan.richardson_lucy(
            arguments,
            params.num_iter,
            params.acceleration,
            params.background,
            planes[0].sigma,
            on_iteration is not None,
            on_iteration,
        )


class NativeBackend:
    """C++ with SIMD lanes and threads."""

    name = "native"
    computes_on = "cpu"
    keeps_scratch = True

    def why_not(self, spec: Spec | None = None) -> str:
        return _isa.why_not()

    def why_not_device(self, ordinal: int) -> str:
        return "it computes on the CPU"

    def plan(
        self, frame: Frame, psfs: NDArray[Any], n_threads: int, keep: bool, device: int | None = None
    ) -> NativePlan:
        return NativePlan(_isa.load_core(), frame, psfs, n_threads, keep)

    def memory(self, method: str, frame: Frame, dtype: np.dtype[Any], options: dict[str, Any]) -> int:
        if frame.pixels > 1 << 40:  # no machine's; the core counts groups of rows one by one
            return 4 * frame.pixels * dtype.itemsize
        count = getattr(_isa.load_core(), f"bytes{_SUFFIX[dtype]}")
        return int(
            count(
                psf_shape=frame.psf_shape,
                psf_count=options["psfs"],
                keep=options.get("keep", False),
                threads=options["n_threads"],
                richardson_lucy=method == "richardson_lucy",
                acceleration=options.get("acceleration") or "",
                weights=options.get("weights", False),
                many_planes=options["planes"] > options["psfs"],
                **_geometry(frame),
            )
        )


def _geometry(frame: Frame) -> dict[str, Any]:
    return {
        "frame": frame.shape,
        "grid": frame.grid,
        "extended": frame.fills_grid,
        "dark_outside": frame.boundary == "zero",
    }


def _as_tuples(maps: tuple[AxisMap, ...]) -> list[tuple[Any, ...]]:
    return [(m.first, m.second, m.first_weight, m.second_weight) for m in maps]


def _readable(array: NDArray[Any]) -> NDArray[Any]:
    """The array, or a copy where the core cannot read it as it lies."""
    if (
        array.flags.aligned
        and array.dtype.kind in _READABLE
        and array.dtype.itemsize <= 8
        and array.dtype != np.float16
    ):
        return array
    return array.astype(np.float64 if array.dtype.itemsize > 8 else np.float32)
