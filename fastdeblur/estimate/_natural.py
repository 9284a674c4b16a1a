"""The spectrum of a sharp photo: a power law in frequency with slow terms in direction, and how much photos differ from it.

ln A(f) is linear in twelve functions of the frequency. Mean and covariance of the coefficients are those of 137 sharp photos that
`benchmarks/natural_spectrum.py` lists; it made the numbers. They were made symmetric to the grid's reflections and quarter
turns, so that what is estimated turns with the image. The first coefficient, the contrast, is left free.

Sources: Field 1987, doi:10.1364/JOSAA.4.002379 (power law); Torralba and Oliva 2003, doi:10.1088/0954-898X/14/3/302 (direction).
"""

from __future__ import annotations

import numpy as np

from fastdeblur.estimate._periodogram import Cells, Float64Array, FloatArray

REFERENCE = 0.1  # cycles per pixel

#: Functions of (logarithm of the frequency l, direction phi): 1, l, 10 f^2, l^2, cos 4phi, l cos 4phi | cos 2phi, l cos 2phi |
#: sin 2phi, l sin 2phi | sin 4phi, l sin 4phi. Reflections change signs of whole blocks only.
BLOCKS = ((0, 1, 2, 3, 4, 5), (6, 7), (8, 9), (10, 11))


def functions(cells: Cells) -> FloatArray:
    """The functions of ln A at each cell, (m, 12)."""
    f, phi = cells.radius.astype(np.float64), cells.phase.astype(np.float64)
    log = np.log(f / REFERENCE)
    c2, s2, c4, s4 = np.cos(2 * phi), np.sin(2 * phi), np.cos(4 * phi), np.sin(4 * phi)
    columns = [
        np.ones_like(f),
        log,
        10 * f * f,
        log * log,
        c4,
        log * c4,
        c2,
        log * c2,
        s2,
        log * s2,
        s4,
        log * s4,
    ]
    return np.stack(columns, 1).astype(np.float32)


#: Mean of the coefficients for images on the scale of 0 to 1.
MEAN = np.array([-3.0020, -2.0469, -0.7901, 0.1721, 0.3169, -0.0094, 0, 0, 0, 0, 0, 0])

_COVARIANCES = {  # the first coefficient's is not used
    (1, 2, 3, 4, 5): [
        [0.1795, -0.0814, 0.0516, -0.0131, -0.0136],
        [-0.0814, 0.1031, -0.0493, 0.0046, 0.0065],
        [0.0516, -0.0493, 0.0601, 0.0023, -0.0096],
        [-0.0131, 0.0046, 0.0023, 0.0630, 0.0002],
        [-0.0136, 0.0065, -0.0096, 0.0002, 0.0123],
    ],
    (6, 7): [[0.1672, -0.0272], [-0.0272, 0.0254]],
    (8, 9): [[0.0447, -0.0114], [-0.0114, 0.0100]],
    (10, 11): [[0.0205, -0.0068], [-0.0068, 0.0038]],
}


def precision() -> Float64Array:
    """Inverse covariance of the coefficients, (12, 12); 0 for the first."""
    result = np.zeros((MEAN.size, MEAN.size))
    for block, covariance in _COVARIANCES.items():
        result[np.ix_(block, block)] = np.linalg.inv(np.array(covariance))
    return result
