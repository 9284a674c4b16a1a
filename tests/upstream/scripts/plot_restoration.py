"""The calls of scikit-image's gallery example on Richardson-Lucy deconvolution; saves what it would plot."""

import sys

import numpy as np
from scipy.signal import convolve2d as conv2
from skimage import color, data, restoration

rng = np.random.default_rng(0)

astro = color.rgb2gray(data.astronaut())
psf = np.ones((5, 5)) / 25
astro = conv2(astro, psf, "same")
astro_noisy = astro.copy()
astro_noisy += (rng.poisson(lam=25, size=astro.shape) - 10) / 255.0

deconvolved = restoration.richardson_lucy(astro_noisy, psf, num_iter=30)

np.savez(sys.argv[1], blurred=astro, noisy=astro_noisy, deconvolved=deconvolved)
