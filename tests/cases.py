"""The one table of problems: parity, plan, thread and error tests all read it.

A case says everything but the dtype and the backend. Its data are made from its name, so that a case is the
same problem in every process and on every machine.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

import fastdeblur
from fastdeblur.backends import Spec

# Relative L2 distance from the float64 reference that a result may have.
WIENER_TOLERANCE = MappingProxyType({"float32": 2e-5, "float64": 1e-11})
RL_TOLERANCE = MappingProxyType({"float32": 1e-4, "float64": 1e-9})

DEFAULT_BOUNDARY = {"wiener": "edge", "richardson_lucy": "unknown"}


# ------------------------------------------------------------------------------------------------------- PSFs


def box(*shape: int) -> np.ndarray:
    return np.ones(shape) / np.prod(shape)


def hump(*shape: int) -> np.ndarray:
    """Smooth, positive, centred on shape // 2, its Fourier transform free of deep zeros."""
    axes = np.ix_(*(np.exp(-0.5 * ((np.arange(n) - n // 2) / (0.18 * n + 0.3)) ** 2) for n in shape))
    product = np.ones(())
    for axis in axes:
        product = product * axis
    return product


def lopsided(*shape: int) -> np.ndarray:
    """No symmetry at all, so that a flip, a transpose or a wrong origin shows; centred nearly."""
    rng = np.random.default_rng(7)
    return hump(*shape) * rng.uniform(0.5, 1.5, shape)


def delta(*shape: int) -> np.ndarray:
    psf = np.zeros(shape)
    psf[tuple(n // 2 for n in shape)] = 1
    return psf


# ----------------------------------------------------------------------------------- regularisation callables


def rough(*frequencies: np.ndarray) -> Any:
    """Penalises roughness, a little everywhere; real."""
    return 0.05 + sum(4 * np.sin(np.pi * f) ** 2 for f in frequencies)


def forward_difference(*frequencies: np.ndarray) -> Any:
    """exp(2 pi i f) - 1 along the last axis plus a constant; complex, does not depend on the other axes."""
    return 0.1 + np.exp(2j * np.pi * frequencies[-1]) - 1


def complex_reg(image: np.ndarray) -> np.ndarray:
    """A transfer function given as an array: the half spectrum of a small random kernel."""
    rng = np.random.default_rng(3)
    grid = np.zeros(image.shape)
    grid[tuple(slice(0, 2) for _ in image.shape)] = rng.normal(size=[min(2, n) for n in image.shape])
    return np.fft.rfftn(grid)


# ------------------------------------------------------------------------------------------------------ cases


@dataclass(frozen=True)
class Case:
    """A problem. ``psf`` holds channels along ``channel_axis`` where it has as many axes as the image.

    ``kwargs`` go to the function as they are; ``made`` holds functions of
    (image, rng) that make array arguments.
    """

    name: str
    method: str
    shape: tuple[int, ...]
    psf: np.ndarray
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    noise: float = 0.01

    def __str__(self) -> str:
        return self.name

    @property
    def tolerance(self) -> Mapping[str, float]:
        return WIENER_TOLERANCE if self.method == "wiener" else RL_TOLERANCE

    @property
    def spatial_ndim(self) -> int:
        axis = self.kwargs.get("channel_axis")
        return self.psf.ndim - (axis is not None and self.psf.ndim == len(self.shape))

    @property
    def boundary(self) -> str:
        return str(self.kwargs.get("boundary", DEFAULT_BOUNDARY[self.method]))

    def spec(self, dtype: str) -> Spec:
        return Spec(self.method, self.spatial_ndim, np.dtype(dtype), self.boundary)

    def image(self, dtype: str = "float64") -> np.ndarray:
        """A positive scene of scale 1, blurred a little, noisy: the same float32 values for any dtype."""
        return _scene(self.name, self.shape, self.noise).astype(dtype)

    def arguments(self, dtype: str = "float64") -> dict[str, Any]:
        """Every keyword argument but backend, with the arrays in float32 values."""
        image = self.image(dtype)
        rng = np.random.default_rng(zlib.crc32(self.name.encode()) + 1)
        made = {key: make(image, rng) for key, make in self.made.items()}
        return {**self.kwargs, **made}

    def function(self) -> Callable[..., np.ndarray]:
        return getattr(fastdeblur, self.method)

    def run(self, backend: str, dtype: str = "float64", **more: Any) -> np.ndarray:
        """The case's result; ``more`` overrides arguments, ``image`` included."""
        arguments = {"image": self.image(dtype), "psf": self.psf, **self.arguments(dtype), **more}
        return self.function()(**arguments, backend=backend)


@cache
def _scene(name: str, shape: tuple[int, ...], noise: float) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    scene = rng.uniform(0.2, 1.2, shape)
    for axis, n in enumerate(
        shape
    ):  # a 3-tap blur makes neighbours alike without a fast path that is under test
        if n > 2:
            scene = (np.roll(scene, 1, axis) + scene + np.roll(scene, -1, axis)) / 3
    scene = np.maximum(scene + noise * rng.normal(size=shape), 0.01).astype(np.float32)
    scene.flags.writeable = False
    return scene


def _dead(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (rng.random(image.shape) > 0.15).astype(np.float64)


def _graded(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.3, 1.0, image.shape) * _dead(image, rng)


def _warm(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.5, 1.5, image.shape).astype(np.float32)


def _holed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image with NaN, infinity and a negative value; _unholed are its weights."""
    image = image.copy()
    image.ravel()[:: max(1, image.size // 5)] = np.nan
    image.ravel()[1 :: max(2, image.size // 4)] = np.inf
    image.ravel()[2 :: max(3, image.size // 3)] = -5
    return image


def _unholed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    holed = _holed(image, rng)
    return (np.isfinite(holed) & (holed >= 0)).astype(np.float64)


def _wiener(name: str, shape: tuple[int, ...], psf: np.ndarray, **kwargs: Any) -> Case:
    kwargs.setdefault("balance", 0.02)
    reg = kwargs.get("reg")
    made = {}
    if isinstance(reg, str) and reg == "complex":
        del kwargs["reg"]
        made["reg"] = lambda image, rng: complex_reg(image)
    return Case(f"wiener-{name}", "wiener", shape, psf, kwargs, made)


def _rl(name: str, shape: tuple[int, ...], psf: np.ndarray, **kwargs: Any) -> Case:
    kwargs.setdefault("num_iter", 30)
    made = {key: kwargs.pop(key) for key in ("weights", "init", "image") if callable(kwargs.get(key))}
    return Case(f"rl-{name}", "richardson_lucy", shape, psf, kwargs, made)


def _table() -> list[Case]:
    cases: list[Case] = []

    # Every boundary, every rank, odd, even and prime sizes; the PSF has no symmetry.
    for boundary in ("periodic", "reflect", "edge", "zero", "unknown"):
        for shape, psf in (
            ((64,), lopsided(5)),
            ((101,), lopsided(7)),
            ((31, 37), lopsided(5, 7)),
            ((32, 48), lopsided(5, 5)),
            ((127, 30), lopsided(4, 9)),
            ((11, 13, 17), lopsided(3, 5, 4)),
            ((8, 16, 12), lopsided(3, 3, 3)),
        ):
            size = "x".join(map(str, shape))
            if boundary != "unknown":
                cases.append(_wiener(f"{boundary}-{size}", shape, psf, boundary=boundary))
            cases.append(_rl(f"{boundary}-{size}", shape, psf, boundary=boundary))

    # Tiny images and axes of one pixel.
    for shape, psf in (
        ((1,), box(1)),
        ((2,), lopsided(3)),
        ((1, 1), box(1, 1)),
        ((1, 1), box(3, 3)),
        ((2, 3), lopsided(3, 3)),
        ((1, 40), lopsided(1, 5)),
        ((40, 1), lopsided(5, 1)),
        ((1, 40), lopsided(3, 5)),
        ((1, 9, 20), lopsided(1, 3, 3)),
        ((9, 20, 1), lopsided(3, 3, 1)),
    ):
        size = "x".join(map(str, shape)) + "-psf-" + "x".join(map(str, psf.shape))
        cases += [
            _wiener(f"tiny-{boundary}-{size}", shape, psf, boundary=boundary)
            for boundary in ("periodic", "reflect", "zero")
        ]
        cases.append(_rl(f"tiny-unknown-{size}", shape, psf))
        cases.append(_rl(f"tiny-periodic-{size}", shape, psf, boundary="periodic"))

    # PSFs.
    for name, psf in (
        ("box", box(9, 9)),
        ("even", lopsided(6, 8)),
        ("even-odd", lopsided(2, 3)),
        ("delta", delta(5, 5)),
        ("pixel", box(1, 1)),
        ("row", lopsided(1, 21)),
        ("column", lopsided(21, 1)),
        ("integers", np.array([[0, 1, 0], [1, 4, 1], [0, 2, 0]])),
    ):
        cases.append(_wiener(f"psf-{name}", (45, 52), psf))
        cases.append(_rl(f"psf-{name}", (45, 52), psf))
    larger = (10, 12), lopsided(25, 15)
    cases += [_wiener(f"psf-larger-{b}", *larger, boundary=b) for b in ("periodic", "zero")]
    cases += [_wiener("psf-larger-reflect", (10, 12), lopsided(21, 25))]
    cases += [_rl(f"psf-larger-{b}", *larger, boundary=b) for b in ("periodic", "zero", "unknown")]

    # Larger, with more rows and columns than any block of an engine.
    cases += [
        _wiener("larger", (257, 300), lopsided(15, 15)),
        _wiener("larger-periodic", (300, 257), lopsided(15, 15), boundary="periodic"),
        _rl("larger", (257, 300), lopsided(15, 15), num_iter=10),
        _wiener("larger-1d", (5003,), lopsided(31)),
        _rl("larger-1d", (5003,), lopsided(31)),
        _wiener("larger-3d", (20, 60, 70), lopsided(5, 7, 7)),
        _rl("larger-3d", (20, 60, 70), lopsided(5, 7, 7), num_iter=5),
    ]

    # Channels and batches.
    per_channel = np.stack([lopsided(5, 7), hump(5, 7), box(5, 7)])
    for make in (_wiener, _rl):
        cases += [
            make("channels-last", (30, 41, 3), lopsided(5, 7), channel_axis=-1),
            make("channels-first", (3, 30, 41), lopsided(5, 7), channel_axis=0),
            make("channels-middle", (30, 3, 41), lopsided(5, 7), channel_axis=1),
            make("channels-4", (17, 19, 4), lopsided(3, 3), channel_axis=2),
            make("channels-3-psf-3x3", (17, 19, 3), lopsided(3, 3), channel_axis=2),
            make("psf-per-channel-last", (30, 41, 3), np.moveaxis(per_channel, 0, -1), channel_axis=-1),
            make("psf-per-channel-first", (3, 30, 41), per_channel, channel_axis=0),
            make("psf-per-channel-1d", (2, 50), np.stack([lopsided(7), box(7)]), channel_axis=0),
            make("batch", (4, 23, 29), lopsided(5, 3)),
            make("batch-batch", (2, 3, 14, 15), lopsided(3, 3)),
            make("batch-1d", (5, 33), lopsided(7)),
            make("batch-channels-last", (2, 17, 19, 3), lopsided(3, 5), channel_axis=-1),
            make("batch-channels-second", (2, 3, 17, 19), lopsided(3, 5), channel_axis=1),
            make("channels-batch", (3, 2, 17, 19), lopsided(3, 5), channel_axis=0),
            make("volume-channels", (6, 9, 10, 2), lopsided(3, 3, 3), channel_axis=-1),
            make("batch-volumes", (2, 6, 9, 10), lopsided(3, 3, 3)),
        ]

    # Wiener: regularisation and balance.
    for boundary in ("periodic", "reflect", "zero"):
        cases += [
            _wiener(f"identity-{boundary}", (37, 44), lopsided(5, 5), reg="identity", boundary=boundary),
            _wiener(f"kernel-{boundary}", (37, 44), lopsided(5, 5), reg=_SOBEL, boundary=boundary),
            _wiener(f"callable-{boundary}", (37, 44), lopsided(5, 5), reg=rough, boundary=boundary),
            _wiener(
                f"callable-complex-{boundary}",
                (37, 44),
                lopsided(5, 5),
                reg=forward_difference,
                boundary=boundary,
            ),
        ]
    cases += [
        _wiener("transfer", (37, 44), lopsided(5, 5), reg="complex", boundary="periodic"),
        _wiener("transfer-odd", (36, 43), lopsided(5, 5), reg="complex", boundary="periodic"),
        _wiener("transfer-1d", (43,), lopsided(5), reg="complex", boundary="periodic"),
        _wiener("transfer-3d", (7, 8, 9), lopsided(3, 3, 3), reg="complex", boundary="periodic"),
        _wiener("identity-1d", (97,), lopsided(7), reg="identity"),
        _wiener("identity-3d", (9, 10, 11), lopsided(3, 3, 3), reg="identity"),
        _wiener("callable-3d", (9, 10, 11), lopsided(3, 3, 3), reg=rough),
        _wiener("kernel-1d", (97,), lopsided(7), reg=np.array([1.0, -1.0])),
        _wiener("heavy", (37, 44), lopsided(5, 5), balance=1e3),
        _wiener(
            "inverse", (37, 44), np.array([[0, 1, 0], [1, 8, 1], [0, 2, 0]]), balance=0, boundary="periodic"
        ),
        _wiener("kernel-larger", (12, 9), lopsided(3, 3), reg=lopsided(30, 41), boundary="periodic"),
    ]

    # Richardson-Lucy: every option, alone and together.
    for boundary in ("periodic", "reflect", "zero", "unknown"):
        shape, psf = (29, 38), lopsided(5, 6)
        cases += [
            _rl(
                f"accelerated-{boundary}",
                shape,
                psf,
                acceleration="biggs-andrews",
                boundary=boundary,
                num_iter=12,
            ),
            _rl(f"background-{boundary}", shape, psf, background=0.05, boundary=boundary),
            _rl(f"dead-{boundary}", shape, psf, weights=_dead, boundary=boundary),
            _rl(f"graded-{boundary}", shape, psf, weights=_graded, boundary=boundary),
            _rl(f"holed-{boundary}", shape, psf, image=_holed, weights=_unholed, boundary=boundary),
            _rl(f"init-{boundary}", shape, psf, init=_warm, boundary=boundary, num_iter=10),
            _rl(
                f"everything-{boundary}",
                shape,
                psf,
                boundary=boundary,
                num_iter=12,
                acceleration="biggs-andrews",
                background=0.03,
                weights=_graded,
                init=_warm,
            ),
        ]
    for shape, psf in (((61,), lopsided(7)), ((8, 9, 11), lopsided(3, 3, 4))):
        ndim = len(shape)
        cases += [
            _rl(f"accelerated-{ndim}d", shape, psf, acceleration="biggs-andrews", num_iter=12),
            _rl(f"everything-{ndim}d", shape, psf, background=0.03, weights=_graded, init=_warm, num_iter=12),
        ]
    cases += [
        _rl("tol", (31, 37), lopsided(5, 5), tol=0.02, num_iter=200),
        _rl("tol-batch", (3, 31, 37), lopsided(5, 5), tol=0.02, num_iter=200),
        _rl("no-iteration", (31, 37), lopsided(5, 5), num_iter=0),
        _rl("one-iteration", (31, 37), lopsided(5, 5), num_iter=1),
        _rl("weights-shared", (3, 31, 37), lopsided(5, 5), weights=lambda image, rng: _graded(image[0], rng)),
        _rl("weights-channels", (31, 37, 3), lopsided(5, 5), weights=_graded, channel_axis=-1),
        _rl(
            "weights-shared-channels",
            (31, 37, 3),
            lopsided(5, 5),
            weights=lambda image, rng: _graded(image[..., 0], rng),
            channel_axis=-1,
        ),
        _rl("weights-bool", (31, 37), lopsided(5, 5), weights=lambda image, rng: _dead(image, rng) > 0),
        _rl("init-channels", (31, 37, 3), lopsided(5, 5), init=_warm, channel_axis=-1, num_iter=10),
    ]
    return cases


_SOBEL = np.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])

CASES = tuple(_table())


def case(name: str) -> Case:
    """The case of that name."""
    return next(c for c in CASES if c.name == name)
