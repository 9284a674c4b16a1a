"""From costs in nats to confidences: what each blur explains that no blur, and no other blur, does.

The cells of a photo's spectrum are not as independent as the cost takes them to be, so a gain of 20 nats means little. The
scales below were set on the photos of `benchmarks/estimate_data.py` that are for tuning, blurred and not, so that a confidence is
about the share of right answers.
"""

from __future__ import annotations

import numpy as np

from fastdeblur.estimate import _transfer
from fastdeblur.estimate._families import TRANSFER, Spectrum
from fastdeblur.estimate._search import Found, Transfer

_GAIN = {"motion": 60.0, "defocus": 60.0, "gaussian": 40.0}  # nats that make a confidence of one half
_RIVAL = 8.0  # nats by which a rival must be beaten
_RIPPLE = 0.22  # structure left in the spectrum that no photo has by itself, of one half
_STEEP, _STEEP_SCALE = -3.0, 0.3  # power of the frequency: a photo's is -2.05, its deviation 0.42
_MUCH = 1200.0  # nats of gain that make the ripple count half
_GRID = 128  # cells per cycle of the fine spectrum
_LEAST_GAIN = 40.0  # nats by which an image must beat white noise
_LEAST_SIGNAL = 40.0  # cells that hold more signal than noise
# How unlike a photo's a fit is, of a half: the coefficients' distance from photos', in nats, and so many for each that the mean
# squared residual, in deviations, is above 1 where there is signal. Photos with the right blur come to 2 to 37, steps and grids
# to 65 and more.
_STRANGE, _MISFIT = 48.0, 10.0
_FEW_SIGNALS = 100.0  # cells of signal that make a confidence one half
_FARTHEST = 5.0  # residual, in deviations, that counts


def _rise(value: float, half: float, power: float) -> float:
    """0 for values up to 0, a half at `half`, towards 1."""
    if value <= 0:
        return 0.0
    return float(1 / (1 + (half / value) ** power))


def _sizeable(family: str, found: Found) -> float:
    """Photos that are called sharp have a disk of 1 pixel, or a Gaussian of 0.45: no smaller blur is told from none."""
    if family == "gaussian":
        return _rise(float(np.sqrt(found.parameters[0] * found.parameters[1])), 0.58, 10)
    if family == "defocus":
        return _rise(float(found.parameters[0]), 1.25, 14)
    return 1.0


def blurred_so(family: str, found: dict[str, Found]) -> float:
    """Confidence that the blur is of this family, given the best fit of every family ("none" among them)."""
    own = found[family]
    gain = found["none"].cost - own.cost
    confidence = _rise(gain, _GAIN[family], 2) * _sizeable(family, own)
    for rival, other in found.items():
        if rival not in ("none", family):
            confidence *= 1 / (1 + float(np.exp(np.clip((own.cost - other.cost) / _RIVAL, -50, 50))))
    return confidence


def photographic(spectrum: Spectrum, transfer: Transfer, found: Found) -> float:
    """Confidence that the image is what the fit takes it for: a photo's smooth spectrum, of a photo's slopes, under the blur.

    A ramp, a step or a grid is not: then a blur can be likelier than none by thousands of nats, because it is less wrong.
    """
    fit = spectrum.fine
    parameters = found.parameters[None]
    kernels = [transfer, _transfer.motion_kernel] if transfer is _transfer.motion else [transfer]
    misfit = min(fit.misfit(kernel(fit.cells, parameters), found.theta, _FARTHEST) for kernel in kernels)
    strange = fit.strangeness(found.theta) + _MISFIT * max(0.0, misfit - 1)
    return (1 - _rise(strange, _STRANGE, 8)) * _rise(signal(spectrum, transfer, found), _FEW_SIGNALS, 3)


def likely(spectrum: Spectrum, family: str, found: dict[str, Found]) -> float:
    """Confidence that the image is a photo with this family's blur."""
    confidence = blurred_so(family, found)
    return confidence * photographic(spectrum, TRANSFER[family], found[family]) if confidence > 0 else 0.0


def signal(spectrum: Spectrum, transfer: Transfer, found: Found) -> float:
    """How many cells show the image rather than the noise."""
    share = spectrum.fine.parts(transfer(spectrum.fine.cells, found.parameters[None]), found.theta)[1]
    return float(np.sum(share > 0.5))


def shows_something(spectrum: Spectrum, transfer: Transfer, found: Found) -> bool:
    """False for pure noise."""
    if spectrum.fine.cost_of_noise() - found.cost < _LEAST_GAIN:
        return False
    return signal(spectrum, transfer, found) >= _LEAST_SIGNAL


def ripple(spectrum: Spectrum, transfer: Transfer, found: Found) -> float:
    """Covariance of ln P about the fit between near cells, less that of far ones.

    A sharp photo's ln P leaves the smooth fit by chance, which neighbours do not share, or in one broad direction, which far
    cells share too. A kernel of tens of pixels makes its spectrum rise and fall over a few hundredths of a cycle.
    """
    cells = spectrum.fine.cells
    residual, share = spectrum.fine.parts(transfer(cells, found.parameters[None]), found.theta)
    outer = np.maximum(np.abs(cells.fx), np.abs(cells.fy)) > 1 / 16 + 0.5 / _GRID
    row = np.rint(cells.fy[outer] * _GRID).astype(np.intp) + _GRID // 2
    column = np.rint(cells.fx[outer] * _GRID).astype(np.intp)
    weight, value = np.zeros((2, _GRID + 1, _GRID // 2 + 1))
    weight[row, column] = share[outer]
    value[row, column] = share[outer] * np.clip(residual[outer], -3, 3)

    def covariance(lag: int) -> float:
        top = np.sum(value[lag:] * value[:-lag]) + np.sum(value[:, lag:] * value[:, :-lag])
        bottom = np.sum(weight[lag:] * weight[:-lag]) + np.sum(weight[:, lag:] * weight[:, :-lag])
        return float(top / bottom) if bottom > 20 else 0.0

    return covariance(1) + covariance(2) - covariance(5) - covariance(6)


def unexplained(spectrum: Spectrum, transfer: Transfer, found: dict[str, Found], best: str) -> float:
    """Confidence that the best fit is not the whole blur.

    It leaves ripple, or what it leaves falls more steeply with frequency than a sharp photo does; one can outweigh the other,
    since a photo of a regular texture has ripple of its own. And it explains little more than no blur does.
    """
    own = found[best]
    amount = max(ripple(spectrum, transfer, own), 1e-3)
    odds = 4 * np.log(amount / _RIPPLE) + np.clip((_STEEP - own.theta[1]) / _STEEP_SCALE, -2, 3)
    left = 1 / (1 + float(np.exp(-np.clip(odds, -20, 20))))
    return left * (1 - _rise(found["none"].cost - own.cost, _MUCH, 2))


def confidence(spectrum: Spectrum, family: str, found: dict[str, Found]) -> float:
    """Confidence in the family's estimate: the blur is of its kind, and nothing is left that it does not explain."""
    own, transfer = found[family], TRANSFER[family]
    if not shows_something(spectrum, transfer, own):
        return 0.0
    return likely(spectrum, family, found) * (1 - unexplained(spectrum, transfer, found, family))
