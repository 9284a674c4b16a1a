"""The calls of scikit-image's gallery example on Wiener deconvolution, with an image of its package; saves what it would plot."""

import sys

import numpy as np
from scipy.signal import convolve2d as conv2
from skimage import color, data, restoration

rng = np.random.default_rng(0)

astro = color.rgb2gray(data.astronaut())
psf = np.ones((5, 5)) / 25
astro = conv2(astro, psf, "same")
astro += 0.1 * astro.std() * rng.standard_normal(astro.shape)

deconvolved, _ = restoration.unsupervised_wiener(astro, psf, rng=1)
supervised = restoration.wiener(astro, psf, 1100)

np.savez(sys.argv[1], blurred=astro, deconvolved=deconvolved, supervised=supervised)
