"""One event, as Fiddler's clients send it."""

from typing import Any

import msgspec

from event_router.router.api.errors import Refusal
from event_router.router.api.fiddler_answers import no_such_project
from event_router.router.api.services import Services
from event_router.router.batch.row_events import encode_row
from event_router.router.batch.uploads import Binding
from event_router.schemas.cloudevents import NewEvent
from event_router.schemas.columns import EventSchema
from event_router.schemas.conformity import conform, remarks, timestamp_remarks
from event_router.schemas.decode import DEFAULT_SOURCE, rfc3339
from event_router.schemas.errors import InvalidValue
from event_router.schemas.ids import new_id
from event_router.schemas.timestamps import TimestampFormat, parse_timestamp

Id = str | int | None
UPDATES = "updates"
"""Told to receivers as metadata, too: they have to know that what they got is no event anew."""
ACCEPTED = "Successfully accepted an event"


class EventBody(msgspec.Struct):
    """What is sent; `casting_type`, `dry_run` and `update_id` only our own client sends."""

    event: msgspec.Raw
    event_id: Id = None
    id_field: str | None = None
    is_update: bool | None = None
    event_timestamp: str | int | float | None = None
    timestamp_format: TimestampFormat | None = None
    casting_type: bool | None = None
    dry_run: bool | None = None
    update_id: str | None = None


class EventAccepted(msgspec.Struct, omit_defaults=True):
    """`__fiddler_id` is the event's id; of an update its own."""

    status: int
    message: str
    id: str | None = msgspec.field(default=None, name="__fiddler_id")
    report: list[Any] | msgspec.UnsetType = msgspec.UNSET


_body = msgspec.json.Decoder(EventBody)
_fields = msgspec.json.Decoder(dict[str, Any])


class Events:
    """Publishes them as `POST /publish` does; the schema of the topic is applied first."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def accept(self, raw: bytes, binding: Binding) -> EventAccepted:
        """Raises Refusal, InvalidValue, and what the hop raises."""
        body, data = _read(raw)
        known = await self._services.known_schemas.of(binding.tenant)
        if not known.exists:
            raise no_such_project(binding.tenant)
        schema = known.schemas.get(binding.topic)
        if body.dry_run:
            report = _report(body, data, schema)
            return EventAccepted(202, "A dry run: nothing was published", report=report)
        return await self._publish(body, data, schema, binding)

    async def _publish(
        self, body: EventBody, data: dict[str, Any], schema: EventSchema | None, binding: Binding
    ) -> EventAccepted:
        update, now = bool(body.is_update), self._services.clock()
        conformed = conform(data, schema, casting=bool(body.casting_type), partial=update)
        changed = body.casting_type or conformed.dropped
        event = _event(
            body,
            data,
            encode_row(conformed.data) if schema and changed else bytes(body.event),
            binding,
            now,
        )
        limit = self._services.settings.max_event_bytes
        if len(event.data) > limit:
            raise Refusal(413, f"the event is larger than {limit} bytes")
        published = await self._services.publish(event)
        await self._services.known_schemas.found(
            binding.tenant, binding.topic, published.id, conformed.violations, now
        )
        said = f"{ACCEPTED} (it was known already)" if published.duplicate else ACCEPTED
        return EventAccepted(202, said, published.id)


def _read(raw: bytes) -> tuple[EventBody, dict[str, Any]]:
    try:
        body = _body.decode(raw)
        bytes(body.event).decode()
        return body, _fields.decode(body.event)
    except msgspec.ValidationError as error:
        raise Refusal(400, f"the body can't be read: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON: {error}") from error


def _event(
    body: EventBody, data: dict[str, Any], payload: bytes, binding: Binding, now: int
) -> NewEvent:
    given = body.event_id if body.event_id is not None else _id_in(data, body.id_field)
    event_id = None if given is None else str(given)
    updates = event_id if body.is_update else None
    if body.is_update and event_id is None:
        raise InvalidValue("event_id", None, "there, and an update needs it")
    own = body.update_id if updates else event_id
    return NewEvent(
        tenant=binding.tenant,
        id=own or new_id(),
        source=DEFAULT_SOURCE,
        topic=binding.topic,
        time=rfc3339(_time(body, now)),
        data=payload,
        partition_key=updates,
        metadata={UPDATES: updates} if updates else {},
        generated_id=not own,
        updates=updates,
    )


def _id_in(data: dict[str, Any], field: str | None) -> Id:
    value = None if field is None else data.get(field)
    if value is None or (isinstance(value, str | int) and not isinstance(value, bool)):
        return value
    raise InvalidValue(f"event.{field}", value, "an id: a text or a whole number")


def _time(body: EventBody, now: int) -> int:
    if body.event_timestamp is None:
        return now
    written = body.timestamp_format or TimestampFormat.INFER
    return parse_timestamp(body.event_timestamp, written)


def _report(body: EventBody, data: dict[str, Any], schema: EventSchema | None) -> list[Any]:
    written = body.timestamp_format or TimestampFormat.INFER
    said = remarks(data, schema, casting=bool(body.casting_type), partial=bool(body.is_update))
    return [*said, *timestamp_remarks(body.event_timestamp, written)]
