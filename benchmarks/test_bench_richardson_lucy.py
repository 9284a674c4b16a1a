"""Richardson-Lucy in two and three dimensions, with its peers side by side."""

import pytest

from speed_cases import RICHARDSON_LUCY
from suites import sides


@pytest.mark.parametrize(("case", "peer"), sides(RICHARDSON_LUCY))
def test_richardson_lucy(case, peer, timed):
    timed(case, peer)
