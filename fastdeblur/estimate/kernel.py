"""Blind estimation of a general kernel, camera shake above all, from one image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastdeblur import _isa
from fastdeblur._checks import (
    as_axis,
    as_choice,
    as_count,
    as_real_array,
    as_thread_count,
    names_memory_errors,
    require_finite,
)
from fastdeblur.errors import InvalidArgument, Unsupported
from fastdeblur.estimate import _support as support
from fastdeblur.estimate._border import on_grid
from fastdeblur.estimate._exposure import clipped, widened
from fastdeblur.estimate._gradient_prior import FloatArray, count_steps, half_quadratic
from fastdeblur.estimate._input import rounding
from fastdeblur.estimate._kernel_step import normal_equations, solve
from fastdeblur.estimate._resample import resample
from fastdeblur.estimate._spectrum import support_by_spectrum
from fastdeblur.estimate._trust import agreement, has_structure

Kernel = NDArray[np.float64]
Size = tuple[int, int]

# Tuned on photographs that no reported figure comes from.
_FIRST_STRENGTH, _LAST_STRENGTH, _DECAY = 2e-2, 1e-3, 1.1  # of the prior on the sharp image's gradients
_LAST_GAMMA = 1e2
_ALTERNATIONS = 5  # at each scale
_RIDGE = 20.0
_FAINT, _SPECK = 0.02, 0.02
_RATIO = 0.8  # of one scale's pixels to the next finer one's: with 0.71 kernels are cut where scales meet
_COARSEST = 5  # pixels of the kernel at the coarsest scale

# Of `support_by_spectrum`: up to the one there is no blur to be told, from the other on no doubt.
_REFUTED, _BORNE_OUT = 0.15, 0.4
_HALF_SEEN = 0.5  # trust in a kernel that the spectrum cannot be asked about

_FIRST_GUESS, _GROWTH, _ROUNDS = 25, 1.7, 4  # of an unknown size
_BETTER = 1.05  # times what the spectrum says of a smaller frame's kernel


@dataclass(frozen=True)
class KernelEstimate:
    """What `kernel` found."""

    psf: Kernel
    """(h, w), odd, >= 0, sum 1, centroid within a pixel of the origin at ``shape // 2``."""
    confidence: float
    """In [0, 1]: 0 where nothing could be told (the PSF is an impulse then), 1 where the image's halves and its spectrum agree."""
    size: Size
    """Of the frame that was estimated in; with size=None the one chosen, and ``psf`` is trimmed to its need."""
    scales: tuple[Size, ...]
    """The image's sizes from coarse to fine."""
    masked: float
    """Share of the image's gradients that clipped highlights kept out."""
    stopped: bool
    """Whether the callback ended the work early; ``confidence`` is 0 then."""


class KernelProgress:
    """What a callback sees after an alternation."""

    __slots__ = ("_psf", "iteration", "num_iter", "scale", "scales", "size")

    def __init__(
        self, iteration: int, num_iter: int, scale: int, scales: int, size: Size, psf: Callable[[], Kernel]
    ):
        self.iteration = iteration
        """Alternations done, from 1."""
        self.num_iter = num_iter
        """Alternations at all scales; with size=None they start again where the kernel outgrew its frame."""
        self.scale = scale
        """Present scale, 1 the coarsest."""
        self.scales = scales
        """Number of scales."""
        self.size = size
        """(h, w) of the kernel at the finest scale."""
        self._psf = psf

    def psf(self) -> Kernel:
        """A copy of the present kernel, at the present scale."""
        return self._psf()


Callback = Callable[[KernelProgress], Any]


@names_memory_errors
def kernel(
    image: ArrayLike,
    size: int | Sequence[int] | None = None,
    *,
    channel_axis: int | None = None,
    callback: Callback | None = None,
    n_threads: int = 0,
    backend: str = "auto",
) -> KernelEstimate:
    """Estimate the blur kernel of one image whose blur is the same all over: camera shake, or any other compact kernel.

    From a coarse scale to the finest, a piecewise flat sharp image (as few gradients as explain the data) and the kernel
    (non-negative least squares between both images' gradients) are found in turn.

    Parameters
    ----------
    image : array, (h, w), or with channels along ``channel_axis``
        Blurred image, any real dtype, any unit, finite. Highlights clipped at the top of its range are recognised and left out.
        Channels are averaged: they share one blur.
    size : odd int or (h, w) of odd ints, optional
        Frame of the kernel in pixels, a little larger than the blur is long; at most half of the image. Default: found by
        growing the frame until the kernel fits, then trimming it.
    channel_axis : int, optional
        Axis of the channels, None for none.
    callback : callable, optional
        Called after every alternation with a ``KernelProgress``: iteration, num_iter, scale, scales, size, psf(). Raising
        StopIteration ends the work with the present kernel, any other exception ends the call; what it returns is ignored.
    n_threads : int
        0 for as many as OpenMP would use. The result does not depend on it.
    backend : "auto", "native" or "numpy"

    Returns
    -------
    KernelEstimate
        psf, confidence and what was chosen. An image without structure (constant, pure noise, clipped all over), and one whose
        spectrum shows no blur (a sharp photograph), give an impulse with confidence 0.

    Raises
    ------
    InvalidArgument
        An argument breaks its rule; the image holds NaN or infinity, or is too small for the kernel.
    Unsupported
        The named backend cannot run.

    References
    ----------
    L. Xu, S. Zheng, J. Jia, CVPR 2013, doi:10.1109/CVPR.2013.147 (the prior on the number of gradients)
    J. Pan, Z. Hu, Z. Su, M.-H. Yang, CVPR 2014, doi:10.1109/CVPR.2014.371 (half-quadratic splitting, the schedule of scales)
    S. Cho, S. Lee, ACM Trans. Graph. 28(5):145, 2009, doi:10.1145/1618452.1618491 (the kernel from gradients)
    """
    grey, least = _as_grey(image, channel_axis)
    frame = _as_size(size, grey.shape)
    if callback is not None and not callable(callback):
        raise InvalidArgument(f"callback: expected a callable, got {type(callback).__name__}")
    native = _use_native(backend)
    threads = as_thread_count(n_threads)

    if not has_structure(grey, least):
        shape = frame or (1, 1)
        return KernelEstimate(support.impulse(shape), 0.0, shape, (), 0.0, False)
    unit = _normalised(grey)
    search = _Search(unit, callback, native, threads)
    if frame is not None:
        return search.run(frame)
    largest = min(_odd_at_most(n // 3) for n in grey.shape)
    guess, best, before = min(_FIRST_GUESS, largest), None, 0.0
    for _ in range(_ROUNDS):
        found = search.run((guess, guess))
        if found.stopped or best is None or search.borne_out > before:
            best = found
        # Refuted, cut off, or better than in a smaller frame: the kernel may be longer than this one too.
        settled = search.borne_out >= _REFUTED and search.borne_out < _BETTER * before
        if found.stopped or guess == largest or settled:
            break
        before = max(before, search.borne_out)
        guess = min(_odd_at_most(math.ceil(guess * _GROWTH) + 1), largest)
    assert best is not None
    return replace(best, psf=support.trimmed(best.psf))


class _Search:
    """Coarse to fine on one image."""

    def __init__(self, image: FloatArray, callback: Callback | None, native: bool, threads: int):
        self._image = image
        self._clipped = clipped(image[np.newaxis])
        self._callback = callback
        self._native = native
        self._threads = threads
        self.borne_out = 0.0  # the last kernel, by the spectrum

    def run(self, size: Size) -> KernelEstimate:
        shapes, sizes = _scales(self._image.shape, size)
        strength, done, trust, used = _FIRST_STRENGTH, 0, 0.0, 1.0
        estimate = _first(sizes[0])
        for scale, (shape, frame) in enumerate(zip(shapes, sizes, strict=True), 1):
            data = on_grid(resample(self._image, shape), frame)
            mask, used = self._mask(data.shape, shape, frame)
            if scale > 1:
                estimate = support.cleaned(resample(estimate, frame), 0.0, 0.0)
            for turn in range(_ALTERNATIONS):
                sharp = half_quadratic(
                    data,
                    data,
                    estimate.astype(np.float32),
                    count_steps(strength, _LAST_GAMMA),
                    native=self._native,
                    n_threads=self._threads,
                )
                equations = normal_equations(sharp, data, frame, mask)
                last = turn == _ALTERNATIONS - 1
                estimate = support.cleaned(solve(equations, _RIDGE), _FAINT if last else 0.0, _SPECK)
                strength = max(strength / _DECAY, _LAST_STRENGTH)
                done += 1
                if not self._goes_on(done, scale, len(shapes), size, estimate):
                    psf = support.cleaned(resample(estimate, size), _FAINT, 0.0)
                    return KernelEstimate(support.centred(psf), 0.0, size, shapes[:scale], 1 - used, True)
            if scale == len(shapes):
                trust = agreement(sharp, data, frame, mask, _RIDGE)
            estimate = support.centred(estimate)
        estimate = support.cleaned(estimate, _FAINT, _SPECK)
        seen = self.borne_out = support_by_spectrum(self._image, estimate)
        if self._clipped.any():  # their hard edges are in the spectrum, and no blur's
            trust *= _HALF_SEEN
        else:
            if seen < _REFUTED:
                return KernelEstimate(support.impulse(size), 0.0, size, shapes, 1 - used, False)
            trust *= min(1.0, (seen - _REFUTED) / (_BORNE_OUT - _REFUTED))
        return KernelEstimate(support.centred(estimate), trust, size, shapes, 1 - used, False)

    def _mask(self, grid: Size, shape: Size, frame: Size) -> tuple[FloatArray, float]:
        """1 on the grid where both pixels of a forward difference are in the image and far from what is clipped."""
        inside = np.ones((shape[0] - 1, shape[1] - 1), bool)
        if self._clipped.any():
            here = resample(self._clipped.astype(np.float32), shape) > 0.01
            inside &= ~widened(here, (frame[0] // 2, frame[1] // 2))[:-1, :-1]
        mask = np.zeros(grid, np.float32)
        mask[: shape[0] - 1, : shape[1] - 1] = inside
        return mask, float(inside.mean())

    def _goes_on(self, done: int, scale: int, scales: int, size: Size, estimate: Kernel) -> bool:
        if self._callback is None:
            return True
        progress = KernelProgress(done, scales * _ALTERNATIONS, scale, scales, size, estimate.copy)
        try:
            self._callback(progress)
        except StopIteration:
            return False
        return True


def _as_grey(image: ArrayLike, channel_axis: int | None) -> tuple[NDArray[np.float64], float]:
    """The checked image, its channels averaged, and the share of its largest value that can be rounding."""
    array = as_real_array(image, "image")
    if channel_axis is not None:
        if array.ndim != 3:
            raise InvalidArgument(f"image: expected 3 axes with channel_axis, got shape {array.shape}")
        axis = as_axis(channel_axis, array.ndim)
    elif array.ndim != 2:
        hint = "; pass channel_axis for channels" if array.ndim == 3 else ""
        raise InvalidArgument(f"image: expected 2-D (h, w), got shape {array.shape}{hint}")
    if array.size == 0:
        raise InvalidArgument(f"image: expected at least one pixel, got shape {array.shape}")
    require_finite(array, "image", limit=1e30)
    grey = array.astype(np.float64)
    return np.asarray(grey if channel_axis is None else grey.mean(axis)), rounding(array.dtype)


def _as_size(size: Any, shape: Size) -> Size | None:
    smallest = min(shape)
    if size is None:
        if smallest < 16:
            raise InvalidArgument(f"image: expected at least 16 pixels on each axis, got shape {shape}")
        return None
    pair = (
        isinstance(size, (Sequence, np.ndarray)) and not isinstance(size, (str, bytes)) and np.ndim(size) > 0
    )
    if pair and len(size) != 2:
        raise InvalidArgument(f"size: expected an odd integer or two of them, got {size!r}")
    sizes = [as_count(n, "size", minimum=1) for n in (size if pair else (size, size))]
    if any(n % 2 == 0 for n in sizes):
        raise InvalidArgument(f"size: expected an odd number of pixels, got {size!r}")
    if any(2 * n > m for n, m in zip(sizes, shape, strict=True)):
        raise InvalidArgument(f"size: expected at most half of the image's {shape}, got {size!r}")
    return sizes[0], sizes[1]


def _use_native(backend: Any) -> bool:
    choice = as_choice(backend, "backend", ("auto", "native", "numpy"))
    why = _isa.why_not() if choice != "numpy" else ""
    if choice == "native" and why:
        raise Unsupported(f"backend: 'native' cannot run: {why}")
    return choice != "numpy" and not why


def _normalised(grey: NDArray[Any]) -> FloatArray:
    """float32, darkest and brightest thousandth of the pixels at 0 and 1: the priors' strengths are in this unit."""
    low, high = np.percentile(grey, (0.1, 99.9))
    if not high > low:
        low, high = grey.min(), grey.max()
    return np.asarray((grey - low) / (high - low), np.float32)


def _scales(shape: Size, size: Size) -> tuple[tuple[Size, ...], list[Size]]:
    """Sizes of the image and of the kernel, from coarse to fine."""
    coarser = max(0, math.floor(math.log(_COARSEST / max(size)) / math.log(_RATIO)))
    shapes, sizes = [], []
    for power in range(coarser, -1, -1):
        factor = _RATIO**power
        sizes.append((_odd_at_least(size[0] * factor), _odd_at_least(size[1] * factor)))
        height, width = (max(8, round(n * factor)) for n in shape)
        shapes.append((height, width))
    return tuple(shapes), sizes


def _first(size: Size) -> Kernel:
    """A small Gaussian: an impulse would be a fixed point, and anything lopsided stays so where there is no blur."""
    profiles = [np.exp(-((np.arange(n) - n // 2) ** 2.0)) for n in size]
    estimate = np.outer(*profiles)
    return np.asarray(estimate / estimate.sum())


def _odd_at_least(n: float) -> int:
    whole = math.ceil(n)
    return whole + (whole % 2 == 0)


def _odd_at_most(n: int) -> int:
    return max(1, n - (n % 2 == 0))
