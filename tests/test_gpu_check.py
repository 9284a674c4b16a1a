"""The GPU check's script, rehearsed: a step that fails or runs over stops no other, and all is written down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import why_not
from fastdeblur import nets

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "gpu_check.sh"

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
        timeout=120,
        check=False,
    )
    steps = [json.loads(line) for line in (tmp_path / "gpu-steps.jsonl").read_text().splitlines()]
    return result, {step["step"]: step["status"] for step in steps}


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


@pytest.mark.slow
def test_speeds_are_recorded(tmp_path):
    result, steps = check(tmp_path, FASTDEBLUR_STEPS="speed", FASTDEBLUR_COMMIT="abc")
    assert result.returncode == 0, result.stdout
    assert steps == {"speed": "ok"}
    record = json.loads((tmp_path / "gpu-speed-dry.json").read_text())
    assert record["commit"] == "abc"
    assert record["dry"] is True
    assert record["device"]["name"] == "Stand-in"
    assert len(record["cases"]) == 7
    assert all("cuda" in entry["milliseconds"] for entry in record["cases"])
