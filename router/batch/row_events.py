"""Rows become events. Pure, but for the clock that is given.

A row's id is its `id_field`; without one it is uuid5 over the job and the row's number, so that a
row read twice is the same event. Only ids that people chose count against a second publish.
"""

import uuid
from collections.abc import Callable
from datetime import date
from hashlib import sha1
from typing import Any

import msgspec

from event_router.router.batch.rows import AnyRow, BadRow
from event_router.router.store.job_ports import JobOptions
from event_router.schemas.columns import EventSchema, Violation
from event_router.schemas.conformity import conform
from event_router.schemas.decode import DEFAULT_SOURCE, rfc3339
from event_router.schemas.errors import InvalidValue
from event_router.schemas.ids import checked_event_id, checked_text, text_of_id
from event_router.schemas.record import Message
from event_router.schemas.timestamps import TimestampFormat, parse_timestamp

JSON = "application/json"

encode_row = msgspec.json.Encoder(decimal_format="number").encode
_VARIANTS = "89ab"


class RowEvent(msgspec.Struct, frozen=True, gc=False):
    """A row as an event: its message, and what was seen on the way."""

    id: str
    message: Message
    dropped: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()


class RowEvents:
    """Makes the events of one job. `limit` is the most bytes of a payload, `clock` gives ms."""

    def __init__(
        self,
        job: str,
        tenant: str,
        topic: str,
        options: JobOptions,
        schema: EventSchema | None,
        *,
        limit: int,
        clock: Callable[[], int],
        kafka_topic: str,
    ) -> None:
        self._job = uuid.UUID(job).bytes
        self._options = options
        self._schema = schema
        self._limit = limit
        self._clock = clock
        self._kafka_topic = kafka_topic
        self._written = TimestampFormat(options.timestamp_format or TimestampFormat.INFER)
        self._before_id = [("content-type", JSON.encode()), ("ce_specversion", b"1.0")]
        self._source = ("ce_source", DEFAULT_SOURCE.encode())
        self._type = ("ce_type", topic.encode())
        self._tenant = ("ce_tenantid", tenant.encode())
        self._now = (-1, b"")

    def event(self, number: int, row: AnyRow, partition: int | None) -> RowEvent | BadRow:
        """The event of the job's row `number` (from 1). It goes to `partition`, unless its id or
        its group says where."""
        if isinstance(row, BadRow):
            return row
        try:
            return self._event(number, row.values, row.raw, partition)
        except (InvalidValue, msgspec.MsgspecError) as error:
            return BadRow(str(error))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            return BadRow(f"it can't be written as JSON: {error}")

    def _event(
        self, number: int, values: dict[str, Any], raw: bytes | None, partition: int | None
    ) -> RowEvent:
        options = self._options
        row_id = generated_id(self._job, number)
        chosen = None if options.id_field is None else _id_of(values, options.id_field)
        event_id = row_id if chosen is None or options.update else chosen
        group = _group_of(values, options.group_by)
        headers: list[tuple[str, bytes | None]] = [
            *self._before_id,
            ("ce_id", event_id.encode()),
            self._source,
            self._type,
            ("ce_time", self._time(values)),
            self._tenant,
        ]
        if event_id is row_id:
            headers.append(("ce_generatedid", b"true"))
        key = group or (chosen if options.update and chosen else event_id)
        if key is not event_id:
            headers.append(("ce_partitionkey", key.encode()))
        if options.update and chosen is not None:
            headers += (("ce_updates", chosen.encode()), ("meta_updates", chosen.encode()))
        data, dropped, violations = self._data(values, raw)
        fixed = partition if chosen is None and group is None else None
        message = Message(self._kafka_topic, key.encode(), data, headers, fixed)
        return RowEvent(event_id, message, dropped, violations)

    def _data(
        self, values: dict[str, Any], raw: bytes | None
    ) -> tuple[bytes, tuple[str, ...], tuple[Violation, ...]]:
        """The payload: verbatim where it was JSON and nothing had to be changed."""
        dropped: tuple[str, ...] = ()
        found: tuple[Violation, ...] = ()
        data = raw
        if self._schema is not None:
            options = self._options
            conformed = conform(
                values, self._schema, casting=options.casting, partial=options.update
            )
            dropped, found = conformed.dropped, conformed.violations
            if dropped or options.casting or raw is None:
                data = encode_row(conformed.data)
        if data is None:
            data = encode_row(values)
        if len(data) > self._limit:
            raise InvalidValue("row", f"{len(data)} bytes", f"at most {self._limit} bytes of JSON")
        return data, dropped, found

    def _time(self, values: dict[str, Any]) -> bytes:
        field = self._options.timestamp_field
        value = None if field is None else values.get(field)
        if field is None or value is None or value != value:  # only NaN isn't equal to itself
            return self._time_now()
        return rfc3339(parse_timestamp(value, self._written, field)).encode()

    def _time_now(self) -> bytes:
        now = self._clock()
        if self._now[0] != now:
            self._now = (now, rfc3339(now).encode())
        return self._now[1]


def generated_id(job: bytes, number: int) -> str:
    """uuid5 over the job (its bytes) and the row's number. As the standard library's, at half its
    cost: it is made for every row."""
    digest = sha1(job + b"%d" % number, usedforsecurity=False).hexdigest()
    variant = _VARIANTS[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def _id_of(values: dict[str, Any], field: str) -> str:
    return checked_event_id(_text_of(field, values.get(field)))


def _group_of(values: dict[str, Any], field: str | None) -> str | None:
    value = None if field is None else values.get(field)
    if field is None or value is None:
        return None
    return checked_text(field, _text_of(field, value))


def _text_of(field: str, value: object) -> str:
    """Parquet has days, too."""
    return str(value) if isinstance(value, date) else text_of_id(field, value)
