"""A race between two calls in one process: A B, B A, A B, ...; an even number of rounds, so that the
order's bias cancels.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Race:
    """Seconds for one call of each side, round by round."""

    ours: tuple[float, ...]
    peer: tuple[float, ...]

    @property
    def ours_median(self) -> float:
        return statistics.median(self.ours)

    @property
    def peer_median(self) -> float:
        return statistics.median(self.peer)

    @property
    def ratio(self) -> float:
        """How many times faster ours is: the ratio of the medians."""
        return self.peer_median / self.ours_median

    @property
    def spread(self) -> tuple[float, float]:
        """Lower and upper quartile of the rounds' own ratios."""
        ratios = [b / a for a, b in zip(self.ours, self.peer, strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return low, high


SLOT = 0.06  # seconds that a side has at a time, or one call
SLOW = 0.25  # seconds above which a call needs no untimed one before it


def once(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def race(ours: Callable[[], object], peer: Callable[[], object], budget: float, most: int = 20) -> Race:
    """As many rounds as fit into about `budget` seconds, even, at least 4 (2 where a call takes half of it)."""
    sides = (ours, peer)
    typical = []
    for call in sides:
        first = once(call)  # warms up: plans, pages, thread pools
        typical.append(first if first > SLOW else min(once(call), once(call)))
    repeats = [max(1, round(SLOT / t)) for t in typical]
    slot = sum((r + (t < SLOW)) * t for r, t in zip(repeats, typical, strict=True))
    rounds = int(budget / slot) // 2 * 2
    rounds = min(max(rounds, 2 if max(typical) > budget / 2 else 4), most)
    times: tuple[list[float], list[float]] = ([], [])
    for k in range(rounds):
        for side in (0, 1) if k % 2 == 0 else (1, 0):
            call = sides[side]
            time.sleep(0.005)  # the other side's threads go to sleep
            if typical[side] < SLOW:
                call()  # its data are in cache, its threads awake
            begin = time.perf_counter()
            for _ in range(repeats[side]):
                call()
            times[side].append((time.perf_counter() - begin) / repeats[side])
    return Race(tuple(times[0]), tuple(times[1]))
