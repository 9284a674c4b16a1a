"""What the documentation shows does what it says; read from a checkout, since an installation has no documentation."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from fastdeblur import psf

ROOT = Path(__file__).resolve().parent.parent


def page(name):
    path = ROOT / name
    return path.read_text(encoding="utf-8") if path.is_file() else ""


PYTHON = re.findall(r"^```python\n(.*?)^```", page("README.md"), re.M | re.S)
KERNELS = re.findall(r"^    (psf\.(?!\w+\(\.\.\.).+?)  +# *(.*)$", page("docs/psf.md"), re.M)
COMMANDS = [
    (name, line)
    for name in ("README.md", "docs/cli.md")
    for line in re.findall(r"^    fastdeblur (.+)$", page(name), re.M)
]

pytestmark = pytest.mark.skipif(not page("README.md"), reason="the documentation is not beside the tests")


def test_the_documentation_has_what_is_tested_here():
    assert len(PYTHON) >= 2
    assert sum("shape" in code for code, _ in KERNELS) >= 8
    assert {name for name, _ in COMMANDS} == {"README.md", "docs/cli.md"}


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.split("\n", 1)[0])
def test_readmes_python_runs(code):
    for package in ("scipy", "skimage"):
        if f"fastdeblur.{package}" in code:
            pytest.importorskip(package)
    # A tenth of the size: what it shows is the calls.
    names: dict[str, object] = {}
    exec(compile(code.replace("1080, 1920", "108, 192"), "README.md", "exec"), names)
    if "sharp" in names:
        assert names["sharp"].shape == (108, 192, 3)
        assert np.isfinite(names["out"]).all()


def measured():
    """What the page's examples measure kernels from."""
    bead = psf.gaussian((1.5, 2.0, 2.0))
    stack = np.zeros((48, 64, 64))
    for z, y, x in ((10, 14, 18), (30, 40, 44)):
        stack[z : z + bead.shape[0], y - 7 : y - 7 + bead.shape[1], x - 7 : x - 7 + bead.shape[2]] += bead
    rows, columns = np.mgrid[:96, :96]
    photo = 1 / (1 + np.exp(-(columns - 48 - 0.12 * (rows - 48)) / 1.2))
    path = np.array([(0, 0), (3, 1), (4, 6)])
    return {
        "stack": stack,
        "photo": photo,
        "star": psf.gaussian(2.0),
        "path": path,
        "times": [0, 0.008, 0.02],
    }


@pytest.mark.parametrize(("code", "says"), KERNELS)
def test_psf_pages_kernels(code, says):
    # A hundredth as many kernels: what the page shows is the calls.
    code = code.replace("10_000", "100").replace("(64, 128, 128)", "(16, 32, 32)")
    result = eval(code, {"psf": psf, "np": np, **measured()})
    if code.endswith(".shape"):
        shape = re.match(r"\([\d, ]+\)", says)
        assert shape, f"{code} says no shape: {says}"
        assert result == ast.literal_eval(shape[0])
    else:
        axes = (-3, -2, -1) if "z_step" in code or "stack" in code else (-2, -1)
        np.testing.assert_allclose(result.sum(axes), 1, rtol=1e-6)


@pytest.mark.parametrize(("name", "line"), COMMANDS)
def test_commands_are_understood(name, line):
    typer = pytest.importorskip("typer")
    for package in ("rich", "PIL", "tifffile", "imagecodecs"):
        pytest.importorskip(package)
    from fastdeblur.cli import psfspec
    from fastdeblur.cli.app import app

    command, *arguments = shlex.split(line)
    parsed = typer.main.get_command(app).commands[command].make_context(command, arguments)
    spec = parsed.params.get("psf") or ""
    if ":" in spec:
        assert psfspec.parse(spec, 3 if parsed.params["volume"] else 2).sum() == pytest.approx(1)
