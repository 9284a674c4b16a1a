"""Plain and accelerated Richardson-Lucy, unknown boundary, for the iterations that reach 50 plain ones'
divergence.
"""

import pytest

import acceleration
import fastdeblur
from threads import THREADS

SCENE = acceleration.Scene("camera", "motion 15", "Poisson 2000")


@pytest.mark.parametrize("kind", [None, "ogm", "biggs-andrews"])
def test_to_the_same_residual(kind, benchmark):
    y, psf = SCENE.make()
    count = acceleration.PLAIN if kind is None else acceleration.iterations(SCENE)[kind][0]
    benchmark.group = f"{SCENE.name}: to the divergence of {acceleration.PLAIN} plain iterations"
    benchmark.extra_info["iterations"] = count
    benchmark.pedantic(
        lambda: fastdeblur.richardson_lucy(y, psf, count, acceleration=kind, n_threads=THREADS),
        rounds=5,
        warmup_rounds=1,
    )
