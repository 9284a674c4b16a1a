"""What a wrong kernel and noise cost three solvers: the cases that `failure_claims.py` runs.

A solver answers with its estimates over the whole range of its one parameter, so that "the best parameter" and "the parameter
that was best with the exact kernel" are read off the same run.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

import estimate_data
import fastdeblur
from fastdeblur import psf
from fastdeblur.estimate._nonblind import hyper_laplacian

Image = NDArray[np.float32]
Estimates = tuple[Sequence[float], Sequence[Image]]
Row = dict[str, Any]

SEED = 7
SIDE = 384
BORDER = (
    64  # pixels that no score counts: beyond the frame everything is a guess, which costs more than the noise
)
PHOTOS = tuple(f"kodim{k:02}" for k in range(1, 25, 2))

LENGTHS = (11, 21, 31)
KERNEL_SNRS = (30, 40)
ANGLE_ERRORS = (0, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 90)
LENGTH_ERRORS = (-8, -4, -2, -1, 1, 2, 4, 8)

NOISE_LENGTH = 15
SNRS = (0, 5, 10, 15, 20, 25, 30, 40, 50)
HABIT_SNR = 40  # at which the parameter was chosen by whoever never changes it

BALANCES = tuple(10.0**k for k in np.arange(-5, 1.6, 0.5))
ITERATIONS = (*range(1, 9), 10, 12, 14, 17, 20, 25, 30, 35, 40, 45, 50)
NOISE_SIGMAS = (0.004, 0.008, 0.016, 0.023, 0.032, 0.045, 0.064, 0.1)  # 0.1 is the most that the solver takes
LESS_NOISE_SIGMAS = (0.002, 0.004, 0.008, 0.016, 0.032, 0.1)  # where there is little noise


def wiener(y: Image, kernel: NDArray[Any]) -> Estimates:
    return BALANCES, [fastdeblur.wiener(y, kernel, b, boundary="reflect", n_threads=1) for b in BALANCES]


def richardson_lucy(y: Image, kernel: NDArray[Any]) -> Estimates:
    """Noise below 0 is lifted by an offset that the model knows as background: clipping it would brighten the shadows."""
    offset = max(0.0, -float(y.min()))
    kept: list[Image] = []

    def keep(step: Any) -> None:
        if step.iteration in ITERATIONS:
            kept.append(step.estimate())

    fastdeblur.richardson_lucy(
        y + np.float32(offset),
        kernel,
        ITERATIONS[-1],
        boundary="unknown",
        background=offset,
        callback=keep,
        n_threads=1,
    )
    return ITERATIONS, kept


def hyper(y: Image, kernel: NDArray[Any], sigmas: Sequence[float] = NOISE_SIGMAS) -> Estimates:
    return sigmas, [hyper_laplacian(y, kernel, s, n_threads=1) for s in sigmas]


SOLVERS: dict[str, Callable[[Image, NDArray[Any]], Estimates]] = {
    "wiener": wiener,
    "richardson_lucy": richardson_lucy,
    "hyper_laplacian": hyper,
}


def denoisers(y: Image, sigma: float) -> Iterator[tuple[str, float, Image]]:
    """(name, strength, image) of two denoisers that are told the noise, each at several strengths about the usual one."""
    from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

    for times in (0.25, 0.5, 1.0, 3.0):
        yield "total variation", times, denoise_tv_chambolle(y, times * sigma)
    patches: Row = {"patch_size": 5, "patch_distance": 6, "fast_mode": True}
    for times in (0.3, 0.7, 1.5):
        yield "non-local means", times, denoise_nl_means(y, h=times * sigma, sigma=sigma, **patches)


def inside(image: Image) -> Image:
    return np.clip(image[BORDER:-BORDER, BORDER:-BORDER], 0, 1)


def psnr(image: Image, truth: Image) -> float:
    """Peak 1, values cut to [0, 1] as a file would, borders left out."""
    error = inside(image).astype(np.float64) - inside(truth)
    return float(-10 * np.log10(np.mean(error**2)))


def ssim(image: Image, truth: Image) -> float:
    """Wang et al. 2004, doi:10.1109/TIP.2003.819861, with its window and constants."""
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(
            inside(image),
            inside(truth),
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def noise_sigma(blurred: Image, snr: float) -> float:
    """The deviation of noise whose variance is 10^(-snr / 10) of the blurred image's."""
    return float(blurred.std()) * 10 ** (-snr / 20)


@cache
def photo(name: str) -> Image:
    return estimate_data.grey(estimate_data.folder() / "test/kodak24" / f"{name}.png")


def middle(image: Image, height: int, width: int) -> Image:
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def observe(
    name: str, length: float, angle: float, snr: float
) -> tuple[Image, Image, NDArray[np.float64], float]:
    """(observation, truth, kernel, sigma): the scene goes on outside the frame, as it does in front of a camera."""
    kernel = psf.motion(length, angle)
    around = middle(photo(name), *(SIDE + n - 1 for n in kernel.shape))
    blurred = oaconvolve(around, kernel, mode="valid")
    sigma = noise_sigma(blurred, snr)
    noise = np.random.default_rng(_seed(name, length, snr)).standard_normal(blurred.shape)
    return (blurred + sigma * noise).astype(np.float32), middle(around, SIDE, SIDE), kernel, sigma


def _seed(*what: Any) -> int:
    return zlib.crc32(repr((SEED, *what)).encode())


def _direction(name: str, length: float) -> tuple[float, int]:
    """A case's angle in degrees, and to which side its errors turn."""
    rng = np.random.default_rng(_seed(name, length))
    return float(rng.uniform(0, 180)), int(rng.choice([-1, 1]))


def _scores(estimates: Sequence[Image], truth: Image) -> NDArray[np.float64]:
    return np.array([psnr(x, truth) for x in estimates])


def wrong_kernels(name: str, length: int, snr: int) -> list[Row]:
    """One photo under one blur, deblurred with kernels of wrong angle and of wrong length.

    A row of each error: [PSNR, SSIM] of the blurred photo, and of each solver with the parameter that is best at this error
    ("best") and with the one that is best with the exact kernel ("kept").
    """
    angle, side = _direction(name, length)
    y, truth, kernel, _ = observe(name, length, angle, snr)
    solvers = SOLVERS | {"hyper_laplacian": partial(hyper, sigmas=LESS_NOISE_SIGMAS)}
    exact: dict[str, int] = {}
    wrong = [("angle", e, psf.motion(length, angle + side * e)) for e in ANGLE_ERRORS]
    wrong += [("length", e, psf.motion(length + e, angle)) for e in LENGTH_ERRORS]
    rows = []
    for what, error, kernel in wrong:
        row: Row = {"photo": name, "length": length, "snr": snr, "wrong": what, "error": error}
        row["blurred"] = [psnr(y, truth), ssim(y, truth)]
        for solver, solve in solvers.items():
            _, estimates = solve(y, kernel)
            scores = _scores(estimates, truth)
            best = int(scores.argmax())
            exact.setdefault(solver, best)  # the first error is none
            for choice, index in (("best", best), ("kept", exact[solver])):
                row[f"{solver}, {choice}"] = [float(scores[index]), ssim(estimates[index], truth)]
        rows.append(row)
    return rows


def habits(name: str) -> dict[str, int]:
    """Which of its parameters each solver is best with on a photo of little noise."""
    y, truth, kernel, _ = observe(name, NOISE_LENGTH, _direction(name, NOISE_LENGTH)[0], HABIT_SNR)
    return {solver: int(_scores(solve(y, kernel)[1], truth).argmax()) for solver, solve in SOLVERS.items()}


def noise_level(name: str, snr: int) -> list[Row]:
    """One photo under one blur with noise, deblurred with the exact kernel as it is and denoised first.

    Its one row has [PSNR, SSIM] of the blurred photo; of the best denoised one, not deblurred ("denoised only"); and of each
    solver with the parameter that is best at this noise ("matched") and with the one that is best at 40 dB ("fixed"), as it is
    and "after" each denoiser, whose strength is the best for that very result: [PSNR, SSIM, parameter, strength].
    """
    angle, _ = _direction(name, NOISE_LENGTH)
    habit = habits(name)
    y, truth, kernel, sigma = observe(name, NOISE_LENGTH, angle, snr)
    denoised = [(tool, times, np.asarray(x, np.float32)) for tool, times, x in denoisers(y, sigma)]
    row: Row = {"photo": name, "snr": snr, "blurred": [psnr(y, truth), ssim(y, truth)]}
    alone = max((x for *_, x in denoised), key=lambda x: psnr(x, truth))
    row["denoised only"] = [psnr(alone, truth), ssim(alone, truth)]
    for solver, solve in SOLVERS.items():
        best: dict[str, tuple[float, float, float, Image]] = {}
        for tool, times, start in [("", 0.0, y), *denoised]:
            parameters, estimates = solve(start, kernel)
            scores = _scores(estimates, truth)
            for choice, i in (("matched", int(scores.argmax())), ("fixed", habit[solver])):
                key = f"{solver}, {choice}" + (f", after {tool}" if tool else "")
                if key not in best or scores[i] > best[key][0]:
                    best[key] = (float(scores[i]), float(parameters[i]), times, estimates[i])
        for key, (score, parameter, times, estimate) in best.items():
            row[key] = [score, ssim(estimate, truth), parameter, times]
    return [row]
