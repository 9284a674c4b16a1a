"""Which kind of blur an image has, and whether it is the same all over the frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import names_memory_errors
from fastdeblur.estimate import _evidence, _families, _transfer
from fastdeblur.estimate._input import Plane, as_plane
from fastdeblur.estimate._periodogram import Float64Array
from fastdeblur.estimate._search import Found
from fastdeblur.estimate._tiles import Tile, compare, split
from fastdeblur.estimate.defocus import Defocus
from fastdeblur.estimate.gaussian import Gaussian
from fastdeblur.estimate.motion import LEAST, SHORTEST, Motion, longest

FAMILIES = ("motion", "defocus", "gaussian")

# A kernel that was looked for has dozens of free values, a formula three: it has to be likelier than a formula that is believed in
# by more than so many nats. Of 24 camera shakes all but those near a straight line are so by hundreds; what was a formula's blur
# all along is likelier by its formula, or by less than this.
_FREEDOM, _BELIEVED = 60.0, 0.25


@dataclass(frozen=True)
class Kind:
    """What blurred an image.

    kind : "sharp", "motion", "defocus", "gaussian", "shake" (blurred, by no kernel of a formula), or "unknown" (nothing to tell
        it from).
    confidence : between 0 (cannot tell) and 1.
    estimate : Motion, Defocus or Gaussian of the kind; None for the others.
    scores : the confidence of each kind but "unknown".
    varies : whether parts of the frame are blurred otherwise than the whole.
    tiles : (rows, columns) array of `Tile`, objects with the kind, the estimate and the place of each part; empty if the
        frame is too small to split.
    """

    kind: str
    confidence: float
    estimate: Motion | Defocus | Gaussian | None
    scores: dict[str, float]
    varies: bool
    tiles: npt.NDArray[np.object_] = field(repr=False, compare=False)


def _estimate(family: str, found: Found, confidence: float) -> Motion | Defocus | Gaussian:
    p = found.parameters.tolist()
    if family == "motion":
        return Motion(p[0], p[1], confidence)
    if family == "defocus":
        return Defocus(p[0], confidence)
    return Gaussian(p[0], p[1], p[2], confidence)


def _nothing() -> Kind:
    return Kind("unknown", 0.0, None, {}, False, np.empty((0, 0), object))


@names_memory_errors
def kind(image: npt.ArrayLike, *, channel_axis: int | None = None) -> Kind:
    """Tell which kind of blur an image has (none, motion, defocus, Gaussian, camera shake), and whether it varies over the frame.

    Every parametric blur is fitted to the spectrum as in `motion`, `defocus` and `gaussian`, and no blur too. Where the best of
    them leaves structure in the spectrum as kernels of tens of pixels make it, and photos do not, the blur is taken for camera
    shake. Parts of the frame, from 192 pixels on a side, are then looked at for the same.

    Parameters
    ----------
    image : (H, W), or with channels, whose mean is taken; any real dtype, linear light, at least 64 x 64
        pixels, finite. Clipped highlights are left out.
    channel_axis : axis of the channels, or None.

    Returns
    -------
    Kind, with kind, confidence (0 to 1), estimate, scores, varies and tiles. A constant image, or one of
        nothing but noise, is of kind "unknown" with confidence 0.

    Raises
    ------
    InvalidArgument
        If image is not real, finite, of the right number of axes and large enough.

    Sources: Whittle 1953, doi:10.1007/BF02590998 (likelihood of a spectrum); `docs/estimate.md` has the rest.
    """
    fits = fitted(image, channel_axis)
    return _nothing() if fits is None else told(fits)


@dataclass(frozen=True, eq=False)
class Fits:
    """An image, its spectrum, and the likeliest blur of each family, "none" among them."""

    plane: Plane
    spectrum: _families.Spectrum
    found: dict[str, Found]

    @property
    def best(self) -> str:
        return min(self.found, key=lambda family: self.found[family].cost)


def fitted(image: npt.ArrayLike, channel_axis: int | None) -> Fits | None:
    """The fits to an image's spectrum; None if there is nothing to tell a blur from."""
    plane = as_plane(image, channel_axis, LEAST)
    spectrum = None if plane is None else _families.Spectrum.of(plane)
    if plane is None or spectrum is None:
        return None
    shape = plane.pixels.shape
    found = {
        "none": spectrum.unblurred(),
        "motion": _families.motion(spectrum, SHORTEST, longest(shape, None))[0],
        "defocus": _families.defocus(spectrum, *_families.radii(shape))[0],
        "gaussian": _families.gaussian(spectrum, *_families.sigmas(shape))[0],
    }
    fits = Fits(plane, spectrum, found)
    something = _evidence.shows_something(spectrum, _families.TRANSFER[fits.best], found[fits.best])
    return fits if something else None


def told(fits: Fits) -> Kind:
    """What the fits say."""
    scores = _scores(fits.spectrum, fits.found, fits.best)
    return _as_kind(fits, max(scores, key=lambda family: scores[family]), scores)


def formula_instead(fits: Fits, kernel: Float64Array) -> Kind | None:
    """The kind by the formula that tells the spectrum at least as well as a kernel that was looked for; None if none does."""
    fit = fits.spectrum.fine
    cost, _ = fit.fit(_transfer.kernel(fit.cells, kernel), steps=8)
    name = min(FAMILIES, key=lambda family: fits.found[family].cost)
    if fits.found[name].cost > float(cost[0]) + _FREEDOM:
        return None
    confidence = _evidence.likely(fits.spectrum, name, fits.found)
    return _as_kind(fits, name, {name: confidence}) if confidence >= _BELIEVED else None


def _as_kind(fits: Fits, name: str, scores: dict[str, float]) -> Kind:
    estimate = _estimate(name, fits.found[name], scores[name]) if name in FAMILIES else None
    tiles, varies = _over_the_frame(fits.plane, fits.found[name if name in FAMILIES else "none"], name)
    return Kind(name, scores[name], estimate, scores, varies, tiles)


def _scores(spectrum: _families.Spectrum, found: dict[str, Found], best: str) -> dict[str, float]:
    left = _evidence.unexplained(spectrum, _families.TRANSFER[best], found, best)
    scores = {family: _evidence.likely(spectrum, family, found) * (1 - left) for family in FAMILIES}
    scores["shake"] = left
    scores["sharp"] = max(0.0, 1 - left - sum(scores[family] for family in FAMILIES))
    return scores


def _over_the_frame(plane: Plane, whole: Found, name: str) -> tuple[npt.NDArray[np.object_], bool]:
    places = split(*plane.pixels.shape)
    tiles = np.empty((len(places), len(places[0]) if places else 0), object)
    for i, row in enumerate(places):
        for j, place in enumerate(row):
            tiles[i, j] = compare(plane, place, whole, name)
    return tiles, _varies([tile for tile in tiles.flat if tile.confidence > 0.5], name)


def _varies(tiles: list[Tile], name: str) -> bool:
    """Whether more than an eighth of the tiles that can tell, and two at least, differ from the whole."""
    other = sum(tile.differs for tile in tiles)
    return bool(other >= max(2, len(tiles) / 8))
