"""Point-spread functions: sub-pixel exact, normalised to sum 1, origin at ``shape // 2`` on each axis."""

from fastdeblur.psf.born_wolf import born_wolf
from fastdeblur.psf.care import PSFReport, check, crop_energy
from fastdeblur.psf.defocus import defocus
from fastdeblur.psf.edgetaper import edgetaper
from fastdeblur.psf.from_beads import Beads, from_beads
from fastdeblur.psf.from_edge import Edge, from_edge
from fastdeblur.psf.from_image import from_image
from fastdeblur.psf.gaussian import gaussian
from fastdeblur.psf.gibson_lanni import gibson_lanni
from fastdeblur.psf.motion import motion
from fastdeblur.psf.otf import otf2psf, psf2otf
from fastdeblur.psf.resample import resample

__all__ = [
    "Beads",
    "Edge",
    "PSFReport",
    "born_wolf",
    "check",
    "crop_energy",
    "defocus",
    "edgetaper",
    "from_beads",
    "from_edge",
    "from_image",
    "gaussian",
    "gibson_lanni",
    "motion",
    "otf2psf",
    "psf2otf",
    "resample",
]
