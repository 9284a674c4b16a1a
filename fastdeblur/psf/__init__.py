"""Point-spread functions: sub-pixel exact, normalised to sum 1, origin at ``shape // 2`` on each axis."""

from fastdeblur.psf.born_wolf import born_wolf
from fastdeblur.psf.defocus import defocus
from fastdeblur.psf.gaussian import gaussian
from fastdeblur.psf.gibson_lanni import gibson_lanni
from fastdeblur.psf.motion import motion

__all__ = ["born_wolf", "defocus", "gaussian", "gibson_lanni", "motion"]
