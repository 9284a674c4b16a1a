"""Bad input: one clear error that names the argument, the rule and the value, and nothing touched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import fastdeblur
from conftest import BACKENDS, need
from fastdeblur import Deconvolver, InvalidArgument, OutOfMemory, PSFWarning, Unsupported, estimate_memory
from fastdeblur import errors as errors_module
from fastdeblur.backends import get_backend

from cases import case, lopsided

IMAGE = np.full((20, 30), 0.5, np.float32)
PSF = np.ones((3, 3))
HUGE = np.broadcast_to(np.float32(1), (1 << 20, 1 << 20))  # 4 TiB that take 4 bytes


def spoilt(value, index=(4, 7), dtype=np.float64):
    image = np.full((20, 30), 0.5, dtype)
    image[index] = value
    return image


class Unreadable:
    def __array__(self, *args, **kwargs):
        raise ValueError("no")


# (argument, value, what the message must say after the argument's name)
SHARED = [
    ("image", None, "real numeric dtype, got object"),
    ("image", "photo", "real numeric dtype, got <U5"),
    ("image", b"photo", "real numeric dtype, got"),
    ("image", [[1, 2], [3]], "expected an array, got list"),
    ("image", {"a": 1}, "real numeric dtype, got object"),
    ("image", np.ones((20, 30), complex), "real numeric dtype, got complex128"),
    ("image", np.ones((20, 30), object), "real numeric dtype, got object"),
    ("image", np.full((20, 30), "a"), "real numeric dtype, got <U1"),
    ("image", np.zeros((20, 30), "M8[s]"), "real numeric dtype, got datetime64"),
    ("image", np.zeros((20, 30), "m8[s]"), "real numeric dtype, got timedelta64"),
    ("image", np.zeros((20, 30), [("r", "f4"), ("g", "f4")]), "real numeric dtype, got"),
    ("image", Unreadable(), "expected an array, got Unreadable"),
    ("image", np.ma.masked_less(IMAGE, 0.1), "masked array"),
    ("image", np.zeros((0, 30), np.float32), r"at least one pixel, got shape \(0, 30\)"),
    ("image", np.zeros((20, 0)), r"at least one pixel, got shape \(20, 0\)"),
    ("image", spoilt(np.nan), r"expected finite values, got nan at index \(4, 7\)"),
    ("image", spoilt(np.inf, (0, 0)), r"expected finite values, got inf at index \(0, 0\)"),
    ("image", spoilt(-np.inf, (19, 29)), r"expected finite values, got -inf at index \(19, 29\)"),
    ("image", spoilt(np.nan, dtype=np.float32), r"expected finite values, got nan at index \(4, 7\)"),
    ("image", spoilt(np.inf, dtype=np.float16), r"expected finite values, got inf at index \(4, 7\)"),
    ("image", spoilt(3e38, dtype=np.float32), "sum must not overflow"),
    ("psf", None, "real numeric dtype, got object"),
    ("psf", "gaussian", "real numeric dtype, got <U8"),
    ("psf", np.ones((3, 3), complex), "real numeric dtype, got complex128"),
    ("psf", [[1, 2], [3]], "expected an array, got list"),
    ("psf", np.ma.masked_less(PSF, 0.1), "masked array"),
    ("psf", 3.0, r"1 to 3 spatial axes .*got shape \(\)"),
    ("psf", np.ones((1, 1, 1, 1, 1)), r"1 to 3 spatial axes .*got shape \(1, 1, 1, 1, 1\)"),
    (
        "psf",
        np.ones((3, 3, 3)),
        r"at most 2 axes \(h, w\) for an image of shape \(20, 30\), got shape \(3, 3, 3\)",
    ),
    ("psf", np.ones((3, 0)), r"at least one pixel, got shape \(3, 0\)"),
    ("psf", np.zeros((3, 3)), "positive, finite sum, got 0"),
    ("psf", -PSF, "positive, finite sum, got -9"),
    ("psf", np.array([[1.0, -2.0, 1.0]]), "positive, finite sum, got 0"),
    ("psf", np.full((3, 3), 1e308), "positive, finite sum, got inf"),
    ("psf", np.array([[1, np.nan, 1]]), r"finite values, got nan at index \(0, 1\)"),
    ("psf", np.array([[1, np.inf, 1]]), r"finite values, got inf at index \(0, 1\)"),
    ("boundary", "mirror", "one of 'periodic', 'reflect', 'edge', 'zero', 'unknown', got 'mirror'"),
    ("boundary", None, "one of .*got None"),
    ("boundary", 0, "one of .*got 0"),
    ("boundary", "", "one of .*got ''"),
    ("boundary", ["reflect"], "one of .*got "),
    ("channel_axis", 2, "expected -2 to 1 for 2 image axes, got 2"),
    ("channel_axis", -3, "expected -2 to 1 for 2 image axes, got -3"),
    ("channel_axis", 1.0, "an integer or None, got 1.0"),
    ("channel_axis", "last", "an integer or None, got 'last'"),
    ("channel_axis", True, "an integer or None, got True"),
    ("n_threads", -1, "an integer >= 0, got -1"),
    ("n_threads", 1.5, "an integer >= 0, got 1.5"),
    ("n_threads", "all", "an integer >= 0, got 'all'"),
    ("n_threads", None, "an integer >= 0, got None"),
    ("n_threads", True, "an integer >= 0, got True"),
    ("backend", "cuda11", "one of 'auto', 'native', 'numba', 'numpy', 'cuda', 'cupy', got 'cuda11'"),
    ("backend", None, "one of .*got None"),
    ("out", np.zeros((20, 31), np.float32), r"expected shape \(20, 30\), got \(20, 31\)"),
    ("out", np.zeros((1, 20, 30), np.float32), r"expected shape \(20, 30\), got \(1, 20, 30\)"),
    ("out", np.zeros((20, 30), np.float64), "expected dtype float32, got float64"),
    ("out", np.zeros((20, 30), np.uint8), "expected dtype float32, got uint8"),
    ("out", np.zeros((20, 30), ">f4"), "expected dtype float32, got >f4"),
    ("out", [[0.0] * 30] * 20, "expected a NumPy array, got list"),
    ("out", np.ma.zeros((20, 30), np.float32), "expected a NumPy array, got MaskedArray"),
    ("out", np.broadcast_to(np.float32(0), (20, 30)), "writable"),
    (
        "out",
        np.lib.stride_tricks.as_strided(np.zeros(30, np.float32), (20, 30), (0, 4)),
        r"distinct elements, got strides \(0, 4\)",
    ),
    ("out", np.zeros(2401, np.uint8)[1:].view(np.float32).reshape(20, 30), "expected aligned elements"),
    ("out", IMAGE, "memory of its own, got an array that overlaps image"),
]

WIENER = [
    ("balance", -0.1, "a finite number >= 0, got -0.1"),
    ("balance", np.nan, "a finite number >= 0, got nan"),
    ("balance", np.inf, "a finite number >= 0, got inf"),
    ("balance", "0.1", "a finite number >= 0, got '0.1'"),
    ("balance", None, "a finite number >= 0, got None"),
    ("balance", 1j, "a finite number >= 0, got 1j"),
    ("balance", np.complex64(1), "a finite number >= 0, got "),
    ("balance", [0.1], r"a finite number >= 0, got \[0.1\]"),
    ("balance", np.ones(1), r"a finite number >= 0, got array of shape \(1,\) and dtype float64$"),
    ("balance", list(range(1000)), r"a finite number >= 0, got \[0, 1, 2, 3, 4, 5, \.\.\.\]$"),
    ("balance", 10**400, "a finite number >= 0, got 1000.{,40}$"),
    ("balance", 1e39, "a number that float32 can hold, got 1e\\+39"),
    ("boundary", "unknown", "'unknown' has no closed form"),
    ("reg", "tv", "'laplacian', 'identity', a kernel or a transfer function, got 'tv'"),
    ("reg", None, "real numeric dtype, got object"),
    ("reg", [[1, 2], [3]], "expected an array, got list"),
    ("reg", np.ones(3), r"a kernel with 2 axes, got shape \(3,\)"),
    ("reg", np.ones((3, 3, 3)), r"a kernel with 2 axes, got shape \(3, 3, 3\)"),
    ("reg", np.ones((0, 3)), r"a kernel with 2 axes, got shape \(0, 3\)"),
    ("reg", np.array([[1.0, np.nan]]), "finite values, got nan"),
    ("reg", np.ones((20, 16), complex), "needs boundary='periodic' \\(got '(edge|reflect)'\\)"),
    ("reg", lambda *f: np.nan, "finite values, got NaN"),
    ("reg", lambda *f: np.ones((3, 3)), r"broadcast to \(\d+, \d+\), got shape \(3, 3\)"),
    ("reg", lambda *f: "rough", "return numbers"),
    ("reg", lambda *f: 1e25 + 0 * f[0], r"expected \|R\| <= 1.3e\+19 .*got 1e\+25"),
    ("reg", np.ma.masked_less(PSF, 0.1), "mask would be lost"),
]

RL = [
    ("image", spoilt(-0.25), r"expected values >= 0, got -0.25 at index \(4, 7\)"),
    ("image", spoilt(-3, dtype=np.int16), r"expected values >= 0, got -3 at index \(4, 7\)"),
    ("num_iter", -1, "an integer >= 0, got -1"),
    ("num_iter", 2.0, "an integer >= 0, got 2.0"),
    ("num_iter", None, "an integer >= 0, got None"),
    ("num_iter", "30", "an integer >= 0, got '30'"),
    ("num_iter", True, "an integer >= 0, got True"),
    ("num_iter", np.ones(2, int), "an integer >= 0, got array"),
    ("acceleration", "fast", "expected one of .*'biggs-andrews'.*, got 'fast'"),
    ("acceleration", True, "expected one of .*'biggs-andrews'.*, got True"),
    ("acceleration", "", "expected one of .*'biggs-andrews'.*, got ''"),
    ("background", -1, "a finite number >= 0, got -1"),
    ("background", np.nan, "a finite number >= 0, got nan"),
    ("background", None, "a finite number >= 0, got None"),
    ("background", IMAGE, r"a finite number >= 0, got array of shape \(20, 30\) and dtype float32$"),
    ("background", 1e39, "a number that float32 can hold, got 1e\\+39"),
    ("tol", -1e-3, "a finite number >= 0, got -0.001"),
    ("tol", np.nan, "a finite number >= 0, got nan"),
    ("tol", "small", "a finite number >= 0, got 'small'"),
    ("callback", 3, "expected a callable, got int"),
    ("callback", "print", "expected a callable, got str"),
    ("weights", np.ones((20, 31)), r"expected shape \(20, 30\), got \(20, 31\)"),
    ("weights", 1.0, r"expected shape \(20, 30\), got \(\)"),
    ("weights", np.zeros((20, 30)), "at least one positive value"),
    ("weights", spoilt(-1), r"expected values >= 0, got -1.0 at index \(4, 7\)"),
    ("weights", spoilt(np.nan), r"expected finite values, got nan at index \(4, 7\)"),
    ("weights", spoilt(np.inf), r"expected finite values, got inf at index \(4, 7\)"),
    ("weights", np.ones((20, 30), complex), "real numeric dtype, got complex128"),
    ("weights", "mask", "real numeric dtype"),
    ("weights", np.ma.masked_less(IMAGE, 0.1), "masked array"),
    ("init", np.ones((20, 31)), r"expected shape \(20, 30\), got \(20, 31\)"),
    ("init", spoilt(-1), r"expected values >= 0, got -1.0 at index \(4, 7\)"),
    ("init", spoilt(np.nan), r"expected finite values, got nan at index \(4, 7\)"),
    ("init", spoilt(1e39), r"got 1e\+39 at index \(4, 7\)"),
    ("init", np.ones((20, 30), complex), "real numeric dtype, got complex128"),
    ("init", 0.5, r"expected shape \(20, 30\), got \(\)"),
    ("init", np.ma.masked_less(IMAGE, 0.1), "masked array"),
]


def label(row):
    value = row[1]
    text = (
        f"{type(value).__name__}{value.shape}"
        if isinstance(value, np.ndarray)
        else re.sub(r"\W+", "-", repr(value))
    )
    return f"{row[0]}-{text[:30]}"


def calls(rows):
    """(row, backend): arguments are checked before a backend sees them, but pixels and callables are looked at in each."""
    found = []
    for row in rows:
        looked_at = (row[0] == "image" and re.search("finite|>= 0|overflow", row[2])) or callable(row[1])
        names = BACKENDS if looked_at else ("numpy",)
        found += [pytest.param(row, name, id=f"{label(row)}-{name}") for name in names]
    return found


def expect(function, arguments, argument, rule, error=InvalidArgument):
    out = arguments.get("out")
    before = np.array(out) if isinstance(out, np.ndarray) else None
    image = arguments.get("image")
    image_before = np.array(image) if isinstance(image, np.ndarray) and image.size < 10**6 else None
    with pytest.raises(error) as caught:
        function(**arguments)
    message = str(caught.value)
    assert re.match(rf"{argument}: ", message), message
    assert re.search(rule, message), message
    assert "\n" not in message.split(" got ")[0]
    if before is not None:
        np.testing.assert_array_equal(np.array(out), before)
    if image_before is not None:
        np.testing.assert_array_equal(np.array(image), image_before)


@pytest.mark.parametrize(("row", "backend"), calls(SHARED + WIENER))
def test_wiener(row, backend):
    need(backend)
    argument, value, rule = row
    arguments = {
        "image": IMAGE,
        "psf": PSF,
        "balance": 0.1,
        "out": np.full((20, 30), -7, np.float32),
        "backend": backend,
    }
    if argument == "image" and getattr(value, "dtype", None) == np.float64:
        arguments["out"] = np.full((20, 30), -7.0)
    expect(fastdeblur.wiener, arguments | {argument: value}, argument, rule)


@pytest.mark.parametrize(("row", "backend"), calls(SHARED + RL))
def test_richardson_lucy(row, backend):
    need(backend)
    argument, value, rule = row
    arguments = {
        "image": IMAGE,
        "psf": PSF,
        "num_iter": 2,
        "out": np.full((20, 30), -7, np.float32),
        "backend": backend,
    }
    if argument == "image" and getattr(value, "dtype", None) == np.float64:
        arguments["out"] = np.full((20, 30), -7.0)
    expect(fastdeblur.richardson_lucy, arguments | {argument: value}, argument, rule)


def test_a_number_of_more_digits_than_python_prints():
    with pytest.raises(InvalidArgument, match=r"^balance: expected a finite number >= 0, got .{,60}$"):
        fastdeblur.wiener(IMAGE, PSF, 10**5000)


@pytest.mark.parametrize(
    "name",
    ["wiener-reflect-31x37", "rl-unknown-31x37", "rl-everything-zero", "wiener-channels-last", "rl-batch"],
)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [0, -1, 500])
def test_one_bad_pixel_anywhere_is_found_and_nothing_is_written(name, bad, where, backend, dtype):
    problem = case(name)
    image = problem.image(dtype)
    image.flat[where] = bad
    arguments = problem.arguments(dtype)
    if "weights" in arguments:
        arguments["weights"] = np.ones(problem.shape)
    out = np.full(problem.shape, -7, dtype)
    expect(
        problem.function(),
        {"image": image, "psf": problem.psf, **arguments, "out": out, "backend": backend},
        "image",
        "finite",
    )


@pytest.mark.parametrize("bad", [np.nan, -1.0])
def test_a_bad_pixel_in_the_last_image_of_a_batch_writes_nothing(bad, backend):
    image = np.full((3, 20, 30), 0.5, np.float32)
    image[2, 3, 4] = bad
    out = np.full((3, 20, 30), -7, np.float32)
    with pytest.raises(InvalidArgument, match="image: expected"):
        fastdeblur.richardson_lucy(image, PSF, 2, out=out, backend=backend)
    assert (out == -7).all()


@pytest.mark.parametrize("shape", [(3, 20, 30), (20, 30)])
def test_a_failing_callback_leaves_its_image_alone(backend, shape):
    out = np.full(shape, -7, np.float32)

    def fail(state):
        if state.iteration == 2 and state.plane in ((), (1,)):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fastdeblur.richardson_lucy(
            np.full(shape, 0.5, np.float32), PSF, 5, callback=fail, out=out, backend=backend
        )
    assert (out[1:] == -7).all()  # the images before it may be there


# ------------------------------------------------------------------------------------------- more of geometry


@pytest.mark.parametrize("boundary", ["reflect", "edge"])
@pytest.mark.parametrize("method", ["wiener", "richardson_lucy"])
def test_psf_that_reflection_cannot_feed(method, boundary, backend):
    function = getattr(fastdeblur, method)
    arguments = {"image": np.ones((4, 30), np.float32), "boundary": boundary, "backend": backend}
    arguments["balance" if method == "wiener" else "num_iter"] = 1
    others = (
        "'zero' or 'periodic'" if method == "wiener" else "'unknown', 'zero' or 'periodic'"
    )  # what it takes
    assert function(psf=np.ones((9, 3)), **arguments).shape == (4, 30)
    expect(
        function,
        arguments | {"psf": np.ones((10, 3))},
        "psf",
        rf"at most 9 pixels on an axis of 4 .*got shape \(10, 3\); use {others}$",
    )


def test_a_plan_of_both_methods_advises_what_both_take():
    arguments = {"shape": (4, 30), "psf": np.ones((10, 3)), "boundary": "reflect"}
    expect(Deconvolver, arguments, "psf", r"got shape \(10, 3\); use 'zero' or 'periodic'$")


def test_psf_of_more_axes_than_the_image_has_besides_its_channels(backend):
    arguments = {
        "image": np.ones((20, 30, 3)),
        "psf": np.ones((5, 5, 5)),
        "balance": 0.1,
        "channel_axis": -1,
        "backend": backend,
    }
    rule = r"expected 3 PSFs along channel_axis=-1.*got shape \(5, 5, 5\)"
    expect(fastdeblur.wiener, arguments, "psf", rule)


def test_a_psf_that_reads_two_ways_is_asked_about(backend):
    arguments = {
        "image": np.ones((4, 8, 8, 3)),
        "psf": np.ones((3, 3, 3)),
        "balance": 0.1,
        "channel_axis": -1,
        "backend": backend,
    }
    expect(fastdeblur.wiener, arguments, "psf", r"one 3-D PSF and as 3 2-D ones.*np.stack")


@pytest.mark.parametrize(
    ("shape", "psf_shape", "axis", "rule"),
    [
        (
            (3, 6, 2, 30, 32),
            (3, 2, 5, 5),
            2,
            r"expected 1 to 3 spatial axes, or all 5 axes of the image with 2 PSFs on axis 2 and length 1 on batch axes, .*"
            + re.escape("for an image of shape (3, 6, 2, 30, 32), got shape (3, 2, 5, 5)"),
        ),
        (
            (3, 6, 2, 30, 32),
            (3, 3, 2, 5, 5),
            2,
            r"expected 1 to 3 spatial axes and length 1 on the batch axes before them for an .*got shape \(3, 3, 2, 5, 5\)",
        ),
        ((3, 6, 2, 30, 32), (1, 3, 4, 5, 5), 2, r"expected 2 PSFs along channel_axis=2.*got shape \(1, 3, 4, 5, 5\)"),
        ((3, 6, 30, 32), (3, 3, 5, 5), None, r"expected 1 to 3 spatial axes for an image .*got shape \(3, 3, 5, 5\)"),
    ],
)  # fmt: skip
def test_a_psf_of_too_many_axes(shape, psf_shape, axis, rule):
    arguments = {"image": np.ones(shape), "psf": np.ones(psf_shape), "balance": 0.1, "channel_axis": axis}
    expect(fastdeblur.wiener, arguments, "psf", rule)


def test_a_psf_that_cancels_itself(backend):
    arguments = {"image": IMAGE, "psf": [[1e30, -1e30, 1e-10]], "balance": 0.1, "backend": backend}
    expect(fastdeblur.wiener, arguments, "psf", "cancel")


def test_a_film_without_channel_axis_is_asked_about(backend):
    arguments = {"image": np.ones((2, 20, 30, 3)), "psf": PSF, "balance": 0.1, "backend": backend}
    expect(fastdeblur.wiener, arguments, "image", "channel_axis=-1")


def test_an_estimate_asked_for_too_late(backend):
    kept = []

    def keep(state):
        if kept:
            with pytest.raises(RuntimeError, match="estimate: its iteration is over"):
                kept[-1].estimate()
        assert state.estimate().shape == IMAGE.shape
        kept.append(state)

    fastdeblur.richardson_lucy(IMAGE, PSF, 2, callback=keep, backend=backend)
    assert [state.iteration for state in kept] == [1, 2]
    with pytest.raises(RuntimeError, match="estimate: its iteration is over"):
        kept[-1].estimate()


@pytest.mark.parametrize("answer", [True, np.True_, 1, "yes", np.ones(3)])
def test_what_a_callback_returns_is_ignored(backend, answer):
    """A progress bar's update returns True when it is drawn anew."""
    seen = []
    result = fastdeblur.richardson_lucy(
        IMAGE, PSF, 3, callback=lambda state: (seen.append(state.iteration), answer)[1], backend=backend
    )
    assert seen == [1, 2, 3]
    np.testing.assert_array_equal(result, fastdeblur.richardson_lucy(IMAGE, PSF, 3, backend=backend))


@pytest.mark.parametrize("unit", [1e20, 1e-23])
def test_acceleration_does_not_depend_on_the_unit(backend, unit):
    image = (np.arange(20 * 30).reshape(20, 30) % 7 + 1).astype(np.float32)
    options = {"acceleration": "biggs-andrews", "backend": backend}
    plain = fastdeblur.richardson_lucy(image, PSF, 6, **options)
    scaled = fastdeblur.richardson_lucy(image * np.float32(unit), PSF, 6, **options) / np.float32(unit)
    np.testing.assert_allclose(scaled, plain, rtol=2e-3)


def test_a_colour_image_without_channel_axis_is_asked_about(backend):
    arguments = {"image": np.ones((20, 30, 3)), "psf": PSF, "balance": 0.1, "backend": backend}
    expect(fastdeblur.wiener, arguments, "image", "channel_axis=-1")


def test_weights_are_needed_for_every_image_of_a_batch(backend):
    weights = np.ones((2, 20, 30))
    weights[1] = 0
    arguments = {"image": np.ones((2, 20, 30)), "psf": PSF, "weights": weights, "backend": backend}
    expect(fastdeblur.richardson_lucy, arguments, "weights", "at least one positive value per image")
    wrong = arguments | {"weights": np.ones((3, 20, 30))}
    rule = r"expected shape \(2, 20, 30\) or \(20, 30\), got \(3, 20, 30\)"
    expect(fastdeblur.richardson_lucy, wrong, "weights", rule)


def test_transfer_function_of_the_wrong_shape(backend):
    arguments = {"image": IMAGE, "psf": PSF, "balance": 0.1, "boundary": "periodic", "backend": backend}
    expect(
        fastdeblur.wiener,
        arguments | {"reg": np.ones((20, 30), complex)},
        "reg",
        r"shape \(20, 16\), got \(20, 30\)",
    )
    nan = np.full((20, 16), complex(np.nan, 0))
    expect(fastdeblur.wiener, arguments | {"reg": nan}, "reg", "finite")
    large = np.full((20, 16), 1e30 + 0j)
    expect(fastdeblur.wiener, arguments | {"reg": large}, "reg", r"\|R\| <= 1.3e\+19 .*got 1e\+30")
    masked = np.ma.masked_less(np.ones((20, 16), complex), 0.5)
    expect(fastdeblur.wiener, arguments | {"reg": masked}, "reg", "mask would be lost")


@pytest.mark.parametrize("balance", [0.0, 0.1, 1e38])
@pytest.mark.parametrize("size", [1.0, 1e19])
def test_a_large_penalty_gives_no_nan(balance, size, backend):
    """What it penalises goes; nothing overflows into the rest."""
    arguments = {"boundary": "periodic", "backend": backend}
    transfer = np.full((20, 16), complex(size))
    expected = IMAGE if balance == 0 else np.zeros_like(IMAGE) if balance * size > 1e9 else IMAGE / 1.1
    for reg in (transfer, lambda fy, fx: size + 0 * fx):
        result = fastdeblur.wiener(IMAGE, PSF, balance, reg=reg, **arguments)
        np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("overlap", ["same", "shifted", "reversed", "interleaved"])
def test_out_that_overlaps_the_image(overlap, backend):
    memory = np.full((41, 31), 0.5, np.float32)
    image = memory[:20, :30]
    out = {
        "same": image,
        "shifted": memory[1:21, 1:31],
        "reversed": image[::-1],
        "interleaved": memory[:40:2, :30],
    }[overlap]
    before = memory.copy()
    for function, parameter in ((fastdeblur.wiener, 0.1), (fastdeblur.richardson_lucy, 2)):
        with pytest.raises(
            InvalidArgument, match="out: expected memory of its own, got an array that overlaps image"
        ):
            function(image, PSF, parameter, out=out, backend=backend)
        np.testing.assert_array_equal(memory, before)


@pytest.mark.parametrize("name", ["weights", "init"])
def test_out_that_overlaps_another_input(name, backend):
    array = np.full((20, 30), 1, np.float32)
    arguments = {"image": IMAGE, "psf": PSF, name: array, "out": array, "backend": backend}
    expect(fastdeblur.richardson_lucy, arguments, "out", f"overlaps {name}")


def test_interleaved_memory_that_does_not_overlap_is_fine(backend):
    memory = np.full((20, 60), 0.5, np.float32)
    fastdeblur.wiener(memory[:, ::2], PSF, 0.1, out=memory[:, 1::2], backend=backend)
    np.testing.assert_allclose(memory, 0.5, rtol=1e-5)


# ----------------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize(
    "bad",
    [
        {"image": HUGE},
        {"image": HUGE, "psf": np.ones((1, 1))},
        {"image": np.broadcast_to(np.uint8(1), (1 << 21, 1 << 21))},
        {"image": np.broadcast_to(np.array(1, ">f4"), (1 << 20, 1 << 20))},
        {"psf": HUGE, "boundary": "zero"},
        {"image": np.ones((1, 1 << 19)), "psf": np.broadcast_to(1.0, (1 << 19, 1)), "boundary": "zero"},
    ],
    ids=["image", "delta", "uint8", "big-endian", "psf", "grid"],
)
def test_memory_that_cannot_be_had(bad, backend):
    for function, parameter in ((fastdeblur.wiener, "balance"), (fastdeblur.richardson_lucy, "num_iter")):
        arguments = {"image": IMAGE, "psf": PSF, parameter: 1, "backend": backend} | bad
        blamed = "psf: " if "psf" in bad and bad["psf"] is HUGE else r"\w.*: "
        with pytest.raises(OutOfMemory, match=rf"^{blamed}.*(Unable|cannot|needs|could not be had).*"):
            function(**arguments)


@pytest.mark.parametrize("argument", ["weights", "init"])
def test_memory_for_more_arguments_that_cannot_be_had(argument, backend):
    with pytest.raises(OutOfMemory):
        fastdeblur.richardson_lucy(HUGE, PSF, 1, **{argument: HUGE}, backend=backend)


def test_a_plan_whose_memory_cannot_be_had(backend):
    plan = Deconvolver((1 << 20, 1 << 20), PSF, backend=backend)
    with pytest.raises(OutOfMemory):
        plan.wiener(HUGE, 0.1)
    with pytest.raises(OutOfMemory):
        plan.richardson_lucy(HUGE, 1)
    assert estimate_memory("wiener", (1 << 20, 1 << 20), (3, 3), backend=backend) > 1 << 40


def test_a_plan_asks_again_when_a_call_needs_more(backend, monkeypatch):
    """The memory that a first, plain call was allowed says nothing of an accelerated one, nor of one with weights."""
    from fastdeblur import _problem

    if get_backend(backend).computes_on != "cpu":
        pytest.skip("a device refuses by itself, as only it knows what its pool has left")
    asked = []
    monkeypatch.setattr(_problem, "require_memory", lambda needed, what: asked.append(needed))
    plan = Deconvolver((200, 300), PSF, boundary="reflect", backend=backend)
    image = np.ones((200, 300), np.float32)
    calls = [
        {},
        {"acceleration": "ogm"},
        {"acceleration": "biggs-andrews"},
        {"acceleration": "biggs-andrews", "weights": image},
        {"acceleration": "ogm"},
        {},
    ]
    for arguments in calls:
        plan.richardson_lucy(image, 1, **arguments)
    assert len(asked) == 4
    estimates = [
        estimate_memory(
            "richardson_lucy",
            (200, 300),
            (3, 3),
            boundary="reflect",
            acceleration=arguments.get("acceleration"),
            weights="weights" in arguments,
            backend=backend,
        )
        for arguments in calls[:4]
    ]
    if backend == "native":  # it still has what the calls before took
        estimates = np.diff(estimates, prepend=0)
    np.testing.assert_allclose(asked, estimates, rtol=0.1, atol=200_000)

    def refuse(needed, what):
        raise OutOfMemory(f"{what}: no")

    monkeypatch.setattr(_problem, "require_memory", refuse)
    fresh = Deconvolver((200, 300), PSF, backend=backend)
    for _ in range(2):  # what was refused once is not allowed the next time
        with pytest.raises(OutOfMemory, match=r"^richardson_lucy on a grid of .*: no"):
            fresh.richardson_lucy(image, 1)
    plan.richardson_lucy(image, 1)


# ------------------------------------------------------------------------------------------------ Deconvolver


@pytest.mark.parametrize(
    ("arguments", "argument", "rule"),
    [
        ({"shape": 20}, "shape", "a tuple of integers, got 20"),
        ({"shape": None}, "shape", "a tuple of integers, got None"),
        ({"shape": (20, 0)}, "shape", "an integer >= 1, got 0"),
        ({"shape": (20, -3)}, "shape", "an integer >= 1, got -3"),
        ({"shape": (20.0, 30)}, "shape", "an integer >= 1, got 20.0"),
        ({"shape": "20x30"}, "shape", "an integer >= 1, got '2'"),
        ({"shape": ()}, "shape", "at least one axis"),
        ({"psf": np.zeros((3, 3))}, "psf", "positive, finite sum, got 0"),
        ({"psf": np.ones((3, 3, 3))}, "psf", "at most 2 axes"),
        ({"dtype": "float16"}, "dtype", "float32 or float64, got float16"),
        ({"dtype": np.uint8}, "dtype", "float32 or float64, got uint8"),
        ({"dtype": "f99"}, "dtype", "float32 or float64, got 'f99'"),
        ({"dtype": None}, "dtype", "float32 or float64, got None"),
        ({"dtype": ">f4"}, "dtype", "float32 or float64, got >f4"),
        ({"boundary": "mirror"}, "boundary", "one of .*got 'mirror'"),
        ({"channel_axis": 2}, "channel_axis", "expected -2 to 1"),
        ({"n_threads": -2}, "n_threads", "an integer >= 0, got -2"),
        ({"backend": "gpu"}, "backend", "one of .*got 'gpu'"),
    ],
)
def test_deconvolver(arguments, argument, rule):
    expect(Deconvolver, {"shape": (20, 30), "psf": PSF} | arguments, argument, rule)


@pytest.mark.parametrize(
    ("row", "backend"), calls(r for r in SHARED + WIENER if r[0] in ("image", "balance", "reg", "out"))
)
def test_deconvolver_wiener(row, backend):
    need(backend)
    argument, value, rule = row
    if argument == "image" and getattr(value, "shape", (20, 30)) != (20, 30):
        rule = "expected the plan's shape"
    plan = Deconvolver((20, 30), PSF, boundary="reflect", backend=backend)
    arguments = {"image": IMAGE, "balance": 0.1, "out": np.full((20, 30), -7, np.float32)}
    expect(plan.wiener, arguments | {argument: value}, argument, rule)
    np.testing.assert_allclose(plan.wiener(IMAGE, 0.1), 0.5, rtol=1e-5)  # the plan goes on working


@pytest.mark.parametrize(
    ("row", "backend"),
    calls(r for r in SHARED + RL if r[0] not in ("psf", "boundary", "channel_axis", "n_threads", "backend")),
)
def test_deconvolver_richardson_lucy(row, backend):
    need(backend)
    argument, value, rule = row
    if argument == "image" and getattr(value, "shape", (20, 30)) != (20, 30):
        rule = "expected the plan's shape"
    plan = Deconvolver((20, 30), PSF, backend=backend)
    arguments = {"image": IMAGE, "num_iter": 2, "out": np.full((20, 30), -7, np.float32)}
    expect(plan.richardson_lucy, arguments | {argument: value}, argument, rule)
    np.testing.assert_allclose(plan.richardson_lucy(IMAGE, 2), 0.5, rtol=1e-4)


def test_deconvolver_takes_its_own_shape_only(backend):
    plan = Deconvolver((20, 30), PSF, backend=backend)
    for shape in ((30, 20), (20, 30, 1), (600,), (1, 20, 30)):
        for method, parameter in ((plan.wiener, 0.1), (plan.richardson_lucy, 2)):
            with pytest.raises(InvalidArgument, match=r"image: expected the plan's shape \(20, 30\), got"):
                method(np.ones(shape), parameter)


def test_deconvolver_of_an_unknown_boundary_has_no_wiener(backend):
    plan = Deconvolver((20, 30), PSF, boundary="unknown", backend=backend)
    with pytest.raises(InvalidArgument, match="boundary: 'unknown' has no closed form"):
        plan.wiener(IMAGE, 0.1)


def test_values_beyond_float32_in_a_float32_plan(backend):
    plan = Deconvolver((20, 30), PSF, backend=backend)
    for method, parameter in ((plan.wiener, 0.1), (plan.richardson_lucy, 2)):
        with pytest.raises(InvalidArgument, match=r"image: expected .*got 1e\+39 at index \(4, 7\)"):
            method(spoilt(1e39), parameter)


# -------------------------------------------------------------------------------------------- estimate_memory


@pytest.mark.parametrize(
    ("arguments", "argument", "rule"),
    [
        ({"method": "tv"}, "method", "one of 'wiener', 'richardson_lucy', got 'tv'"),
        ({"method": None}, "method", "one of .*got None"),
        ({"shape": 20}, "shape", "a tuple of integers, got 20"),
        ({"shape": (20, 0)}, "shape", "an integer >= 1, got 0"),
        ({"psf_shape": 3}, "psf_shape", "a tuple of integers, got 3"),
        ({"psf_shape": (3, 0)}, "psf_shape", "an integer >= 1, got 0"),
        ({"psf_shape": (3, 3, 3)}, "psf", "at most 2 axes"),
        ({"shape": (4, 4), "psf_shape": (15, 15)}, "psf", "at most 9 pixels on an axis of 4"),
        ({"dtype": complex}, "dtype", "real numeric dtype, got"),
        ({"dtype": "f99"}, "dtype", "real numeric dtype, got 'f99'"),
        ({"dtype": None}, "dtype", "real numeric dtype, got None"),
        ({"boundary": "mirror"}, "boundary", "one of .*got 'mirror'"),
        ({"boundary": "unknown"}, "boundary", "no closed form"),
        ({"boundary": ""}, "boundary", "one of .*got ''"),
        ({"acceleration": "fast"}, "acceleration", "one of .*got 'fast'"),
        ({"channel_axis": 5}, "channel_axis", "expected -2 to 1"),
        ({"n_threads": -1}, "n_threads", "an integer >= 0, got -1"),
        ({"backend": "gpu"}, "backend", "one of .*got 'gpu'"),
    ],
)
def test_estimate_memory(arguments, argument, rule):
    expect(
        estimate_memory,
        {"method": "wiener", "shape": (20, 30), "psf_shape": (3, 3)} | arguments,
        argument,
        rule,
    )


# --------------------------------------------------------------------------------------------------- the rest


def test_a_named_backend_never_falls_back(monkeypatch):
    from fastdeblur.backends.numba_ import NumbaBackend

    monkeypatch.setattr(NumbaBackend, "why_not", lambda self, spec=None: "it is Sunday")
    with pytest.raises(Unsupported, match="backend: 'numba' cannot run wiener: it is Sunday"):
        fastdeblur.wiener(IMAGE, PSF, 0.1, backend="numba")
    with pytest.raises(Unsupported, match="it is Sunday"):
        Deconvolver((20, 30), PSF, backend="numba")


def test_auto_goes_past_backends_that_cannot(monkeypatch):
    from fastdeblur.backends.native import NativeBackend
    from fastdeblur.backends.numba_ import NumbaBackend

    for backend in (NativeBackend, NumbaBackend):
        monkeypatch.setattr(backend, "why_not", lambda self, spec=None: "it is Sunday")
    expected = fastdeblur.wiener(IMAGE, PSF, 0.1, backend="numpy")
    np.testing.assert_array_equal(fastdeblur.wiener(IMAGE, PSF, 0.1), expected)


def test_a_numba_that_cannot_be_imported_is_not_taken(tmp_path):
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 1.0 or less\\nsorry')")
    code = """
import numpy as np, fastdeblur
from fastdeblur.backends import get_backend
from fastdeblur.backends.native import NativeBackend
NativeBackend.why_not = lambda self, spec=None: "it is Sunday"
print(fastdeblur.wiener(np.ones((5, 7)), np.ones((3, 3)), 0.1).round(6).min())
print(get_backend("numba").why_not())
try:
    fastdeblur.wiener(np.ones((5, 7)), np.ones((3, 3)), 0.1, backend="numba")
except fastdeblur.Unsupported as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,  # not the root, whose source tree would hide an installed package
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    why = "numba is installed but cannot be imported (ImportError: Numba needs NumPy 1.0 or less)"
    assert result.stdout.splitlines() == ["1.0", why, f"backend: 'numba' cannot run wiener: {why}"]


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        ("InvalidArgument", ValueError),
        ("Unsupported", NotImplementedError),
        ("DeviceError", RuntimeError),
        ("OutOfMemory", MemoryError),
    ],
)
def test_errors_are_the_builtin_ones_too(error, builtin):
    kind = getattr(errors_module, error)
    assert issubclass(kind, builtin)
    assert issubclass(kind, errors_module.FastdeblurError)
    assert getattr(fastdeblur, error) is kind


def test_a_negative_psf_warns_at_the_callers_line(backend):
    psf = lopsided(3, 3)
    psf[0, 0] = -0.05
    with pytest.warns(PSFWarning, match=r"psf: has negative values \(\d.* % of its sum\)") as caught:
        fastdeblur.wiener(IMAGE, psf, 0.1, backend=backend)
    assert caught[0].filename == __file__
    with pytest.warns(PSFWarning) as caught:
        Deconvolver((20, 30), psf, backend=backend)
    assert caught[0].filename == __file__


def test_an_off_centre_psf_warns(backend):
    psf = np.zeros((9, 9))
    psf[0, 4] = 1
    with pytest.warns(
        PSFWarning, match=r"psf: its centroid lies -4.0 pixels from its origin \(index 4\) on axis 0"
    ):
        fastdeblur.wiener(IMAGE, psf, 0.1, boundary="periodic", backend=backend)


def off_by(*offset):
    """A bead's picture that is off by so many pixels."""
    shape = (61, 41, 41)
    axes = np.ogrid[tuple(slice(-(n // 2), n - n // 2) for n in shape)]
    psf = np.exp(-0.5 * sum(((a - o) / s) ** 2 for a, o, s in zip(axes, offset, (4, 2, 2), strict=True)))
    return psf / psf.sum()


@pytest.mark.parametrize(
    ("offset", "axes"),
    [((6, 0, 4), (0, 2)), ((0, 2.1, 0), (1,)), ((-3.2, -2.2, 2.2), (0, 1, 2)), ((2.9, 1.9, -1.9), ())],
)
def test_a_bead_off_its_origin_warns_as_its_report_does(offset, axes):
    """From a twentieth of an axis on."""
    psf = off_by(*offset)
    assert ("off-centre" in str(fastdeblur.psf.check(psf))) == bool(axes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Deconvolver((61, 41, 41), psf)
    warned = [re.search(r"centroid lies (\S+) pixels .* on axis (\d)", str(w.message)) for w in caught]
    assert tuple(int(w[2]) for w in warned) == axes
    assert [float(w[1]) for w in warned] == [round(offset[axis], 1) for axis in axes]


@pytest.mark.parametrize("axis", [0, 1])
def test_an_origin_taken_a_pixel_beside_the_middle_warns(axis):
    """As fftshift for ifftshift does."""
    psf = np.roll(fastdeblur.psf.gaussian(1.0, shape=(13, 13)), 1, axis)
    assert not fastdeblur.psf.check(psf).ok
    with pytest.warns(PSFWarning, match=rf"centroid lies \+1.0 pixels .*on axis {axis}"):
        Deconvolver((20, 30), psf)


def test_light_lopsided_around_its_focus_does_not_warn():
    """A restored point belongs to the brightest plane, wherever the centroid of what the frame holds may be."""
    psf = fastdeblur.psf.gibson_lanni(
        (81, 41, 41), wavelength=0.52, na=1.4, ns=1.33, depth=100, pixel_size=0.1, z_step=0.2
    )
    assert abs(psf.sum((1, 2)) @ (np.arange(81) - 40)) > 5
    Deconvolver((81, 41, 41), psf)  # warnings are errors here


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_batch_of_kernels_for_a_volume_warns(dtype):
    image = np.full((6, 30, 30), 0.5, np.float32)
    batch = fastdeblur.psf.gaussian([2, 1.5, 1.5], dtype=dtype)
    with pytest.warns(PSFWarning, match=r"psf: each of its 3 planes sums to 1.*batch of kernels\?") as caught:
        fastdeblur.wiener(image, batch, 0.1)
    assert caught[0].filename == __file__
    for volume in (
        batch / 3,
        batch[:1],
        np.ones((3, 1, 1)),
        fastdeblur.psf.gaussian((0.5, 1.5, 1.5), dtype=dtype),
    ):
        fastdeblur.wiener(image, volume, 0.1)


OPTICS = {"wavelength": 0.52, "na": 1.2, "pixel_size": 0.1, "z_step": 0.25}


@pytest.mark.parametrize("depth", [2, 5, 9, 64])
@pytest.mark.parametrize("confocal", [{}, {"excitation": 0.488, "pinhole": 1.0}])
def test_volumes_of_our_own_do_not_warn(depth, confocal):
    psf = fastdeblur.psf
    for kernel in (
        psf.born_wolf((depth, 15, 16), **OPTICS, refractive_index=1.33, **confocal),
        psf.gibson_lanni((depth, 15, 16), **OPTICS, ns=1.38, depth=10, **confocal),
        psf.gaussian((depth / 8, 1.5, 1.5)),
        psf.gaussian(1.5, ndim=3, dtype=np.float32),
        psf.combine(psf.born_wolf((depth, 15, 16), **OPTICS, refractive_index=1.33), np.ones((1, 3, 3))),
    ):
        Deconvolver((64, 30, 30), kernel)  # warnings are errors here


@pytest.mark.parametrize(
    "make",
    [
        lambda psf: psf.airy(0.5, na=0.8, pixel_size=0.1, truncation=0.1),
        lambda psf: psf.camera_shake(2, size=31, seed=3)[1],
        lambda psf: psf.combine(psf.motion(21, 30), psf.defocus(4)),
        lambda psf: psf.defocus(4.3, blades=5, rotation=15),
        lambda psf: psf.gaussian((1, 3), angle=30, shape=(24, 25)),
        lambda psf: psf.kolmogorov(seeing=0.9, pixel_scale=0.2),
        lambda psf: psf.moffat(3.0, 4.765),
        lambda psf: psf.motion(21.3, 77),
        lambda psf: psf.rolling_shutter([(0, 0), (9, 4)], rows=3, row_time=0.1, exposure=0.5)[1],
        lambda psf: psf.trajectory([(0, 0), (9, 2), (12, 9)], [0, 1, 3]),
        lambda psf: psf.zernike({4: 0.2, 11: 0.1}, 0.5, na=0.8, pixel_size=0.1, truncation=0.1),
    ],
)
def test_kernels_of_our_own_do_not_warn(make):
    Deconvolver((200, 200), make(fastdeblur.psf), boundary="periodic")  # warnings are errors here


@pytest.mark.parametrize("psf", [np.ones((2, 2)), np.ones((4, 6)), np.ones((15, 15)), lopsided(5, 7)])
def test_good_psfs_do_not_warn(psf, backend):
    fastdeblur.wiener(IMAGE, psf, 0.1, backend=backend)  # warnings are errors here


def test_a_required_backend_must_exist(monkeypatch):
    """Where none has that name, none of its tests could fail."""
    import conftest

    for names in ({"opencl"}, {"openvino", "native"}):
        monkeypatch.setattr(conftest, "REQUIRED", frozenset(names))
        with pytest.raises(pytest.UsageError, match=r"FASTDEBLUR_REQUIRE: expected names from .*got \['open"):
            conftest.pytest_configure(None)
    monkeypatch.setattr(conftest, "REQUIRED", frozenset({"native", "numba"}))
    conftest.pytest_configure(None)


def test_need_fails_where_a_backend_is_required(monkeypatch):
    import conftest

    monkeypatch.setattr(conftest, "REQUIRED", frozenset({"numba"}))
    monkeypatch.setattr(conftest, "why_not", lambda name: "not installed")
    with pytest.raises(pytest.fail.Exception, match="FASTDEBLUR_REQUIRE names numba"):
        need("numba")
    with pytest.raises(pytest.skip.Exception):
        need("native")
