"""One call for a blurred photo: find out what blurred it, and undo that."""

from fastdeblur.photo.deblur import LEAST, Deblurred, check_fits, check_photo, deblur

__all__ = ["LEAST", "Deblurred", "check_fits", "check_photo", "deblur"]
