"""Drop-ins for scikit-image: ``fastdeblur.skimage.restoration``."""
