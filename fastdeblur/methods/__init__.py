"""The restoration methods, one file each."""

from fastdeblur.methods.richardson_lucy import richardson_lucy
from fastdeblur.methods.wiener import wiener

__all__ = ["richardson_lucy", "wiener"]
