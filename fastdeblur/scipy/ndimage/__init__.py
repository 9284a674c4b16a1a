"""SciPy's ndimage module with the linear filters, the small medians and the Fourier filters made fast.

``fastdeblur_names`` lists the functions that are ours; every other name is the original's, unchanged. Calls that ours does not
accelerate (unusual dtypes, arguments or array types) go to the original.
"""

from fastdeblur._dropin.mirror import mirror, original_module

_original = original_module("scipy.ndimage", "scipy")

mirror(__name__, _original, {})
