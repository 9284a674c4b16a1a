"""What the pytest-benchmark suites share."""

from __future__ import annotations

import pytest

from peers import Call
from speed_cases import Case, Peer, require_agreement


def sides(cases: tuple[Case, ...]) -> list[object]:
    """(case, peer) for every side of every race; peer None is ours."""
    return [
        pytest.param(
            case, peer, id=f"{case.name}-{'fastdeblur' if peer is None else peer.name.replace(' ', '_')}"
        )
        for case in cases
        for peer in (None, *case.peers)
    ]


def prepared(case: Case, peer: Peer | None) -> Call:
    """The side's call; skips where the peer is not installed, fails where its answer is another."""
    if peer is None:
        return case.prepare()
    try:
        call = peer.prepare()
    except ImportError as error:
        pytest.skip(f"{peer.name}: {error}")
    if peer.same is not None:
        require_agreement(peer, call(), case.prepare()())
    return call
