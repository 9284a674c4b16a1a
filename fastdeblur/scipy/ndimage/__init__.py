"""SciPy's ndimage module with the linear filters, the small medians and the Fourier filters made fast.

``fastdeblur_names`` lists the functions that are ours; every other name is the original's, unchanged. Calls that ours does not
accelerate (unusual dtypes, arguments or array types) go to the original.
"""

from fastdeblur._dropin.mirror import mirror, original_module

_original = original_module("scipy.ndimage", "scipy")

from fastdeblur.scipy.ndimage._correlate import convolve, convolve1d, correlate, correlate1d  # noqa: E402
from fastdeblur.scipy.ndimage._derivatives import (  # noqa: E402
    gaussian_gradient_magnitude,
    gaussian_laplace,
    laplace,
    prewitt,
    sobel,
)
from fastdeblur.scipy.ndimage._fourier import fourier_gaussian, fourier_shift  # noqa: E402
from fastdeblur.scipy.ndimage._gaussian import gaussian_filter, gaussian_filter1d  # noqa: E402
from fastdeblur.scipy.ndimage._median import median_filter  # noqa: E402
from fastdeblur.scipy.ndimage._uniform import uniform_filter, uniform_filter1d  # noqa: E402

mirror(
    __name__,
    _original,
    {
        "convolve": convolve,
        "convolve1d": convolve1d,
        "correlate": correlate,
        "correlate1d": correlate1d,
        "fourier_gaussian": fourier_gaussian,
        "fourier_shift": fourier_shift,
        "gaussian_filter": gaussian_filter,
        "gaussian_filter1d": gaussian_filter1d,
        "gaussian_gradient_magnitude": gaussian_gradient_magnitude,
        "gaussian_laplace": gaussian_laplace,
        "laplace": laplace,
        "median_filter": median_filter,
        "prewitt": prewitt,
        "sobel": sobel,
        "uniform_filter": uniform_filter,
        "uniform_filter1d": uniform_filter1d,
    },
)
