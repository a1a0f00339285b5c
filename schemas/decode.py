"""Reading an event: a pure function of the record, so a record read twice is the same event.

Three forms are read: CloudEvents 1.0 in binary and in structured mode (Kafka protocol binding),
and the JSON envelope that `POST /publish` takes. Fields that are not known are ignored, null is
the same as absent, and of headers with the same name the last one counts.
"""

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec

from event_router.schemas.errors import InvalidValue, Undecodable
from event_router.schemas.event import Event
from event_router.schemas.ids import checked_event_id, checked_id, checked_text, id_of_record
from event_router.schemas.record import Record, place_of

DEFAULT_SOURCE = "event-router"
ANY_TOPIC = "*"
META = "meta_"

_BOM = b"\xef\xbb\xbf"
_CLOUDEVENTS = b"application/cloudevents"
_FLAGS = {"true": True, "false": False}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})"
)

Headers = Mapping[str, bytes | None]
Flag = bool | str | None
"""CloudEvents has booleans in JSON, and only texts in headers."""


class Envelope(msgspec.Struct):
    """The JSON envelope; `data` keeps the bytes of its value as they are. Retries are on unless
    they are switched off."""

    tenant_id: str
    data: msgspec.Raw
    id: str | None = None
    topic: str | None = None
    destination_id: str | None = None
    eligible_for_retry: bool | None = None
    time: str | None = None
    metadata: dict[str, str] | None = None
    partition_key: str | None = None


class _Structured(msgspec.Struct):
    specversion: str | None = None
    id: str | None = None
    source: str | None = None
    type: str | None = None
    tenantid: str | None = None
    time: str | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | None = None
    destinationid: str | None = None
    retryeligible: Flag = None
    partitionkey: str | None = None
    generatedid: Flag = None
    updates: str | None = None


_envelope = msgspec.json.Decoder(Envelope)
_structured = msgspec.json.Decoder(_Structured)


def decode_event(record: Record) -> Event:
    """The event that a record of the topic `events` holds; raises Undecodable and nothing else.

    Its reasons: `tombstone`, `invalid_json`, `invalid_utf8`, `invalid_envelope`,
    `invalid_cloudevent`, `unsupported_format`, `missing_FIELD` and `invalid_FIELD`.
    """
    if record.value is None:
        raise Undecodable("tombstone", "a record without a value is no event")
    try:
        return _read(record, record.value, dict(record.headers))
    except InvalidValue as error:
        raise Undecodable(f"invalid_{error.field}", str(error)) from error
    except UnicodeDecodeError as error:
        raise Undecodable("invalid_utf8", str(error)) from error
    except msgspec.DecodeError as error:
        raise Undecodable("invalid_json", str(error)) from error
    except RecursionError as error:
        raise Undecodable("invalid_json", "nested too deep") from error


def _read(record: Record, value: bytes, headers: Headers) -> Event:
    media_type = (headers.get("content-type") or b"").partition(b";")[0].strip().lower()
    if media_type.startswith(_CLOUDEVENTS):
        if media_type != b"application/cloudevents+json":
            raise Undecodable("unsupported_format", f"{media_type!r}: only +json is read")
        return _from_structured(record, value, headers)
    if headers.get("ce_specversion") is not None:
        return _from_binary(record, value, headers)
    return _from_envelope(record, value, headers)


def _from_binary(record: Record, value: bytes, headers: Headers) -> Event:
    _require_version(_text(headers, "ce_specversion"))
    return _event(
        record,
        value,
        tenant=_required("tenantid", _text(headers, "ce_tenantid")),
        event_id=_required("id", _text(headers, "ce_id")),
        source=_required("source", _text(headers, "ce_source")),
        topic=_required("type", _text(headers, "ce_type")),
        time=_text(headers, "ce_time"),
        content_type=_text(headers, "content-type") or "application/octet-stream",
        metadata=_metadata(headers),
        destination=_text(headers, "ce_destinationid"),
        retry=_flag("retryeligible", _text(headers, "ce_retryeligible"), default=True),
        partition_key=_text(headers, "ce_partitionkey"),
        deduplicate=not _flag("generatedid", _text(headers, "ce_generatedid"), default=False),
        updates=_text(headers, "ce_updates"),
    )


def _from_structured(record: Record, value: bytes, headers: Headers) -> Event:
    try:
        read = _structured.decode(value.removeprefix(_BOM))
    except msgspec.ValidationError as error:
        raise Undecodable("invalid_cloudevent", str(error)) from error
    _require_version(read.specversion)
    content_type = read.datacontenttype or "application/json"
    return _event(
        record,
        _structured_data(read, content_type),
        tenant=_required("tenantid", read.tenantid),
        event_id=_required("id", read.id),
        source=_required("source", read.source),
        topic=_required("type", read.type),
        time=read.time,
        content_type=content_type,
        metadata=_metadata(headers),
        destination=read.destinationid,
        retry=_flag("retryeligible", read.retryeligible, default=True),
        partition_key=read.partitionkey,
        deduplicate=not _flag("generatedid", read.generatedid, default=False),
        updates=read.updates,
    )


def _from_envelope(record: Record, value: bytes, headers: Headers) -> Event:
    try:
        read = _envelope.decode(value.removeprefix(_BOM))
    except msgspec.ValidationError as error:
        raise Undecodable("invalid_envelope", str(error)) from error
    return _event(
        record,
        bytes(read.data),
        tenant=read.tenant_id,
        event_id=_id_of(record) if read.id is None else read.id,
        source=DEFAULT_SOURCE,
        topic=read.topic or ANY_TOPIC,
        time=read.time,
        content_type="application/json",
        metadata=_metadata(headers) | (read.metadata or {}),
        destination=read.destination_id,
        retry=read.eligible_for_retry is not False,
        partition_key=read.partition_key,
        deduplicate=read.id is not None,
    )


def _event(
    record: Record,
    data: bytes,
    *,
    tenant: str,
    event_id: str,
    source: str,
    topic: str,
    time: str | None,
    content_type: str,
    metadata: dict[str, str],
    destination: str | None,
    retry: bool,
    partition_key: str | None,
    deduplicate: bool,
    updates: str | None = None,
) -> Event:
    """What every form has to pass."""
    return Event(
        tenant=checked_id("tenant", tenant),
        id=checked_event_id(event_id),
        source=checked_text("source", source),
        topic=checked_text("topic", topic),
        time=_time_of(record) if time is None else checked_time("time", time),
        data=data,
        origin=place_of(record),
        content_type=checked_text("content_type", content_type),
        metadata=metadata,
        destination=None if destination is None else checked_id("destination_id", destination),
        retry=retry,
        partition_key=checked_text("partition_key", partition_key) if partition_key else None,
        deduplicate=deduplicate,
        updates=checked_event_id(updates) if updates else None,
    )


def _structured_data(read: _Structured, content_type: str) -> bytes:
    """CloudEvents JSON format §3.1: text stands as a string when the data isn't JSON."""
    raw = b"" if read.data is msgspec.UNSET else bytes(read.data)
    if read.data_base64 is not None:
        if raw not in (b"", b"null"):
            raise Undecodable("invalid_data", "`data` and `data_base64` exclude each other")
        return _from_base64(read.data_base64)
    if not raw:
        raise Undecodable("missing_data", "one of `data` and `data_base64` is required")
    if raw.startswith(b'"') and not _is_json(content_type):
        return msgspec.json.decode(raw, type=str).encode()
    return raw


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:  # binascii.Error is one; text beyond ASCII raises the plain one
        raise InvalidValue("data_base64", text, "base64") from error


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind.endswith(("/json", "+json"))


def _id_of(record: Record) -> str:
    return id_of_record(record.topic, record.partition, record.offset, record.timestamp)


def _time_of(record: Record) -> str:
    try:
        return rfc3339(record.timestamp)
    except OverflowError as error:
        expected = "milliseconds since the epoch, within the years 1 to 9999"
        raise InvalidValue("timestamp", record.timestamp, expected) from error


def _require_version(version: str | None) -> None:
    if version != "1.0":
        raise InvalidValue("specversion", version, "1.0, the CloudEvents version that is read")


def _required(name: str, value: str | None) -> str:
    if not value:
        raise Undecodable(f"missing_{name}", f"the attribute `{name}` is required")
    return value


def _text(headers: Headers, name: str) -> str | None:
    raw = headers.get(name)
    return None if raw is None else raw.decode()


def _metadata(headers: Headers) -> dict[str, str]:
    return {
        name[len(META) :]: raw.decode()
        for name, raw in headers.items()
        if name.startswith(META) and raw is not None
    }


def _flag(name: str, value: Flag, *, default: bool) -> bool:
    if value is None or isinstance(value, bool):
        return default if value is None else value
    flag = _FLAGS.get(value.lower())
    if flag is None:
        raise InvalidValue(name, value, "true or false")
    return flag


def checked_time(field: str, value: str) -> str:
    """`value`, with its letters in capitals, when it is a time as in RFC 3339 that lies within
    the years 1 to 9999 in UTC; else InvalidValue. Leap seconds aren't taken: Python has none."""
    upper = value.upper()
    try:
        if _RFC3339.fullmatch(upper):
            datetime.fromisoformat(upper).astimezone(UTC)
            return upper
    except (ValueError, OverflowError):
        pass
    raise InvalidValue(field, value, "an RFC 3339 time such as 2026-01-31T12:00:00Z")


def rfc3339(milliseconds: int) -> str:
    """A moment in ms since the epoch, in UTC, as RFC 3339 with milliseconds; OverflowError
    outside the years 1 to 9999."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_second(seconds)}.{rest:03}Z"


@lru_cache(maxsize=1024)
def _second(since_epoch: int) -> str:
    return (_EPOCH + timedelta(seconds=since_epoch)).isoformat().removesuffix("+00:00")
