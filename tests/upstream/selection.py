"""Which of SciPy's tests are run on our functions, and what is excepted."""

from __future__ import annotations

MODULES = (
    "scipy.signal.tests.test_signaltools",
    "scipy.signal.tests.test_bsplines",
    "scipy.ndimage.tests.test_filters",
    "scipy.ndimage.tests.test_fourier",
)

# (pattern of the node id, the part that runs it); the first that fits decides. Parts run side by side.
PARTS = (
    # Two arrays of 2 GB: more than a machine for continuous integration may have free.
    (r"::TestConvolve2d::test_large_array", "left out"),
    (r"test_signaltools\.py::TestOAConvolve::", "overlap-add"),
    (
        r"test_signaltools\.py::(Test(Convolve2?d?|FFTConvolve|AllFreqConvolves|MedFilt|Wiener|Correlate\w*)::|test_convolve|test_choose)",
        "others",
    ),
    (r"test_bsplines\.py::.*sepfir", "others"),
    (r"test_filters\.py::", "others"),
    (r"test_fourier\.py::", "others"),
)

# Tests that pass with the original and not with ours: (pattern of the node id, the reason).
EXCEPTIONS: tuple[tuple[str, str], ...] = ()

# Functions of ours that none of these tests calls in a way that we accelerate: name -> the reason.
NEVER_ANSWERED: dict[str, str] = {}
