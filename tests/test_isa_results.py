"""Every x86-64 level that this machine runs gives the same answers, to rounding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastdeblur import _isa

from cases import case

NAMES = (
    "wiener-reflect-31x37",
    "wiener-periodic-101",
    "wiener-zero-11x13x17",
    "wiener-callable-complex-reflect",
    "wiener-larger",
    "wiener-channels-last",
    "rl-unknown-31x37",
    "rl-everything-unknown",
    "rl-accelerated-periodic",
    "rl-zero-8x16x12",
    "rl-larger-1d",
)

CODE = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from cases import case
problems = [(n, d) for n in sys.argv[3:] for d in ("float32", "float64")]
np.savez(sys.argv[2], **{f"{n} {d}": case(n).run("native", d) for n, d in problems})
"""


@pytest.mark.parametrize("level", _isa.runnable_levels())
def test_same_results_at_every_level(native, level, tmp_path):
    file = tmp_path / "results.npz"
    subprocess.run(
        [sys.executable, "-c", CODE, str(Path(__file__).parent), str(file), *NAMES],
        cwd=Path(__file__).parent,  # not the root, whose source tree would hide an installed package
        env={**os.environ, "FASTDEBLUR_ISA": level},
        check=True,
        timeout=300,
    )
    with np.load(file) as results:
        for name in NAMES:
            problem = case(name)
            for dtype in ("float32", "float64"):
                expected = problem.run("native", dtype).astype(np.float64)
                distance = np.linalg.norm(results[f"{name} {dtype}"] - expected) / np.linalg.norm(expected)
                assert distance <= problem.tolerance[dtype], (name, dtype)
