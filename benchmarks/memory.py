"""Peak memory of one call beyond its input and output, measured, against what estimate_memory says and what
is allowed.

Each call has a process of its own, where it is made on a tiny image first, so that libraries and threads
are there. The kernel is then told to forget the peak (Linux: /proc/self/clear_refs), and asked for the new
one afterwards (VmHWM).
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path

from threads import THREADS  # sets what the libraries read, so it comes before them

LIMITS = {"wiener": 2.5, "richardson_lucy": 4.0}  # times the padded image
TOLERANCE = 0.20  # of estimate_memory


@dataclass(frozen=True)
class Call:
    """A call to measure; image and PSF in float32."""

    method: str
    shape: tuple[int, ...]
    psf: tuple[int, ...]
    options: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        size = "x".join(map(str, self.shape))
        return " ".join([self.method, size, *self.options.values()])


CALLS = (
    Call("wiener", (1080, 1920), (15, 15)),
    Call("wiener", (4096, 4096), (15, 15)),
    Call("wiener", (64, 256, 256), (9, 9, 9)),
    Call("richardson_lucy", (1080, 1920), (15, 15)),
    Call("richardson_lucy", (1080, 1920), (15, 15), {"acceleration": "ogm"}),
    Call("richardson_lucy", (1080, 1920), (15, 15), {"acceleration": "biggs-andrews"}),
    Call("richardson_lucy", (1080, 1920), (15, 15), {"boundary": "zero"}),
    Call("richardson_lucy", (4096, 4096), (15, 15)),
    Call("richardson_lucy", (64, 256, 256), (9, 9, 9)),
)


def measure(call: Call) -> dict[str, object]:
    """Bytes measured, estimated and allowed for one call; raises OSError where the kernel keeps no peak."""
    if not Path("/proc/self/clear_refs").exists():
        raise OSError("the peak of a process's memory is only kept by Linux")
    run = subprocess.run(
        [sys.executable, __file__, json.dumps(asdict(call))], capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise OSError(f"{call.title}: {run.stderr.strip()}")
    measured, estimated, padded = json.loads(run.stdout)
    limit = LIMITS[call.method] * padded
    return {
        "call": call.title,
        "measured": measured,
        "estimated": estimated,
        "padded_image": padded,
        "times_padded": measured / padded,
        "limit": LIMITS[call.method],
        "within_limit": measured <= limit,
        "within_estimate": abs(estimated - measured) <= TOLERANCE * measured,
    }


def _status(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name + ":"))


def _run(given: dict[str, object]) -> tuple[int, int, int]:
    """In the process of its own: bytes measured, bytes estimated, bytes of the padded image."""
    import numpy as np

    import fastdeblur
    from fastdeblur._geometry import Frame

    method, options = str(given["method"]), dict(given["options"])  # type: ignore[call-overload]
    shape, psf_shape = tuple(given["shape"]), tuple(given["psf"])  # type: ignore[arg-type]
    extra = {"balance": 0.01} if method == "wiener" else {"num_iter": 3}
    run = getattr(fastdeblur, method)
    psf = np.ones(psf_shape, np.float32)
    rng = np.random.default_rng(0)

    def call(size: tuple[int, ...]) -> None:
        image = rng.random(size, np.float32)
        out = np.ones_like(image)
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
        nonlocal before
        before = _status("VmRSS")
        run(image, psf, out=out, n_threads=THREADS, **extra, **options)

    before = 0
    call(tuple(64 for _ in shape))
    call(shape)
    boundary = options.get("boundary") or ("edge" if method == "wiener" else "unknown")
    padded = 4 * prod(Frame.of(shape, psf_shape, boundary).grid)
    estimated = fastdeblur.estimate_memory(method, shape, psf_shape, n_threads=THREADS, **options)
    return _status("VmHWM") - before, estimated, padded


if __name__ == "__main__":
    print(json.dumps(_run(json.loads(sys.argv[1]))))
