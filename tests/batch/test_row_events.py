"""A row's message is the one that a single publish of the same event would write."""

import uuid
from typing import Any

import pytest

from event_router.router.batch.row_events import RowEvent, RowEvents
from event_router.router.batch.rows import BadRow, Row
from event_router.router.store.job_ports import JobOptions
from event_router.schemas.cloudevents import NewEvent, event_message
from event_router.schemas.columns import Column, ColumnType, EventSchema
from event_router.schemas.decode import rfc3339

JOB = "0f0e0d0c-0b0a-4908-8706-050403020100"
NOW = 1_800_000_000_000
ROW_ID = str(uuid.uuid5(uuid.UUID(JOB), "7"))


def made(
    values: dict[str, Any],
    raw: bytes | None = None,
    schema: EventSchema | None = None,
    **options: Any,
) -> RowEvent | BadRow:
    events = RowEvents(
        JOB,
        "acme",
        "orders",
        JobOptions(**options),
        schema,
        limit=1_000,
        clock=lambda: NOW,
        kafka_topic="events",
    )
    return events.event(7, Row(values, raw), None)


def event(values: dict[str, Any], raw: bytes | None = None, **options: Any) -> RowEvent:
    found = made(values, raw, **options)
    assert isinstance(found, RowEvent), found
    return found


@pytest.mark.parametrize(
    ("options", "same_as"),
    [
        ({}, {"id": ROW_ID, "generated_id": True}),
        ({"id_field": "id"}, {"id": "a1"}),
        ({"group_by": "n"}, {"id": ROW_ID, "generated_id": True, "partition_key": "3"}),
        ({"id_field": "id", "group_by": "g"}, {"id": "a1", "partition_key": "Zürich"}),
        (
            {"id_field": "id", "update": True},
            {
                "id": ROW_ID,
                "generated_id": True,
                "partition_key": "a1",
                "updates": "a1",
                "metadata": {"updates": "a1"},
            },
        ),
        ({"timestamp_field": "n", "timestamp_format": "epoch seconds"}, {"time": rfc3339(3_000)}),
    ],
)
def test_the_message_is_that_of_a_single_publish(
    options: dict[str, Any], same_as: dict[str, Any]
) -> None:
    values = {"id": "a1", "n": 3, "g": "Zürich"}
    fields = {"id": ROW_ID, "generated_id": "id_field" not in options, "time": rfc3339(NOW)}
    single = NewEvent(
        tenant="acme",
        source="event-router",
        topic="orders",
        data='{"id":"a1","n":3,"g":"Zürich"}'.encode(),
        **{**fields, **same_as},
    )
    assert event(values, **options).message == event_message(single, "events")


@pytest.mark.parametrize(("value", "id_"), [("x", "x"), (5, "5"), (5.0, "5"), (2**70, str(2**70))])
def test_texts_and_whole_numbers_are_ids(value: object, id_: str) -> None:
    assert event({"id": value}, id_field="id").id == id_


def test_a_float_that_may_have_been_another_number_is_no_id() -> None:
    assert event({"id": float(2**53 - 1)}, id_field="id").id == str(2**53 - 1)
    for number in (2**53, 2**53 + 1, -(2**53), 10**300):
        found = made({"id": float(number)}, id_field="id")
        assert isinstance(found, BadRow)
        assert "is not exact" in found.reason


@pytest.mark.parametrize("value", [None, True, 1.5, float("nan"), [], {}, "", "a\nb", "x" * 257])
def test_nothing_else_is_an_id(value: object) -> None:
    found = made({"id": value}, id_field="id")
    assert isinstance(found, BadRow)
    assert found.reason.startswith("id: ")


def test_a_row_that_was_json_stays_byte_for_byte() -> None:
    raw = b'{"a": 1.10,  "b": 12345678901234567890123}'
    assert event({"a": 1.1, "b": 12345678901234567890123}, raw).message.value == raw
    schema = EventSchema((Column("a", ColumnType.FLOAT), Column("b", ColumnType.INTEGER)))
    assert event({"a": 1.1, "b": 1}, raw, schema=schema).message.value == raw


def test_what_has_to_change_is_written_anew() -> None:
    schema = EventSchema((Column("a", ColumnType.INTEGER),))
    dropping = event({"a": 1, "b": 2}, b'{"a": 1, "b": 2}', schema=schema)
    assert (dropping.message.value, dropping.dropped) == (b'{"a":1}', ("b",))
    cast = event({"a": "1"}, b'{"a": "1"}', schema=schema, casting=True)
    assert cast.message.value == b'{"a":1}'


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"a": "x" * 1_000}, "at most 1000 bytes"),
        ({"a": object()}, "can't be written as JSON"),
        ({"at": "yesterday"}, "at: 'yesterday' is not a time"),
        ({"g": [1]}, "g: [1] is not a text or a whole number"),
    ],
)
def test_a_row_that_can_not_be_an_event_says_why(values: dict[str, Any], said: str) -> None:
    found = made(values, timestamp_field="at", group_by="g")
    assert isinstance(found, BadRow)
    assert said in found.reason


def test_values_that_json_has_not_are_null() -> None:
    assert event({"a": float("nan"), "b": float("inf")}).message.value == b'{"a":null,"b":null}'
