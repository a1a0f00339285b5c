"""A JSON Schema read as an event schema, where columns can express what it says. Pure.

Taken are objects whose properties are scalars, or lists of numbers: `type` (with "null"), `enum`,
`const`, `minimum`, `maximum`, `format: date-time`, `minItems` = `maxItems`, `required`. What only
describes is passed over; any other keyword is refused by name, for it would not be kept.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from event_router.schemas.columns import Column, ColumnType, EventSchema
from event_router.schemas.errors import InvalidValue

_DESCRIBING = frozenset(
    {
        "$schema", "$id", "$comment", "title", "description", "examples", "default", "deprecated",
        "readOnly", "writeOnly",
    }
)  # fmt: skip
_OF_OBJECTS = _DESCRIBING | {"type", "properties", "required", "additionalProperties"}
_OF_PROPERTIES = _DESCRIBING | {"type", "enum", "const", "format"}
_TAKEN = {
    ColumnType.FLOAT: frozenset({"minimum", "maximum"}),
    ColumnType.INTEGER: frozenset({"minimum", "maximum"}),
    ColumnType.VECTOR: frozenset({"items", "minItems", "maxItems"}),
}
_TYPES = {
    "number": ColumnType.FLOAT,
    "integer": ColumnType.INTEGER,
    "boolean": ColumnType.BOOLEAN,
    "string": ColumnType.STRING,
    "array": ColumnType.VECTOR,
}


def schema_of_json_schema(
    document: Mapping[str, Any], on_violation: Literal["record", "reject"] = "record"
) -> EventSchema:
    """The event schema that says the same; raises InvalidValue for what no column can say."""
    _only("json_schema", document, _OF_OBJECTS)
    if document.get("type", "object") != "object":
        raise InvalidValue("json_schema.type", document["type"], "object, as events are")
    properties = document.get("properties")
    if not isinstance(properties, Mapping):
        raise InvalidValue("json_schema.properties", properties, "an object of properties")
    required = _required(document, properties)
    columns = (
        _column(name, _mapping(f"json_schema.properties.{name}", said), name in required)
        for name, said in properties.items()
    )
    return EventSchema(tuple(columns), on_violation)


def _required(document: Mapping[str, Any], properties: Mapping[str, Any]) -> Sequence[str]:
    required = document.get("required", [])
    if not isinstance(required, list):
        raise InvalidValue("json_schema.required", required, "a list of names")
    for name in required:
        if name not in properties:
            raise InvalidValue("json_schema.required", name, "one of the properties")
    return required


def _column(name: str, said: Mapping[str, Any], required: bool) -> Column:
    field = f"json_schema.properties.{name}"
    kind, null = _kind(field, said)
    _only(field, said, _OF_PROPERTIES | _TAKEN.get(kind, frozenset()))
    allowed = _allowed(field, said)
    return Column(
        name=name,
        type=ColumnType.CATEGORY if allowed and kind is not ColumnType.BOOLEAN else kind,
        nullable=null or not required,
        minimum=_number(field, said, "minimum"),
        maximum=_number(field, said, "maximum"),
        allowed=allowed,
        dimensions=_dimensions(field, said) if kind is ColumnType.VECTOR else None,
    )


def _kind(field: str, said: Mapping[str, Any]) -> tuple[ColumnType, bool]:
    """The column's type, and whether it may be null."""
    given = said.get("type", "string" if "enum" in said or "const" in said else None)
    names = given if isinstance(given, list) else [given]
    others = [name for name in names if name != "null"]
    kind = _TYPES.get(others[0]) if len(others) == 1 and isinstance(others[0], str) else None
    if kind is None:
        expected = f"one of {', '.join(_TYPES)}, beside null"
        raise InvalidValue(f"{field}.type", given, expected)
    if "format" in said:
        kind = _formatted(field, said["format"], kind)
    return kind, len(others) < len(names)


def _formatted(field: str, said: object, kind: ColumnType) -> ColumnType:
    if kind is ColumnType.STRING and said in ("date-time", "date"):
        return ColumnType.TIMESTAMP
    raise InvalidValue(f"{field}.format", said, "date-time or date, of a string")


def _allowed(field: str, said: Mapping[str, Any]) -> tuple[bool | int | float | str, ...]:
    values = [said["const"]] if "const" in said else said.get("enum", [])
    if not isinstance(values, list):
        raise InvalidValue(f"{field}.enum", values, "a list of values")
    for value in values:
        if not isinstance(value, bool | int | float | str | None):
            raise InvalidValue(f"{field}.enum", value, "a text, a number or a truth value")
    return tuple(value for value in values if value is not None)


def _number(field: str, said: Mapping[str, Any], name: str) -> float | None:
    value = said.get(name)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise InvalidValue(f"{field}.{name}", value, "a number")


def _dimensions(field: str, said: Mapping[str, Any]) -> int | None:
    items = _mapping(f"{field}.items", said.get("items", {"type": "number"}))
    if items.get("type") not in ("number", "integer"):
        raise InvalidValue(f"{field}.items", items, "numbers")
    least, most = said.get("minItems"), said.get("maxItems")
    if least != most or not isinstance(least, int | None):
        raise InvalidValue(f"{field}.minItems", least, f"the same number as maxItems ({most!r})")
    return least


def _mapping(field: str, value: object) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise InvalidValue(field, value, "an object")


def _only(field: str, said: Mapping[str, Any], taken: frozenset[str]) -> None:
    for keyword in said:
        if keyword not in taken:
            raise InvalidValue(f"{field}.{keyword}", said[keyword], "a keyword that columns have")
