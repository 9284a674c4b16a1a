"""`python -m fastdeblur SCRIPT`: a program cannot tell, but by its speed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastdeblur

SCRIPTS = Path(__file__).resolve().parent / "upstream" / "scripts"

# All that a program can ask about itself, and whether it is patched.
SHOW = """\
import json, sys
me = sys.modules["__main__"]
spec = __spec__ and __spec__.name
print(json.dumps({
    "argv": sys.argv, "path": sys.path[0], "name": __name__, "spec": spec, "package": __package__,
    "file": globals().get("__file__"), "main": me.__dict__ is globals(), "loader": type(__loader__).__name__,
    "names": sorted(n for n in globals() if n[:2] != "__"), "doc": __doc__,
}))
"""


def run(*arguments, cwd, ours=True, **options):
    command = [sys.executable, *(["-m", "fastdeblur"] if ours else []), *map(str, arguments)]
    # The source tree is found in the same way from everywhere, if it is not installed.
    environment = {**os.environ, "PYTHONPATH": str(Path(fastdeblur.__file__).parent.parent)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, **options)


def same_as_plain(*arguments, cwd, **options):
    ours = run(*arguments, cwd=cwd, **options)
    plain = run(*arguments, cwd=cwd, ours=False, **options)
    assert (ours.stdout, ours.stderr, ours.returncode) == (plain.stdout, plain.stderr, plain.returncode)
    return ours


@pytest.fixture
def folder(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    for path in ("show.py", "package/__init__.py", "package/__main__.py", "package/show.py"):
        (tmp_path / path).write_text(SHOW if "init" not in path else "", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", SHOW)
    (tmp_path / "elsewhere").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ("show.py",),
        ("show.py", "-m", "--help", "a b"),
        ("./package/show.py", "1"),
        ("package", "1"),
        ("archive.zip", "1"),
        ("-m", "show", "1"),
        ("-m", "package", "-h"),
        ("-m", "package.show"),
    ],
    ids=" ".join,
)
def test_a_program_sees_what_python_shows_it(folder, arguments):
    shown = json.loads(same_as_plain(*arguments, cwd=folder).stdout)
    assert shown["main"]
    assert shown["name"] == "__main__"


def test_a_script_elsewhere(folder):
    same_as_plain("../show.py", cwd=folder / "elsewhere")


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
def test_the_path_begins_where_a_link_leads(folder):
    (folder / "elsewhere" / "link.py").symlink_to(folder / "show.py")
    shown = json.loads(same_as_plain("elsewhere/link.py", cwd=folder).stdout)
    assert Path(shown["path"]) == folder.resolve()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import sys; print(sys.argv, repr(sys.path[0]), __name__)", 0),
        ("import sys; sys.exit(7)", 7),
        ("raise SystemExit('no')", 1),
        ("import atexit; atexit.register(print, 'later'); 1 / 0", 1),
        ("x = = 1", 1),
        (
            "import threading; threading.Timer(0.1, lambda: print(__name__, f(3))).start(); f = lambda x: x * x",
            0,
        ),
    ],
    ids=["argv", "status", "message", "exception", "syntax", "threads"],
)
def test_code_and_exit_status(tmp_path, code, status):
    ours, plain = (run("-c", code, "a", "-b", cwd=tmp_path, ours=ours) for ours in (True, False))
    assert (ours.stdout, ours.returncode) == (plain.stdout, status)
    # Newer versions of Python quote the code, which only they know, above the last line.
    assert ours.stderr.split("\n")[-2:] == plain.stderr.split("\n")[-2:]
    assert "__main__.py" not in ours.stderr


def test_tracebacks_have_only_the_programs_frames(tmp_path):
    (tmp_path / "fails.py").write_text(
        "def f():\n    raise KeyError(1)\n\ntry:\n    f()\nexcept KeyError as e:\n    raise ValueError('x') from e\n",
        encoding="utf-8",
    )
    assert same_as_plain("fails.py", cwd=tmp_path).returncode == 1
    ours = run("-m", "fails", cwd=tmp_path)
    assert "fastdeblur" not in ours.stderr.replace(str(tmp_path), "")
    (tmp_path / "broken.py").write_text("def (:\n", encoding="utf-8")
    assert same_as_plain("broken.py", cwd=tmp_path).returncode == 1


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupt_ends_as_in_python(tmp_path):
    (tmp_path / "interrupted.py").write_text("raise KeyboardInterrupt\n", encoding="utf-8")
    assert same_as_plain("interrupted.py", cwd=tmp_path).returncode == -signal.SIGINT


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.py",), "no such file: 'missing.py'"),
        (("-m", "no_such_module"), "no module named no_such_module"),
        (("-m", "json"), "json.__main__"),
        (("elsewhere",), "no __main__.py in 'elsewhere'"),
        (("-m",), "-m: expected an argument"),
        (("-x",), "unknown option -x"),
        ((), "expected a script"),
    ],
)
def test_what_is_not_there(folder, arguments, message):
    result = run(*arguments, cwd=folder)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_isa_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTDEBLUR_ISA", "v9")
    result = run("-c", "print(1)", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "FASTDEBLUR_ISA" in result.stderr


def test_options_may_be_attached(tmp_path):
    (tmp_path / "told.py").write_text("import sys\nprint(__name__, sys.argv[1:])\n", encoding="utf-8")
    assert same_as_plain("-mtold", "a", cwd=tmp_path).stdout == "__main__ ['a']\n"
    assert same_as_plain("-cimport sys; print(sys.argv)", "b", cwd=tmp_path).stdout == "['-c', 'b']\n"


def test_help_and_version(tmp_path):
    for option in ("-h", "--help"):
        result = run(option, cwd=tmp_path)
        assert result.returncode == 0
        assert re.match(r"usage: python -m fastdeblur SCRIPT", result.stdout)
    assert run("--version", cwd=tmp_path).stdout == f"fastdeblur {fastdeblur.__version__}\n"


def test_the_program_is_patched(tmp_path):
    pytest.importorskip("scipy")
    (tmp_path / "patched.py").write_text(
        "import sys\n"
        "assert 'scipy' not in sys.modules\n"
        "import scipy.ndimage as n, scipy.signal as s, fastdeblur.scipy.ndimage as on, fastdeblur.scipy.signal as os\n"
        "assert all(getattr(n, x) is getattr(on, x) for x in on.fastdeblur_names)\n"
        "assert all(getattr(s, x) is getattr(os, x) for x in os.fastdeblur_names)\n"
        "assert not n.__spec__.loader.__module__.startswith('fastdeblur')\n"
        "print('patched')\n",
        encoding="utf-8",
    )
    result = run("patched.py", cwd=tmp_path)
    assert result.stdout == "patched\n", result.stderr


@pytest.mark.skipif(sys.platform == "emscripten", reason="processes")
def test_a_pool_of_processes(tmp_path):
    (tmp_path / "pool.py").write_text(
        "import multiprocessing\n"
        "def square(x):\n"
        "    return x * x\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(square, [1, 2, 3]))\n",
        encoding="utf-8",
    )
    assert same_as_plain("pool.py", cwd=tmp_path).stdout == "[1, 4, 9]\n"


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.py")), ids=lambda p: p.stem)
def test_scikit_images_examples_give_the_same_pictures(tmp_path, script):
    pytest.importorskip("skimage")
    if "estimate_sigma" in script.read_text(encoding="utf-8"):
        pytest.importorskip("pywt")
    with ThreadPoolExecutor() as pool:
        results = pool.map(lambda ours: run(script, f"{ours}.npz", cwd=tmp_path, ours=ours), (False, True))
    for result in results:
        assert result.returncode == 0, result.stderr
    with np.load(tmp_path / "False.npz") as original, np.load(tmp_path / "True.npz") as patched:
        assert set(original) == set(patched)
        for name in original:
            a, b = original[name], patched[name]
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-6 * np.abs(a).max(), err_msg=name)
