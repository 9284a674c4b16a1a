"""The other side of every race: other people's functions, and the same problem written carefully over other
FFTs.

A peer is a function that prepares what its row allows to be prepared and returns a call without arguments,
which computes the result once more and returns it. A peer whose package is not installed raises
ImportError.

The careful versions (`Wiener`, `RichardsonLucy` over `ScipyFft` or `PyfftwFft`) solve the very problem that
fastdeblur solves: its boundary, on a grid of the same rule, so that their results can be compared, in
float32, with both threads, half spectra, buffers that are made once, ufuncs in place, the inverse
transform's last step only for the rows that are kept.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from threads import THREADS

Call = Callable[[], np.ndarray]


# ------------------------------------------------------------------------------------------------------- FFTs


class ScipyFft:
    """Half spectra by scipy.fft with its workers."""

    def __init__(self, grid: tuple[int, ...]):
        import scipy.fft

        self.fft, self.grid = scipy.fft, grid
        self.padded = np.zeros(grid, np.float32)

    def forward(self) -> np.ndarray:
        """The spectrum of `padded`."""
        return self.fft.rfftn(self.padded, workers=THREADS)

    def inverse(self, spectrum: np.ndarray, rows: int) -> np.ndarray:
        """The image, its first rows only; spectrum is spoilt."""
        for axis in range(len(self.grid) - 1):
            spectrum = self.fft.ifft(spectrum, axis=axis, overwrite_x=True, workers=THREADS)
        return self.fft.irfft(spectrum[:rows], self.grid[-1], workers=THREADS)


class PyfftwFft:
    """Half spectra by FFTW, planned (FFTW_MEASURE) on buffers of its own."""

    def __init__(self, grid: tuple[int, ...]):
        import pyfftw

        half = (*grid[:-1], grid[-1] // 2 + 1)
        axes = tuple(range(len(grid)))
        self.padded = pyfftw.empty_aligned(grid, "float32")
        self._spectrum = pyfftw.empty_aligned(half, "complex64")
        self._image = pyfftw.empty_aligned(grid, "float32")
        options = {"axes": axes, "threads": THREADS, "planning_timelimit": 6.0}
        self._forward = pyfftw.FFTW(self.padded, self._spectrum, **options)
        self._inverse = pyfftw.FFTW(self._spectrum, self._image, direction="FFTW_BACKWARD", **options)
        self._scale = np.float32(1 / np.prod(grid))
        self.padded[...] = 0

    def forward(self) -> np.ndarray:
        self._forward.execute()
        return self._spectrum

    def inverse(self, spectrum: np.ndarray, rows: int) -> np.ndarray:
        self._inverse.execute()
        image = self._image[:rows]
        np.multiply(image, self._scale, out=image)
        return image


def fast_grid(shape: tuple[int, ...], psf_shape: tuple[int, ...], boundary: str) -> tuple[int, ...]:
    """The smallest fast grid with room for it: K - 1 pixels for darkness, twice that for mirror images."""
    import scipy.fft

    if boundary == "periodic":
        return shape
    reach = 2 if boundary == "reflect" else 1
    last = len(shape) - 1
    return tuple(
        scipy.fft.next_fast_len(n + reach * (k - 1), real=axis == last)
        for axis, (n, k) in enumerate(zip(shape, psf_shape, strict=True))
    )


def transfer_function(psf: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """complex64 half spectrum of a 2-D or 3-D PSF with its origin at shape // 2; only the rows that it has
    are transformed along x.
    """
    import scipy.fft

    wrapped = [np.arange(-(k // 2), k - k // 2) % n for k, n in zip(psf.shape, grid, strict=True)]
    rows = np.zeros((*psf.shape[:-1], grid[-1]), np.float32)
    rows[..., wrapped[-1]] = psf
    otf = np.zeros((*grid[:-1], grid[-1] // 2 + 1), np.complex64)
    otf[np.ix_(*wrapped[:-1])] = scipy.fft.rfft(rows)
    for axis in reversed(range(len(grid) - 1)):
        otf = scipy.fft.fft(otf, axis=axis, overwrite_x=True, workers=THREADS)
    return otf


class MirrorImages:
    """Fills the grid around a frame as boundary="reflect" does: both borders' mirror images, fading into
    each other.
    """

    def __init__(self, shape: tuple[int, int], grid: tuple[int, int]):
        self.shape = shape
        self._axes = []
        for n, full in zip(shape, grid, strict=True):
            i = np.arange(n, full)
            after, before = 2 * n - 1 - i, full - 1 - i
            self._axes.append((after, before, ((i - n + 1) / (full - n + 1)).astype(np.float32)))

    def fill(self, image: np.ndarray, padded: np.ndarray) -> None:
        h, w = self.shape
        padded[:h, :w] = image
        after, before, fade = self._axes[1]
        if fade.size:
            padded[:h, w:] = image[:, after] * (1 - fade) + image[:, before] * fade
        after, before, fade = self._axes[0]
        if fade.size:
            padded[h:] = padded[after] * (1 - fade)[:, None] + padded[before] * fade[:, None]


# ------------------------------------------------------------------------ the same problem, written carefully


class Wiener:
    """conj(H) / (|H|^2 + balance |R|^2) with the Laplacian. cache: None, "otf" or "gain" (the whole filter,
    for one balance).
    """

    def __init__(
        self, fft: type, image: np.ndarray, psf: np.ndarray, balance: float, boundary: str, cache: str | None
    ):
        self.image, self.psf, self.balance = image, psf, np.float32(balance)
        self.grid = fast_grid(image.shape, psf.shape, boundary)
        self.fft = fft(self.grid)
        self.extension = MirrorImages(image.shape, self.grid)
        self.otf = transfer_function(psf, self.grid) if cache else None
        self.cached_gain = self.gain() if cache == "gain" else None

    def gain(self) -> np.ndarray:
        otf = self.otf
        if otf is None:
            otf = transfer_function(self.psf, self.grid)
        n, m = self.grid
        rows = 2 - 2 * np.cos(2 * np.pi / n * np.arange(n)).astype(np.float32)
        columns = 2 - 2 * np.cos(2 * np.pi / m * np.arange(m // 2 + 1)).astype(np.float32)
        denominator = np.add.outer(rows, columns)
        denominator *= denominator
        denominator *= self.balance
        gain = np.conj(otf)
        denominator += (otf * gain).real
        np.reciprocal(denominator, out=denominator)
        gain *= denominator
        return gain

    def __call__(self) -> np.ndarray:
        self.extension.fill(self.image, self.fft.padded)
        gain = self.gain() if self.cached_gain is None else self.cached_gain
        spectrum = self.fft.forward()
        spectrum *= gain
        h, w = self.image.shape
        return np.ascontiguousarray(self.fft.inverse(spectrum, h)[:, :w])


class RichardsonLucy:
    """x <- max(x H^T(y / Hx) / H^T 1, 0) with darkness outside the frame, the transfer function cached; 2-D
    and 3-D.
    """

    def __init__(self, fft: type, image: np.ndarray, psf: np.ndarray, num_iter: int):
        self.image, self.num_iter = image, num_iter
        self.grid = fast_grid(image.shape, psf.shape, "zero")
        self.fft = fft(self.grid)
        self.frame = tuple(slice(n) for n in image.shape)
        self.otf = transfer_function(psf, self.grid)
        self.conj = np.conj(self.otf)
        padded = self.fft.padded
        padded[self.frame] = 1
        self.inverse_norm = 1 / self.filtered(self.conj)
        self.x = np.empty_like(image)

    def filtered(self, transfer: np.ndarray) -> np.ndarray:
        spectrum = self.fft.forward()
        spectrum *= transfer
        return self.fft.inverse(spectrum, self.frame[0].stop)[self.frame]

    def __call__(self) -> np.ndarray:
        x, y, framed = self.x, self.image, self.fft.padded[self.frame]
        mean = y.mean(dtype=np.float64)
        floor = np.float32(np.finfo(np.float32).eps * mean)
        x[...] = mean
        for _ in range(self.num_iter):
            framed[...] = x
            model = self.filtered(self.otf)
            np.maximum(model, floor, out=model)
            np.divide(y, model, out=framed)
            correction = self.filtered(self.conj)
            correction *= self.inverse_norm
            x *= correction
            np.maximum(x, 0, out=x)
        return x.copy()


# ---------------------------------------------------------------------------------------- plain, as in a blog


def numpy_wiener(image: np.ndarray, psf: np.ndarray, balance: float) -> Call:
    """The textbook formula on the image as it is: periodic, a constant for the noise, the transfer function
    made in each call.
    """

    def call() -> np.ndarray:
        otf = np.fft.rfft2(psf, s=image.shape)
        gain = np.conj(otf) / (np.abs(otf) ** 2 + balance)
        return np.fft.irfft2(np.fft.rfft2(image) * gain, s=image.shape)

    return call


def numpy_richardson_lucy(image: np.ndarray, psf: np.ndarray, num_iter: int) -> Call:
    """The textbook formula on the image as it is: periodic."""

    def call() -> np.ndarray:
        otf = np.fft.rfft2(psf, s=image.shape)
        x = np.full_like(image, image.mean())
        for _ in range(num_iter):
            ratio = image / np.fft.irfft2(np.fft.rfft2(x) * otf, s=image.shape)
            x = x * np.fft.irfft2(np.fft.rfft2(ratio) * np.conj(otf), s=image.shape)
        return x

    return call


# ---------------------------------------------------------------------------------------- other people's own


def skimage_wiener(image: np.ndarray, psf: np.ndarray, balance: float) -> Call:
    from skimage.restoration import wiener

    return lambda: wiener(image, psf, balance, clip=False)


def skimage_richardson_lucy(image: np.ndarray, psf: np.ndarray, num_iter: int) -> Call:
    from skimage.restoration import richardson_lucy

    return lambda: richardson_lucy(image, psf, num_iter=num_iter, clip=False)


def ducc0_round_trip(image: np.ndarray) -> Call:
    """r2c and c2r of the image, into arrays that are there already, and nothing between them."""
    from ducc0 import fft

    axes = tuple(range(image.ndim))
    spectrum = np.empty((*image.shape[:-1], image.shape[-1] // 2 + 1), np.complex64)
    out = np.empty_like(image)

    def call() -> np.ndarray:
        fft.r2c(image, axes=axes, out=spectrum, nthreads=THREADS)
        return fft.c2r(
            spectrum,
            axes=axes,
            lastsize=image.shape[-1],
            forward=False,
            inorm=2,
            out=out,
            nthreads=THREADS,
            allow_overwriting_input=True,
        )

    return call


def diplib_wiener(image: np.ndarray, psf: np.ndarray, balance: float) -> Call:
    import diplib

    diplib.SetNumberOfThreads(THREADS)
    return lambda: np.asarray(diplib.WienerDeconvolution(image, psf, regularization=balance, options={"pad"}))


def diplib_richardson_lucy(image: np.ndarray, psf: np.ndarray, num_iter: int) -> Call:
    import diplib

    diplib.SetNumberOfThreads(THREADS)
    return lambda: np.asarray(diplib.RichardsonLucy(image, psf, nIterations=num_iter, options={"pad"}))


def itk_wiener(image: np.ndarray, psf: np.ndarray, balance: float) -> Call:
    def configure(filter_: object) -> None:
        filter_.SetNoiseVariance(balance)  # type: ignore[attr-defined]

    return _itk("WienerDeconvolutionImageFilter", image, psf, configure)


def itk_richardson_lucy(image: np.ndarray, psf: np.ndarray, num_iter: int) -> Call:
    def configure(filter_: object) -> None:
        filter_.SetNumberOfIterations(num_iter)  # type: ignore[attr-defined]

    return _itk("RichardsonLucyDeconvolutionImageFilter", image, psf, configure)


def _itk(name: str, image: np.ndarray, psf: np.ndarray, configure: Callable[[object], None]) -> Call:
    import itk

    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(THREADS)
    kind = itk.Image[itk.F, image.ndim]
    source, kernel = itk.image_view_from_array(image), itk.image_view_from_array(psf)
    filter_type = getattr(itk, name)[kind, kind]

    def call() -> np.ndarray:
        filter_ = filter_type.New()
        filter_.SetInput(source)
        filter_.SetKernelImage(kernel)
        filter_.NormalizeOn()
        configure(filter_)
        filter_.Update()
        return itk.array_view_from_image(filter_.GetOutput())

    return call
