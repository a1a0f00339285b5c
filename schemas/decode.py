"""Reading an event: a pure function of the record, so a record read twice is the same event.

Three forms are read: CloudEvents 1.0 in binary and in structured mode (Kafka protocol binding),
and the JSON envelope that `POST /publish` takes. Fields that are not known are ignored.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from event_router.schemas.errors import InvalidValue, Undecodable
from event_router.schemas.event import Event
from event_router.schemas.ids import checked_event_id, checked_id, id_of_record
from event_router.schemas.record import Record, place_of

DEFAULT_SOURCE = "event-router"
ANY_TOPIC = "*"
META = "meta_"

_STRUCTURED = b"application/cloudevents+json"
_TRUE = {"true": True, "false": False}


class Envelope(msgspec.Struct):
    """The JSON envelope; `data` keeps the bytes between its braces as they are."""

    tenant_id: str
    data: msgspec.Raw
    id: str | None = None
    topic: str | None = None
    destination_id: str | None = None
    eligible_for_retry: bool = True
    time: str | None = None
    metadata: dict[str, str] = {}
    partition_key: str | None = None


class _Structured(msgspec.Struct):
    specversion: str
    id: str
    source: str
    type: str
    tenantid: str | None = None
    time: str | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | None = None
    destinationid: str | None = None
    retryeligible: bool | str = True
    partitionkey: str | None = None
    generatedid: bool | str = False


_envelope = msgspec.json.Decoder(Envelope)
_structured = msgspec.json.Decoder(_Structured)


def decode_event(record: Record) -> Event:
    """The event that a record of the topic `events` holds; raises Undecodable."""
    if record.value is None:
        raise Undecodable("tombstone", "a record without a value is no event")
    try:
        if (record.header("content-type") or b"").strip().lower().startswith(_STRUCTURED):
            return _from_structured(record, record.value)
        if record.header("ce_specversion") is not None:
            return _from_binary(record, record.value)
        return _from_envelope(record, record.value)
    except InvalidValue as error:
        raise Undecodable(f"invalid_{error.field}", str(error)) from error
    except UnicodeDecodeError as error:
        raise Undecodable("invalid_utf8", str(error)) from error
    except msgspec.ValidationError as error:
        raise Undecodable("invalid_envelope", str(error)) from error
    except msgspec.DecodeError as error:
        raise Undecodable("invalid_json", str(error)) from error


def _from_binary(record: Record, value: bytes) -> Event:
    attributes: dict[str, str] = {}
    metadata: dict[str, str] = {}
    content_type = "application/octet-stream"
    for name, raw in record.headers:
        if name.startswith("ce_"):
            attributes[name[3:]] = raw.decode()
        elif name.startswith(META):
            metadata[name[len(META) :]] = raw.decode()
        elif name == "content-type":
            content_type = raw.decode()
    _require_version(attributes["specversion"])
    return Event(
        tenant=checked_id("tenant", _required(attributes, "tenantid")),
        id=checked_event_id(_required(attributes, "id")),
        source=_required(attributes, "source"),
        topic=_required(attributes, "type"),
        time=_time(attributes.get("time"), record),
        data=value,
        origin=place_of(record),
        content_type=content_type,
        metadata=metadata,
        destination=_destination(attributes.get("destinationid")),
        retry=_flag("retryeligible", attributes.get("retryeligible", "true")),
        partition_key=attributes.get("partitionkey"),
        deduplicate=not _flag("generatedid", attributes.get("generatedid", "false")),
    )


def _from_structured(record: Record, value: bytes) -> Event:
    read = _structured.decode(value)
    _require_version(read.specversion)
    if read.tenantid is None:
        raise Undecodable("missing_tenantid", "the attribute `tenantid` is required")
    content_type = read.datacontenttype or "application/json"
    return Event(
        tenant=checked_id("tenant", read.tenantid),
        id=checked_event_id(read.id),
        source=read.source,
        topic=read.type,
        time=_time(read.time, record),
        data=_structured_data(read, content_type),
        origin=place_of(record),
        content_type=content_type,
        metadata=_metadata(record),
        destination=_destination(read.destinationid),
        retry=_flag("retryeligible", read.retryeligible),
        partition_key=read.partitionkey,
        deduplicate=not _flag("generatedid", read.generatedid),
    )


def _from_envelope(record: Record, value: bytes) -> Event:
    read = _envelope.decode(value)
    own_id = read.id is not None
    return Event(
        tenant=checked_id("tenant", read.tenant_id),
        id=checked_event_id(read.id) if read.id is not None else _id_of(record),
        source=DEFAULT_SOURCE,
        topic=read.topic or ANY_TOPIC,
        time=_time(read.time, record),
        data=bytes(read.data),
        origin=place_of(record),
        metadata={**_metadata(record), **read.metadata},
        destination=_destination(read.destination_id),
        retry=read.eligible_for_retry,
        partition_key=read.partition_key,
        deduplicate=own_id,
    )


def _structured_data(read: _Structured, content_type: str) -> bytes:
    """CloudEvents JSON format §3.1: text stands as a string when the data isn't JSON."""
    if read.data_base64 is not None:
        try:
            return base64.b64decode(read.data_base64, validate=True)
        except binascii.Error as error:
            raise Undecodable("invalid_data_base64", str(error)) from error
    if read.data is msgspec.UNSET:
        raise Undecodable("missing_data", "one of `data` and `data_base64` is required")
    raw = bytes(read.data)
    if raw.startswith(b'"') and not _is_json(content_type):
        return msgspec.json.decode(raw, type=str).encode()
    return raw


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind.endswith(("/json", "+json"))


def _id_of(record: Record) -> str:
    return id_of_record(record.topic, record.partition, record.offset, record.timestamp)


def _require_version(version: str) -> None:
    if version != "1.0":
        raise InvalidValue("specversion", version, "1.0, the CloudEvents version that is read")


def _required(attributes: Mapping[str, str], name: str) -> str:
    value = attributes.get(name)
    if not value:
        raise Undecodable(f"missing_{name}", f"the attribute `{name}` is required")
    return value


def _metadata(record: Record) -> dict[str, str]:
    return {
        name[len(META) :]: value.decode() for name, value in record.headers if name.startswith(META)
    }


def _destination(value: str | None) -> str | None:
    return None if value is None else checked_id("destination_id", value)


def _flag(name: str, value: bool | str) -> bool:
    flag = value if isinstance(value, bool) else _TRUE.get(value.lower())
    if flag is None:
        raise InvalidValue(name, value, "true or false")
    return flag


def _time(value: str | None, record: Record) -> str:
    return rfc3339(record.timestamp) if value is None else checked_time("time", value)


def checked_time(field: str, value: str) -> str:
    """`value` when it is an RFC 3339 time with an offset; else InvalidValue."""
    try:
        zoned = datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        zoned = False
    if not zoned or len(value) <= len("2026-01-01"):
        raise InvalidValue(field, value, "an RFC 3339 time such as 2026-01-31T12:00:00Z")
    return value


def rfc3339(milliseconds: int) -> str:
    """A moment in ms since the epoch, in UTC, as RFC 3339 with milliseconds."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
