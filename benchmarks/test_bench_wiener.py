"""Wiener, one call and through a plan, with its peers side by side."""

import pytest

from speed_cases import WIENER
from suites import sides


@pytest.mark.parametrize(("case", "peer"), sides(WIENER))
def test_wiener(case, peer, timed):
    timed(case, peer)
