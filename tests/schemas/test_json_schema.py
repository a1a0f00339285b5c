"""JSON Schema: what columns can say is taken, and nothing is passed over in silence."""

from typing import Any

import pytest

from event_router.schemas.columns import Column, ColumnType, EventSchema
from event_router.schemas.errors import InvalidValue
from event_router.schemas.json_schema import schema_of_json_schema


def test_an_object_becomes_columns() -> None:
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "amount": {"type": "number", "minimum": 0, "maximum": 9.5, "title": "how much"},
            "count": {"type": ["integer", "null"]},
            "country": {"enum": ["de", "fr"]},
            "paid": {"type": "boolean"},
            "at": {"type": "string", "format": "date-time"},
            "place": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
        },
        "required": ["amount", "count"],
        "additionalProperties": False,
    }
    assert schema_of_json_schema(document, "reject") == EventSchema(
        (
            Column("amount", ColumnType.FLOAT, nullable=False, minimum=0, maximum=9.5),
            Column("count", ColumnType.INTEGER),
            Column("country", ColumnType.CATEGORY, allowed=("de", "fr")),
            Column("paid", ColumnType.BOOLEAN),
            Column("at", ColumnType.TIMESTAMP),
            Column("place", ColumnType.VECTOR, dimensions=2),
        ),
        "reject",
    )


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"type": "array"}, "json_schema.type"),
        ({}, "json_schema.properties"),
        ({"properties": {"a": {"type": "object"}}}, "a.type"),
        ({"properties": {"a": {}}}, "a.type"),
        ({"properties": {"a": True}}, "an object"),
        ({"properties": {"a": {"type": "string", "pattern": "x"}}}, "a.pattern"),
        ({"properties": {"a": {"type": "string", "format": "email"}}}, "a.format"),
        ({"properties": {"a": {"type": "number", "minimum": "1"}}}, "a.minimum"),
        ({"properties": {"a": {"type": "string", "enum": [{}]}}}, "a.enum"),
        ({"properties": {"a": {"type": "array", "items": {"type": "string"}}}}, "a.items"),
        ({"properties": {"a": {"type": "array", "minItems": 1}}}, "a.minItems"),
        ({"properties": {"a": {"type": "string"}}, "required": ["b"]}, "required"),
        ({"properties": {"a": {"type": "string"}}, "allOf": []}, "json_schema.allOf"),
    ],
)
def test_what_no_column_can_say_is_refused_by_name(document: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        schema_of_json_schema(document)
