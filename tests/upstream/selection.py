"""Which of SciPy's tests are run on our functions, and what is excepted."""

from __future__ import annotations

MODULES = (
    "scipy.signal.tests.test_signaltools",
    "scipy.signal.tests.test_bsplines",
    "scipy.ndimage.tests.test_filters",
    "scipy.ndimage.tests.test_fourier",
)

# (pattern of the node id, one of how many such tests is run); the first that fits decides, and none means not to run it.
# With UPSTREAM_ALL=1 in the environment all are run that are run at all.
TESTS = (
    # Two arrays of 2 GB: more than a machine for continuous integration may have free.
    (r"::TestConvolve2d::test_large_array", 0),
    # Eleven thousand pairs of lengths and axes on one path: all take minutes.
    (r"test_signaltools\.py::TestOAConvolve::", 16),
    (r"test_signaltools\.py::TestFFTConvolve::test_many_sizes", 4),
    (
        r"test_signaltools\.py::(Test(Convolve2?d?|FFTConvolve|AllFreqConvolves|MedFilt|Wiener|Correlate\w*)::|test_convolve|test_choose)",
        1,
    ),
    (r"test_bsplines\.py::.*sepfir", 1),
    # Of filters that are not ours, nor made of those that are.
    (
        r"test_filters\.py::(TestNdimageFilters::test_(minimum|maximum|percentile|generic_filter)|TestVectorizedFilter)",
        0,
    ),
    (r"test_filters\.py::", 1),
    (r"test_fourier\.py::.*(uniform|ellipsoid)", 0),
    (r"test_fourier\.py::", 1),
)

# Tests that pass with the original and not with ours: (pattern of the node id, the reason).
EXCEPTIONS: tuple[tuple[str, str], ...] = ()

# Functions of ours that none of these tests calls in a way that we accelerate: name -> the reason.
NEVER_ANSWERED: dict[str, str] = {}
