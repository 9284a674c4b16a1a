"""One call for a blurred photo: find out what blurred it, and undo that."""

from fastdeblur.photo.deblur import Deblurred, deblur

__all__ = ["Deblurred", "deblur"]
