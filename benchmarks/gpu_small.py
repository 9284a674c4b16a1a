"""Small problems on the CUDA core, for a memory and race checker to look at; each is compared with the CPU.

    compute-sanitizer --tool memcheck python benchmarks/gpu_small.py

Only host arrays: no other library's kernels run under the checker, but for cuFFT's in grids that the fused passes do not cover.
``--dry`` rehearses without a GPU.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np

import fastdeblur
from fastdeblur import nets

# (shape, PSF shape, channel axis): odd, even, prime, one pixel, one and three axes, channels, a batch.
SHAPES = [
    ((31, 37), (5, 4), None),
    ((64, 64), (7, 7), None),
    ((1, 40), (1, 5), None),
    ((53,), (7,), None),
    ((11, 13, 17), (3, 5, 4), None),
    ((30, 41, 3), (5, 5), -1),
    ((4, 23, 29), (5, 3), None),
]


def problems():
    """(what, function of a backend)"""
    rng = np.random.default_rng(1)
    for shape, psf_shape, axis in SHAPES:
        psf = rng.uniform(0.2, 1, psf_shape)
        for dtype in (np.float32, np.float64):
            image = rng.uniform(0.2, 1, shape).astype(dtype)
            common = {"channel_axis": axis}
            name = f"{'x'.join(map(str, shape))} {np.dtype(dtype)}"
            for boundary in ("reflect", "periodic"):
                yield (
                    f"wiener {name} {boundary}",
                    lambda backend, a=(image, psf, 0.05), k={**common, "boundary": boundary}: (
                        fastdeblur.wiener(*a, **k, backend=backend)
                    ),
                )
            for more in (
                {},
                {"acceleration": "ogm", "weights": (image > 0.4).astype(dtype)},
                {"acceleration": "biggs-andrews", "init": image, "background": 0.01},
                {"boundary": "zero"},
            ):
                yield (
                    f"richardson_lucy {name} {sorted(more)}",
                    lambda backend, a=(image, psf, 4), k={**common, **more}: fastdeblur.richardson_lucy(
                        *a, **k, backend=backend
                    ),
                )


def networks():
    """(what, function of a precision, None for the CPU)"""
    rng = np.random.default_rng(2)
    for name in nets.available():
        model = nets.load(name)
        shape = (29, 43) if model.channels == 1 else (model.channels, 29, 43)
        image = rng.uniform(0, 1, shape).astype(np.float32)
        more = {"channel_axis": None if model.channels == 1 else 0}
        if model.takes_psf:
            more["psf"] = rng.uniform(0.2, 1, (5, 4))
        if model.takes_noise:
            more["noise"] = 0.01
        yield (
            f"{name} {'x'.join(map(str, shape))}",
            lambda precision, model=model, image=image, more=more: model(
                image,
                **more,
                **({"device": "cpu"} if precision is None else {"device": "cuda", "precision": precision}),
            ),
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry", action="store_true", help="stand-ins instead of a GPU")
    dry = parser.parse_args().dry
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    context = nullcontext()
    if dry:
        import standin_cuda

        context = standin_cuda.installed()
    wrong = 0
    with context:
        for what, run in problems():
            result, expected = run("cuda"), run("numpy")
            difference = float(np.linalg.norm(result - expected) / np.linalg.norm(expected))
            good = difference < (1e-3 if result.dtype == np.float32 else 1e-8)
            wrong += not good
            print(f"{'ok' if good else 'WRONG'} {difference:.1e} {what}")
        for what, run in networks():
            expected = run(None)
            for precision, limit in (("float16", 5e-3), ("float32", 1e-4)):
                difference = float(np.linalg.norm(run(precision) - expected) / np.linalg.norm(expected))
                wrong += not difference < limit
                print(f"{'ok' if difference < limit else 'WRONG'} {difference:.1e} {what} {precision}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
