"""scikit-image's restoration module with deconvolution and total-variation denoising made fast.

``fastdeblur_names`` lists the functions that are ours; every other name is the original's, unchanged. Calls that ours does not
accelerate (unusual dtypes, arguments or array types) go to the original.
"""

from fastdeblur._dropin.mirror import mirror, original_module

_original = original_module("skimage.restoration", "scikit-image")

from fastdeblur.skimage.restoration._richardson_lucy import richardson_lucy  # noqa: E402
from fastdeblur.skimage.restoration._sigma import estimate_sigma  # noqa: E402
from fastdeblur.skimage.restoration._total_variation import denoise_tv_chambolle  # noqa: E402
from fastdeblur.skimage.restoration._unsupervised import unsupervised_wiener  # noqa: E402
from fastdeblur.skimage.restoration._wiener import wiener  # noqa: E402

mirror(
    __name__,
    _original,
    {
        "denoise_tv_chambolle": denoise_tv_chambolle,
        "estimate_sigma": estimate_sigma,
        "richardson_lucy": richardson_lucy,
        "unsupervised_wiener": unsupervised_wiener,
        "wiener": wiener,
    },
)
