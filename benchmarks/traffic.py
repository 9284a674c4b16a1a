"""How many bytes the fused passes must move to and from memory, and how long that takes at the measured
copy bandwidth.

Each pass reads and writes each of its arrays once; what is used twice within a pass is in cache. With g
pixels on the FFT grid, f in the frame, and s bytes for each real pixel (4 in float32):

    S   = s * 2 * (half spectrum's pixels)     the spectrum of the grid; S_f: of its rows that meet the frame
    H   = S                                    the transfer function, where it is stored
    Y   = s * f                                the image, or the result
    X   = s * (pixels of the scene's rows)     an image of the method's state; S_x: the spectrum of those rows

Wiener:  rows_forward  Y -> S,  columns  S, H -> S_f,  rows_inverse  S_f -> Y
Richardson-Lucy, an iteration:  columns  S_x, H -> S_f,  rows(ratio)  S_f, Y -> S_f,  columns  S_f, H -> S_x,
         rows(update)  S_x, X -> S_x, X

Bytes are counted as STREAM counts them, read + written, without the read that a cache makes before it
writes; the bandwidth is that of a copy, counted in the same way. Small things (tables, a PSF's 15 rows) are
left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from fastdeblur._geometry import Frame


@dataclass(frozen=True)
class Sizes:
    """The arrays of one problem, in bytes."""

    spectrum: int
    spectrum_frame: int
    image: int
    rows_all: int
    rows_frame: int

    @staticmethod
    def of(shape: tuple[int, ...], psf_shape: tuple[int, ...], boundary: str, itemsize: int = 4) -> Sizes:
        frame = Frame.of(shape, psf_shape, boundary)
        rows, frame_rows = prod(frame.grid[:-1]), prod(frame.shape[:-1])
        row_spectrum = 2 * itemsize * frame.half_grid[-1]
        row = itemsize * frame.grid[-1]
        return Sizes(
            rows * row_spectrum,
            frame_rows * row_spectrum,
            itemsize * prod(shape),
            rows * row,
            frame_rows * row,
        )


def wiener(shape: tuple[int, ...], psf_shape: tuple[int, ...], boundary: str, *, stored_otf: bool) -> int:
    """Bytes of one restoration. stored_otf: a plan's later calls; else the filter is made in cache from the
    PSF's few rows.
    """
    n = Sizes.of(shape, psf_shape, boundary)
    forward = n.image + (n.spectrum_frame if boundary == "zero" else n.spectrum)
    columns = n.spectrum + n.spectrum_frame + (n.spectrum if stored_otf else 0)
    return forward + columns + n.spectrum_frame + n.image


def richardson_lucy(
    shape: tuple[int, ...],
    psf_shape: tuple[int, ...],
    boundary: str,
    num_iter: int,
    acceleration: str | None = None,
    *,
    stored_otf: bool,
) -> int:
    """Bytes of a run, what surrounds its iterations included. stored_otf: a plan's later calls, which find
    it made.
    """
    n = Sizes.of(shape, psf_shape, boundary)
    dark, everywhere = boundary == "zero", boundary in ("periodic", "reflect", "edge")
    scene = n.rows_frame if dark else n.rows_all
    spectrum_scene = n.spectrum_frame if dark else n.spectrum
    spectrum_seen = n.spectrum if everywhere else n.spectrum_frame
    blur = spectrum_scene + n.spectrum + spectrum_seen
    ratio = spectrum_seen + n.image + spectrum_seen
    adjoint = spectrum_seen + n.spectrum + spectrum_scene
    states = {None: 1, "ogm": 2, "biggs-andrews": 3}[acceleration]
    update = spectrum_scene + 2 * states * scene + spectrum_scene
    if acceleration == "biggs-andrews":
        # The step is known only after the update, so the next forward transform is a pass of its own.
        update += 3 * scene
    total = num_iter * (blur + ratio + adjoint + update)
    total -= spectrum_scene  # the last update has nothing to transform
    if dark:
        total += scene + spectrum_scene  # the first estimate's transform
    else:
        total -= blur + spectrum_seen  # a level all over the grid is its own blur
    look, start, result = n.image, states * scene, scene + n.image
    norm = 0 if everywhere else n.spectrum_frame + adjoint + spectrum_scene  # H^T 1
    return total + look + start + result + norm + (0 if stored_otf else n.spectrum)
