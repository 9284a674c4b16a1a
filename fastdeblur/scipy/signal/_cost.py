"""Which is quicker with our kernels: direct sums or FFTs.

Nanoseconds on two cores with AVX2; only their proportions decide, and those are much the same elsewhere.
"""

from __future__ import annotations

from math import prod

from fastdeblur.scipy.signal._arrays import Shape

# A call, a product, and an output sample of the direct sums.
_DIRECT_CALL, _DIRECT_PRODUCT, _DIRECT_SAMPLE = 8e3, 0.055, 0.5
_DIRECT_PRODUCT_1D = 0.12
# A call and a grid sample of the FFTs: signals in segments, images.
_FFT_CALL = 25e3
_FFT_SAMPLE_1D, _FFT_SAMPLE = 6.0, 4.5


def fft_is_faster(s1: Shape, s2: Shape, count: Shape) -> bool:
    samples = prod(count)
    products = samples * min(prod(s1), prod(s2))
    grid = prod(n + k - 1 for n, k in zip(s1, s2, strict=True))
    if len(s1) == 1:
        direct, fft = _DIRECT_PRODUCT_1D * products, _FFT_SAMPLE_1D * grid
    else:
        direct, fft = _DIRECT_PRODUCT * products, _FFT_SAMPLE * grid
    return _FFT_CALL + fft < _DIRECT_CALL + direct + _DIRECT_SAMPLE * samples
