"""Estimators of what blurred an image, from the image alone."""

from fastdeblur.estimate.kernel import KernelEstimate, KernelProgress, kernel

__all__ = ["KernelEstimate", "KernelProgress", "kernel"]
