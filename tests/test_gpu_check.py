"""The GPU check's script, rehearsed: a step that fails or runs over stops no other, and all is written down."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import why_not
from fastdeblur import nets

TESTS = Path(__file__).resolve().parent
SCRIPT = TESTS.parent / "benchmarks" / "gpu_check.sh"

pytestmark = [
    pytest.mark.skipif(not SCRIPT.is_file(), reason="the benchmarks are not beside the tests"),
    pytest.mark.skipif(shutil.which("bash") is None or shutil.which("timeout") is None, reason="no bash"),
    pytest.mark.skipif(bool(why_not("native")), reason="the stand-in needs the native core"),
]


def check(tmp_path, **environment):
    result = subprocess.run(
        ["bash", str(SCRIPT)],
        env={
            **os.environ,
            "OUT": str(tmp_path),
            "FASTDEBLUR_GPU_DRY": "1",
            "PYTHON": sys.executable,
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return result, {step["step"]: step["status"] for step in recorded(tmp_path)}


def recorded(tmp_path):
    return [json.loads(line) for line in (tmp_path / "gpu-steps.jsonl").read_text().splitlines()]


def limits(tmp_path):
    """Seconds that each step was given."""
    found = re.findall(
        r"^=== (\w+) \(at most (-?\d+) s\)$", (tmp_path / "gpu-check.log").read_text(), re.MULTILINE
    )
    return {name: int(seconds) for name, seconds in found}


def test_the_sanitizers_cases_are_right(tmp_path):
    result, steps = check(tmp_path, FASTDEBLUR_STEPS="probe build memcheck")
    assert result.returncode == 0, result.stdout
    assert steps == {"probe": "ok", "build": "ok", "memcheck": "ok"}
    assert "WRONG" not in (tmp_path / "gpu-check.log").read_text()


def test_networks_are_compared_and_timed(tmp_path):
    result, steps = check(tmp_path, FASTDEBLUR_STEPS="nets")
    assert result.returncode == 0, result.stdout
    assert steps == {"nets": "ok"}
    record = json.loads((tmp_path / "gpu-nets-dry.json").read_text())
    assert not record["failures"]
    assert set(record["networks"]) == set(nets.available())
    for row in record["networks"].values():
        assert set(row["relative_l2"]) == {"float16", "bfloat16", "float32"}
        assert all(away < 1e-5 for away in row["relative_l2"].values())
        assert len(row["milliseconds"]) == 3


def test_what_fails_stops_nothing(tmp_path):
    """A Python that cannot do anything."""
    result, steps = check(tmp_path, PYTHON=shutil.which("false"), FASTDEBLUR_STEPS="build parity passes")
    assert result.returncode == 1
    assert steps == {"build": "failed", "parity": "failed", "passes": "skipped"}


def test_no_step_begins_without_time(tmp_path):
    result, steps = check(tmp_path, FASTDEBLUR_GPU_TIME="0", FASTDEBLUR_STEPS="build speed")
    assert result.returncode == 1
    assert steps == {"build": "no time left", "speed": "no time left"}


def test_limits_fit_in_the_whole():
    text = SCRIPT.read_text()
    each = dict(re.findall(r"\[(\w+)\]=(\d+)", text))
    total = re.search(r"FASTDEBLUR_GPU_TIME:-(\d+)", text).group(1)
    assert sum(map(int, each.values())) == int(total) == 570
    assert list(each) == re.search(r"for name in (probe [\w ]+); do", text).group(1).split()


def test_what_a_step_leaves_is_the_later_ones(tmp_path):
    """Every step fails at once, so that each has more than its own seconds, the last one all that is left."""
    _, steps = check(tmp_path, PYTHON=shutil.which("false"))
    order = ["probe", "build", "parity", "memcheck", "racecheck", "nets", "recipes", "speed", "passes"]
    assert list(steps) == order
    given = limits(tmp_path)
    own = dict(re.findall(r"\[(\w+)\]=(\d+)", SCRIPT.read_text()))
    # A second may have gone by before the first, and shares are rounded down.
    assert int(own["probe"]) - 1 <= given["probe"] <= int(own["probe"])
    assert all(given[name] >= int(own[name]) - 1 for name in order)
    assert 400 < given["passes"] <= 570


def test_short_time_is_shared(tmp_path):
    check(tmp_path, PYTHON=shutil.which("false"), FASTDEBLUR_GPU_TIME="57", FASTDEBLUR_STEPS="build parity")
    given = limits(tmp_path)
    assert 35 <= given["build"] <= 40
    assert given["parity"] > 45


def test_steps_tell_device_and_commit(tmp_path):
    check(tmp_path, FASTDEBLUR_STEPS="build passes", FASTDEBLUR_COMMIT="abc")
    assert {(step["device"], step["commit"]) for step in recorded(tmp_path)} == {("Stand-in", "abc")}
    passes = SCRIPT.with_name("gpu_passes.cu").read_text()
    assert 'getenv("FASTDEBLUR_COMMIT")' in passes
    assert '\\"commit\\": ' in passes


def selected(tmp_path, step):
    """Calls of pytest that a step would make: expressions, and files with whether they are run side by side."""
    shim = tmp_path / "python"
    shim.write_text(f'#!/bin/sh\n[ "$1" = -m ] || exit 0\necho "$@" >>"{tmp_path}/calls"\n')
    shim.chmod(0o755)
    environment = {
        "FASTDEBLUR_GPU_DRY": "",
        "PYTHON": str(shim),
        "FASTDEBLUR_STEPS": step,
    }
    result, steps = check(tmp_path, **environment)
    assert steps == {step: "ok"}, result.stdout
    return (tmp_path / "calls").read_text().splitlines()


@pytest.mark.parametrize(("step", "least"), [("parity", 1000), ("recipes", 1000)])
def test_what_a_gpu_is_asked_is_right(tmp_path, step, least):
    """The tests that a real device has to pass, with a stand-in for it: what fails here is no fault of a device."""
    result, steps = check(tmp_path, FASTDEBLUR_STEPS=step, FASTDEBLUR_GPU_TIME="500")
    assert steps == {step: "ok"}, result.stdout
    passed = re.search(r"(\d+) passed", result.stdout)
    assert int(passed[1]) > least


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for Python is a shell script")
def test_what_needs_a_gpu_is_run(tmp_path):
    together, alone = selected(tmp_path, "parity")
    for name in (
        "gpu_nets",
        "gpu_psf",
        "cuda_build",
        "parity",
        "deconvolver",
        "errors",
        "laws",
        "device",
        "interop",
    ):
        assert f"test_{name}.py" in together
        assert (TESTS / f"test_{name}.py").is_file()
    assert "-k cuda or gpu_nets or gpu_psf " in together
    assert "-n 6" in together
    # This one fills the device's memory.
    assert "test_gpu_arrays.py" in alone
    assert "-n 6" not in alone


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for Python is a shell script")
def test_recipes_are_run_after_it(tmp_path):
    together, alone = selected(tmp_path, "recipes")
    assert "-k cupy and not cuda " in together
    assert "test_parity.py" in together
    assert "test_gpu_arrays.py" in alone


@pytest.mark.slow
def test_speeds_are_recorded(tmp_path):
    result, steps = check(tmp_path, FASTDEBLUR_STEPS="speed", FASTDEBLUR_COMMIT="abc")
    assert result.returncode == 0, result.stdout
    assert steps == {"speed": "ok"}
    record = json.loads((tmp_path / "gpu-speed-dry.json").read_text())
    assert record["commit"] == "abc"
    assert record["dry"] is True
    assert record["device"]["name"] == "Stand-in"
    assert len(record["cases"]) == 9
    assert all("cuda" in entry["milliseconds"] for entry in record["cases"])
