"""SciPy's signal module with the convolutions, correlations and small filters made fast.

``fastdeblur_names`` lists the functions that are ours; every other name is the original's, unchanged. Calls that ours does not
accelerate (unusual dtypes, arguments or array types) go to the original.
"""

from fastdeblur._dropin.mirror import mirror, original_module

_original = original_module("scipy.signal", "scipy")

from fastdeblur.scipy.signal._convolve import choose_conv_method, convolve, correlate  # noqa: E402
from fastdeblur.scipy.signal._direct import convolve2d, correlate2d  # noqa: E402
from fastdeblur.scipy.signal._fft import fftconvolve, oaconvolve  # noqa: E402
from fastdeblur.scipy.signal._median import medfilt2d  # noqa: E402
from fastdeblur.scipy.signal._sepfir import sepfir2d  # noqa: E402
from fastdeblur.scipy.signal._wiener import wiener  # noqa: E402

mirror(
    __name__,
    _original,
    {
        "choose_conv_method": choose_conv_method,
        "convolve": convolve,
        "convolve2d": convolve2d,
        "correlate": correlate,
        "correlate2d": correlate2d,
        "fftconvolve": fftconvolve,
        "medfilt2d": medfilt2d,
        "oaconvolve": oaconvolve,
        "sepfir2d": sepfir2d,
        "wiener": wiener,
    },
)
