"""Point-spread functions: sub-pixel exact, normalised to sum 1, origin at ``shape // 2`` on each axis."""

from fastdeblur.psf.airy import airy
from fastdeblur.psf.born_wolf import born_wolf
from fastdeblur.psf.camera_shake import camera_shake
from fastdeblur.psf.care import PSFReport, check, crop_energy
from fastdeblur.psf.combine import combine
from fastdeblur.psf.defocus import defocus
from fastdeblur.psf.edgetaper import edgetaper
from fastdeblur.psf.from_beads import Beads, from_beads
from fastdeblur.psf.from_edge import Edge, from_edge
from fastdeblur.psf.from_image import from_image
from fastdeblur.psf.gaussian import gaussian
from fastdeblur.psf.gibson_lanni import gibson_lanni
from fastdeblur.psf.kolmogorov import kolmogorov
from fastdeblur.psf.moffat import moffat
from fastdeblur.psf.motion import motion
from fastdeblur.psf.otf import otf2psf, psf2otf
from fastdeblur.psf.resample import resample
from fastdeblur.psf.rolling_shutter import rolling_shutter
from fastdeblur.psf.trajectory import trajectory
from fastdeblur.psf.zernike import zernike

__all__ = [
    "Beads",
    "Edge",
    "PSFReport",
    "airy",
    "born_wolf",
    "camera_shake",
    "check",
    "combine",
    "crop_energy",
    "defocus",
    "edgetaper",
    "from_beads",
    "from_edge",
    "from_image",
    "gaussian",
    "gibson_lanni",
    "kolmogorov",
    "moffat",
    "motion",
    "otf2psf",
    "psf2otf",
    "resample",
    "rolling_shutter",
    "trajectory",
    "zernike",
]
