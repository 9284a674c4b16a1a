"""fastdeblur: undo blur in images, fast.

``deblur`` finds out what blurred a photo, and undoes it. With a known blur: ``wiener``, ``richardson_lucy``; for streams of
frames ``Deconvolver``; ``estimate_memory`` says beforehand what a call takes; ``psf`` makes point-spread functions, ``estimate``
tells from a photo what blurred it; ``nets`` are small trained networks.

Images are arrays of any real dtype, in linear light (for ``deblur`` 8- and 16-bit ones are sRGB); nothing is rescaled or clipped.

``fastdeblur.scipy.signal``, ``fastdeblur.scipy.ndimage`` and ``fastdeblur.skimage.restoration`` stand in for the modules that they
are named after; ``patch`` and ``unpatch`` let existing code run on them without a change.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastdeblur import errors
from fastdeblur._device import get_device, set_device, use_device
from fastdeblur._dropin.patching import patch, unpatch
from fastdeblur._version import __version__
from fastdeblur.errors import (
    DeviceError,
    InvalidArgument,
    MaskWarning,
    ModelError,
    OutOfMemory,
    PrecisionWarning,
    PSFWarning,
    Unsupported,
)
from fastdeblur.methods.richardson_lucy import Iteration, richardson_lucy
from fastdeblur.methods.wiener import wiener
from fastdeblur.plan import Deconvolver, estimate_memory

if TYPE_CHECKING:
    from fastdeblur import estimate, nets, psf
    from fastdeblur.photo.deblur import Deblurred, deblur

__all__ = [
    "Deblurred",
    "Deconvolver",
    "DeviceError",
    "InvalidArgument",
    "Iteration",
    "MaskWarning",
    "ModelError",
    "OutOfMemory",
    "PSFWarning",
    "PrecisionWarning",
    "Unsupported",
    "__version__",
    "deblur",
    "errors",
    "estimate",
    "estimate_memory",
    "get_device",
    "nets",
    "patch",
    "psf",
    "richardson_lucy",
    "set_device",
    "unpatch",
    "use_device",
    "wiener",
]


def __getattr__(name: str) -> Any:
    """What is loaded when first asked for: most programs need few of the generators, and none of the estimators."""
    if name in ("estimate", "nets", "psf"):
        return import_module(f"fastdeblur.{name}")
    if name in ("Deblurred", "deblur"):
        return getattr(import_module("fastdeblur.photo"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
