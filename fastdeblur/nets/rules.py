"""What an attribute of a layer may be: a rule makes of a JSON value the one that is computed with, or says what it expected."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

# No layer of any use has a larger number, and products of several still fit into 64 bits.
MOST = 1 << 16
MOST_STEP = 1 << 12  # of a stride, a padding, a factor of size; taps of a kernel
LARGEST = 1e30  # of a real number; squares of it still fit in double precision


class Attribute(NamedTuple):
    """An attribute's default, what it must be, in words, and the test of it."""

    default: Any
    expected: str
    accept: Callable[[Any], Any]  # the value, or raises ValueError


def _integer(value: Any, least: int, most: int = MOST) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError
    return value


def _integers(value: Any, count: int, least: int, most: int = MOST) -> list[int]:
    if not isinstance(value, (list, tuple)) or len(value) != count:
        raise ValueError
    return [_integer(n, least, most) for n in value]


def count(default: int) -> Attribute:
    return Attribute(default, f"an integer from 1 to {MOST}", lambda value: _integer(value, 1))


def pair(most: int = MOST) -> Attribute:
    return Attribute(
        [1, 1], f"two integers from 1 to {most}, rows first", lambda value: _integers(value, 2, 1, most)
    )


def margins() -> Attribute:
    return Attribute(
        [0, 0, 0, 0],
        f"four integers from 0 to {MOST_STEP}, [top, bottom, left, right]",
        lambda value: _integers(value, 4, 0, MOST_STEP),
    )


def window() -> Attribute:
    return Attribute(
        None,
        f"null or two integers from 1 to {MOST}, rows first",
        lambda value: None if value is None else _integers(value, 2, 1),
    )


def choice(*names: str) -> Attribute:
    def accept(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError
        return value

    return Attribute(names[0], f"one of {', '.join(names)}", accept)


def is_number(value: Any) -> bool:
    """A finite real number of a size that float32 can be computed with."""
    return type(value) in (int, float) and math.isfinite(value) and abs(value) <= LARGEST


def number(default: float, least: float = -LARGEST) -> Attribute:
    def accept(value: Any) -> float:
        if not is_number(value) or value < least:
            raise ValueError
        return float(value)

    rule = f">= {least:g}" if least > -LARGEST else f"within +-{LARGEST:g}"
    return Attribute(default, f"a number {rule}", accept)


def factors() -> Attribute:
    """Per axis a whole number, or one over one."""

    def accept(value: Any) -> list[int | float]:
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise ValueError
        return [_factor(f) for f in value]

    return Attribute([2, 2], f"two whole numbers up to {MOST_STEP}, or one over such", accept)


def _factor(value: Any) -> int | float:
    if not is_number(value) or value <= 0:
        raise ValueError
    whole = round(value) if value >= 1 else round(1 / max(value, 1e-9))
    exact = float(whole) if value >= 1 else 1 / whole
    if whole > MOST_STEP or abs(value - exact) > 1e-6 * exact:
        raise ValueError
    return whole if value >= 1 else exact
