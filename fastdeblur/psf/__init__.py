"""Point-spread functions: sub-pixel exact, normalised to sum 1, origin at ``shape // 2`` on each axis."""

from fastdeblur.psf.defocus import defocus
from fastdeblur.psf.gaussian import gaussian
from fastdeblur.psf.motion import motion

__all__ = ["defocus", "gaussian", "motion"]
