"""Timestamps: what each format takes, what it refuses, and that nothing else is raised."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_router.schemas.decode import rfc3339
from event_router.schemas.errors import InvalidValue
from event_router.schemas.timestamps import SECONDS_BELOW, TimestampFormat, parse_timestamp

MOMENT = 1_637_344_470_000
INFER, ISO = TimestampFormat.INFER, TimestampFormat.ISO_8601
SECONDS, MILLISECONDS = TimestampFormat.EPOCH_SECONDS, TimestampFormat.EPOCH_MILLISECONDS

MILLIS = st.integers(min_value=-62_135_596_800_000, max_value=253_402_300_799_999)


@pytest.mark.parametrize(
    "written",
    [
        1_637_344_470,
        "1637344470",
        1_637_344_470.0,
        1_637_344_470_000,
        "1637344470000",
        "2021-11-19 17:54:30",
        "2021-11-19T17:54:30Z",
        "2021-11-19t17:54:30z",
        "2021-11-19T17:54:30.000000000Z",
        "2021-11-19 18:54:30+01:00",
        "2021-11-19 18:54:30 +0100",
        "2021-11-19T16:54:30-01",
        datetime(2021, 11, 19, 17, 54, 30, tzinfo=UTC),
        datetime(2021, 11, 19, 17, 54, 30),  # noqa: DTZ001  without a zone it is UTC
        datetime(2021, 11, 19, 18, 54, 30, tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_infer_reads_the_same_moment_however_it_is_written(written: object) -> None:
    assert parse_timestamp(written) == MOMENT


def test_infer_draws_its_line_at_ten_to_the_eleven() -> None:
    assert parse_timestamp(SECONDS_BELOW - 1) == (SECONDS_BELOW - 1) * 1000
    assert parse_timestamp(SECONDS_BELOW) == SECONDS_BELOW


def test_a_day_alone_is_its_midnight() -> None:
    midnight = 1_637_280_000_000
    assert parse_timestamp("2021-11-19") == parse_timestamp(date(2021, 11, 19)) == midnight


@pytest.mark.parametrize(
    ("written", "value", "expected"),
    [
        (SECONDS, 5, 5000),
        (SECONDS, "86400", 86_400_000),
        (SECONDS, 1.001, 1001),
        (MILLISECONDS, 5, 5),
        (MILLISECONDS, "5", 5),
        (MILLISECONDS, 5.0, 5),
        (ISO, "2021-11-19 17:54:30.123456", MOMENT + 123),
    ],
)
def test_an_explicit_format_infers_nothing(
    written: TimestampFormat, value: object, expected: int
) -> None:
    assert parse_timestamp(value, written) == expected


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (INFER, "11/19/2021"),
        (INFER, "2021-11-19T17:54:30.1234567890Z"),
        (INFER, "2021-13-19 00:00:00"),
        (INFER, "2021-11-19 24:00:00"),
        (INFER, "2021-11-19 17:54:30+01:99"),
        (INFER, "2021-11-19Z"),
        (INFER, ""),
        (INFER, "nan"),
        (INFER, True),
        (INFER, None),
        (INFER, []),
        (INFER, float("nan")),
        (INFER, float("inf")),
        (INFER, 10**17),
        (INFER, "0001-01-01T00:00:00+01:00"),
        (SECONDS, "2021-11-19 17:54:30"),
        (SECONDS, "1637344470000"),
        (SECONDS, 10**15),
        (MILLISECONDS, "2021-11-19 17:54:30"),
        (MILLISECONDS, 5.5),
        (MILLISECONDS, datetime(2021, 11, 19, tzinfo=UTC)),
        (ISO, 1_637_344_470),
        (ISO, "1637344470"),
    ],
)
def test_what_isnt_in_the_format_is_refused_by_name(
    written: TimestampFormat, value: object
) -> None:
    with pytest.raises(InvalidValue, match="event_timestamp: "):
        parse_timestamp(value, written)


@given(MILLIS)
def test_what_we_write_we_read(moment: int) -> None:
    assert parse_timestamp(rfc3339(moment)) == moment
    assert parse_timestamp(rfc3339(moment).replace("T", " ").replace("Z", ""), ISO) == moment
    assert parse_timestamp(moment, MILLISECONDS) == moment


@given(
    st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.datetimes()),
    st.sampled_from(TimestampFormat),
)
def test_a_moment_comes_out_or_an_invalid_value(value: object, written: TimestampFormat) -> None:
    try:
        moment = parse_timestamp(value, written)
    except InvalidValue:
        return
    assert rfc3339(moment)
