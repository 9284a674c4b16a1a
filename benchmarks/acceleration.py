"""What acceleration is worth: iterations, passes and time until the residual that 50 plain iterations
leave, on real photos.

The blurred photo is the middle of a larger scene, so that the boundary is unknown in earnest. Residuals are
taken over the whole frame, in two ways: Csiszar's I-divergence sum(y log(y / Hx) - y + Hx), which
Richardson-Lucy lowers, and |y - Hx|. Hx near the border needs the estimate outside the frame, which
`estimate()` crops; so the iterations are counted on the same problem put differently: a frame larger by the
PSF, with weight 0 on the added rim.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft

import fastdeblur
import scenes
from interleave import race
from threads import THREADS

PLAIN = 50
MOST = 60
PASSES = {None: 4, "ogm": 4, "biggs-andrews": 5}
FLOOR = 4.0  # times fewer passes than plain

IMAGES = ("camera", "coffee", "cell", "hubble_deep_field", "moon", "immunohistochemistry")
PSFS = {"motion 15": scenes.motion(15, 0.5), "Gaussian 2": scenes.gaussian(2.0, 15)}
NOISES = ("none", "Poisson 2000", "Gaussian 0.01")  # photons at full scale; sigma on the scale of 0 to 1


@dataclass(frozen=True)
class Scene:
    """A blurred photo with its PSF."""

    image: str
    psf_name: str
    noise: str

    @property
    def name(self) -> str:
        return f"{self.image}, {self.psf_name}, noise {self.noise}"

    def make(self) -> tuple[np.ndarray, np.ndarray]:
        psf = PSFS[self.psf_name]
        rim = psf.shape[0]
        y = scenes.blurred(scenes.grey(self.image), psf)[rim:-rim, rim:-rim]
        y = np.maximum(y[:512, :512], 0)
        rng = np.random.default_rng(5)
        if self.noise.startswith("Poisson"):
            y = rng.poisson(y * 2000.0) / 2000.0
        elif self.noise.startswith("Gaussian"):
            y = np.maximum(y + 0.01 * rng.standard_normal(y.shape), 0)
        return np.ascontiguousarray(y, dtype=np.float32), psf


SCENES = tuple(Scene(i, p, n) for i in IMAGES for p in PSFS for n in NOISES)


class Residuals:
    """Both residuals of an estimate on the frame with its rim."""

    def __init__(self, y: np.ndarray, psf: np.ndarray):
        self.y = y.astype(np.float64)
        self.rim = tuple(k // 2 for k in psf.shape)
        self.full = tuple(n + 2 * r for n, r in zip(y.shape, self.rim, strict=True))
        self.grid = tuple(
            scipy.fft.next_fast_len(n + k - 1, real=True) for n, k in zip(self.full, psf.shape, strict=True)
        )
        kernel = np.zeros(self.grid, np.float32)
        kernel[tuple(slice(k) for k in psf.shape)] = psf
        kernel = np.roll(kernel, [-r for r in self.rim], (0, 1))
        self.otf = scipy.fft.rfft2(kernel)
        positive = self.y > 0
        self.constant = float(np.sum(self.y[positive] * np.log(self.y[positive])) - self.y.sum())
        self.norm = float(np.linalg.norm(self.y))

    def __call__(self, x: np.ndarray) -> tuple[float, float]:
        padded = np.zeros(self.grid, np.float32)
        padded[: self.full[0], : self.full[1]] = x
        blurred = scipy.fft.irfft2(
            scipy.fft.rfft2(padded, workers=THREADS) * self.otf, self.grid, workers=THREADS
        )
        inside = tuple(slice(r, r + n) for r, n in zip(self.rim, self.y.shape, strict=True))
        model = np.maximum(blurred[inside].astype(np.float64), 1e-12)
        divergence = self.constant + float(model.sum() - np.sum(self.y * np.log(model)))
        return divergence, float(np.linalg.norm(self.y - model)) / self.norm


def iterations(scene: Scene) -> dict[str, tuple[int, int]]:
    """For "ogm" and "biggs-andrews" the iterations to 50 plain ones' divergence and to their L2 residual
    (MOST + 1: never).
    """
    y, psf = scene.make()
    residuals = Residuals(y, psf)
    rim = [(r, r) for r in residuals.rim]
    padded, weights = np.pad(y, rim), np.pad(np.ones_like(y), rim)
    plan = fastdeblur.Deconvolver(padded.shape, psf, boundary="unknown", n_threads=THREADS)
    target = residuals(plan.richardson_lucy(padded, PLAIN, weights=weights))
    found = {}
    for acceleration in ("ogm", "biggs-andrews"):
        reached = [MOST + 1, MOST + 1]

        def look(state: fastdeblur.Iteration, reached: list[int] = reached) -> bool:
            for i, (value, aim) in enumerate(zip(residuals(state.estimate()), target, strict=True)):
                if value <= aim:
                    reached[i] = min(reached[i], state.iteration)
            return max(reached) <= MOST

        plan.richardson_lucy(padded, MOST, weights=weights, acceleration=acceleration, callback=look)
        found[acceleration] = (reached[0], reached[1])
    return found


def passes_ratio(acceleration: str, count: int) -> float:
    """How many times fewer passes than 50 plain iterations."""
    return PASSES[None] * PLAIN / (PASSES[acceleration] * count)


def measure(scene: Scene, budget: float) -> list[dict[str, object]]:
    """One row per kind of acceleration. Times: whole calls, for the iterations to the same divergence."""
    y, psf = scene.make()

    def call(num_iter: int, acceleration: str | None) -> object:
        return fastdeblur.richardson_lucy(y, psf, num_iter, acceleration=acceleration, n_threads=THREADS)

    rows = []
    for acceleration, (divergence, l2) in iterations(scene).items():
        timed = race(
            lambda n=divergence, a=acceleration: call(n, a), lambda: call(PLAIN, None), budget, most=4
        )
        rows.append(
            {
                "scene": scene.name,
                "acceleration": acceleration,
                "iterations": divergence,
                "iterations_l2": l2,
                "passes_ratio": passes_ratio(acceleration, divergence),
                "passes_ratio_l2": passes_ratio(acceleration, l2),
                "ms": 1e3 * timed.ours_median,
                "plain_ms": 1e3 * timed.peer_median,
                "time_ratio": timed.ratio,
            }
        )
    return rows
