"""Random PSFs of a hand-held camera."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import as_choice, as_count, as_number
from fastdeblur.errors import InvalidArgument
from fastdeblur.psf._common import (
    Float64Array,
    allocate,
    broadcast,
    check_dtype,
    choose_native,
    finish,
    parameter,
)
from fastdeblur.psf._paths import rasterise_pieces
from fastdeblur.psf.trajectory import SOURCES

STEPS = 512

# What a whole path meets per unit of anxiety at the most; each path draws a share of each, uniform in [0, 1). The
# authors of the model state them per 1/2000 of a path of 64 pixels: noise of deviation 10, a pull of 0.7 per pixel,
# reversals with probability 0.2. A random walk grows with the root of the steps, the others with their number.
NOISE = 10 * math.sqrt(2000)
PULL = 0.7 * 2000 * 64
REVERSALS = 0.2 * 2000


def camera_shake(
    n: int | None = None,
    *,
    size: int = 31,
    seed: int | Sequence[int] | np.random.SeedSequence | None = None,
    exposure: npt.ArrayLike = 1.0,
    anxiety: npt.ArrayLike = 0.005,
    length: float | None = None,
    steps: int = STEPS,
    source: str = "pixel",
    dtype: npt.DTypeLike = np.float64,
    backend: str = "auto",
    n_threads: int = 0,
) -> npt.NDArray[Any]:
    """Random PSFs of camera shake: paths of a trembling hand, integrated exactly over each pixel.

    The path is that of a particle of constant speed whose direction is disturbed at each step: by Gaussian noise,
    by a pull towards where it began, and, rarely, by a reversal (the hand that presses the button, or corrects
    itself). How strong each is differs from path to path.

    Parameters
    ----------
    n : number of kernels. Default: one, without a batch axis.
    size : the kernels are (size, size) pixels.
    seed : of NumPy's PCG64; kernel k comes from the stream ``PCG64(seed).jumped(k)``, so that the first kernels
        of a larger batch are those of a smaller one. Default: fresh from the system.
    exposure : the part of the path that is seen, in (0, 1]; with the same seed, a longer exposure goes on where
        a shorter one ends.
    anxiety : how much the hand trembles, from 0 (a straight line) to 1. The model's authors use 0.005.
    length : of the whole path in pixels, between 0 and its default, the largest for which every path fits into
        the frame: ``2 * ((size - 1) // 2)``. No point of a path of even speed is farther from the path's
        centroid than half its length, so kernels are neither rescaled nor cropped.
    steps : number of straight steps of the whole path, 1 to 100,000. Another number is another path.
    source : "pixel" or "point", what is carried along the path; see `trajectory`.
    dtype : float64 or float32 (computed in float64, then rounded).
    backend : "auto", "native" or "numpy". Both give the same kernels to rounding.
    n_threads : threads of the native backend; 0 means all. The result does not depend on it.

    Exposure and anxiety may be arrays; they broadcast with ``(n,)``, and every kernel is another path.

    Returns
    -------
    Array of shape ``batch + (size, size)``, >= 0, each kernel with sum 1 and origin at ``size // 2``. The path's
    centroid is on the origin; with ``source="pixel"`` so is the kernel's.

    Raises
    ------
    InvalidArgument
        If an argument is not a real, finite number in its range, or no seed.
    OutOfMemory
        If the result is larger than the machine's memory.
    Unsupported
        If backend is "native" and the extension is not built.

    Source: Boracchi and Foi 2012, doi:10.1109/TIP.2012.2192126.
    """
    side = as_count(size, "size", minimum=1)
    kind = check_dtype(dtype)
    as_choice(source, "source", SOURCES)
    count = as_count(steps, "steps", minimum=1)
    if count > 100_000:
        raise InvalidArgument(f"steps: expected at most 100000, got {steps!r}")
    longest = 2.0 * ((side - 1) // 2)
    extent = longest if length is None else as_number(length, "length")
    if extent > longest:
        raise InvalidArgument(f"length: expected at most {longest:g} pixels for size {side}, got {length!r}")
    exposures, anxieties = parameter("exposure", exposure), parameter("anxiety", anxiety, non_negative=True)
    for name, values, low in (("exposure", exposures, 0.0), ("anxiety", anxieties, -1.0)):
        if values.max() > 1 or values.min() <= low:
            bad = values[(values > 1) | (values <= low)].flat[0]
            raise InvalidArgument(f"{name}: expected values in {'(' if low == 0 else '['}0, 1], got {bad}")
    # A view: the memory for so many kernels is asked for before that for their parameters.
    number = np.broadcast_to(np.zeros(()), () if n is None else (as_count(n, "n", minimum=1),))
    generator = _generator(seed)
    core, threads = choose_native(backend, n_threads)

    with contextlib.suppress(ValueError):  # named by broadcast()
        kernels = allocate(
            np.broadcast_shapes(number.shape, exposures.shape, anxieties.shape), (side, side), kind
        )
    batch, (_, exposures, anxieties) = broadcast(n=number, exposure=exposures, anxiety=anxieties)
    if core is not None:
        state = generator.state["state"]
        words = [(value >> 64, value & (2**64 - 1)) for value in (state["state"], state["inc"])]
        most = (NOISE, PULL, REVERSALS)
        core.psf_camera_shake(
            *words, anxieties, exposures, count, extent, most, source == "pixel", kernels, threads
        )
    else:
        _rasterise(generator, anxieties, exposures, count, extent, source, kernels)
    # Weights are shares of the path, all of which is in the frame: their sum is 1 already.
    return finish(kernels, batch, kind)


def _generator(seed: Any) -> np.random.PCG64:
    try:
        return np.random.PCG64(seed)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(
            f"seed: expected an integer >= 0, some of them, or None, got {seed!r}"
        ) from error


def _rasterise(
    generator: np.random.PCG64,
    anxieties: Float64Array,
    exposures: Float64Array,
    steps: int,
    length: float,
    source: str,
    out: Float64Array,
) -> None:
    group = 64  # bounds the memory for all pieces
    for first in range(0, len(out), group):
        part = slice(first, first + group)
        paths = length * _paths(generator, first, anxieties[part], steps)
        start, end, weight, kernel = [], [], [], []
        for k, (path, exposure) in enumerate(zip(paths, exposures[part].tolist(), strict=True)):
            seen = _seen(path, exposure * steps)
            share = np.ones(len(seen) - 1)
            share[-1] = exposure * steps - (len(seen) - 2)
            share /= exposure * steps
            seen -= (share[:, None] * (seen[1:] + seen[:-1]) / 2).sum(axis=0)
            start.append(seen[:-1])
            end.append(seen[1:])
            weight.append(share)
            kernel.append(np.full(len(share), k))
        rasterise_pieces(
            np.concatenate(start),
            np.concatenate(end),
            np.concatenate(weight),
            np.concatenate(kernel),
            source == "pixel",
            out[part],
        )


def _seen(path: Float64Array, wanted: float) -> Float64Array:
    """The first ``wanted`` steps of a path, the last of them perhaps in part."""
    last = math.ceil(wanted) - 1
    seen = path[: last + 2].copy()
    seen[-1] = seen[-2] + (wanted - last) * (seen[-1] - seen[-2])
    return seen


def _paths(generator: np.random.PCG64, first: int, anxieties: Float64Array, steps: int) -> Float64Array:
    """Paths of length 1, (n, steps + 1, 2), of the streams first, first + 1, ..."""
    n = len(anxieties)
    noise = np.empty((n, steps, 2))
    velocity, pull = np.empty(n, complex), np.empty(n)
    reversals: list[list[tuple[int, complex]]] = [[] for _ in range(steps)]
    for k, anxiety in enumerate(anxieties.tolist()):
        rng = np.random.Generator(generator.jumped(first + k))
        direction = 2 * math.pi * rng.random()
        velocity[k] = complex(math.cos(direction), math.sin(direction))
        pull[k] = anxiety * PULL * rng.random() / steps
        rate = anxiety * REVERSALS * rng.random()
        deviation = anxiety * NOISE * rng.random() / math.sqrt(steps)
        for time, angle in _reversals(rng, rate):
            reversals[int(time * steps)].append((k, -complex(math.cos(angle), math.sin(angle))))
        noise[k] = deviation * rng.standard_normal((steps, 2))
    disturbance = noise.view(complex)[..., 0].T
    place = np.zeros((steps + 1, n), complex)
    for i in range(steps):
        for k, turn in reversals[i]:
            velocity[k] *= turn
        velocity += disturbance[i] - pull * place[i]
        velocity /= np.abs(velocity)
        place[i + 1] = place[i] + velocity / steps
    return np.ascontiguousarray(place.T).view(np.float64).reshape(n, steps + 1, 2)


def _reversals(rng: np.random.Generator, rate: float) -> list[tuple[float, float]]:
    """Times in [0, 1) of a Poisson process, and by how many radians each misses straight back."""
    found: list[tuple[float, float]] = []
    time = 0.0
    while True:
        wait = -math.log1p(-rng.random())
        time += wait / rate if rate > 0 else math.inf
        if time >= 1:
            return found
        found.append((time, rng.random() - 0.5))
