"""What a call takes beyond its input and output: as estimated, within the limits, and nothing stays."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
from functools import cache
from math import prod
from pathlib import Path

import numpy as np
import pytest

import fastdeblur
from fastdeblur import Deconvolver, estimate_memory
from fastdeblur._geometry import Frame

from cases import box

DEFAULT_BOUNDARY = {"wiener": "edge", "richardson_lucy": "unknown"}

# (method, image shape, PSF shape, keyword arguments of the call but weights)
SITUATIONS = [
    ("wiener", (500, 700), (9, 9), {}),
    ("wiener", (500, 700), (9, 9), {"boundary": "zero"}),
    ("wiener", (512, 640), (9, 9), {"boundary": "periodic"}),
    ("wiener", (40, 60, 70), (5, 5, 5), {}),
    ("wiener", (500, 700, 3), (9, 9), {"channel_axis": -1}),
    ("wiener", (3, 500, 700), (3, 9, 9), {"channel_axis": 0}),
    ("richardson_lucy", (500, 700), (9, 9), {}),
    ("richardson_lucy", (500, 700), (9, 9), {"boundary": "reflect"}),
    ("richardson_lucy", (512, 640), (9, 9), {"boundary": "periodic"}),
    ("richardson_lucy", (500, 700), (9, 9), {"boundary": "zero"}),
    ("richardson_lucy", (500, 700), (9, 9), {"acceleration": "ogm"}),
    ("richardson_lucy", (500, 700), (9, 9), {"acceleration": "biggs-andrews"}),
    ("richardson_lucy", (500, 700), (9, 9), {"weights": True}),
    ("richardson_lucy", (500, 700), (9, 9), {"weights": True, "acceleration": "biggs-andrews"}),
    ("richardson_lucy", (40, 60, 70), (5, 5, 5), {}),
]


def label(situation):
    method, shape, _, arguments = situation
    return "-".join([method, "x".join(map(str, shape)), *(f"{k}-{v}" for k, v in arguments.items())])


def estimate(situation, dtype, backend):
    method, shape, psf_shape, arguments = situation
    return estimate_memory(method, shape, psf_shape, dtype, **arguments, backend=backend)


def call_of(situation, dtype, backend):
    """A call whose arguments and output are all there already."""
    method, shape, psf_shape, arguments = situation
    arguments = dict(arguments)
    if arguments.pop("weights", False):
        arguments["weights"] = np.ones(shape, dtype)
    image = np.random.default_rng(0).random(shape, dtype)  # no temporary, whose peak would be measured
    image += 0.2
    out = np.full(shape, -7, dtype)  # not zeros, which take no memory until they are written
    parameter = 0.1 if method == "wiener" else 3
    psf = box(*psf_shape)
    function = getattr(fastdeblur, method)
    return lambda: function(image, psf, parameter, out=out, **arguments, backend=backend)


def traced_peak(call):
    """What Python allocates at most while a call runs, in bytes."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize("situation", SITUATIONS, ids=label)
def test_estimate_of_recipes(situation, name, dtype):
    from conftest import need

    # What is compiled or imported at first must not count; large enough for numba's parallel loops.
    method, shape, *rest = situation
    call_of((method, tuple(min(n, 280) for n in shape), *rest), dtype, need(name))()
    call = call_of(situation, dtype, name)
    peak = traced_peak(call)
    assert 0.8 * peak <= estimate(situation, dtype, name) <= 1.2 * peak + (1 << 20)


# A process of its own, in which all that is freed goes back to the system: what would be taken again, unseen, is not measured.
# The images are large against what the interpreter needs. VmHWM is the peak of the resident memory, which clear_refs forgets.
MEASURE = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import test_memory as t

def status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))

for situation, dtype in t.MEASURED:
    small = (situation[0], tuple(40 if n > 4 else n for n in situation[1]), *situation[2:])
    t.call_of(small, dtype, "native")()
    call = t.call_of(situation, dtype, "native")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = status("VmRSS:")
    call()
    print(status("VmHWM:") - before)
    del call
"""

LARGE = [
    (
        method,
        tuple(int(n * (4 if len(shape) - (n_channels > 0) == 2 else 2.5)) if n > 4 else n for n in shape),
        psf,
        arguments,
    )
    for method, shape, psf, arguments in SITUATIONS
    for n_channels in [1 if "channel_axis" in arguments else 0]
]

# A lone signal has no rows to take in turn: every line of scratch is as long as the signal.
SIGNALS = [("wiener", (4_000_000,), (31,), {}), ("richardson_lucy", (4_000_000,), (31,), {})]

DOUBLE = ("wiener", (1500, 2000), (9, 9), {})

MEASURED = [*((situation, "float32") for situation in LARGE + SIGNALS), (DOUBLE, "float64")]

needs_proc = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")


@cache
def peaks():
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, str(Path(__file__).parent)],
        cwd=Path(__file__).parent,  # not the root, whose source tree would hide an installed package
        env={**os.environ, "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return [int(line) for line in result.stdout.split()]


def measured(situation, dtype):
    return peaks()[MEASURED.index((situation, dtype))]


def padded_float_image(situation):
    """The bytes of the image on its grid, of all planes, in float32."""
    method, shape, psf_shape, arguments = situation
    axis = arguments.get("channel_axis")
    space = [n for a, n in enumerate(shape) if axis is None or a != axis % len(shape)]
    kernel = [
        n
        for a, n in enumerate(psf_shape)
        if axis is None or len(psf_shape) < len(shape) or a != axis % len(shape)
    ]
    frame = Frame.of(tuple(space), tuple(kernel), arguments.get("boundary", DEFAULT_BOUNDARY[method]))
    return frame.pixels * 4 * (1 if axis is None else shape[axis])


@needs_proc
@pytest.mark.parametrize("situation", LARGE, ids=label)
def test_native_takes_what_was_estimated_and_no_more_than_promised(native, situation):
    peak = measured(situation, "float32")
    said = estimate(situation, "float32", "native")
    assert 0.8 * peak - (2 << 20) <= said <= 1.2 * peak + (2 << 20)
    limit = 2.5 if situation[0] == "wiener" else 4
    if not {"weights", "acceleration"} & set(
        situation[3]
    ):  # those keep more images: the estimate says how many
        assert peak <= limit * padded_float_image(situation) + (2 << 20)
        assert said <= limit * padded_float_image(situation)


@needs_proc
@pytest.mark.parametrize("situation", SIGNALS, ids=label)
def test_native_with_a_long_signal(native, situation):
    peak = measured(situation, "float32")
    assert 0.8 * peak <= estimate(situation, "float32", "native") <= 1.2 * peak
    assert peak <= (5 if situation[0] == "wiener" else 7.5) * padded_float_image(situation) + (2 << 20)


@needs_proc
def test_native_in_float64(native):
    peak = measured(DOUBLE, "float64")
    assert 0.8 * peak <= estimate(DOUBLE, "float64", "native") <= 1.2 * peak
    assert peak <= 2.5 * 2 * padded_float_image(DOUBLE)


def test_a_containers_limit_counts(tmp_path):
    from fastdeblur._checks import _left_in_cgroups

    assert _left_in_cgroups(str(tmp_path)) == []
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 400\ninactive_file 250\n")
    assert _left_in_cgroups(str(tmp_path)) == []
    (tmp_path / "memory.max").write_text("1000\n")
    assert _left_in_cgroups(str(tmp_path)) == [550]


def test_estimates_grow_with_what_is_asked(backend):
    def bytes_for(**arguments):
        return estimate_memory("richardson_lucy", (1000, 1000), (15, 15), **arguments, backend=backend)

    plain = bytes_for()
    assert isinstance(plain, int)
    assert bytes_for(dtype=np.float64) > 1.5 * plain * (0.9 if backend == "numpy" else 1)
    assert bytes_for(acceleration="biggs-andrews") > plain
    assert bytes_for(weights=True) >= plain
    assert bytes_for(dtype=np.uint8) == bytes_for(dtype=">f8") - 8_000_000 - (bytes_for(dtype="f8") - plain)
    assert bytes_for(dtype=np.uint8) == bytes_for(dtype=np.float16) - 4_000_000 == plain  # its copy
    smaller = estimate_memory("richardson_lucy", (500, 500), (15, 15), backend=backend)
    assert 3 < plain / smaller < 5


@pytest.mark.parametrize("dtype", [">u2", ">f8", "float16"])
def test_a_batch_that_must_be_copied_is_copied_in_parts(backend, dtype, monkeypatch):
    from fastdeblur import _problem

    image = np.ones((40, 100, 120), dtype)
    out, psf = np.zeros(image.shape, np.float64 if dtype == ">f8" else np.float32), box(3, 3)
    monkeypatch.setattr(_problem, "COPIED_AT_ONCE", 200_000)
    plan = Deconvolver(image.shape, psf, dtype=out.dtype, backend=backend)
    calls = (
        lambda: fastdeblur.wiener(image, psf, 0.1, out=out, backend=backend),
        lambda: plan.richardson_lucy(image, 1, out=out),
    )
    for call in calls:
        call()
        peak = traced_peak(call)
        said = estimate_memory("wiener", image.shape, psf.shape, dtype, backend=backend)
        assert peak <= (400_000 if backend == "native" else 1.2 * said + (1 << 20))


def test_estimating_allocates_nothing(backend):
    estimate_memory("wiener", (20, 30), (3, 3), backend=backend)
    tracemalloc.start()
    try:
        huge = estimate_memory("wiener", (200_000, 200_000), (15, 15), backend=backend)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert huge > 200_000**2 * 4
    assert peak < 1 << 20


# --------------------------------------------------------------------------------------------- a plan's calls


def planned_calls(plan, image, out):
    weights = np.ones_like(out)
    return [
        lambda: plan.wiener(image, 0.1, out=out),
        lambda: plan.wiener(image, 0.1, reg="identity", out=out),
        lambda: plan.richardson_lucy(image, 2, out=out),
        lambda: plan.richardson_lucy(image, 2, acceleration="ogm", out=out),
        lambda: plan.richardson_lucy(image, 2, weights=weights, out=out),
        lambda: plan.richardson_lucy(image, 2, acceleration="biggs-andrews", init=image, tol=1e-9, out=out),
    ]


def test_a_native_plan_allocates_once(native):
    image = np.random.default_rng(0).uniform(0.2, 1, (500, 700)).astype(np.float32)
    plan, out = Deconvolver(image.shape, box(9, 9), backend=native), np.empty_like(image)
    for call in planned_calls(plan, image, out):
        call()
        peak = traced_peak(call)
        assert peak < image.nbytes / 20  # what Python allocates; the core is looked at below


REPEAT = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from cases import box
from fastdeblur import Deconvolver
from test_memory import planned_calls

def status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))

image = np.random.default_rng(0).uniform(0.2, 1, (1000, 1400)).astype(np.float32)
plan, out = Deconvolver(image.shape, box(9, 9), backend="native"), np.full_like(image, -7)
calls = planned_calls(plan, image, out)
for call in calls:
    call(); call()
before, high = status("VmRSS:"), status("VmHWM:")
for _ in range(15):
    for call in calls:
        call()
print(status("VmRSS:") - before, status("VmHWM:") - high)
"""


@needs_proc
def test_native_memory_is_steady_over_many_calls(native):
    result = subprocess.run(
        [sys.executable, "-c", REPEAT, str(Path(__file__).parent)],
        cwd=Path(__file__).parent,  # not the root, whose source tree would hide an installed package
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    grown, higher = map(int, result.stdout.split())
    assert max(grown, higher) < 1000 * 1400 * 4 / 4


def test_nothing_stays_behind(backend):
    image = np.random.default_rng(0).uniform(0.2, 1, (200, 300)).astype(np.float32)
    out = np.empty_like(image)

    def work():
        fastdeblur.wiener(image, box(9, 9), 0.1, out=out, backend=backend)
        fastdeblur.richardson_lucy(
            image, box(9, 9), 2, callback=lambda state: state.estimate() is None, backend=backend
        )
        with pytest.raises(fastdeblur.InvalidArgument):
            fastdeblur.wiener(np.full((200, 300), np.nan), box(9, 9), 0.1, backend=backend)

    work()
    gc.collect()
    tracemalloc.start()
    try:
        work()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(5):
            work()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < prod(image.shape)  # a quarter of one image, after five calls of each kind
