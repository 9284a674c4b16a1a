"""What a value in a configuration may be; each rule returns the value or raises an error that names key and rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from fastdeblur.errors import InvalidArgument

Rule = Callable[[str, Any], Any]


def wrong(key: str, rule: str, value: object) -> InvalidArgument:
    return InvalidArgument(f"{key}: expected {rule}, got {value!r}")


def count(minimum: int = 0, multiple: int = 1, maximum: int | None = None) -> Rule:
    """A whole number."""
    rule = f"an integer >= {minimum}" + (f", a multiple of {multiple}" if multiple > 1 else "")
    rule += "" if maximum is None else f" and <= {maximum}"

    def check(key: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum or value % multiple:
            raise wrong(key, rule, value)
        if maximum is not None and value > maximum:
            raise wrong(key, rule, value)
        return value

    return check


def number(low: float = -math.inf, high: float = math.inf, *, above: bool = False) -> Rule:
    """A finite number in [low, high], or in (low, high] with ``above``."""
    rule = "a number" if math.isinf(low) else f"a number {'>' if above else '>='} {low:g}"
    rule += "" if math.isinf(high) else f" and <= {high:g}"

    def check(key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise wrong(key, rule, value)
        if value < low or value > high or (above and value == low):
            raise wrong(key, rule, value)
        return float(value)

    return check


def span(each: Rule) -> Rule:
    """Two values, the first not above the second."""

    def check(key: str, value: Any) -> tuple[Any, Any]:
        if not isinstance(value, list) or len(value) != 2:
            raise wrong(key, "[least, most]", value)
        low, high = (each(f"{key}[{k}]", v) for k, v in enumerate(value))
        if low > high:
            raise wrong(key, "[least, most]", value)
        return low, high

    return check


def several(each: Rule, *, least: int = 0) -> Rule:
    """A list."""

    def check(key: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) < least:
            raise wrong(key, f"a list of at least {least}" if least else "a list", value)
        return tuple(each(f"{key}[{k}]", v) for k, v in enumerate(value))

    return check


def text(key: str, value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise wrong(key, "a text", value)
    return value


def file_name(key: str, value: Any) -> str:
    """A text that can be the name of a file on every system, in the folder that it is put into and no other."""
    name = text(key, value)
    if (
        name.startswith((".", " "))
        or name.endswith((".", " "))
        or not name.isprintable()
        or set(name) & set('/\\:*?"<>|')
    ):
        raise wrong(key, "a name that a file can have, without a folder", value)
    return name


def one_of(*choices: object) -> Rule:
    """One of some values."""

    def check(key: str, value: Any) -> Any:
        if not any(value == choice and type(value) is type(choice) for choice in choices):
            raise wrong(key, " or ".join(map(repr, choices)), value)
        return value

    return check


def either(rule: Rule, *others: object) -> Rule:
    """What a rule allows, or one of some values."""

    def check(key: str, value: Any) -> Any:
        if any(value == other and type(value) is type(other) for other in others):
            return value
        try:
            return rule(key, value)
        except InvalidArgument as error:
            expected = str(error).partition(": expected ")[2].rpartition(", got ")[0]
            raise wrong(key, " or ".join([expected, *map(repr, others)]), value) from None

    return check


def known_keys(where: str, given: Sequence[str], known: Sequence[str]) -> None:
    """Refuses a key that nobody reads, most often a slip of the pen."""
    for key in given:
        if key not in known:
            raise InvalidArgument(f"{where}{key}: expected one of the keys {', '.join(known)}, got this one")
