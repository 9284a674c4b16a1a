"""scikit-image's restoration module with deconvolution and total-variation denoising made fast.

``fastdeblur_names`` lists the functions that are ours; every other name is the original's, unchanged. Calls that ours does not
accelerate (unusual dtypes, arguments or array types) go to the original.
"""

from fastdeblur._dropin.mirror import mirror, original_module

_original = original_module("skimage.restoration", "scikit-image")

mirror(__name__, _original, {})
