"""Drop-ins for SciPy: ``fastdeblur.scipy.signal`` and ``fastdeblur.scipy.ndimage``."""
