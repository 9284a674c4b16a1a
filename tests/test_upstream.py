"""SciPy's own tests, from its wheel, on our functions: what passes with the original passes with ours."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from conftest import need

HERE = Path(__file__).resolve().parent / "upstream"
sys.path.insert(0, str(HERE))

import selection  # noqa: E402


def outcomes_of(folder, patch, only=None):
    """Outcomes, answered calls and output of a pytest of its own, without our configuration."""
    import scipy

    name = "ours" if patch else "original"
    report = folder / f"{name}.json"
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
        "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "UPSTREAM_PATCH": str(int(patch)),
        "UPSTREAM_REPORT": str(report),
        # The arrays are small.
        "OMP_NUM_THREADS": "1",
    }
    tests = selection.MODULES
    if only is not None:
        # Only the functions are collected whose tests are run again: there are thousands of others.
        tests = sorted(
            {f"scipy.{test.partition('[')[0].replace('.py', '').replace('/', '.')}" for test in only}
        )
        chosen = folder / "only.txt"
        chosen.write_text("\n".join(only), encoding="utf-8")
        environment["UPSTREAM_ONLY"] = str(chosen)
    root = Path(scipy.__file__).parent
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-c", str(HERE / "pytest.ini")]
    command += [f"--rootdir={root}", f"--confcutdir={root}"]
    for plugin in ("in_place", "no:cacheprovider", "no:benchmark", "no:randomly"):
        command += ["-p", plugin]
    run = subprocess.run(
        [*command, "--pyargs", *tests],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=1800,
        check=False,
    )
    text = run.stdout.decode("utf-8", errors="replace")
    assert run.returncode in (0, 1), f"pytest ended with status {run.returncode}:\n{text[-3000:]}"
    result = json.loads(report.read_text(encoding="utf-8"))
    return result["outcomes"], Counter(result["answered"]), text


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Outcomes with ours, answered calls, outcomes with the original of all that did not pass with ours, and the output."""
    need("native")
    pytest.importorskip("scipy")
    if importlib.util.find_spec("scipy.signal.tests") is None:
        pytest.skip("SciPy was installed without its tests")
    folder = tmp_path_factory.mktemp("upstream")
    ours, answered, output = outcomes_of(folder, True)
    # A test that passes with ours need not be run with the original: nothing could be worse.
    failed = [test for test, outcome in ours.items() if outcome != "passed"]
    original = outcomes_of(folder, False, only=failed)[0] if failed else {}
    return ours, answered, original, output


def worse(ours, original):
    return [test for test, outcome in original.items() if outcome == "passed" != ours[test]]


@pytest.mark.slow
def test_what_passes_with_the_original_passes_with_ours(run):
    ours, _, original, output = run
    assert len(ours) > 1000, "most of SciPy's tests were not found"
    patterns = [pattern for pattern, _ in selection.EXCEPTIONS]
    failures = [test for test in worse(ours, original) if not any(re.search(p, test) for p in patterns)]
    assert not failures, "\n".join([*failures, output[-20_000:]])


@pytest.mark.slow
def test_every_exception_is_needed(run):
    ours, _, original, _ = run
    failures = worse(ours, original)
    stale = [p for p, _ in selection.EXCEPTIONS if not any(re.search(p, test) for test in failures)]
    assert not stale


@pytest.mark.slow
def test_our_functions_were_in_place(run):
    _, answered, _, _ = run
    silent = {name for name, count in answered.items() if count == 0}
    assert silent == selection.NEVER_ANSWERED.keys() & answered.keys(), answered
