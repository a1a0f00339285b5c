"""The calls about single events, schemas and jobs: what is said, and what the answers mean.

Each checks its arguments when it is called, and returns the exchange that is still to be had.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import quote
from uuid import UUID

import msgspec

from event_router.client.bodies import Enveloped, Job, KeptSchema, Published
from event_router.client.errors import APIError, BadArgument, JobFailed, JobNotDone
from event_router.client.exchange import Answer, Call, Pause, Request
from event_router.client.retries import Retries, retried
from event_router.client.values import encode, plain
from event_router.schemas.columns import EventSchema, checked_name, write_schema
from event_router.schemas.errors import InvalidValue
from event_router.schemas.ids import new_id, text_of_id
from event_router.schemas.json_schema import schema_of_json_schema
from event_router.schemas.timestamps import TimestampFormat, parse_timestamp

T = TypeVar("T")

ORGANISATION = "router"
FIRST_POLL = 0.1
POLL = 1.0
"""Seconds between two looks at a job: short at first, for a small batch is done at once."""


@dataclass(frozen=True, slots=True)
class Manners:
    """How a client behaves where a call doesn't say otherwise."""

    retries: Retries


def publish(
    manners: Manners,
    data: Mapping[str, Any] | bytes,
    id: str | None = None,  # noqa: A002  the name that people know
    tenant_id: str | None = None,
    destination_id: str | None = None,
    topic: str | None = None,
    eligible_for_retry: bool | None = None,
    metadata: Mapping[str, str] | None = None,
    retries: Retries | None = None,
    *,
    time: str | None = None,
    partition_key: str | None = None,
) -> Call[Published]:
    """Publishes one event; on return it is durably in Kafka.

    `data` is a JSON object, or its bytes, which are delivered as they are. Without an `id` one is
    made before the first try, so that a retry can't double the event. `retries` are the client's
    unless they are given.
    """
    body = {
        "id": new_id() if id is None else _id("id", id),
        "tenant_id": tenant_id,
        "destination_id": destination_id,
        "topic": topic,
        "eligible_for_retry": eligible_for_retry,
        "metadata": metadata,
        "time": time,
        "partition_key": partition_key,
        "data": msgspec.Raw(data) if isinstance(data, bytes) else mapping("data", data),
    }
    given = {name: value for name, value in body.items() if value is not None}
    request = Request("POST", "/api/v1/publish", encode(given))
    return _published(request, retries or manners.retries)


def publish_event(
    manners: Manners,
    project_id: str,
    model_id: str,
    event: Mapping[str, Any],
    event_id: str | None = None,
    update_event: bool | None = None,
    event_timestamp: Any = None,
    timestamp_format: TimestampFormat | None = TimestampFormat.INFER,
    casting_type: bool | None = False,
    dry_run: bool | None = False,
) -> Call[str]:
    """Publishes one event of a model (a topic) of a project (a tenant).

    Returns the id that acknowledges it: the event's, or the update's own. With `dry_run` nothing
    is published, and the report is returned: a JSON list of `{"type", "field", "desc"}`.
    """
    written = read_format(timestamp_format)
    if update_event and event_id is None:
        raise BadArgument("event_id", None, "the id of the event that is updated")
    body = {
        "event": mapping("event", event),
        "event_id": new_id() if event_id is None else _id("event_id", event_id),
        "id_field": None,
        "is_update": update_event,
        "event_timestamp": _time(event_timestamp, None if dry_run else written),
        "timestamp_format": written.value,
        "casting_type": bool(casting_type),
        "dry_run": bool(dry_run),
        "update_id": new_id() if update_event else None,
    }
    path = f"{model_path(project_id, model_id)}/ingest/event"
    request = Request("POST", path, encode(body, "event"))
    return _acknowledged(request, manners.retries, dry=bool(dry_run))


def put_schema(
    manners: Manners,
    tenant_id: str,
    topic: str,
    schema: EventSchema | Mapping[str, Any],
    on_violation: Literal["record", "reject"] | None = None,
) -> Call[EventSchema]:
    """Registers the schema of a topic, in place of the one before; a mapping is a JSON Schema.
    With `on_violation` "reject", events that violate it are refused."""
    kept = schema if isinstance(schema, EventSchema) else schema_of_json_schema(schema)
    if on_violation is not None:
        kept = msgspec.structs.replace(kept, on_violation=on_violation)
    path = _schema_path(tenant_id, topic)
    return _schema(Request("PUT", path, write_schema(kept)), manners.retries)


def get_schema(manners: Manners, tenant_id: str, topic: str) -> Call[EventSchema]:
    """The schema of a topic; raises NotFoundError when it has none."""
    return _schema(Request("GET", _schema_path(tenant_id, topic)), manners.retries)


def delete_schema(manners: Manners, tenant_id: str, topic: str) -> Call[None]:
    """Forgets the schema of a topic: nothing is dropped, cast or checked any more. Raises
    NotFoundError when it has none."""
    return _done(Request("DELETE", _schema_path(tenant_id, topic)), manners.retries)


def job(manners: Manners, uuid: str) -> Call[Job]:
    """How a batch stands; raises NotFoundError for a job that isn't known."""
    return _job(Request("GET", f"/api/v1/jobs/{_quoted('uuid', uuid)}"), manners.retries)


def cancel_job(manners: Manners, uuid: str) -> Call[Job]:
    """Stops a batch. What it has published stays published."""
    path = f"/api/v1/jobs/{_quoted('uuid', uuid)}/cancel"
    return _job(Request("POST", path), manners.retries)


def wait_for(manners: Manners, uuid: str, timeout: float = 1800.0) -> Call[Job]:
    """The job once it has ended well. Raises JobFailed when it was refused or cancelled, and
    JobNotDone when it goes on after `timeout` seconds of waiting."""
    return watched(manners, uuid, timeout)


def watched(manners: Manners, uuid: str, timeout: float, seen: Any = None) -> Call[Job]:
    """As `wait_for`; `seen` is called with every state."""
    waited, pause = 0.0, FIRST_POLL
    while True:
        now: Job = yield from job(manners, uuid)
        if seen is not None:
            seen(now)
        if now.finished:
            break
        if waited >= timeout:
            raise JobNotDone(now, timeout)
        pause = min(pause, timeout - waited)
        yield Pause(pause)
        waited, pause = waited + pause, min(2 * pause, POLL)
    if now.status != "SUCCESS":
        raise JobFailed(now)
    return now


def model_path(project: object, model: object) -> str:
    """Raises BadArgument for names that the calls by these names don't take."""
    try:
        names = checked_name("project_id", project), checked_name("model_id", model)
    except InvalidValue as error:
        raise BadArgument(error.field, error.value, error.expected) from None
    return f"/v2/events/{ORGANISATION}:{names[0]}:{names[1]}"


def read_format(written: TimestampFormat | str | None) -> TimestampFormat:
    try:
        return TimestampFormat.INFER if written is None else TimestampFormat(written)
    except ValueError:
        names = ", ".join(one.name for one in TimestampFormat)
        raise BadArgument("timestamp_format", written, f"one of TimestampFormat: {names}") from None


def mapping(field: str, value: object) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise BadArgument(field, value, "an object: a mapping from names to values")


def read(answer: Answer, kind: type[T]) -> T:
    """The answer's body; raises APIError when it isn't what was to be expected."""
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"not an answer of the router: {error}"
        raise APIError(answer.status, message, None, answer.headers, answer.body) from error


def _published(request: Request, retries: Retries) -> Call[Published]:
    return read((yield from retried(request, retries)), Published)


def _acknowledged(request: Request, retries: Retries, *, dry: bool) -> Call[str]:
    data = read((yield from retried(request, retries)), Enveloped).data
    if dry:
        return msgspec.json.encode(data.get("report", [])).decode()
    return str(data["__fiddler_id"])


def _schema(request: Request, retries: Retries) -> Call[EventSchema]:
    kept = read((yield from retried(request, retries)), KeptSchema)
    return EventSchema(kept.columns, kept.on_violation)


def _job(request: Request, retries: Retries) -> Call[Job]:
    return read((yield from retried(request, retries)), Job)


def _done(request: Request, retries: Retries) -> Call[None]:
    yield from retried(request, retries)


def _id(field: str, value: Any) -> str:
    """As it travels. Raises BadArgument for what a frame has where an id is missing (NaN, NA, an
    empty text): another id would be made of it at each try, and a retry would be another event."""
    try:
        sent = value if isinstance(value, str | int | float | UUID) else plain(value)
        text = text_of_id(field, sent)
    except TypeError:
        raise BadArgument(field, value, "a text or a whole number") from None
    except InvalidValue as error:
        raise BadArgument(field, value, error.expected) from None
    if not text:
        raise BadArgument(field, value, "an id: it is empty")
    return text


def _time(value: Any, written: TimestampFormat | None) -> Any:
    """As it travels; raises BadArgument for one that isn't `written` so. None isn't looked at: a
    dry run reports what is wrong."""
    try:
        sent = value if type(value).__module__ in ("builtins", "datetime") else plain(value)
        if sent is not None and written is not None:
            parse_timestamp(sent, written)
    except InvalidValue as error:
        raise BadArgument(error.field, error.value, error.expected) from None
    except TypeError as error:
        raise BadArgument("event_timestamp", value, f"a time: {error}") from None
    return sent


def _schema_path(tenant: str, topic: str) -> str:
    tenant, topic = _quoted("tenant_id", tenant), _quoted("topic", topic)
    return f"/api/v1/tenants/{tenant}/schemas/{topic}"


def _quoted(field: str, value: str) -> str:
    if not value:
        raise BadArgument(field, value, "a name")
    return quote(value, safe="")
