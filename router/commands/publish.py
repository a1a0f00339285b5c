"""`router publish`: one event, or one for each line, straight to Kafka."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import islice

import msgspec

from event_router.consumers.health import Health
from event_router.consumers.ports import Producer
from event_router.router.adapters import find_topics, open_producer
from event_router.router.clock import now_ms
from event_router.router.hops.publish import new_event
from event_router.router.settings import Settings, read_settings
from event_router.schemas.cloudevents import NewEvent, event_message
from event_router.schemas.errors import InvalidValue, TooLarge
from event_router.schemas.ids import text_of_id
from event_router.schemas.record import Message, Place
from event_router.schemas.topics import Topics

DEADLINE = 10.0
LINES = 500
"""Lines that are read and sent together."""


@dataclass(frozen=True, slots=True)
class Entered:
    """What was entered on the command line; None where nothing was."""

    tenant: str
    data: bytes
    topic: str | None = None
    id: str | None = None
    destination: str | None = None


@dataclass(slots=True)
class Lines:
    """What became of the lines: how many are published, and why others (from 1) aren't."""

    published: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)


async def publish_one(entered: Entered) -> tuple[str, Place]:
    """The event's id and where Kafka keeps it.

    Raises InvalidValue for what can't be published, and Unavailable when Kafka didn't acknowledge
    in time: then publish again with the same id.
    """
    settings = read_settings()
    event = _event(entered, settings)
    async with _kafka(settings) as (producer, topics):
        [result] = await producer.send([event_message(event, topics.events)], DEADLINE)
    if isinstance(result, TooLarge):
        raise result
    return event.id, result


async def publish_lines(
    entered: Entered, lines: Iterable[bytes], id_field: str | None = None
) -> Lines:
    """Publishes each line's JSON object as `entered` says; empty lines are passed over. With
    `id_field` an event's id is that field's value.

    A line that can't be published is refused, and the others go on. Raises Unavailable when Kafka
    didn't acknowledge in time: what was published before stays published.
    """
    settings = read_settings()
    done = Lines()
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    async with _kafka(settings) as (producer, topics):
        while some := await asyncio.to_thread(list, islice(numbered, LINES)):
            read = list(_messages(some, entered, id_field, settings, topics, done))
            results = await producer.send([message for _, message in read], DEADLINE)
            _count(done, [number for number, _ in read], results)
    done.refused.sort()
    return done


def _messages(
    lines: Sequence[tuple[int, bytes]],
    entered: Entered,
    id_field: str | None,
    settings: Settings,
    topics: Topics,
    done: Lines,
) -> Iterator[tuple[int, Message]]:
    for number, line in lines:
        try:
            event_id = entered.id if id_field is None else _id_in(line, id_field)
            event = _event(replace(entered, data=line, id=event_id), settings)
            yield number, event_message(event, topics.events)
        except InvalidValue as error:
            done.refused.append((number, str(error)))


def _count(done: Lines, numbers: Sequence[int], results: Sequence[Place | TooLarge]) -> None:
    for number, result in zip(numbers, results, strict=True):
        if isinstance(result, TooLarge):
            done.refused.append((number, str(result)))
        else:
            done.published += 1


def _event(entered: Entered, settings: Settings) -> NewEvent:
    try:
        return new_event(_envelope(entered), settings.topics, now_ms())
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        shown = entered.data.decode(errors="replace")
        raise InvalidValue("data", shown, "a JSON object") from error


def _id_in(line: bytes, name: str) -> str:
    try:
        value = msgspec.json.decode(line, type=dict[str, object]).get(name)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidValue("data", line.decode(errors="replace"), "a JSON object") from error
    return text_of_id(name, value)


@asynccontextmanager
async def _kafka(settings: Settings) -> AsyncIterator[tuple[Producer, Topics]]:
    topics = await find_topics(settings)
    producer = open_producer(settings, topics, Health())
    try:
        yield producer, topics
    finally:
        await producer.aclose()


def _envelope(entered: Entered) -> bytes:
    fields: dict[str, object] = {
        "tenant_id": entered.tenant,
        "id": entered.id,
        "topic": entered.topic,
        "destination_id": entered.destination,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    return msgspec.json.encode({**given, "data": msgspec.Raw(entered.data.strip())})
