"""Exceptions and warnings that fastdeblur raises; each also is the built-in type one would expect."""


class FastdeblurError(Exception):
    """Base class of every exception that fastdeblur raises on purpose."""


class InvalidArgument(FastdeblurError, ValueError):
    """An argument breaks a documented rule; the message names the argument, the rule and the value."""


class ModelError(InvalidArgument):
    """A network's file or graph breaks the format; the message says where, the rule and the value."""


class Unsupported(FastdeblurError, NotImplementedError):
    """The request is well formed, but the chosen backend cannot serve it; the message says why."""


class DeviceError(FastdeblurError, RuntimeError):
    """A compute device failed while working."""


class OutOfMemory(FastdeblurError, MemoryError):
    """The memory that the request needs cannot be had; the message says how much that is."""


class PSFWarning(UserWarning):
    """The PSF is usable but looks wrong: negative values, or its mass lies away from its origin."""


class PrecisionWarning(UserWarning):
    """The numbers span more than the precision computed in can tell apart."""


class MaskWarning(UserWarning):
    """A masked array was given to a function whose original ignores masks."""
