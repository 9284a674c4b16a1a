"""Point-spread functions: sub-pixel exact, normalised to sum 1, origin at ``shape // 2`` on each axis."""

from fastdeblur.psf.airy import airy
from fastdeblur.psf.camera_shake import camera_shake
from fastdeblur.psf.combine import combine
from fastdeblur.psf.defocus import defocus
from fastdeblur.psf.gaussian import gaussian
from fastdeblur.psf.kolmogorov import kolmogorov
from fastdeblur.psf.moffat import moffat
from fastdeblur.psf.motion import motion
from fastdeblur.psf.rolling_shutter import rolling_shutter
from fastdeblur.psf.trajectory import trajectory
from fastdeblur.psf.zernike import zernike

__all__ = [
    "airy",
    "camera_shake",
    "combine",
    "defocus",
    "gaussian",
    "kolmogorov",
    "moffat",
    "motion",
    "rolling_shutter",
    "trajectory",
    "zernike",
]
