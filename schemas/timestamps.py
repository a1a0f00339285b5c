"""Timestamps as people write them, read as milliseconds since the epoch. Pure."""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from enum import StrEnum
from math import isfinite

from event_router.schemas.errors import InvalidValue

SECONDS_BELOW = 10**11
"""INFER's line: a whole number below it is seconds (until the year 5138), else milliseconds
(since March 1973)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
_DIGITS = re.compile(r"[+-]?[0-9]{1,18}")
_ISO = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:\.(?P<fraction>[0-9]{1,9}))?)?"
    r" ?(?P<zone>Z|[+-][0-9]{2}(?::?[0-9]{2})?)?",
    re.IGNORECASE,
)


class TimestampFormat(StrEnum):
    """How a timestamp is written; the values are what travels.

    INFER takes all of it: whole numbers (see SECONDS_BELOW), floats in seconds, and ISO 8601.
    """

    INFER = "infer"
    EPOCH_MILLISECONDS = "epoch milliseconds"
    EPOCH_SECONDS = "epoch seconds"
    ISO_8601 = "%Y-%m-%d %H:%M:%S.%f"


_EXPECTED = {
    TimestampFormat.INFER: "a time: seconds or milliseconds since the epoch, or ISO 8601 such as "
    "2026-01-31T12:00:00Z",
    TimestampFormat.EPOCH_MILLISECONDS: "a whole number of milliseconds since the epoch",
    TimestampFormat.EPOCH_SECONDS: "seconds since the epoch",
    TimestampFormat.ISO_8601: "a time in ISO 8601 such as 2026-01-31 12:00:00.000",
}


def parse_timestamp(
    value: object,
    written: TimestampFormat = TimestampFormat.INFER,
    field: str = "event_timestamp",
) -> int:
    """Milliseconds since the epoch, what is finer cut off; InvalidValue for what isn't in the
    format, or lies outside the years 1 to 9999. A time without a zone is UTC."""
    moment = _READ[written](value)
    if moment is None or not _FIRST <= moment <= _LAST:
        raise InvalidValue(field, value, _EXPECTED[written])
    return moment


def _infer(value: object) -> int | None:
    number = _number(value)
    if isinstance(number, int):
        return number * 1000 if abs(number) < SECONDS_BELOW else number
    if isinstance(value, float):
        return _of_float_seconds(value)
    return _iso(value)


def _milliseconds(value: object) -> int | None:
    number = _number(value)
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return number if isinstance(number, int) else None


def _seconds(value: object) -> int | None:
    number = _number(value)
    return _of_float_seconds(number) if isinstance(number, float) else _times(number, 1000)


def _iso(value: object) -> int | None:
    if isinstance(value, datetime):
        return _of_datetime(value)
    if isinstance(value, date):
        return _of_datetime(datetime(value.year, value.month, value.day, tzinfo=UTC))
    found = _ISO.fullmatch(value.strip()) if isinstance(value, str) else None
    return None if found is None else _of_match(found)


_READ = {
    TimestampFormat.INFER: _infer,
    TimestampFormat.EPOCH_MILLISECONDS: _milliseconds,
    TimestampFormat.EPOCH_SECONDS: _seconds,
    TimestampFormat.ISO_8601: _iso,
}


def _number(value: object) -> int | float | None:
    """A number, or a text of digits; truth values are none, and neither is NaN."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
        return int(value)
    return None


def _of_float_seconds(value: float) -> int | None:
    known = isfinite(value) and abs(value) < _LAST
    return round(value * 1_000_000) // 1000 if known else None


def _times(number: int | None, factor: int) -> int | None:
    return None if number is None else number * factor


def _of_match(found: "re.Match[str]") -> int | None:
    time = found["time"]
    if time is None and found["zone"]:
        return None
    fraction = f"{found['fraction'] or '':0<6}"[:6]
    try:
        moment = datetime.fromisoformat(f"{found['date']} {time or '00:00'}")
        zone = _zone(found["zone"])
    except ValueError:
        return None
    return _of_datetime(moment.replace(microsecond=int(fraction), tzinfo=zone))


def _zone(text: str | None) -> timezone:
    if text is None or text in "Zz":
        return UTC
    hours, minutes = int(text[1:3]), int(text[3:].lstrip(":") or 0)
    if minutes > 59:
        raise ValueError(text)
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def _of_datetime(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(milliseconds=1)
