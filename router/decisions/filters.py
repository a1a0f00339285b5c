"""Filters: a pattern that an event must match (operators as in Outpost's API).

A pattern is a JSON object. Its keys are names to descend into, or operators; all must hold.
A scalar matches an equal scalar, or an array that contains it; an array matches an array that has
all of its parts. What is missing isn't null. Times are compared as the texts that they are.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from event_router.schemas.errors import EventRouterError, InvalidValue

FIELDS = ("id", "topic", "time", "metadata", "data")
DEEPEST = 32
LARGEST = 16 * 1024
"""Bytes of a filter as JSON."""
STEPS = 10_000
"""Of one filter for one event: some 10 ms at most, a few microseconds mostly."""
STEPS_OF_ALL = 3 * STEPS
"""Of all filters for one event."""

_MISSING = object()
_COMPARED_AT_ONCE = 128  # elements of a list that cost as much as a step
_LOOKED_AT_AT_ONCE = 32
_LETTERS_AT_ONCE = 128


class TooCostly(EventRouterError):
    """The event is too large for what the filter asks of it."""


class Allowance:
    """What is left of the steps that several filters may take together."""

    __slots__ = ("left",)

    def __init__(self, steps: int = STEPS_OF_ALL) -> None:
        self.left = steps


def matches(pattern: Any, value: Any, allowance: Allowance | None = None) -> bool:
    """Whether `value` has what `pattern` asks for. For a pattern that was checked it raises
    TooCostly when that isn't known after STEPS, or what the allowance leaves, and nothing else."""
    if allowance is None:
        return _Evaluation(STEPS).matches(pattern, value)
    by = _Evaluation(min(STEPS, allowance.left))
    before = by.left
    try:
        return by.matches(pattern, value)
    finally:
        allowance.left -= before - max(by.left, 0)


class _Evaluation:
    """One filter on one event: each step counts, so nobody's filter holds up the others."""

    __slots__ = ("left",)

    def __init__(self, steps: int) -> None:
        self.left = steps

    def matches(self, pattern: Any, value: Any) -> bool:
        self._spend(1)
        if isinstance(pattern, dict):
            return all(self._holds(name, operand, value) for name, operand in pattern.items())
        if isinstance(pattern, list):
            return isinstance(value, list) and all(self._contains(value, one) for one in pattern)
        return self.equals(value, pattern)

    def equals(self, value: Any, operand: Any) -> bool:
        if self._same(value, operand):
            return True
        return isinstance(value, list) and self._has(value, operand)

    def among(self, value: Any, operand: Any) -> bool:
        if isinstance(operand, list):
            return any(self.equals(value, part) for part in operand)
        if isinstance(value, str):
            self._spend(len(value) // _LETTERS_AT_ONCE)
            return isinstance(operand, str) and operand in value
        return self.equals(value, operand)

    def _holds(self, name: str, operand: Any, value: Any) -> bool:
        operator = _OPERATORS.get(name)
        if operator is not None:
            return operator(self, value, operand)
        return self.matches(
            operand, value.get(name, _MISSING) if isinstance(value, dict) else _MISSING
        )

    def _has(self, value: list[Any], operand: Any) -> bool:
        """Whether one of the list's elements is the same. Python's own search is fast, and finds
        too much only; how deep it looks into what is nested, nobody counts."""
        if isinstance(operand, dict | list):
            return any(self._same(one, operand) for one in value)
        self._spend(1 + len(value) // _COMPARED_AT_ONCE)
        at = -1
        while True:
            try:
                at = value.index(operand, at + 1)
            except ValueError:
                return False
            if self._same(value[at], operand):
                return True

    def _same(self, one: Any, other: Any) -> bool:
        """JSON equality: true is not 1, as it would be in Python."""
        self._spend(1)
        if isinstance(one, bool) or isinstance(other, bool):
            return one is other
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and all(map(self._same, one, other))
        if isinstance(one, dict) and isinstance(other, dict):
            return one.keys() == other.keys() and all(
                self._same(one[key], other[key]) for key in one
            )
        return bool(one == other)

    def _contains(self, value: list[Any], part: Any) -> bool:
        if isinstance(part, dict | list):
            return any(self.matches(part, one) for one in value)
        if self._has(value, part):
            return True
        self._spend(len(value) // _LOOKED_AT_AT_ONCE)
        return any(self._has(one, part) for one in value if isinstance(one, list))

    def _spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise TooCostly(f"more than {STEPS} steps, or {STEPS_OF_ALL} with other filters")


_Operator = Callable[[_Evaluation, Any, Any], bool]


def _ordered(compare: Callable[[Any, Any], bool]) -> _Operator:
    def holds(_: _Evaluation, value: Any, operand: Any) -> bool:
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


_OPERATORS: dict[str, _Operator] = {
    "$eq": _Evaluation.equals,
    "$neq": lambda by, value, operand: not by.equals(value, operand),
    "$gt": _ordered(lambda value, operand: value > operand),
    "$gte": _ordered(lambda value, operand: value >= operand),
    "$lt": _ordered(lambda value, operand: value < operand),
    "$lte": _ordered(lambda value, operand: value <= operand),
    "$in": _Evaluation.among,
    "$nin": lambda by, value, operand: not by.among(value, operand),
    "$startsWith": lambda _, value, operand: isinstance(value, str) and value.startswith(operand),
    "$endsWith": lambda _, value, operand: isinstance(value, str) and value.endswith(operand),
    "$exist": lambda _, value, operand: (value is not _MISSING) is operand,
    "$or": lambda by, value, operand: any(by.matches(part, value) for part in operand),
    "$and": lambda by, value, operand: all(by.matches(part, value) for part in operand),
    "$not": lambda by, value, operand: not by.matches(operand, value),
}

_TEXT = ("$startsWith", "$endsWith")
_ORDER = ("$gt", "$gte", "$lt", "$lte")
_LISTS = ("$or", "$and")
_OF_PATTERNS = ("$or", "$and", "$not")


def checked_filter(pattern: Any) -> dict[str, Any]:
    """`pattern`, when it can be evaluated on every event; else InvalidValue names the place."""
    if not isinstance(pattern, dict):
        raise InvalidValue("filter", pattern, "an object")
    _check_size(pattern)
    _check(pattern, "filter", 0, names_fields=True)
    return pattern


def _check_size(pattern: dict[str, Any]) -> None:
    try:
        size = len(msgspec.json.encode(pattern))
    except (RecursionError, OverflowError, ValueError):  # too deep, or a number of its own kind
        raise InvalidValue(
            "filter", "…", f"at most {DEEPEST} levels deep, of JSON's values"
        ) from None
    if size > LARGEST:
        raise InvalidValue("filter", f"{size} bytes", f"at most {LARGEST} bytes of JSON")


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
