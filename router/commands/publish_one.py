"""`router publish`: one event, straight to Kafka."""

from dataclasses import dataclass

import msgspec

from event_router.consumers.health import Health
from event_router.router.adapters import find_topics, open_producer
from event_router.router.clock import now_ms
from event_router.router.hops.publish import new_event
from event_router.router.settings import read_settings
from event_router.schemas.cloudevents import event_message
from event_router.schemas.errors import InvalidValue, TooLarge
from event_router.schemas.record import Place

DEADLINE = 10.0


@dataclass(frozen=True, slots=True)
class Entered:
    """What was entered on the command line; None where nothing was."""

    tenant: str
    data: bytes
    topic: str | None = None
    id: str | None = None
    destination: str | None = None


async def publish_one(entered: Entered) -> tuple[str, Place]:
    """The event's id and where Kafka keeps it.

    Raises InvalidValue for what can't be published, and Unavailable when Kafka didn't acknowledge
    in time: then publish again with the same id.
    """
    settings = read_settings()
    try:
        event = new_event(_envelope(entered), settings.topics, now_ms())
    except msgspec.MsgspecError as error:
        raise InvalidValue(
            "data", entered.data.decode(errors="replace"), "a JSON object"
        ) from error
    topics = await find_topics(settings)
    producer = open_producer(settings, topics, Health())
    try:
        [result] = await producer.send([event_message(event, topics.events)], DEADLINE)
    finally:
        await producer.aclose()
    if isinstance(result, TooLarge):
        raise result
    return event.id, result


def _envelope(entered: Entered) -> bytes:
    fields: dict[str, object] = {
        "tenant_id": entered.tenant,
        "id": entered.id,
        "topic": entered.topic,
        "destination_id": entered.destination,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    return msgspec.json.encode({**given, "data": msgspec.Raw(entered.data)})
