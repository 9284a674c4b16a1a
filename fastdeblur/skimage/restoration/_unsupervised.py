"""Unsupervised Wiener-Hunt deconvolution as scikit-image does it."""

from __future__ import annotations

from collections.abc import Generator
from functools import cache
from typing import Any

import numpy as np
import skimage.restoration as _original
from scipy.fft import set_workers

from fastdeblur._dropin.replaces import replaces
from fastdeblur.skimage.restoration._common import (
    Real,
    fits_in,
    is_count,
    is_image,
    is_number,
    native,
    uft,
    working_dtype,
)
from fastdeblur.skimage.restoration._wiener import response

_DEFAULTS = {"threshold": 1e-4, "max_num_iter": 200, "min_num_iter": 30, "burnin": 15, "callback": None}
# Below this many frequencies NumPy's own draws are as quick as to hand the generator's state over.
_FEW = 2048
# From this many pixels on SciPy's transforms are worth sharing among threads.
_MANY = 1 << 17
_LOW_WORD = (1 << 64) - 1

Sums = tuple[float, float, float, float, float, float]
Chain = Generator[tuple[float, float, bool, int], Sums, None]


@replaces(_original.unsupervised_wiener)
def unsupervised_wiener(
    image: Any,
    psf: Any,
    reg: Any = None,
    user_params: Any = None,
    is_real: bool = True,
    clip: bool = True,
    *,
    rng: Any = None,
) -> Any:
    """Wiener-Hunt deconvolution whose balance a Gibbs sampler finds: scikit-image's function, one walk for each sample.

    Parameters
    ----------
    image : (M, N) array, real
    psf : array of two axes, real
        Impulse response with its origin at ``shape // 2``, used as it is.
    reg : array, optional
        Impulse response or half-spectrum transfer function of the regularisation; the Laplacian by default.
    user_params : dict, optional
        ``threshold``, ``burnin``, ``min_num_iter``, ``max_num_iter`` and ``callback`` of the sampler.
    is_real : bool
        Whether transfer functions are given on half the frequencies.
    clip : bool
        Cut the result to [-1, 1].
    rng : numpy.random.Generator, int or None

    Returns
    -------
    The posterior mean, of image's shape, float32 for float16 and float32 and otherwise float64; and the chains of precisions,
    ``{"noise": [...], "prior": [...]}``.

    Notes
    -----
    The same ``rng`` gives the same samples as scikit-image, to rounding, and a generator ends in the same state. With PCG64,
    NumPy's default, the numbers are drawn on all threads. Fast are real images with a real PSF no larger than the image and
    ``is_real=True``, without a callback; the rest goes to scikit-image.

    The original has surprises that are kept here: it guesses that a spectrum is half of one from its two sizes being
    different, and is wrong for an (n, 2 n - 2) image; a half spectrum's Nyquist column counts twice; borders are periodic and
    ``clip=True`` cuts an image in 0..255 to 1. `fastdeblur.wiener` takes the balance from the caller, and has boundaries that
    do not ring.

    References
    ----------
    Orieux, Giovannelli, Rodet 2010, doi:10.1364/JOSAA.27.001593.
    """
    if not (
        is_image(image)
        and image.ndim == 2
        and fits_in(psf, image.shape)
        and is_real is True
        and type(clip) is bool
        and (rng is None or is_count(rng) or type(rng) is np.random.Generator)
        and (user_params is None or type(user_params) is dict)
    ):
        return NotImplemented
    params = {**_DEFAULTS, **(user_params or {})}
    last, least, burnin = params["max_num_iter"], params["min_num_iter"], params["burnin"]
    shape, dtype = image.shape, working_dtype(image.dtype)
    half = (shape[0], shape[1] // 2 + 1)
    if (
        len(params) != len(_DEFAULTS)
        or params["callback"]
        or not (is_count(last) and is_count(least) and is_count(burnin) and is_number(params["threshold"]))
        or not last > burnin + 1 > 0
        or psf.shape == half
        or (reg is None and min(shape) < 3)
    ):
        return NotImplemented
    transfer = _laplacian(shape, dtype) if reg is None else response(reg, shape)
    if transfer is None:
        return NotImplemented
    image = image.astype(dtype, copy=False)
    regular = np.ascontiguousarray(transfer.real, dtype)
    del transfer
    workers = native().default_threads() if image.size >= _MANY else 1
    with set_workers(workers):
        otf = np.ascontiguousarray(uft.ir2tf(psf.astype(dtype, copy=False), shape))
        data = np.ascontiguousarray(uft.urfft2(image))
    rng = np.random.default_rng(rng)
    mean = np.zeros_like(otf)
    noise: list[float] = [1]
    prior: list[float] = [1]
    samples = 0  # in the mean

    def chain() -> Chain:
        """Asks for samples, is sent their sums, and draws the precisions."""
        nonlocal samples
        for iteration in range(last):
            samples = iteration - burnin
            measured = samples if samples > 1 and iteration > least else 0
            residual, residual_first, roughness, roughness_first, change, size = yield (
                noise[-1],
                prior[-1],
                samples > 0,
                measured,
            )
            noise.append(rng.gamma(image.size / 2, 2 / norm(residual, residual_first)))
            prior.append(rng.gamma((image.size - 1) / 2, 2 / norm(roughness, roughness_first)))
            if measured and np.float64(change) / size / measured < params["threshold"]:
                return

    def norm(whole: float, first: float) -> Any:
        """`uft.image_quad_norm`, from the sums over all columns and over the first."""
        return dtype(whole if half[0] == half[1] else 2 * whole - first)

    _sample(chain(), otf, data, regular, mean, rng)
    with set_workers(workers):
        result = uft.uirfft2(mean / dtype(samples), shape=shape)
    if clip:
        result[result > 1] = 1
        result[result < -1] = -1
    return result, {"noise": noise, "prior": prior}


def _laplacian(shape: tuple[int, int], dtype: Any) -> Real:
    """`uft.laplacian`'s real part on the half spectrum, without a transform."""
    rows, columns = (
        (2 - 2 * np.cos(2 * np.pi / n * np.arange(count))).astype(dtype)
        for n, count in ((shape[0], shape[0]), (shape[1], shape[1] // 2 + 1))
    )
    total: Real = rows[:, np.newaxis] + columns
    return total


def _sample(chain: Chain, otf: Real, data: Real, reg: Real, mean: Real, rng: np.random.Generator) -> None:
    """Answers what the chain asks for, with the generator's next numbers, and adds to the mean."""
    kind = native().RestorationGibbsF32 if reg.dtype == np.float32 else native().RestorationGibbsF64
    sampler = kind(otf, data, reg, mean, 0)
    bits = rng.bit_generator
    if otf.size >= _FEW and type(bits) is np.random.PCG64 and _draws_as_numpy_does():

        def ask(sums: Sums | None, high: int, low: int) -> tuple[Any, ...] | None:
            if sums is not None:
                state = bits.state
                state["state"]["state"] = high << 64 | low
                bits.state = state
            try:
                step = next(chain) if sums is None else chain.send(sums)
            except StopIteration:
                return None
            words = bits.state["state"]
            return (*step, _halves(words["state"]), _halves(words["inc"]))

        sampler.run(ask)
        return
    numbers = np.empty((2, *otf.shape))
    step = next(chain)
    while True:
        rng.standard_normal(out=numbers)
        try:
            step = chain.send(sampler.step_with(*step, numbers))
        except StopIteration:
            return


def _halves(word: int) -> tuple[int, int]:
    return word >> 64, word & _LOW_WORD


@cache
def _draws_as_numpy_does() -> bool:
    """Whether this NumPy's stream is the one that the core knows: NumPy promises no stream for ever."""
    rng = np.random.default_rng(12345)
    words = rng.bit_generator.state["state"]
    ours = np.empty(20_000)
    high, low = native().restoration_normals(_halves(words["state"]), _halves(words["inc"]), ours, 1)
    theirs = rng.standard_normal(ours.size)
    same = rng.bit_generator.state["state"]["state"] == high << 64 | low
    return bool(same and np.allclose(ours, theirs, rtol=1e-12, atol=1e-15))
