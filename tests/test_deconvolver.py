"""The reusable plan: the functions' answers, for any sequence of calls; and what a callback sees."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import fastdeblur
from fastdeblur import Deconvolver, InvalidArgument

from cases import CASES, case, lopsided

NAMES = (
    "wiener-reflect-31x37",
    "wiener-periodic-31x37",
    "wiener-zero-101",
    "wiener-edge-11x13x17",
    "wiener-callable-reflect",
    "wiener-kernel-zero",
    "wiener-transfer",
    "wiener-psf-per-channel-last",
    "wiener-batch-channels-second",
    "rl-unknown-31x37",
    "rl-periodic-31x37",
    "rl-zero-11x13x17",
    "rl-everything-unknown",
    "rl-everything-reflect",
    "rl-psf-per-channel-first",
    "rl-weights-shared",
    "rl-tol-batch",
)
CONSTRUCTOR = ("boundary", "channel_axis")


def plan_and_call(problem, backend, dtype):
    """A plan of the case and its method as a function of the image and more."""
    arguments = problem.arguments(dtype)
    made = {key: arguments.pop(key) for key in CONSTRUCTOR if key in arguments}
    arguments.pop("image", None)
    plan = Deconvolver(problem.shape, problem.psf, dtype=dtype, backend=backend, **made)
    return plan, lambda image, **more: getattr(plan, problem.method)(image, **{**arguments, **more})


@pytest.mark.parametrize("name", NAMES)
def test_same_bits_as_the_function_however_often(name, backend, dtype):
    problem = case(name)
    _, call = plan_and_call(problem, backend, dtype)
    image = problem.image(dtype)
    expected = problem.run(backend, dtype)
    out = np.full(problem.shape, -7, dtype)
    np.testing.assert_array_equal(call(image), expected)
    assert call(image[::-1] * 3 + 1).shape == problem.shape  # another image in between leaves nothing behind
    assert call(image, out=out) is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(call(image), expected)


def test_names_are_in_the_table():
    assert set(NAMES) <= {c.name for c in CASES}


def test_both_methods_and_all_options_share_one_plan(backend, dtype, rng):
    image, psf = rng.uniform(0.2, 1, (31, 37)).astype(dtype), lopsided(5, 4)
    weights = (rng.random(image.shape) > 0.2).astype(dtype)
    calls = [
        ("wiener", {"balance": 0.1}),
        ("richardson_lucy", {"num_iter": 5, "acceleration": "ogm"}),
        ("wiener", {"balance": 0.01, "reg": "identity"}),
        ("richardson_lucy", {"num_iter": 4, "weights": weights, "background": 0.05}),
        ("wiener", {"balance": 0.1, "reg": np.array([[1.0, -1.0]])}),
        ("richardson_lucy", {"num_iter": 6, "acceleration": "biggs-andrews"}),
        ("richardson_lucy", {"num_iter": 4, "init": image, "tol": 1e-3}),
        ("richardson_lucy", {"num_iter": 3}),
        ("wiener", {"balance": 0.1}),
    ]
    for boundary in (None, "periodic", "zero"):
        plan = Deconvolver(image.shape, psf, dtype=dtype, boundary=boundary, backend=backend)
        more = {} if boundary is None else {"boundary": boundary}
        for method, arguments in calls:
            expected = getattr(fastdeblur, method)(image, psf, **arguments, **more, backend=backend)
            np.testing.assert_array_equal(getattr(plan, method)(image, **arguments), expected)


def test_default_boundaries_are_the_functions(backend, rng):
    image, psf = rng.uniform(0.2, 1, (31, 37)).astype(np.float32), lopsided(5, 4)
    plan = Deconvolver(image.shape, psf, backend=backend)
    np.testing.assert_array_equal(
        plan.wiener(image, 0.1), fastdeblur.wiener(image, psf, 0.1, boundary="edge", backend=backend)
    )
    np.testing.assert_array_equal(
        plan.richardson_lucy(image, 3),
        fastdeblur.richardson_lucy(image, psf, 3, boundary="unknown", backend=backend),
    )


@pytest.mark.parametrize("given", ["uint8", "uint16", "float16", "float32", "float64"])
def test_any_dtype_is_read_into_the_plans_precision(given, backend, dtype, rng):
    image, psf = rng.integers(1, 200, (31, 37)).astype(given), lopsided(5, 4)
    plan = Deconvolver(image.shape, psf, dtype=dtype, backend=backend)
    for method, parameter in (("wiener", 0.1), ("richardson_lucy", 3)):
        result = getattr(plan, method)(image, parameter)
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, getattr(plan, method)(image.astype(dtype), parameter))


def test_every_fresh_result_is_the_callers_own(backend):
    problem = case("wiener-reflect-31x37")
    _, call = plan_and_call(problem, backend, "float32")
    first = call(problem.image("float32"))
    kept = first.copy()
    call(problem.image("float32") * 2)
    np.testing.assert_array_equal(first, kept)


def test_the_psf_is_copied(backend):
    psf = lopsided(5, 5)
    plan = Deconvolver((20, 30), psf, backend=backend)
    image = np.random.default_rng(0).uniform(0.2, 1, (20, 30)).astype(np.float32)
    expected = plan.wiener(image, 0.1)
    psf[...] = 1
    np.testing.assert_array_equal(plan.wiener(image, 0.1), expected)
    np.testing.assert_array_equal(
        Deconvolver((20, 30), lopsided(5, 5), backend=backend).wiener(image, 0.1), expected
    )


def test_properties():
    plan = Deconvolver([20, np.int64(30)], lopsided(5, 4), dtype="float64", boundary="zero")
    assert plan.shape == (20, 30)
    assert plan.dtype == np.float64
    assert repr(plan) == "Deconvolver(shape=(20, 30), psf=(5, 4), dtype=float64, boundary='zero')"
    assert Deconvolver((20, 30), lopsided(5, 4)).dtype == np.float32


def test_a_frame_at_a_time_warm_start(backend):
    """init = the former result: a stream of frames."""
    problem = case("rl-periodic-31x37")
    plan = Deconvolver(problem.shape, problem.psf, dtype="float64", boundary="periodic", backend=backend)
    image = problem.image("float64")
    estimate = plan.richardson_lucy(image, 3)
    for _ in range(3):
        estimate = plan.richardson_lucy(image, 3, init=estimate)
    np.testing.assert_allclose(estimate, plan.richardson_lucy(image, 12), rtol=1e-9)


# --------------------------------------------------------------------------------------------- pickle and copy

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle-{k}": lambda plan, k=k: pickle.loads(pickle.dumps(plan, k)) for k in range(pickle.HIGHEST_PROTOCOL + 1)},
}  # fmt: skip


@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize(
    "name",
    ["rl-periodic-31x37", "wiener-zero-101", "wiener-psf-per-channel-last", "rl-psf-per-channel-first"],
)
def test_a_copy_is_an_equal_plan(name, how, used, backend, dtype):
    problem = case(name)
    plan, call = plan_and_call(problem, backend, dtype)
    expected = problem.run(backend, dtype)
    if used:
        call(problem.image(dtype))
    made = COPIES[how](plan)
    assert repr(made) == repr(plan)
    arguments = {k: v for k, v in problem.arguments(dtype).items() if k not in CONSTRUCTOR}
    for one in (made, plan, made):
        result = getattr(one, problem.method)(problem.image(dtype), **arguments)
        np.testing.assert_array_equal(result, expected)
        assert result.dtype == dtype


def test_a_copy_does_not_normalise_again():
    """A sum that is 1 but for rounding would change the last bits."""
    drawn = (np.random.default_rng(seed).random((31, 31)) for seed in range(100))
    psf = next(p for p in drawn if (p / p.sum()).sum() != 1)
    plan = Deconvolver((40, 50), psf, dtype="float64")
    image = np.random.default_rng(6).random((40, 50))
    made = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(plan))))
    np.testing.assert_array_equal(made.wiener(image, 1e-6), plan.wiener(image, 1e-6))


def test_a_copy_keeps_every_argument():
    plan = Deconvolver(
        (20, 30, 3),
        lopsided(5, 4),
        channel_axis=-1,
        n_threads=1,
        backend="numpy",
        device="cpu",
        boundary="zero",
    )
    for how in COPIES.values():
        made = how(plan)._problem
        assert (made.n_threads, made._backend_name, made._device) == (1, "numpy", "cpu")
        assert made.layout == plan._problem.layout


def test_a_pickle_does_not_grow_with_the_image(backend):
    plan, image = Deconvolver((300, 400), lopsided(5, 4), backend=backend), np.ones((300, 400), np.float32)
    plan.richardson_lucy(image, 2)
    assert len(pickle.dumps(plan)) < 10_000


IN_ANOTHER_PROCESS = """
import os, pickle, sys
if "FASTDEBLUR_STANDIN" in os.environ:  # it stands in for a device there too
    import standin_session
    standin_session.pytest_sessionstart()
plan, image, k = pickle.load(sys.stdin.buffer)
pickle.dump((plan.wiener(image, 0.1), plan.richardson_lucy(image, k), plan), sys.stdout.buffer)
"""


@pytest.mark.parametrize("channels", [None, -1])
def test_a_plan_travels_to_another_process_and_back(backend, channels):
    psf = lopsided(5, 4) if channels is None else np.stack([lopsided(5, 4), lopsided(5, 4)[::-1]], -1)
    shape = (31, 37) if channels is None else (31, 37, 2)
    plan = Deconvolver(shape, psf, channel_axis=channels, backend=backend)
    image = np.random.default_rng(3).uniform(0.2, 1, shape).astype(np.float32)
    expected = plan.wiener(image, 0.1), plan.richardson_lucy(image, 3)
    answer = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        cwd=Path(__file__).parent,  # not the root, whose source tree would hide an installed package
        input=pickle.dumps((plan, image, 3)),
        capture_output=True,
        timeout=120,
        check=True,
    )
    *results, back = pickle.loads(answer.stdout)
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, wanted)
    np.testing.assert_array_equal(back.wiener(image, 0.1), expected[0])


@pytest.mark.parametrize("how", COPIES)
def test_a_callback_may_use_a_copy_of_its_plan(how, backend):
    plan = Deconvolver((12, 24, 20), lopsided(3, 3, 3), backend=backend)
    image = np.random.default_rng(3).uniform(0.2, 1, (12, 24, 20)).astype(np.float32)
    expected = plan.richardson_lucy(image, 2)
    made, inner = COPIES[how](plan), []

    def nested(state):
        inner.append(made.richardson_lucy(image, 2))

    result = []
    worker = threading.Thread(
        target=lambda: result.append(plan.richardson_lucy(image, 2, callback=nested)), daemon=True
    )
    worker.start()
    worker.join(60)
    assert result, "it waits for itself"
    np.testing.assert_array_equal(inner, [expected, expected])
    np.testing.assert_allclose(result[0], expected, rtol=1e-5)


# -------------------------------------------------------------------------------------------------- callbacks


def run_watched(backend, dtype="float64", shape=(31, 37), num_iter=6, **arguments):
    image = np.random.default_rng(3).uniform(0.2, 1, shape).astype(dtype)
    seen = []

    def watch(state):
        seen.append((state.iteration, state.num_iter, state.change, state.plane, state.estimate()))

    result = fastdeblur.richardson_lucy(
        image, lopsided(5, 4), num_iter, callback=watch, backend=backend, **arguments
    )
    return image, seen, result


@pytest.mark.parametrize("boundary", ["periodic", "unknown", "zero", "reflect"])
@pytest.mark.parametrize("acceleration", [None, "biggs-andrews", "ogm"])
def test_callback_sees_every_iteration(backend, dtype, boundary, acceleration):
    image, seen, result = run_watched(backend, dtype, boundary=boundary, acceleration=acceleration)
    assert [s[0] for s in seen] == [1, 2, 3, 4, 5, 6]
    assert {s[1] for s in seen} == {6}
    assert {s[3] for s in seen} == {()}
    for k, (_, _, change, _, estimate) in enumerate(seen, 1):
        assert estimate.dtype == dtype
        assert estimate.shape == image.shape
        assert change > 0
        run = {"boundary": boundary, "acceleration": acceleration, "backend": backend}
        expected = fastdeblur.richardson_lucy(image, lopsided(5, 4), k, **run)
        np.testing.assert_allclose(estimate, expected, rtol=2e-5 if dtype == "float32" else 1e-12)
    np.testing.assert_array_equal(seen[-1][4], result)


def test_watching_changes_nothing(backend, dtype):
    image, _, result = run_watched(backend, dtype)
    expected = fastdeblur.richardson_lucy(image, lopsided(5, 4), 6, backend=backend)
    np.testing.assert_allclose(result, expected, rtol=1e-5 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("acceleration", [None, "biggs-andrews", "ogm"])
def test_change_is_the_relative_change_of_the_estimate(backend, acceleration):
    image, seen, _ = run_watched(backend, boundary="periodic", acceleration=acceleration)
    before = np.full(image.shape, image.mean())
    for _, _, change, _, estimate in seen:
        assert change == pytest.approx(np.linalg.norm(estimate - before) / np.linalg.norm(estimate), rel=1e-9)
        before = estimate


def test_estimates_are_copies(backend):
    image = np.random.default_rng(3).uniform(0.2, 1, (31, 37))

    def scribble(state):
        state.estimate()[...] = 1e9

    result = fastdeblur.richardson_lucy(image, lopsided(5, 4), 4, callback=scribble, backend=backend)
    expected = fastdeblur.richardson_lucy(image, lopsided(5, 4), 4, backend=backend)
    np.testing.assert_allclose(result, expected, rtol=1e-12)


def test_callback_stops_with_the_present_estimate(backend, dtype):
    def stop(state):
        if state.iteration == 2:
            raise StopIteration

    image = np.random.default_rng(3).uniform(0.2, 1, (31, 37)).astype(dtype)
    result = fastdeblur.richardson_lucy(image, lopsided(5, 4), 10**9, callback=stop, backend=backend)
    expected = fastdeblur.richardson_lucy(image, lopsided(5, 4), 2, backend=backend)
    np.testing.assert_allclose(result, expected, rtol=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize(
    "error", [KeyError("mine"), KeyboardInterrupt(), MemoryError("mine"), ValueError("mine"), SystemExit(3)]
)
def test_other_exceptions_go_through_as_they_are(backend, error):
    def fail(state):
        if state.iteration == 2:
            raise error

    plan = Deconvolver((31, 37), lopsided(5, 4), backend=backend)
    image = np.random.default_rng(3).uniform(0.2, 1, (31, 37)).astype(np.float32)
    expected = plan.richardson_lucy(image, 3)
    out = np.full(image.shape, -7, np.float32)
    with pytest.raises(type(error)) as caught:
        plan.richardson_lucy(image, 5, callback=fail, out=out)
    if not isinstance(error, MemoryError):
        assert caught.value is error
    assert (out == -7).all()
    np.testing.assert_array_equal(plan.richardson_lucy(image, 3), expected)  # the plan is none the worse


def test_a_batch_stops_image_by_image(backend):
    image = np.random.default_rng(3).uniform(0.2, 1, (2, 31, 37, 3))
    seen = []

    def stop(state):
        seen.append((state.plane, state.iteration))
        if state.plane[1] == 1 and state.iteration == 2:
            raise StopIteration

    result = fastdeblur.richardson_lucy(
        image, lopsided(5, 4), 4, callback=stop, channel_axis=-1, backend=backend
    )
    assert seen == [((b, c), k) for b in range(2) for c in range(3) for k in range(1, 3 if c == 1 else 5)]
    for c, iterations in enumerate((4, 2, 4)):
        expected = fastdeblur.richardson_lucy(image[..., c], lopsided(5, 4), iterations, backend=backend)
        np.testing.assert_allclose(result[..., c], expected, rtol=1e-12)


def test_tol_stops_when_the_change_falls_below_it(backend):
    image, seen, _ = run_watched(backend, num_iter=40)
    changes = np.array([s[2] for s in seen])
    tol = float(np.sqrt(changes[9] * changes[10]))  # between two changes, so that rounding cannot matter
    stop = int(np.argmax(changes < tol)) + 1
    _, watched, result = run_watched(backend, num_iter=40, tol=tol)
    assert [s[0] for s in watched] == list(range(1, stop + 1))
    np.testing.assert_allclose(result, seen[stop - 1][4], rtol=1e-12)
    unwatched = fastdeblur.richardson_lucy(image, lopsided(5, 4), 40, tol=tol, backend=backend)
    np.testing.assert_allclose(unwatched, result, rtol=1e-12)


def test_tol_of_zero_never_stops(backend):
    image = np.full((9, 10), 0.5)  # nothing changes
    seen = []
    fastdeblur.richardson_lucy(
        image, lopsided(3, 3), 5, tol=0, callback=lambda s: seen.append(s.iteration), backend=backend
    )
    assert seen == [1, 2, 3, 4, 5]


def test_a_callback_must_not_come_back_into_its_plan(backend):
    """It would wait for itself for ever."""
    plan = Deconvolver((9, 10), lopsided(3, 3), backend=backend)
    image = np.full((9, 10), 0.5, np.float32)
    with pytest.raises(InvalidArgument, match="callback: "):
        plan.richardson_lucy(image, 3, callback=lambda state: plan.wiener(image, 0.1))
    assert plan.wiener(image, 0.1).shape == (9, 10)


def test_a_callback_may_use_another_plan_and_the_functions(backend):
    plan, other = (Deconvolver((31, 37), lopsided(5, 4), dtype="float64", backend=backend) for _ in range(2))
    image = np.random.default_rng(3).uniform(0.2, 1, (31, 37))
    inner = []

    def nested(state):
        inner.append(other.richardson_lucy(image, 2))
        inner.append(fastdeblur.wiener(state.estimate(), lopsided(5, 4), 0.1, backend=backend))

    result = plan.richardson_lucy(image, 3, callback=nested)
    np.testing.assert_allclose(result, other.richardson_lucy(image, 3), rtol=1e-12)
    np.testing.assert_array_equal(inner[0], other.richardson_lucy(image, 2))
