"""Filters: a pattern that an event must match (operators as in Outpost's API).

A pattern is a JSON object. Its keys are names to descend into, or operators; all must hold.
A scalar matches an equal scalar, or an array that contains it; an array matches an array that has
all of its parts. What is missing isn't null. Times are compared as the texts that they are.
"""

from collections.abc import Callable
from typing import Any

from event_router.schemas.errors import InvalidValue

FIELDS = ("id", "topic", "time", "metadata", "data")
DEEPEST = 32

_MISSING = object()


def matches(pattern: Any, value: Any) -> bool:
    """Whether `value` has what `pattern` asks for. Never raises for a pattern that was checked."""
    if isinstance(pattern, dict):
        return all(_holds(name, operand, value) for name, operand in pattern.items())
    if isinstance(pattern, list):
        return isinstance(value, list) and all(_contains(value, part) for part in pattern)
    return _equals(value, pattern)


def _holds(name: str, operand: Any, value: Any) -> bool:
    operator = _OPERATORS.get(name)
    if operator is not None:
        return operator(value, operand)
    return matches(operand, value.get(name, _MISSING) if isinstance(value, dict) else _MISSING)


def _same(one: Any, other: Any) -> bool:
    """JSON equality: true is not 1, as it would be in Python."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)


def _equals(value: Any, operand: Any) -> bool:
    if _same(value, operand):
        return True
    return isinstance(value, list) and any(_same(part, operand) for part in value)


def _contains(value: list[Any], part: Any) -> bool:
    return any(matches(part, element) for element in value)


def _in(value: Any, operand: Any) -> bool:
    if isinstance(operand, list):
        return any(_equals(value, part) for part in operand)
    if isinstance(value, str):
        return isinstance(operand, str) and operand in value
    return _equals(value, operand)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def holds(value: Any, operand: Any) -> bool:
        kind = _kind(value)
        return kind is not None and kind is _kind(operand) and compare(value, operand)

    return holds


def _kind(value: Any) -> type | None:
    """What may be put in order with its like: numbers and texts."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float
    return str if isinstance(value, str) else None


def _starts(value: Any, operand: Any) -> bool:
    return isinstance(value, str) and value.startswith(operand)


def _ends(value: Any, operand: Any) -> bool:
    return isinstance(value, str) and value.endswith(operand)


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _equals,
    "$neq": lambda value, operand: not _equals(value, operand),
    "$gt": _ordered(lambda value, operand: value > operand),
    "$gte": _ordered(lambda value, operand: value >= operand),
    "$lt": _ordered(lambda value, operand: value < operand),
    "$lte": _ordered(lambda value, operand: value <= operand),
    "$in": _in,
    "$nin": lambda value, operand: not _in(value, operand),
    "$startsWith": _starts,
    "$endsWith": _ends,
    "$exist": lambda value, operand: (value is not _MISSING) is operand,
    "$or": lambda value, operand: any(matches(part, value) for part in operand),
    "$and": lambda value, operand: all(matches(part, value) for part in operand),
    "$not": lambda value, operand: not matches(operand, value),
}

_TEXT = ("$startsWith", "$endsWith")
_ORDER = ("$gt", "$gte", "$lt", "$lte")
_LISTS = ("$or", "$and")
_OF_PATTERNS = ("$or", "$and", "$not")


def checked_filter(pattern: Any) -> dict[str, Any]:
    """`pattern`, when it can be evaluated on every event; else InvalidValue names the place."""
    if not isinstance(pattern, dict):
        raise InvalidValue("filter", pattern, "an object")
    _check(pattern, "filter", 0, names_fields=True)
    return pattern


def _check(pattern: Any, path: str, depth: int, *, names_fields: bool) -> None:
    """`names_fields` where names are the event's fields, not those of something within one."""
    if depth > DEEPEST:
        raise InvalidValue(path, "…", f"at most {DEEPEST} levels deep")
    if isinstance(pattern, dict):
        for name, operand in pattern.items():
            place = f"{path}.{name}"
            if names_fields and name not in FIELDS and not name.startswith("$"):
                raise InvalidValue(place, name, f"one of {', '.join(FIELDS)}, or an operator")
            if name.startswith("$"):
                _check_operand(name, operand, place)
            _check(operand, place, depth + 1, names_fields=names_fields and name in _OF_PATTERNS)
    elif isinstance(pattern, list):
        for index, part in enumerate(pattern):
            _check(part, f"{path}[{index}]", depth + 1, names_fields=names_fields)


def _check_operand(name: str, operand: Any, path: str) -> None:
    if name not in _OPERATORS:
        raise InvalidValue(path, name, f"an operator ({', '.join(_OPERATORS)})")
    if name in _TEXT and not isinstance(operand, str):
        raise InvalidValue(path, operand, "a string")
    if name in _ORDER and _kind(operand) is None:
        raise InvalidValue(path, operand, "a number or a string")
    if name == "$exist" and not isinstance(operand, bool):
        raise InvalidValue(path, operand, "true or false")
    if name in _LISTS and not (isinstance(operand, list) and operand):
        raise InvalidValue(path, operand, "a list of patterns")
