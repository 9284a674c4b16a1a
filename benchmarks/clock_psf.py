"""Find the camera's path in scikit-image's clock photo, from the photo alone.

    python benchmarks/clock_psf.py          # about a minute on one core; prints LENGTH and HEIGHTS

Two glints on the glass draw the path in the photo: 36 to 37 pixels to the right, steeply up at first, then
level, then up again, by about two pixels in all; GLINT was read off them by eye. That is the start. The wall
around the clock is plain, so its brightness under the clock is known, and the sharp scene minus the wall is
zero outside an ellipse around the clock. With that support a path fits the photo or it does not: for each
candidate path the best scene inside the ellipse is found by conjugate gradients (least squares with a small
Laplacian penalty), and Powell's method lowers what remains by moving the path's length and nine heights. The
exposure along the path came out even within 7 per cent when it was left free, so it is held even.
"""

from __future__ import annotations

import numpy as np
import skimage.data
from scipy.optimize import minimize

from fastdeblur._light import decode_srgb
from fastdeblur.cli import clock

PENALTY = 5e-4  # of the scene's squared Laplacian gradient
STRAIGHT = 2e-3  # of the path's second differences: keeps points that the photo says little about in line
GLINT = (-0.9, -0.2, 0.0, 0.1, 0.5, 0.9)  # pixels up, at six evenly spaced points
CROP = (slice(66, 246), slice(92, 332))


class Fit:
    """How well a path explains the photo, with the scene fitted anew (from the last one) for each path."""

    def __init__(self, photo):
        background = clock.wall(photo)
        self.data = (photo - background)[CROP]
        self.mask = (clock.face_mask(photo.shape) > 0)[CROP].astype(float)
        fy, fx = np.fft.fftfreq(self.data.shape[0]), np.fft.rfftfreq(self.data.shape[1])
        self.laplacian = 4 - 2 * np.cos(2 * np.pi * fy)[:, None] - 2 * np.cos(2 * np.pi * fx)
        self.start = np.zeros(self.data.shape)
        self.forget()

    def forget(self):
        self.best, self.scene = np.inf, self.start

    def filter(self, image, transfer):
        return np.fft.irfft2(np.fft.rfft2(image) * transfer, self.data.shape)

    def __call__(self, parameters, steps=12):
        psf = clock.path_psf(parameters[0], parameters[1:])
        impulse = np.zeros(self.data.shape)
        impulse[0, 0] = 1
        otf = np.fft.rfft2(clock.blur(impulse, psf))
        normal = np.abs(otf) ** 2 + PENALTY * self.laplacian
        x = self.start.copy()
        residual = self.mask * self.filter(self.data, otf.conj()) - self.mask * self.filter(
            x * self.mask, normal
        )
        direction, squared = residual.copy(), np.vdot(residual, residual)
        for _ in range(steps):
            image = self.mask * self.filter(direction * self.mask, normal)
            step = squared / np.vdot(direction, image)
            x += step * direction
            residual -= step * image
            squared, previous = np.vdot(residual, residual), squared
            direction = residual + squared / previous * direction
        misfit = self.filter(x, otf) - self.data
        value = np.sum(misfit**2) + PENALTY * np.vdot(x, self.filter(x, self.laplacian))
        if value < self.best:
            self.best, self.scene, self.noise = value, x, misfit.std()
        heights = parameters[1:]
        # A shift of the whole path only shifts the scene: pin the mean.
        return value + 1e-4 * np.mean(heights) ** 2 + STRAIGHT * np.sum(np.diff(heights, 2) ** 2)


def main():
    fit = Fit(decode_srgb(skimage.data.clock() / 255.0))
    parameters = np.concatenate([[36.5], np.interp(np.linspace(0, 1, 9), np.linspace(0, 1, 6), GLINT)])
    for _ in range(12):
        fit(parameters, steps=200)
        fit.start = fit.scene
        fit.forget()
        parameters = minimize(
            fit,
            parameters,
            method="Powell",
            bounds=[(34, 40)] + [(-2.5, 2.5)] * 9,
            options={"maxiter": 2, "maxfev": 600, "xtol": 0.02, "ftol": 1e-6},
        ).x
        print(
            f"misfit {fit.noise:.5f}  length {parameters[0]:.2f}  heights",
            np.round(parameters[1:], 2),
            flush=True,
        )
    print(f"LENGTH = {parameters[0]:.2f}\nHEIGHTS = {tuple(np.round(parameters[1:], 2).tolist())}")


if __name__ == "__main__":
    main()
