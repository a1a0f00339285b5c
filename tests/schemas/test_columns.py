"""Event schemas: what a column allows, casting without a guess, and the report of a dry run."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_router.schemas.casting import cast
from event_router.schemas.columns import (
    Column,
    ColumnType,
    EventSchema,
    checked_name,
    read_schema,
    violation_of,
    violations,
    write_schema,
)
from event_router.schemas.conformity import conform, remarks, report, timestamp_remarks
from event_router.schemas.errors import InvalidValue
from event_router.schemas.timestamps import TimestampFormat

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.floats())
)
COLUMNS = st.one_of(
    st.builds(Column, name=st.just("a"), type=st.sampled_from(ColumnType), nullable=st.booleans()),
    st.builds(
        Column,
        name=st.just("a"),
        type=st.just(ColumnType.CATEGORY),
        allowed=st.lists(st.one_of(st.booleans(), st.integers(), st.text()), max_size=5).map(tuple),
    ),
)

ORDER = EventSchema(
    (
        Column("amount", ColumnType.FLOAT, nullable=False, minimum=0, maximum=1000),
        Column("country", ColumnType.CATEGORY, allowed=("de", "fr")),
        Column("paid", ColumnType.BOOLEAN),
    )
)


def a_column(kind: ColumnType, **more: Any) -> Column:
    return Column("a", kind, **more)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (a_column(ColumnType.FLOAT), 1),
        (a_column(ColumnType.INTEGER), 2.0),
        (a_column(ColumnType.BOOLEAN), 1),
        (a_column(ColumnType.CATEGORY, allowed=(1, 2)), 2.0),
        (a_column(ColumnType.TIMESTAMP), "2021-11-19"),
        (a_column(ColumnType.VECTOR, dimensions=2), [1, 2.5]),
        (a_column(ColumnType.FLOAT, maximum=0.3), 0.1 + 0.2),
        (a_column(ColumnType.STRING), None),
        (a_column(ColumnType.FLOAT), float("nan")),
    ],
)
def test_a_column_allows(column: Column, value: object) -> None:
    assert violation_of(value, column) is None


@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [
        (a_column(ColumnType.FLOAT), True, "type"),
        (a_column(ColumnType.FLOAT), "1", "type"),
        (a_column(ColumnType.INTEGER), 2.5, "type"),
        (a_column(ColumnType.BOOLEAN), 2, "type"),
        (a_column(ColumnType.STRING), 2, "type"),
        (a_column(ColumnType.CATEGORY, allowed=("x",)), 2, "type"),
        (a_column(ColumnType.CATEGORY, allowed=("x",)), "y", "range"),
        (a_column(ColumnType.CATEGORY, allowed=(1,)), True, "type"),
        (a_column(ColumnType.TIMESTAMP), "yesterday", "type"),
        (a_column(ColumnType.VECTOR), [1, "2"], "type"),
        (a_column(ColumnType.VECTOR, dimensions=2), [1], "range"),
        (a_column(ColumnType.FLOAT, minimum=0), -1, "range"),
        (a_column(ColumnType.FLOAT, maximum=0), 1, "range"),
        (a_column(ColumnType.FLOAT, nullable=False), None, "missing"),
    ],
)
def test_a_column_doesnt_allow(column: Column, value: object, kind: str) -> None:
    violation = violation_of(value, column)
    assert violation is not None
    assert violation.kind == kind


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (ColumnType.FLOAT, "20.7", 20.7),
        (ColumnType.FLOAT, " 1e3 ", 1000.0),
        (ColumnType.INTEGER, "45000", 45000),
        (ColumnType.INTEGER, "2.0", 2),
        (ColumnType.INTEGER, 9007199254740993, 9007199254740993),
        (ColumnType.BOOLEAN, "FALSE", False),
        (ColumnType.BOOLEAN, "1", True),
        (ColumnType.BOOLEAN, 0, False),
        (ColumnType.STRING, 5, "5"),
        (ColumnType.VECTOR, "[1.0, 2.0]", [1.0, 2.0]),
        (ColumnType.FLOAT, float("nan"), None),
        (ColumnType.INTEGER, None, None),
    ],
)
def test_casting(kind: ColumnType, value: object, expected: object) -> None:
    assert cast(value, a_column(kind)) == expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (ColumnType.INTEGER, "3.9"),
        (ColumnType.INTEGER, True),
        (ColumnType.INTEGER, "1_000"),
        (ColumnType.FLOAT, "nan"),
        (ColumnType.FLOAT, "1e999"),
        (ColumnType.FLOAT, ""),
        (ColumnType.BOOLEAN, "no"),
        (ColumnType.BOOLEAN, 2),
        (ColumnType.STRING, True),
        (ColumnType.TIMESTAMP, "yesterday"),
        (ColumnType.VECTOR, "[1.0, null]"),
    ],
)
def test_what_cant_be_cast_is_named_and_never_guessed(kind: ColumnType, value: object) -> None:
    with pytest.raises(InvalidValue, match=f"a: .* is not castable to {kind}"):
        cast(value, a_column(kind))


def test_a_category_is_cast_to_the_allowed_value_it_is_written_like() -> None:
    column = a_column(ColumnType.CATEGORY, allowed=(1, "x"))
    assert cast("1", column) == 1
    assert cast("x", column) == "x"


@given(SCALARS, COLUMNS)
def test_casting_gives_a_value_of_the_columns_type_or_an_invalid_value(
    value: object, column: Column
) -> None:
    try:
        done = cast(value, column)
    except InvalidValue:
        return
    violation = violation_of(done, column)
    assert violation is None or violation.kind == "missing" or column.allowed
    again = cast(done, column)
    assert again == done
    assert type(again) is type(done)


@given(st.lists(COLUMNS, min_size=1, max_size=1), st.sampled_from(["record", "reject"]))
def test_a_schema_survives_its_way(columns: list[Column], on_violation: Any) -> None:
    schema = EventSchema(tuple(columns), on_violation)
    assert read_schema(write_schema(schema)) == schema


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"{}", "columns"),
        (b'{"columns": []}', "columns"),
        (b'{"columns": [{"name": "a", "type": "decimal"}]}', "decimal"),
        (b'{"columns": [{"name": "a", "type": "str", "minimum": 1}]}', "range"),
        (b'{"columns": [{"name": "a", "type": "int", "minimum": 2, "maximum": 1}]}', "minimum"),
        (b'{"columns": [{"name": "a", "type": "int", "dimensions": 1}]}', "vector"),
        (b'{"columns": [{"name": "", "type": "int"}]}', "name"),
        (b'{"columns": [{"name": "a", "type": "int"}, {"name": "a", "type": "int"}]}', "once"),
        (b'{"columns": [{"name": "a", "type": "int", "colour": 1}]}', "colour"),
        (b"\xff", "schema"),
    ],
)
def test_a_schema_that_cant_be_right_is_refused(raw: bytes, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        read_schema(raw)


def test_without_a_schema_nothing_is_dropped_cast_or_checked() -> None:
    assert conform({"a": "1"}, None, casting=True).data == {"a": "1"}
    assert remarks({"a": "1"}, None, casting=True) == []


def test_an_event_goes_on_without_unknown_fields_and_with_its_violations() -> None:
    done = conform({"amount": "5000", "country": "it", "x": 1}, ORDER, casting=True)
    assert done.data == {"amount": 5000.0, "country": "it"}
    assert done.dropped == ("x",)
    assert [(one.field, one.kind) for one in done.violations] == [
        ("amount", "range"),
        ("country", "range"),
    ]


def test_a_schema_that_rejects_refuses_the_event_with_the_reason() -> None:
    rejecting = msgspec.structs.replace(ORDER, on_violation="reject")
    with pytest.raises(InvalidValue, match="country: 'it' is not allowed"):
        conform({"amount": 5, "country": "it"}, rejecting)


def test_an_update_may_leave_out_what_it_doesnt_change() -> None:
    assert violations({"paid": True}, ORDER, partial=True) == []
    assert [one.field for one in violations({"paid": True}, ORDER)] == ["amount"]


def test_a_dry_run_says_all_there_is_to_say() -> None:
    found = remarks({"amount": "many", "country": "it", "x": 1}, ORDER, casting=True)
    said = msgspec.json.decode(report(found + timestamp_remarks("soon", TimestampFormat.INFER)))
    assert [(one["type"], one["field"]) for one in said] == [
        ("warning", "x"),
        ("fatal", "amount"),
        ("warning", "amount"),
        ("warning", "country"),
        ("fatal", "event_timestamp"),
    ]


def test_a_good_event_draws_no_remark() -> None:
    assert remarks({"amount": 5, "country": "de", "paid": None}, ORDER) == []
    assert timestamp_remarks(None, TimestampFormat.INFER) == []


@pytest.mark.parametrize("name", ["ab", "_a", "a" * 30, "order_2"])
def test_a_name_of_a_project(name: str) -> None:
    assert checked_name("project_id", name) == name


@pytest.mark.parametrize("name", ["a", "a" * 31, "2a", "Ab", "a-b", "ab\n", "", None])
def test_no_name_of_a_project(name: object) -> None:
    with pytest.raises(InvalidValue, match="project_id"):
        checked_name("project_id", name)
