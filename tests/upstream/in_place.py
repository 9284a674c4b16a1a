"""A pytest plugin that runs SciPy's tests on our functions.

Environment: UPSTREAM_PATCH=1 puts ours in place before the tests are imported; UPSTREAM_ONLY names a file with the node ids to
run, else `selection.TESTS` decides, and UPSTREAM_ALL=1 leaves out no sample; the outcomes and the calls that ours answered go
to UPSTREAM_REPORT.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from zlib import crc32

import selection

PATCH = os.environ["UPSTREAM_PATCH"] == "1"
REPORT = Path(os.environ["UPSTREAM_REPORT"])

only = os.environ.get("UPSTREAM_ONLY")
ONLY = frozenset(Path(only).read_text(encoding="utf-8").split("\n")) if only else None

outcomes: dict[str, str] = {}
answered: Counter[str] = Counter()


def count_answers(name, function):
    """Count the calls that our function takes, rather than the original that it stands in front of."""
    cell = function.__closure__[function.__code__.co_freevars.index("ours")]
    ours = cell.cell_contents

    def counted(*args, **kwargs):
        result = ours(*args, **kwargs)
        answered[name] += result is not NotImplemented
        return result

    cell.cell_contents = counted


def know_capabilities(function):
    """SciPy's test decorators look up by the function itself what its tests may be run with."""
    try:
        from scipy._lib._array_api import xp_capabilities_table
    except ImportError:
        return
    original = function.__fastdeblur_original__
    if original in xp_capabilities_table:
        xp_capabilities_table[function] = xp_capabilities_table[original]


def take_small_arrays():
    """SciPy's tests are made of small arrays, which ours leaves to the original where that is as fast; here it takes them."""
    for name, module in list(sys.modules.items()):
        if name.startswith("fastdeblur.scipy.") and hasattr(module, "_FEW"):
            module._FEW = 0


def put_in_place():
    import importlib

    import fastdeblur

    fastdeblur.patch()
    for module in ("scipy.signal", "scipy.ndimage"):
        original = importlib.import_module(module)
        ours = importlib.import_module(f"fastdeblur.{module}")
        for name in ours.fastdeblur_names:
            function = getattr(ours, name)
            assert getattr(original, name) is function, f"{module}.{name} is not ours"
            count_answers(f"{module}.{name}", function)
            answered[f"{module}.{name}"] = 0
            know_capabilities(function)
    take_small_arrays()


if PATCH:
    put_in_place()


def chosen(item):
    if ONLY is not None:
        return item.nodeid in ONLY
    for pattern, one_of in selection.TESTS:
        if re.search(pattern, item.nodeid):
            everything = os.environ.get("UPSTREAM_ALL") == "1"
            # By a checksum, so that a sample has something of every parameter, and is always the same.
            return one_of > 0 and (everything or crc32(item.nodeid.encode()) % one_of == 0)
    return False


def pytest_collection_modifyitems(config, items):
    to_run = [chosen(item) for item in items]
    config.hook.pytest_deselected(items=[item for item, run in zip(items, to_run, strict=True) if not run])
    items[:] = [item for item, run in zip(items, to_run, strict=True) if run]


def pytest_runtest_logreport(report):
    before = outcomes.get(report.nodeid, "passed")
    if before == "passed":
        # SciPy expects some to fail, or to pass by luck: sepfir2d's own code reads out of bounds in one of them.
        outcomes[report.nodeid] = "expected to fail" if hasattr(report, "wasxfail") else report.outcome


def pytest_sessionfinish():
    REPORT.write_text(json.dumps({"outcomes": outcomes, "answered": answered}), encoding="utf-8")
