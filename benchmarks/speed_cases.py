"""The table of races: every case with its peers, the floors that it must reach, and the bytes that it must
move.

Everything is float32 with THREADS threads on both sides; the image is read, the result a new array. What a
peer may prepare before the clock starts, and how its semantics differ from ours, is said in
docs/benchmarks.md and in each peer's `note`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np

import fastdeblur
import peers
import scenes
import traffic
from peers import Call
from threads import THREADS

BALANCE = 0.01
HD, BIG, VOLUME = (1080, 1920), (4096, 4096), (64, 256, 256)
PSF, PSF_3D = (15, 15), (9, 9, 9)
NUM_ITER = 10


@dataclass(frozen=True)
class Peer:
    """One opponent. floor: how many times faster ours must be; same: relative L2 distance within which the
    results agree.
    """

    name: str
    prepare: Callable[[], Call]
    note: str
    floor: float | None = None
    same: float | None = None
    optional: bool = False


@dataclass(frozen=True)
class Case:
    """Our side of a race, its opponents, and the bytes that our passes must move."""

    name: str
    title: str
    prepare: Callable[[], Call]
    bytes_moved: int
    peers: tuple[Peer, ...] = field(repr=False)


@cache
def psf(*shape: int) -> np.ndarray:
    return scenes.hump(*shape)


def _wiener_once(shape: tuple[int, int]) -> Call:
    image, kernel = scenes.photo(shape), psf(*PSF)
    return lambda: fastdeblur.wiener(image, kernel, BALANCE, boundary="reflect", n_threads=THREADS)


def _wiener_plan(shape: tuple[int, int], boundary: str) -> Call:
    image = scenes.photo(shape)
    plan = fastdeblur.Deconvolver(shape, psf(*PSF), boundary=boundary, n_threads=THREADS)
    out = np.empty_like(image)
    return lambda: plan.wiener(image, BALANCE, out=out)


def _wiener_peer(fft: type, shape: tuple[int, int], boundary: str, cached: str | None) -> Callable[[], Call]:
    return lambda: peers.Wiener(fft, scenes.photo(shape), psf(*PSF), BALANCE, boundary, cached)


def _richardson_lucy_once(image: Callable[[], np.ndarray], kernel: np.ndarray) -> Call:
    blurred = image()
    return lambda: fastdeblur.richardson_lucy(blurred, kernel, NUM_ITER, boundary="zero", n_threads=THREADS)


def _richardson_lucy_peer(
    fft: type, image: Callable[[], np.ndarray], kernel: np.ndarray
) -> Callable[[], Call]:
    return lambda: peers.RichardsonLucy(fft, image(), kernel, NUM_ITER)


def wiener_once(shape: tuple[int, int] = HD) -> Case:
    def image() -> np.ndarray:
        return scenes.photo(shape)

    kernel = psf(*PSF)
    return Case(
        f"wiener-{shape[0]}x{shape[1]}-call",
        f"Wiener {shape[0]}x{shape[1]}, one call",
        lambda: _wiener_once(shape),
        traffic.wiener(shape, PSF, "reflect", stored_otf=False),
        (
            Peer(
                "scikit-image",
                lambda: peers.skimage_wiener(image(), kernel, BALANCE),
                "periodic, no padding; same Laplacian",
                floor=10,
            ),
            Peer(
                "scipy.fft",
                _wiener_peer(peers.ScipyFft, shape, "reflect", None),
                "same problem, same padding; transfer function made in each call, as ours",
                floor=3.5,
                same=1e-4,
            ),
            Peer(
                "numpy",
                lambda: peers.numpy_wiener(image(), kernel, BALANCE),
                "textbook formula: periodic, a constant instead of the Laplacian",
            ),
            Peer(
                "DIPlib",
                lambda: peers.diplib_wiener(image(), kernel, BALANCE),
                "pads by the PSF; a constant instead of the Laplacian",
                optional=True,
            ),
            Peer(
                "ITK",
                lambda: peers.itk_wiener(image(), kernel, BALANCE),
                "pads by the PSF, zero flux; noise variance over the image's own spectrum",
                optional=True,
            ),
        ),
    )


def wiener_plan(shape: tuple[int, int] = HD) -> Case:
    return Case(
        f"wiener-{shape[0]}x{shape[1]}-plan",
        f"Wiener {shape[0]}x{shape[1]}, Deconvolver",
        lambda: _wiener_plan(shape, "reflect"),
        traffic.wiener(shape, PSF, "reflect", stored_otf=True),
        (
            Peer(
                "scipy.fft, cached OTF",
                _wiener_peer(peers.ScipyFft, shape, "reflect", "otf"),
                "same problem, same padding; balance is an argument of each call, as ours",
                floor=5,
                same=1e-4,
            ),
            Peer(
                "scipy.fft, cached filter",
                _wiener_peer(peers.ScipyFft, shape, "reflect", "gain"),
                "same problem, same padding; the whole filter cached, for one balance",
                same=1e-4,
            ),
            Peer(
                "pyfftw, cached filter",
                _wiener_peer(peers.PyfftwFft, shape, "reflect", "gain"),
                "as above, planned with FFTW_MEASURE",
                same=1e-4,
                optional=True,
            ),
            Peer(
                "ducc0 r2c + c2r",
                lambda: peers.ducc0_round_trip(scenes.photo(shape)),
                "the bare transforms of the unpadded image, no filter",
            ),
        ),
    )


def wiener_plan_big(shape: tuple[int, int] = BIG) -> Case:
    """Periodic, so that our grid is the image's own, as ducc0's is."""
    return Case(
        f"wiener-{shape[0]}x{shape[1]}-plan-periodic",
        f"Wiener {shape[0]}x{shape[1]}, Deconvolver, periodic",
        lambda: _wiener_plan(shape, "periodic"),
        traffic.wiener(shape, PSF, "periodic", stored_otf=True),
        (
            Peer(
                "ducc0 r2c + c2r",
                lambda: peers.ducc0_round_trip(scenes.photo(shape)),
                "the bare transforms on the same grid, no filter",
                floor=1.8,
            ),
            Peer(
                "scipy.fft, cached OTF",
                _wiener_peer(peers.ScipyFft, shape, "periodic", "otf"),
                "same problem; balance is an argument of each call, as ours",
                same=1e-4,
            ),
            Peer(
                "pyfftw, cached filter",
                _wiener_peer(peers.PyfftwFft, shape, "periodic", "gain"),
                "same problem, the whole filter cached, planned with FFTW_MEASURE",
                same=1e-4,
                optional=True,
            ),
        ),
    )


def wiener_plan_big_reflect(shape: tuple[int, int] = BIG) -> Case:
    return Case(
        f"wiener-{shape[0]}x{shape[1]}-plan",
        f"Wiener {shape[0]}x{shape[1]}, Deconvolver",
        lambda: _wiener_plan(shape, "reflect"),
        traffic.wiener(shape, PSF, "reflect", stored_otf=True),
        (
            Peer(
                "ducc0 r2c + c2r",
                lambda: peers.ducc0_round_trip(scenes.photo(shape)),
                "the bare transforms of the unpadded image, no filter; ours pads",
            ),
        ),
    )


def richardson_lucy_2d(shape: tuple[int, int] = HD) -> Case:
    def image() -> np.ndarray:
        return scenes.photo(shape)

    kernel = psf(*PSF)
    return Case(
        f"richardson-lucy-{shape[0]}x{shape[1]}",
        f"Richardson-Lucy {shape[0]}x{shape[1]}, {NUM_ITER} iterations",
        lambda: _richardson_lucy_once(image, kernel),
        traffic.richardson_lucy(shape, PSF, "zero", NUM_ITER, stored_otf=False),
        (
            Peer(
                "scikit-image",
                lambda: peers.skimage_richardson_lucy(image(), kernel, NUM_ITER),
                "darkness outside, as ours, but not divided by H^T 1 (its borders glow); starts at 0.5",
                floor=7,
            ),
            Peer(
                "scipy.fft, cached OTF",
                _richardson_lucy_peer(peers.ScipyFft, image, kernel),
                "same problem; transfer function, H^T 1, buffers made before (ours: in the call)",
                floor=4,
                same=1e-4,
            ),
            Peer(
                "pyfftw, cached OTF",
                _richardson_lucy_peer(peers.PyfftwFft, image, kernel),
                "as above, planned with FFTW_MEASURE",
                same=1e-4,
                optional=True,
            ),
            Peer(
                "numpy",
                lambda: peers.numpy_richardson_lucy(image(), kernel, NUM_ITER),
                "textbook formula: periodic",
            ),
            Peer(
                "DIPlib",
                lambda: peers.diplib_richardson_lucy(image(), kernel, NUM_ITER),
                "pads by the PSF",
                optional=True,
            ),
            Peer(
                "ITK",
                lambda: peers.itk_richardson_lucy(image(), kernel, NUM_ITER),
                "pads by the PSF, zero flux",
                optional=True,
            ),
        ),
    )


def richardson_lucy_3d(shape: tuple[int, int, int] = VOLUME) -> Case:
    def image() -> np.ndarray:
        return scenes.volume(shape)

    kernel = psf(*PSF_3D)
    size = "x".join(map(str, shape))
    return Case(
        f"richardson-lucy-{size}",
        f"Richardson-Lucy {size}, {NUM_ITER} iterations",
        lambda: _richardson_lucy_once(image, kernel),
        traffic.richardson_lucy(shape, PSF_3D, "zero", NUM_ITER, stored_otf=False),
        (
            Peer(
                "scipy.fft, cached OTF",
                _richardson_lucy_peer(peers.ScipyFft, image, kernel),
                "same problem; transfer function, H^T 1, buffers made before (ours: in the call)",
                floor=3,
                same=1e-4,
            ),
            Peer(
                "pyfftw, cached OTF",
                _richardson_lucy_peer(peers.PyfftwFft, image, kernel),
                "as above, planned with FFTW_MEASURE",
                same=1e-4,
                optional=True,
            ),
            Peer(
                "scikit-image",
                lambda: peers.skimage_richardson_lucy(image(), kernel, NUM_ITER),
                "darkness outside, as ours, but not divided by H^T 1 (its borders glow); starts at 0.5",
            ),
        ),
    )


WIENER = (wiener_once(), wiener_plan(), wiener_plan_big(), wiener_plan_big_reflect())
RICHARDSON_LUCY = (richardson_lucy_2d(), richardson_lucy_3d())
CASES = WIENER + RICHARDSON_LUCY


def distance(result: np.ndarray, reference: np.ndarray) -> float:
    """Relative L2 distance."""
    result, reference = (np.asarray(a, np.result_type(a, np.float64)).ravel() for a in (result, reference))
    return float(np.linalg.norm(result - reference) / np.linalg.norm(reference))


def require_agreement(peer: Peer, theirs: np.ndarray, ours: np.ndarray) -> None:
    """A race between two answers to different questions is none."""
    if peer.same is not None and not (error := distance(theirs, ours)) <= peer.same:
        raise AssertionError(
            f"{peer.name}: expected our result within {peer.same:g}, got one {error:.2e} away"
        )
