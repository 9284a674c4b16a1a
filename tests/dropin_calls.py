"""One ordinary call of every function that a drop-in replaces, and how many examples Hypothesis makes of others."""

from __future__ import annotations

import os

import numpy as np
from hypothesis import settings


def examples(count):
    """Settings for that many examples; FASTDEBLUR_EXAMPLES=0.1 in the environment makes it a tenth of them."""
    share = float(os.environ.get("FASTDEBLUR_EXAMPLES", "1"))
    return settings(max_examples=max(1, round(count * share)), deadline=None)


def image(rng):
    return rng.random((12, 13))


def kernel(rng):
    return rng.random((3, 3))


def pair(rng):
    return image(rng), kernel(rng)


def line(rng):
    return image(rng), rng.random(3)


def blurred(rng):
    return 0.1 + 0.8 * image(rng), np.full((3, 3), 1 / 9)


PAIRS = "convolve correlate fftconvolve oaconvolve convolve2d correlate2d choose_conv_method"
LINES = "convolve1d correlate1d"
WIDTHS = "gaussian_filter gaussian_filter1d gaussian_laplace gaussian_gradient_magnitude"
SIZES = "uniform_filter uniform_filter1d median_filter"
IMAGES = "laplace sobel prewitt medfilt2d estimate_sigma wiener"
SPECTRA = "fourier_gaussian fourier_shift"

CALLS = {
    **dict.fromkeys(PAIRS.split(), pair),
    **dict.fromkeys(LINES.split(), line),
    **dict.fromkeys(WIDTHS.split(), lambda rng: (image(rng), 1.5)),
    **dict.fromkeys(SIZES.split(), lambda rng: (image(rng), 3)),
    **dict.fromkeys(IMAGES.split(), lambda rng: (image(rng),)),
    **dict.fromkeys(SPECTRA.split(), lambda rng: (np.fft.fft2(image(rng)), 1.5)),
    "sepfir2d": lambda rng: (image(rng), rng.random(3), rng.random(5)),
    "richardson_lucy": blurred,
    "denoise_tv_chambolle": lambda rng: (image(rng), 0.1),
    "unsupervised_wiener": blurred,
    "skimage.restoration.wiener": lambda rng: (*blurred(rng), 0.1),
}


def arguments(module, name):
    """Positional and keyword arguments of the call; `module` is the original's name."""
    make = CALLS.get(f"{module}.{name}") or CALLS[name]
    return make(np.random.default_rng(3)), {"rng": 3} if name == "unsupervised_wiener" else {}
