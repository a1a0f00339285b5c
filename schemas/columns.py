"""Event schemas: the columns that the events of a topic have, and what an event does against it.

A schema is kept per tenant and topic. Fields that it lacks are dropped and counted; what a column
doesn't allow is a violation, which is recorded, or refuses the event (`on_violation`). Pure.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from math import isclose, isfinite
from typing import Any, Literal

import msgspec

from event_router.schemas.errors import InvalidValue
from event_router.schemas.timestamps import parse_timestamp

Scalar = bool | int | float | str
Data = Mapping[str, Any]

MAX_COLUMNS = 2000
_TOLERANCE = 1e-9


class ColumnType(StrEnum):
    """What the values of a column are. A float takes whole numbers, an int takes 2.0, a bool
    takes 0 and 1; a category takes what it lists."""

    FLOAT = "float"
    INTEGER = "int"
    BOOLEAN = "bool"
    STRING = "str"
    CATEGORY = "category"
    TIMESTAMP = "timestamp"
    VECTOR = "vector"


NUMERIC = frozenset({ColumnType.FLOAT, ColumnType.INTEGER})


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One column. `minimum` and `maximum` are for numbers, both inclusive; `allowed` is for
    categories and strings; `dimensions` is for vectors."""

    name: str
    type: ColumnType
    nullable: bool = True
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[Scalar, ...] = ()
    dimensions: int | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise InvalidValue("columns.name", self.name, "the name of a field")
        low, high = self.minimum, self.maximum
        if self.type not in NUMERIC and (low is not None or high is not None):
            raise InvalidValue(f"columns.{self.name}", self.type, "a number, which a range needs")
        if low is not None and high is not None and low > high:
            raise InvalidValue(f"columns.{self.name}.minimum", low, "at most the maximum")
        if self.dimensions is not None and self.type is not ColumnType.VECTOR:
            raise InvalidValue(f"columns.{self.name}", self.type, "a vector: it has dimensions")


class EventSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The columns of a topic's events. With `on_violation` "reject", an event that violates it
    is refused; with "record" it goes on, and the violation is kept where people see it."""

    columns: tuple[Column, ...]
    on_violation: Literal["record", "reject"] = "record"

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise InvalidValue("columns", twice[0], "a name that is there once")
        if not 1 <= len(names) <= MAX_COLUMNS:
            raise InvalidValue("columns", len(names), f"1 to {MAX_COLUMNS} columns")


class Violation(msgspec.Struct, frozen=True):
    """What is wrong with one field; `kind` is `missing`, `type` or `range`."""

    field: str
    kind: Literal["missing", "type", "range"]
    desc: str


def read_schema(raw: bytes) -> EventSchema:
    """A schema as it travels; raises InvalidValue naming the field that is wrong."""
    try:
        return _schema.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        shown = raw[:200].decode(errors="replace")
        raise InvalidValue("schema", shown, f"an event schema: {error}") from error


def write_schema(schema: EventSchema) -> bytes:
    return msgspec.json.encode(schema)


_schema = msgspec.json.Decoder(EventSchema)


def unknown_fields(data: Data, schema: EventSchema) -> list[str]:
    """The fields that the schema lacks, in the event's order: they are dropped."""
    known = {column.name for column in schema.columns}
    return [name for name in data if name not in known]


def violations(data: Data, schema: EventSchema, *, partial: bool = False) -> list[Violation]:
    """What the columns don't allow, the first per column: null, then type, then range.

    `partial` is for updates, which leave out what they don't change.
    """
    return list(_violations(data, schema.columns, partial=partial))


def _violations(data: Data, columns: Sequence[Column], *, partial: bool) -> Iterator[Violation]:
    for column in columns:
        if partial and column.name not in data:
            continue
        found = violation_of(data.get(column.name), column)
        if found is not None:
            yield found


def violation_of(value: object, column: Column) -> Violation | None:
    """What the column doesn't allow about this value."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return None if column.nullable else Violation(column.name, "missing", "a value is required")
    if not _FITS[column.type](value, column):
        desc = f"{_shown(value)} is not of type {column.type}"
        return Violation(column.name, "type", desc)
    return _out_of_range(value, column)


def _out_of_range(value: Any, column: Column) -> Violation | None:
    if column.allowed and not is_listed(value, column):
        desc = f"{_shown(value)} is not one of the {len(column.allowed)} allowed values"
    elif column.minimum is not None and _below(value, column.minimum):
        desc = f"{_shown(value)} is less than {column.minimum:g}"
    elif column.maximum is not None and _below(column.maximum, value):
        desc = f"{_shown(value)} is more than {column.maximum:g}"
    elif column.dimensions is not None and len(value) != column.dimensions:
        desc = f"{len(value)} dimensions are not {column.dimensions}"
    else:
        return None
    return Violation(column.name, "range", desc)


def _below(one: float, other: float) -> bool:
    return one < other and not isclose(one, other, rel_tol=_TOLERANCE)


def is_listed(value: object, column: Column) -> bool:
    """Whether the column's allowed values have this one. True isn't 1, but in a boolean column."""
    if column.type is ColumnType.BOOLEAN:
        return value in column.allowed
    flag = isinstance(value, bool)
    return any(value == one and isinstance(one, bool) is flag for one in column.allowed)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object, _: Column) -> bool:
    return is_number(value) and (isinstance(value, int) or float(value).is_integer())  # type: ignore[arg-type]  # it is a number


def _is_boolean(value: object, _: Column) -> bool:
    return isinstance(value, bool) or (is_number(value) and value in (0, 1))


def _is_category(value: object, column: Column) -> bool:
    if not column.allowed:
        return isinstance(value, Scalar)
    return any(_kind(value) is _kind(one) for one in column.allowed)


def _kind(value: object) -> type:
    return float if is_number(value) else type(value)


def _is_time(value: object, column: Column) -> bool:
    try:
        parse_timestamp(value, field=column.name)
    except InvalidValue:
        return False
    return True


def _is_vector(value: object, _: Column) -> bool:
    return isinstance(value, list | tuple) and all(is_number(one) for one in value)


_FITS = {
    ColumnType.FLOAT: lambda value, _: is_number(value),
    ColumnType.INTEGER: _is_whole,
    ColumnType.BOOLEAN: _is_boolean,
    ColumnType.STRING: lambda value, _: isinstance(value, str),
    ColumnType.CATEGORY: _is_category,
    ColumnType.TIMESTAMP: _is_time,
    ColumnType.VECTOR: _is_vector,
}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


_NAME = re.compile(r"[a-z_][a-z0-9_]{1,29}")


def checked_name(field: str, value: object) -> str:
    """A project's or a model's name as the calls by these names take it; else InvalidValue."""
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise InvalidValue(field, value, "2 to 30 of a-z, 0-9 and _, not beginning with a digit")
