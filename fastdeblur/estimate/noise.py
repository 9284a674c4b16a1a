"""The level of the noise, from the patches that show least else."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastdeblur._checks import names_memory_errors
from fastdeblur.estimate._exposure import clipped
from fastdeblur.estimate._input import as_channels
from fastdeblur.estimate._periodogram import Float64Array

_SIDE = 7  # of a patch
_MOST = 30_000  # patches looked at
_FEWEST = 500  # patches in which a covariance of 49 pixels still means something
_ROUNDS = 8
_AGREEMENT = 1.25  # up to which the mean of many eigenvalues is believed against the smallest


@names_memory_errors
def noise(image: npt.ArrayLike, *, channel_axis: int | None = None) -> float | npt.NDArray[np.float64]:
    """Standard deviation of the white noise in an image.

    Patches of 7 x 7 pixels without texture are picked, again and again with the noise found so far; in the covariance of
    such patches every direction that the image does not use has the noise's variance as its eigenvalue. The noise of rounding
    to integers counts as noise where it is random, that is where there is other noise to dither it.

    Parameters
    ----------
    image : (H, W), or with channels; any real dtype, at least 16 x 16 pixels, finite. Pixels clipped at the
        largest value are left out.
    channel_axis : axis of the channels, or None.

    Returns
    -------
    float in the image's unit, >= 0; with channel_axis an array (C,) of float64. 0 where the image is
        constant, or has too many flat parts to show any noise.

    Raises
    ------
    InvalidArgument
        If image is not real, finite, of the right number of axes and large enough.

    Noise of other kinds is not what it says: noise that grows with the signal gives the level of the textureless parts, noise
    that was smoothed (demosaicing, JPEG) gives too little.

    Sources: Liu, Tanaka and Okutomi 2013, doi:10.1109/TIP.2013.2283400 (choice of patches); Chen, Zhu and Heng 2015,
    doi:10.1109/ICCV.2015.62 (mean of the eigenvalues that are noise).
    """
    channels = as_channels(image, channel_axis, 16)
    levels = np.array([_level(np.asarray(channel, np.float64)) for channel in channels])
    return float(levels[0]) if channel_axis is None else levels


def _windows(a: npt.NDArray[Any], h: int, w: int, step: int) -> npt.NDArray[Any]:
    view = np.lib.stride_tricks.sliding_window_view(a, (h, w))[::step, ::step]
    return view.reshape(-1, h * w)


def _level(channel: Float64Array) -> float:
    scale = float(channel.std())
    if scale == 0:
        return 0.0
    y = (channel - channel.mean()) / scale
    step = max(1, int(np.sqrt(y.size / _MOST)))
    patches = _windows(y, _SIDE, _SIDE, step)
    texture = np.zeros(len(patches))
    for axis, window in ((0, (_SIDE - 2, _SIDE)), (1, (_SIDE, _SIDE - 2))):
        part = y[2:] - y[:-2] if axis == 0 else y[:, 2:] - y[:, :-2]
        texture += np.square(_windows(part, *window, step)).sum(1)
    unclipped = ~_windows(clipped(channel[np.newaxis]), _SIDE, _SIDE, step).any(1)
    if unclipped.sum() >= _FEWEST:
        patches, texture = patches[unclipped], texture[unclipped]
    # For white noise of variance 1 the texture has this mean; its 99th percentile is 1.66 times as much.
    limit = 1.66 * 2 * 2 * _SIDE * (_SIDE - 2)
    variance = _variance(patches)
    for _ in range(_ROUNDS):
        weak = texture <= variance * limit
        if weak.sum() < _FEWEST:
            break
        before, variance = variance, _variance(patches[weak])
        if abs(variance - before) <= 1e-3 * before:
            break
    return float(np.sqrt(variance)) * scale


def _variance(patches: Float64Array) -> float:
    eigenvalues: Float64Array = np.linalg.eigvalsh(np.cov(patches, rowvar=False)).astype(np.float64)
    # The smallest of the eigenvalues of a sample is too small (Marchenko and Pastur 1967, doi:10.1070/SM1967v001n04ABEH001994).
    shrunk = (1 - min(0.5, np.sqrt(eigenvalues.size / len(patches)))) ** 2
    smallest = max(float(eigenvalues[0]), 0.0) / shrunk
    mean = _mean_of_noise(eigenvalues)
    return mean if mean <= _AGREEMENT**2 * smallest else smallest


def _mean_of_noise(eigenvalues: Float64Array) -> float:
    """The mean of the smallest eigenvalues, as many as have their mean for median."""
    for count in range(eigenvalues.size, 0, -1):
        some = eigenvalues[:count]
        mean = some.mean()
        if np.sum(some > mean) >= np.sum(some < mean):
            return max(float(mean), 0.0)
    return max(float(eigenvalues[0]), 0.0)
