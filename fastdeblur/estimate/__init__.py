"""Estimators of what blurred an image, and of its noise, from the image alone."""

from fastdeblur.estimate.defocus import Defocus, defocus
from fastdeblur.estimate.gaussian import Gaussian, gaussian
from fastdeblur.estimate.kernel import KernelEstimate, KernelProgress, kernel
from fastdeblur.estimate.kind import Kind, kind
from fastdeblur.estimate.motion import Motion, motion
from fastdeblur.estimate.noise import noise

__all__ = [
    "Defocus",
    "Gaussian",
    "KernelEstimate",
    "KernelProgress",
    "Kind",
    "Motion",
    "defocus",
    "gaussian",
    "kernel",
    "kind",
    "motion",
    "noise",
]
