"""Deriving a schema from rows. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from math import isfinite
from typing import Any

from event_router.client.errors import BadArgument
from event_router.client.values import plain
from event_router.schemas.columns import Column, ColumnType, EventSchema, is_number
from event_router.schemas.errors import InvalidValue
from event_router.schemas.timestamps import TimestampFormat, parse_timestamp


@dataclass(slots=True)
class _Seen:
    """What the values of one column have been so far."""

    count: int = 0
    types: set[ColumnType] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    lengths: set[int] = field(default_factory=set)
    times: bool = True
    minimum: float = float("inf")
    maximum: float = float("-inf")


class Derivation:
    """Sees rows, and says which schema all of them keep."""

    def __init__(self, categories: int) -> None:
        self._categories = categories
        self._rows = 0
        self._columns: dict[str, _Seen] = {}

    def see(self, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            self._rows += 1
            for name, value in row.items():
                seen = self._columns.get(name)
                if seen is None:
                    seen = self._columns[name] = _Seen()
                self._value(name, value, seen)

    def schema(self) -> EventSchema:
        """Raises BadArgument for a column that has no value, or values of several types."""
        if not self._columns:
            raise BadArgument("frame", self._rows, "rows with columns to derive a schema from")
        return EventSchema(tuple(self._column(name, seen) for name, seen in self._columns.items()))

    def _value(self, name: str, value: Any, seen: _Seen) -> None:
        value = _builtin(name, value)
        if value is None:
            return
        seen.count += 1
        kind = _type_of(name, value)
        seen.types.add(kind)
        if is_number(value):
            seen.minimum, seen.maximum = min(seen.minimum, value), max(seen.maximum, value)
        elif kind is ColumnType.VECTOR:
            seen.lengths.add(len(value))
        elif kind is ColumnType.STRING:
            self._text(value, seen)

    def _text(self, value: str, seen: _Seen) -> None:
        seen.times = seen.times and _is_time(value)
        if len(seen.texts) <= self._categories:
            seen.texts.add(value)

    def _column(self, name: str, seen: _Seen) -> Column:
        nullable = seen.count < self._rows
        match sorted(seen.types):
            case []:
                raise BadArgument(f"frame.{name}", None, "a column with a value")
            case [ColumnType.FLOAT] | [ColumnType.INTEGER] | [
                ColumnType.FLOAT, ColumnType.INTEGER,
            ]:  # fmt: skip
                kind = ColumnType.FLOAT if ColumnType.FLOAT in seen.types else ColumnType.INTEGER
                return Column(name, kind, nullable, seen.minimum, seen.maximum)
            case [ColumnType.STRING]:
                return self._of_texts(name, nullable, seen)
            case [ColumnType.VECTOR]:
                [length] = seen.lengths if len(seen.lengths) == 1 else [None]
                return Column(name, ColumnType.VECTOR, nullable, dimensions=length)
            case [kind]:
                return Column(name, kind, nullable)
            case several:
                raise BadArgument(f"frame.{name}", [str(one) for one in several], "of one type")

    def _of_texts(self, name: str, nullable: bool, seen: _Seen) -> Column:
        if seen.times:
            return Column(name, ColumnType.TIMESTAMP, nullable)
        if len(seen.texts) > self._categories:
            return Column(name, ColumnType.STRING, nullable)
        return Column(name, ColumnType.CATEGORY, nullable, allowed=tuple(sorted(seen.texts)))


def _builtin(name: str, value: Any) -> Any:
    if isinstance(value, Decimal):
        value = float(value) if value.is_finite() else None
    elif type(value).__module__ not in ("builtins", "datetime"):
        try:
            value = plain(value)
        except TypeError as error:
            raise BadArgument(f"frame.{name}", value, str(error)) from error
    return None if isinstance(value, float) and not isfinite(value) else value


_TYPES: tuple[tuple[type, ColumnType], ...] = (
    (bool, ColumnType.BOOLEAN),
    (int, ColumnType.INTEGER),
    (float, ColumnType.FLOAT),
    (str, ColumnType.STRING),
    (date, ColumnType.TIMESTAMP),
)


def _type_of(name: str, value: Any) -> ColumnType:
    for cls, kind in _TYPES:
        if isinstance(value, cls):
            return kind
    if isinstance(value, list) and all(is_number(one) for one in value):
        return ColumnType.VECTOR
    raise BadArgument(f"frame.{name}", value, "a scalar, a time or a list of numbers")


def _is_time(text: str) -> bool:
    try:
        parse_timestamp(text, TimestampFormat.ISO_8601)
    except InvalidValue:
        return False
    return True
