"""Schemas: registering them, and deriving them from rows."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_router.client import (
    BadArgument,
    Column,
    ColumnType,
    EventSchema,
    NotFoundError,
    schema_from,
)
from event_router.schemas.columns import read_schema, violations
from tests.client.routers import FakeRouter, done

SCHEMA = EventSchema((Column("amount", ColumnType.FLOAT, minimum=0),))
ROWS = [
    {"amount": 1.5, "n": 1, "ok": True, "country": "de", "at": "2026-01-31", "v": [1, 2], "x": 1},
    {"amount": 2, "n": 5, "ok": False, "country": "fr", "at": "2026-02-01", "v": [3, 4], "x": None},
]
DERIVED = (
    Column("amount", ColumnType.FLOAT, nullable=False, minimum=1.5, maximum=2),
    Column("n", ColumnType.INTEGER, nullable=False, minimum=1, maximum=5),
    Column("ok", ColumnType.BOOLEAN, nullable=False),
    Column("country", ColumnType.CATEGORY, nullable=False, allowed=("de", "fr")),
    Column("at", ColumnType.TIMESTAMP, nullable=False),
    Column("v", ColumnType.VECTOR, nullable=False, dimensions=2),
)


async def test_a_schema_is_registered_read_and_forgotten(client: Any, router: FakeRouter) -> None:
    kept = await done(client.schemas.put("acme", "order.created", SCHEMA, "reject"))
    assert kept.on_violation == "reject"
    assert kept.columns == SCHEMA.columns
    assert await done(client.schemas.get("acme", "order.created")) == kept
    assert await done(client.schemas.delete("acme", "order.created")) is None
    with pytest.raises(NotFoundError, match="schema not found"):
        await done(client.schemas.get("acme", "order.created"))
    assert {request.url.raw_path for request in router.requests} == {
        b"/api/v1/tenants/acme/schemas/order.created"
    }


async def test_a_json_schema_is_taken_too(client: Any, router: FakeRouter) -> None:
    document = {"properties": {"amount": {"type": "number", "minimum": 0}}}
    await done(client.schemas.put("acme", "orders", document))
    (sent,) = router.schemas.values()
    assert read_schema(sent) == SCHEMA


async def test_a_name_cant_lead_to_another_path(client: Any, router: FakeRouter) -> None:
    await done(client.schemas.put("acme", "a/../b?c", SCHEMA))
    assert router.requests[0].url.raw_path.endswith(b"/schemas/a%2F..%2Fb%3Fc")
    with pytest.raises(BadArgument, match="topic"):
        await done(client.schemas.get("acme", ""))


def test_a_schema_is_derived_from_rows(client: Any) -> None:
    schema = client.schema_from(ROWS)
    assert schema.columns[:6] == DERIVED
    assert schema.columns[6] == Column("x", ColumnType.INTEGER, minimum=1, maximum=1)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_a_schema_is_derived_from_a_frame(make: Any) -> None:
    assert schema_from(make(ROWS)).columns[:6] == DERIVED


def test_what_frames_hold_is_understood() -> None:
    frame = pd.DataFrame(
        {
            "at": pd.to_datetime(["2026-01-31", None]),
            "price": [Decimal("1.5"), Decimal("NaN")],
            "n": np.array([1, 2], dtype="int8"),
            "v": [np.array([1.0]), np.array([1.0, 2.0])],
        }
    )
    assert schema_from(frame).columns == (
        Column("at", ColumnType.TIMESTAMP),
        Column("price", ColumnType.FLOAT, minimum=1.5, maximum=1.5),
        Column("n", ColumnType.INTEGER, nullable=False, minimum=1, maximum=2),
        Column("v", ColumnType.VECTOR, nullable=False),
    )


def test_many_texts_are_no_categories() -> None:
    rows = [{"a": f"t{n}"} for n in range(101)]
    assert schema_from(rows).columns[0] == Column("a", ColumnType.STRING, nullable=False)
    assert len(schema_from(rows[:100]).columns[0].allowed) == 100


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"a": None}], "frame.a: None is not a column with a value"),
        ([{"a": 1}, {"a": "x"}], "frame.a: .* is not of one type"),
        ([{"a": {}}], "frame.a: {} is not a scalar"),
        ([], "frame: 0 is not rows with columns"),
        (5, "frame: 5 is not a frame"),
    ],
)
def test_what_no_schema_can_say_is_refused_by_name(rows: Any, said: str) -> None:
    with pytest.raises(BadArgument, match=said):
        schema_from(rows)


VALUES = {
    "f": st.floats(allow_nan=False, allow_infinity=False) | st.none(),
    "i": st.integers(-(2**53), 2**53),
    "b": st.booleans(),
    "s": st.text() | st.none(),
    "t": st.datetimes(timezones=st.just(UTC)).map(lambda one: one.isoformat()),
}


@given(st.lists(st.fixed_dictionaries(VALUES), min_size=1))
def test_the_rows_keep_the_schema_that_is_derived_from_them(rows: list[dict[str, Any]]) -> None:
    rows.append({"f": 0.0, "i": 0, "b": True, "s": "x", "t": datetime.now(UTC).isoformat()})
    schema = schema_from(rows)
    assert [found for row in rows for found in violations(row, schema)] == []
