"""Casting values to the types of columns, without a guess. Pure."""

import re
from collections.abc import Callable
from math import isfinite
from typing import Any

import msgspec

from event_router.schemas.columns import Column, ColumnType, Data, EventSchema, is_listed, is_number
from event_router.schemas.errors import InvalidValue
from event_router.schemas.timestamps import parse_timestamp

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,1000}")
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


def cast_event(data: Data, schema: EventSchema) -> dict[str, Any]:
    """The event with each column's value in the column's type; fields that the schema lacks stay
    as they are. Raises InvalidValue, naming field, value and type, for what can't be cast."""
    columns = {column.name: column for column in schema.columns}
    return {
        name: cast(value, columns[name]) if name in columns else value
        for name, value in data.items()
    }


def cast(value: Any, column: Column) -> Any:
    """The value in the column's type; null stays null, and NaN becomes it. Raises InvalidValue."""
    if value is None or value != value:  # only NaN isn't equal to itself
        return None
    try:
        return _CASTS[column.type](value, column)
    except (ValueError, OverflowError, msgspec.MsgspecError, InvalidValue) as error:
        expected = f"castable to {column.type}"
        raise InvalidValue(column.name, value, expected) from error


def _to_int(value: Any, _: Column) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    number = _to_float(value, _)
    if number.is_integer():
        return int(number)
    raise ValueError(value)


def _to_float(value: Any, _: Column) -> float:
    written = isinstance(value, str) and _NUMBER.fullmatch(value.strip())
    if not written and not is_number(value):
        raise ValueError(value)
    number = float(value)
    if not isfinite(number):
        raise ValueError(value)
    return number


def _to_bool(value: Any, _: Column) -> bool:
    if isinstance(value, bool):
        return value
    if is_number(value) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in _BOOLEANS:
        return _BOOLEANS[value.strip().lower()]
    raise ValueError(value)


def _to_str(value: Any, _: Column) -> str:
    if isinstance(value, str):
        return value
    if is_number(value):
        return str(value)
    raise ValueError(value)


def _to_category(value: Any, column: Column) -> Any:
    """The allowed value that it is, or is written like."""
    if not column.allowed:
        return _to_str(value, column)
    if is_listed(value, column):
        return value
    text = value.strip() if isinstance(value, str) else str(value)
    for one in column.allowed:
        if text == str(one):
            return one
    return value


def _to_time(value: Any, column: Column) -> Any:
    parse_timestamp(value, field=column.name)
    return value


def _to_vector(value: Any, _: Column) -> list[float]:
    read = msgspec.json.decode(value) if isinstance(value, str) else value
    if isinstance(read, list | tuple) and all(is_number(one) for one in read):
        return list(read)
    raise ValueError(value)


_CASTS: dict[ColumnType, Callable[[Any, Column], Any]] = {
    ColumnType.FLOAT: _to_float,
    ColumnType.INTEGER: _to_int,
    ColumnType.BOOLEAN: _to_bool,
    ColumnType.STRING: _to_str,
    ColumnType.CATEGORY: _to_category,
    ColumnType.TIMESTAMP: _to_time,
    ColumnType.VECTOR: _to_vector,
}
