"""The races of the drop-ins: our function against the one whose place it takes, and against OpenCV, the fast peer.

The original has what it is written for: one thread (SciPy's and scikit-image's filters use no more). OpenCV gets as many as we do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

import scenes
from peers import Call
from speed_cases import Case, Peer
from threads import THREADS

Rest = Callable[[], tuple[Any, ...]]


@cache
def _image(shape: tuple[int, int], dtype: str) -> np.ndarray:
    image = scenes.photo((max(shape[0], 64), max(shape[1], 64)))[: shape[0], : shape[1]]
    if np.dtype(dtype).kind == "u":
        return np.clip(255 * image, 0, 255).astype(dtype)
    return np.ascontiguousarray(image, dtype)


@cache
def _kernel(side: int, dtype: str) -> np.ndarray:
    return scenes.hump(side, side).astype(dtype)


def _box(side: int) -> np.ndarray:
    return np.full((side, side), 1 / side**2)


def _first(result: Any) -> np.ndarray:
    return result[0] if isinstance(result, tuple) else result


def case(
    path: str,
    shape: tuple[int, int],
    dtype: str,
    rest: Rest,
    detail: str,
    floor: float,
    same: float,
    opencv: Callable[[Any, np.ndarray], np.ndarray] | None = None,
    **keywords: Any,
) -> Case:
    """The function at `path` of an image of this shape and dtype, and the rest of its arguments."""
    module, _, function = path.rpartition(".")

    def bound(home: str) -> Callable[[], Call]:
        def prepare() -> Call:
            call = getattr(import_module(home), function)
            arguments = (_image(shape, dtype), *rest())
            return lambda: _first(call(*arguments, **keywords))

        return prepare

    def prepare_opencv() -> Call:
        import cv2

        cv2.setNumThreads(THREADS)
        image = _image(shape, dtype)
        return lambda: opencv(cv2, image)  # type: ignore[misc]

    original = "scikit-image" if module.startswith("skimage") else "SciPy"
    peers = [Peer(original, bound(module), "the function whose place ours takes", floor, same)]
    if opencv is not None:
        note = (
            "sums in float32 where ours, as the original, sums in float64"
            if dtype == "float32"
            else "same dtype"
        )
        peers.append(
            Peer("OpenCV", prepare_opencv, note, floor=1 if dtype == "float32" else None, optional=True)
        )
    place = f"{module.rpartition('.')[2]}.{function}"
    size = "x".join(map(str, shape))
    return Case(
        f"dropin-{place.replace('_', '-').replace('.', '-')}-{size}-{dtype}",
        f"{place} {size} {dtype}, {detail}",
        bound(f"fastdeblur.{module}"),
        2 * int(np.prod(shape)) * np.dtype(dtype).itemsize,
        tuple(peers),
    )


NDIMAGE, SIGNAL, RESTORATION = "scipy.ndimage.", "scipy.signal.", "skimage.restoration."
TINY, MEDIUM, LARGE = (8, 8), (1024, 1024), (2048, 2048)
F32, F64 = "float32", "float64"

DROPINS = (
    case(
        NDIMAGE + "gaussian_filter",
        LARGE,
        F32,
        lambda: (3,),
        "sigma 3",
        12,
        1e-6,
        lambda cv2, x: cv2.GaussianBlur(x, (25, 25), 3, borderType=cv2.BORDER_REFLECT),
    ),
    case(
        NDIMAGE + "convolve",
        LARGE,
        F32,
        lambda: (_kernel(5, F32),),
        "5x5",
        15,
        1e-6,
        lambda cv2, x: cv2.filter2D(x, -1, _kernel(5, F32), borderType=cv2.BORDER_REFLECT),
    ),
    case(
        NDIMAGE + "uniform_filter",
        LARGE,
        F32,
        lambda: (15,),
        "size 15",
        10,
        1e-6,
        lambda cv2, x: cv2.blur(x, (15, 15), borderType=cv2.BORDER_REFLECT),
    ),
    case(
        NDIMAGE + "median_filter",
        LARGE,
        "uint8",
        lambda: (3,),
        "3x3",
        200,
        0.0,
        lambda cv2, x: cv2.medianBlur(x, 3),
    ),
    case(
        SIGNAL + "convolve2d",
        MEDIUM,
        F64,
        lambda: (_kernel(9, F64), "same"),
        "9x9, same",
        15,
        1e-12,
        lambda cv2, x: cv2.filter2D(x, -1, _kernel(9, F64), borderType=cv2.BORDER_CONSTANT),
    ),
    case(SIGNAL + "fftconvolve", LARGE, F32, lambda: (_kernel(63, F32), "same"), "63x63, same", 4, 1e-5),
    case(
        SIGNAL + "oaconvolve", (4096, 4096), F32, lambda: (_kernel(31, F32), "same"), "31x31, same", 3, 1e-5
    ),
    *(
        race
        for dtype, same in ((F32, 1e-4), (F64, 1e-9))
        for race in (
            case(
                RESTORATION + "wiener",
                MEDIUM,
                dtype,
                lambda d=dtype: (_kernel(15, d), 0.1),
                "PSF 15x15",
                8,
                same,
            ),
            case(
                RESTORATION + "richardson_lucy",
                MEDIUM,
                dtype,
                lambda d=dtype: (_kernel(15, d), 10),
                "PSF 15x15, 10 iterations",
                7,
                same,
            ),
        )
    ),
    case(
        RESTORATION + "unsupervised_wiener",
        MEDIUM,
        F64,
        lambda: (_kernel(15, F64),),
        "PSF 15x15",
        5,
        1e-6,
        rng=0,
    ),
    case(
        RESTORATION + "denoise_tv_chambolle",
        MEDIUM,
        F64,
        lambda: (),
        "50 iterations",
        6,
        1e-9,
        max_num_iter=50,
    ),
    case(NDIMAGE + "convolve", TINY, F64, lambda: (_box(3),), "3x3", 1, 1e-12),
    case(NDIMAGE + "correlate", TINY, F64, lambda: (_box(3),), "3x3", 1, 1e-12),
    case(NDIMAGE + "convolve1d", TINY, F64, lambda: (_box(3)[0],), "3", 1, 1e-12),
    case(NDIMAGE + "correlate1d", TINY, F64, lambda: (_box(3)[0],), "3", 1, 1e-12),
    case(NDIMAGE + "gaussian_filter", TINY, F64, lambda: (1,), "sigma 1", 1, 1e-12),
    case(NDIMAGE + "gaussian_filter1d", TINY, F64, lambda: (1,), "sigma 1", 1, 1e-12),
    case(NDIMAGE + "uniform_filter", TINY, F64, lambda: (3,), "size 3", 1, 1e-12),
    case(NDIMAGE + "uniform_filter1d", TINY, F64, lambda: (3,), "size 3", 1, 1e-12),
    case(NDIMAGE + "laplace", TINY, F64, lambda: (), "all axes", 1, 1e-12),
    case(NDIMAGE + "gaussian_laplace", TINY, F64, lambda: (1,), "sigma 1", 1, 1e-12),
    case(NDIMAGE + "gaussian_gradient_magnitude", TINY, F64, lambda: (1,), "sigma 1", 1, 1e-12),
    case(NDIMAGE + "sobel", TINY, F64, lambda: (), "axis -1", 1, 1e-12),
    case(NDIMAGE + "prewitt", TINY, F64, lambda: (), "axis -1", 1, 1e-12),
    case(NDIMAGE + "median_filter", TINY, F64, lambda: (3,), "3x3", 1, 0.0),
    case(NDIMAGE + "fourier_gaussian", TINY, F64, lambda: (1,), "sigma 1", 1, 1e-12),
    case(NDIMAGE + "fourier_shift", TINY, F64, lambda: (1,), "shift 1", 1, 1e-12),
    case(SIGNAL + "convolve", TINY, F64, lambda: (_box(3),), "3x3", 1, 1e-12),
    case(SIGNAL + "correlate", TINY, F64, lambda: (_box(3),), "3x3", 1, 1e-12),
    case(SIGNAL + "fftconvolve", TINY, F64, lambda: (_box(3),), "3x3", 1, 1e-12),
    case(SIGNAL + "oaconvolve", TINY, F64, lambda: (_box(3),), "3x3", 1, 1e-12),
    case(SIGNAL + "convolve2d", TINY, F64, lambda: (_box(3),), "3x3", 1, 1e-12),
    case(SIGNAL + "correlate2d", TINY, F64, lambda: (_box(3),), "3x3", 1, 1e-12),
    case(SIGNAL + "wiener", TINY, F64, lambda: (), "3x3", 1, 1e-9),
    case(SIGNAL + "sepfir2d", TINY, F64, lambda: (_box(3)[0], _box(3)[0]), "3 and 3", 1, 1e-12),
    case(SIGNAL + "medfilt2d", TINY, F64, lambda: (), "3x3", 1, 0.0),
    case(RESTORATION + "wiener", TINY, F64, lambda: (_box(3), 0.1), "PSF 3x3", 1, 1e-9),
    case(RESTORATION + "richardson_lucy", TINY, F64, lambda: (_box(3), 10), "PSF 3x3", 1, 1e-9),
    case(RESTORATION + "unsupervised_wiener", TINY, F64, lambda: (_box(3),), "PSF 3x3", 1, 1e-9, rng=3),
    case(RESTORATION + "denoise_tv_chambolle", TINY, F64, lambda: (), "weight 0.1", 1, 1e-9),
    case(RESTORATION + "estimate_sigma", TINY, F64, lambda: (), "one channel", 1, 1e-9),
)
