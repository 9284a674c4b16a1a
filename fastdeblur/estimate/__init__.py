"""Estimators of what blurred an image, and of its noise, from the image alone."""

from fastdeblur.estimate.defocus import Defocus, defocus
from fastdeblur.estimate.gaussian import Gaussian, gaussian
from fastdeblur.estimate.kind import Kind, kind
from fastdeblur.estimate.motion import Motion, motion
from fastdeblur.estimate.noise import noise

__all__ = ["Defocus", "Gaussian", "Kind", "Motion", "defocus", "gaussian", "kind", "motion", "noise"]
