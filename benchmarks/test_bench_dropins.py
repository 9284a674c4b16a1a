"""The drop-ins beside the functions whose place they take."""

import pytest

from dropin_cases import DROPINS
from suites import sides


@pytest.mark.parametrize(("case", "peer"), sides(DROPINS))
def test_dropin(case, peer, timed):
    timed(case, peer)
