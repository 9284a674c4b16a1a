"""The calls of scikit-image's gallery example on denoising that are ours, in colour; saves what it would plot."""

import sys

import numpy as np
from skimage import data, img_as_float
from skimage.restoration import denoise_tv_chambolle, estimate_sigma
from skimage.util import random_noise

original = img_as_float(data.chelsea()[100:250, 50:300])
noisy = random_noise(original, var=0.155**2, rng=2)

sigma_est = estimate_sigma(noisy, channel_axis=-1, average_sigmas=True)
weak = denoise_tv_chambolle(noisy, weight=0.1, channel_axis=-1)
strong = denoise_tv_chambolle(noisy, weight=0.2, channel_axis=-1)

np.savez(sys.argv[1], noisy=noisy, sigma=sigma_est, weak=weak, strong=strong)
