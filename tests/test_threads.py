"""Many Python threads, forked processes, Ctrl-C, and the interpreter's lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastdeblur
from conftest import need
from fastdeblur import Deconvolver

from cases import case, lopsided

TIMEOUT = 120  # seconds: a hang is a failure, a busy machine is not

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

PREAMBLE = """
import os, sys, threading, time
import numpy as np
import fastdeblur
backend = sys.argv[1]
rng = np.random.default_rng(0)
image = rng.uniform(0.2, 1, (210, 220)).astype(np.float32)
psf = np.array([[1., 2, 1], [2, 5, 2], [1, 2, 0]])
def work():
    a = fastdeblur.wiener(image, psf, 0.1, backend=backend)
    b = fastdeblur.richardson_lucy(image, psf, 3, backend=backend)
    return np.stack([a, b])
"""


def run(code, *arguments, **env):
    """Run code in a process of its own, so that what hangs or dies is not this one."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=Path(__file__).parent,  # not the root, whose source tree would hide an installed package
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def script(code, backend, **env):
    return run(PREAMBLE + code, backend, **env)


def succeeds(code, backend, **env):
    result = script(code, backend, **env)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


# --------------------------------------------------------------------------------------------- Python threads


def test_many_threads_make_calls_of_their_own(backend):
    problems = [
        case(n) for n in ("wiener-reflect-31x37", "rl-unknown-31x37", "rl-everything-zero", "wiener-larger")
    ] * 8
    expected = {p.name: p.run(backend, "float32") for p in problems}
    with ThreadPoolExecutor(8) as pool:
        for problem, result in zip(
            problems, pool.map(lambda p: p.run(backend, "float32"), problems), strict=True
        ):
            np.testing.assert_array_equal(result, expected[problem.name])


def test_many_threads_share_one_plan(backend):
    images = np.random.default_rng(0).uniform(0.2, 1, (24, 210, 220)).astype(np.float32)
    plan = Deconvolver(images[0].shape, lopsided(5, 4), backend=backend)

    def work(image):
        return plan.wiener(image, 0.1), plan.richardson_lucy(image, 2)

    expected = [work(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        for result, known in zip(pool.map(work, images), expected, strict=True):
            np.testing.assert_array_equal(result, known)


def test_threads_that_wait_for_a_plan_get_their_turn_after_an_error(backend):
    plan = Deconvolver((210, 220), lopsided(5, 4), backend=backend)
    good = np.full((210, 220), 0.5, np.float32)
    bad = good.copy()
    bad[100, 100] = np.nan

    def work(image):
        try:
            return plan.richardson_lucy(image, 2)
        except fastdeblur.InvalidArgument:
            return None

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, [good, bad] * 8))
    assert all(r is None for r in results[1::2])
    for r in results[::2]:
        np.testing.assert_allclose(r, 0.5, rtol=1e-4)


def test_numba_is_safe_on_its_layer_that_is_not():
    """The workqueue layer aborts the process when two threads enter it at once."""
    from conftest import need

    code = """
results = []
threads = [threading.Thread(target=lambda: [results.append(work()) for _ in range(5)]) for _ in range(6)]
[t.start() for t in threads]; [t.join() for t in threads]
assert len(results) == 30 and all((r == results[0]).all() for r in results)
import numba
print(numba.threading_layer())
"""
    assert succeeds(code, need("numba"), NUMBA_THREADING_LAYER="workqueue") == ["workqueue"]


def test_numbas_own_number_of_threads_is_left_alone():
    from conftest import need

    code = """
import numba
numba.set_num_threads(1)
fastdeblur.wiener(image, psf, 0.1, n_threads=2, backend=backend)
print(numba.get_num_threads())
"""
    assert succeeds(code, need("numba"), NUMBA_NUM_THREADS="2") == ["1"]


def test_numba_keeps_what_it_compiled_but_need_not(tmp_path):
    """The serial and the parallel loops are kept apart, for a child that forked must not get the latter; and a disk that cannot be
    written to is no error."""
    from conftest import need

    code = """
from fastdeblur.backends import numba_
def ratio():  # one loop: they take seconds each to compile
    return numba_.NumbaOps(image.dtype, 2).ratio(image, image, 0.0, 1e-9)
first = ratio()
numba_._pool.forked = True
assert np.array_equal(ratio(), first)
print(*(kernel.stats.cache_hits[s] for parallel in (False, True)
        for kernel in [numba_._kernels(parallel).ratio] for s in kernel.signatures))
"""
    assert succeeds(code, need("numba"), NUMBA_CACHE_DIR=str(tmp_path), NUMBA_NUM_THREADS="2") == ["0", "0"]
    assert succeeds(code, "numba", NUMBA_CACHE_DIR=str(tmp_path), NUMBA_NUM_THREADS="2") == ["1", "1"]
    names = {file.name.partition("-")[0].rpartition(".")[2] for file in tmp_path.rglob("*.nbi")}
    assert names == {"ratio_serial", "ratio_parallel"}

    nowhere = """
from numba.core import caching
def refuse(self):
    raise OSError(30, "Read-only file system")
caching._CacheLocator.ensure_cache_path = refuse
from fastdeblur.backends import numba_
print((numba_.NumbaOps(image.dtype, 1).ratio(image, image, 0.0, 1e-9) == 1).all())
"""
    assert succeeds(nowhere, "numba") == ["True"]


def test_the_interpreter_is_free_while_computing(native):
    """A thread that wakes every two milliseconds goes on waking during one single call."""
    code = """
big = rng.uniform(0.2, 1, (2048, 3000))
plan = fastdeblur.Deconvolver(big.shape, psf, dtype="float64", n_threads=1, backend=backend)
out = plan.wiener(big, 0.1)
wakings, done = [], threading.Event()
def wake():
    while not done.is_set():
        wakings.append(time.perf_counter())
        time.sleep(0.002)
thread = threading.Thread(target=wake)
thread.start()
time.sleep(0.05)
begun = time.perf_counter()
while time.perf_counter() - begun < 0.3:
    inside = time.perf_counter()
    plan.wiener(big, 0.1, out=out)
    ended = time.perf_counter()
    print(ended - inside, sum(inside < w < ended for w in wakings))
done.set(); thread.join()
"""
    rows = np.array(succeeds(code, native), float).reshape(-1, 2)
    assert (rows[:, 1] > 2).any(), rows


# ------------------------------------------------------------------------------------------------------- fork


@needs_fork
def test_a_child_computes_what_its_parent_did(backend):
    code = """
expected = work()
plan = fastdeblur.Deconvolver(image.shape, psf, backend=backend)
planned = plan.wiener(image, 0.1)
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        ok = np.array_equal(work(), expected) and np.array_equal(plan.wiener(image, 0.1), planned)
        os._exit(0 if ok else 9)
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
    assert np.array_equal(work(), expected)  # and the parent goes on
print("done")
"""
    assert succeeds(code, backend) == ["done"]


@needs_fork
def test_a_child_of_a_child(backend):
    code = """
expected = work()
def generation(n):
    if n == 0:
        return 0
    pid = os.fork()
    if pid == 0:
        ok = np.array_equal(work(), expected)
        os._exit(generation(n - 1) if ok else 9)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
assert generation(3) == 0
print("done")
"""
    assert succeeds(code, backend) == ["done"]


@needs_fork
def test_fork_while_other_threads_compute():
    backend = "native"  # elsewhere it depends on NumPy's, SciPy's and numba's own threads
    need(backend)
    code = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of just this
expected = work()
stop = threading.Event()
def busy():
    while not stop.is_set():
        work()
threads = [threading.Thread(target=busy) for _ in range(2)]
[t.start() for t in threads]
for _ in range(5):
    time.sleep(0.02)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if np.array_equal(work(), expected) else 9)
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
stop.set(); [t.join() for t in threads]
print("done")
"""
    assert succeeds(code, backend) == ["done"]


@needs_fork
def test_a_forked_pool(backend):
    code = """
import multiprocessing
expected = work()
def job(_):
    return work()
with multiprocessing.get_context("fork").Pool(3) as pool:
    results = pool.map_async(job, range(9)).get(timeout=90)
assert all(np.array_equal(r, expected) for r in results)
print("done")
"""
    assert succeeds(code, backend) == ["done"]


# ----------------------------------------------------------------------------------------------------- Ctrl-C


def interrupted(code, *arguments):
    """What a process that says "running" prints after Ctrl-C, and the seconds until it ended, with exit code 5."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=Path(__file__).parent,  # not the root, whose source tree would hide an installed package
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        time.sleep(0.5)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 5, errors
        return output, time.monotonic() - sent
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("watched", [False, True], ids=["alone", "with-callback"])
def test_ctrl_c_stops_a_long_run(backend, watched):
    code = (
        PREAMBLE
        + """
out = np.full(image.shape, -7, np.float32)
def restore():
    return fastdeblur.richardson_lucy(image, psf, 3, backend=backend)
restore()
callback = (lambda state: None) if sys.argv[2] == "True" else None
print("running", flush=True)
try:
    fastdeblur.richardson_lucy(image, psf, 10**9, out=out, callback=callback, backend=backend)
except KeyboardInterrupt:
    assert (out == -7).all()
    restore()  # the library still works
    print("interrupted", flush=True)
    sys.exit(5)
"""
    )
    output, seconds = interrupted(code, backend, str(watched))
    assert output == "interrupted\n"
    assert seconds < 30  # one iteration takes milliseconds


# Each takes minutes on any machine, and little memory.
LONG_CALLS = {
    "psf.camera_shake": "fastdeblur.psf.camera_shake(200_000, size=5, steps=100_000)",
    "restoration.richardson_lucy": "restoration.richardson_lucy(image, psf, 10**7)",
    "restoration.denoise_tv_chambolle": "restoration.denoise_tv_chambolle(image, eps=0, max_num_iter=10**8)",
}


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("name", LONG_CALLS)
def test_ctrl_c_stops_other_long_calls(name):
    need("native")
    code = f"""
import sys
import numpy as np
import fastdeblur
from fastdeblur.skimage import restoration
image, psf = np.random.default_rng(0).random((400, 500)), np.ones((5, 5)) / 25
print("running", flush=True)
try:
    {LONG_CALLS[name]}
except KeyboardInterrupt:
    fastdeblur.psf.motion(7, 20)  # the library still works
    sys.exit(5)
"""
    _, seconds = interrupted(code)
    assert seconds < 10


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_a_signal_handler_may_compute_in_the_midst_of_a_computation():
    """And what it interrupts goes on being interruptible."""
    need("native")
    code = """
import signal, sys
import numpy as np
import fastdeblur
heard = []
def handler(*_):
    heard.append(fastdeblur.psf.motion(7, 20).sum())
    if len(heard) == 3:
        raise KeyboardInterrupt
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
try:
    fastdeblur.psf.camera_shake(200_000, size=5, steps=100_000)
except KeyboardInterrupt:
    print(np.round(heard, 6))
"""
    result = run(code)
    assert result.stdout == "[1. 1. 1.]\n", result.stderr


BUSY = {
    "wiener": "plan.wiener(image, 0.01)",
    "richardson_lucy": "plan.richardson_lucy(image, 5)",
    "callback": "plan.richardson_lucy(image, 5, callback=lambda state: time.sleep(0.001))",
    "filter": "ndimage.gaussian_filter(image, 3)",
    "psf": "fastdeblur.psf.camera_shake(64)",
}


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("name", BUSY)
def test_the_process_may_end_while_a_daemon_thread_computes(name, n_threads):
    """CPython unwinds such a thread's stack where it asks for the lock, which must not end in abort()."""
    need("native")
    code = f"""
import threading, time
import numpy as np
import fastdeblur
from fastdeblur.scipy import ndimage
image = np.ones((120, 160), np.float32)
plan = fastdeblur.Deconvolver(image.shape, np.ones((5, 5)), n_threads={n_threads})
begun = threading.Event()
def work():
    while True:
        {BUSY[name]}
        begun.set()
threading.Thread(target=work, daemon=True).start()
begun.wait()
time.sleep(0.05)
print("done")
"""
    for _ in range(3):
        result = run(code)
        assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr


def test_a_run_in_a_thread_is_stopped_by_its_callback(backend):
    """What a cancel button does."""
    cancel, running = threading.Event(), threading.Event()
    image = np.random.default_rng(0).uniform(0.2, 1, (210, 220)).astype(np.float32)
    result = []

    def watch(state):
        running.set()
        if cancel.is_set():
            raise StopIteration

    def work():
        result.append(
            fastdeblur.richardson_lucy(image, lopsided(5, 4), 10**9, callback=watch, backend=backend)
        )

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert running.wait(TIMEOUT)
    cancel.set()
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    assert np.isfinite(result[0]).all()
