"""What is larger than the router may write: events that their producers compressed, mostly."""

from typing import Any

import msgspec
import pytest

from event_router.consumers.memory import MemoryBroker
from event_router.schemas.attempt import Attempt, AttemptHead, DeadHead
from event_router.schemas.delivery import DeliveryHead
from event_router.schemas.errors import TooLarge
from event_router.schemas.record import Message, Place, Record, place_of
from event_router.schemas.wire import attempt_message, read_dead
from tests.loop import World, destination

LIMIT = 1_000


async def _dead_of(world: World, record: Record) -> list[tuple[DeadHead, bytes | None]]:
    """What lies in `dead` after it was routed."""
    world.directory.put(destination("a"), destination("b"))
    await world.life().route([record])
    dead = map(read_dead, world.broker.records(world.topics.dead))
    return [(one.head, one.value) for one in dead]


async def _large(world: World, **more: Any) -> Record:
    world.broker.max_message_bytes = 1 << 20
    await world.publish("e1", data=b'"%s"' % (b"x" * LIMIT))
    world.broker.max_message_bytes = LIMIT
    (record,) = world.broker.records(world.topics.events)
    return msgspec.structs.replace(record, **more)


@pytest.mark.parametrize("more", [{}, {"value": b"no JSON" * LIMIT, "headers": ()}])
async def test_an_event_that_is_too_large_even_for_dead_is_noted_there(more: Any) -> None:
    world = World(clock=lambda: 1)
    record = await _large(world, **more)
    ((head, value),) = await _dead_of(world, record)
    assert (head.reason, head.place) == ("message_too_large", place_of(record))
    assert f"{len(record.value or b'')} bytes" in head.detail
    assert (value, list(head.headers)) == (None, [])


async def test_an_event_that_only_dead_takes_lies_there_whole() -> None:
    world = World(clock=lambda: 1)
    record = await _large(world)

    class Small(MemoryBroker):
        def _append(self, message: Message) -> Place | TooLarge:
            small = message.topic == world.topics.deliveries
            return TooLarge("for deliveries") if small else super()._append(message)

    world.broker = Small(lambda: 1)
    ((head, value),) = await _dead_of(world, record)
    assert (head.reason, value) == ("message_too_large", record.value)
    assert head.headers


@pytest.mark.parametrize(
    ("payload", "code"), [(b"x" * 2 * LIMIT, "sink_not_installed"), (b"", "message_too_large")]
)
async def test_a_delivery_that_is_given_up_is_noted_where_its_payload_does_not_fit(
    payload: bytes, code: str
) -> None:
    world = World(clock=lambda: 1)
    world.directory.put(destination("a"))
    origin = Place("events", 3, 14, 1)
    delivery = DeliveryHead("acme", "e1", "a", origin, "t", "2026-01-01T00:00:00Z", "test", 1)
    attempt = Attempt(AttemptHead("1", delivery, "memory", "rejected", code, 1, 1.0), payload)
    await world.broker.send([attempt_message(attempt, world.topics)])
    world.broker.max_message_bytes = LIMIT
    await world.life().settle(world.broker.records(world.topics.attempts))
    [dead] = map(read_dead, world.broker.records(world.topics.dead))
    assert (dead.head.reason, dead.head.delivery) == (code, delivery)
    assert "events/3 at 14" in dead.head.detail
    assert (dead.key, dead.value, list(dead.head.headers)) == (None, None, [])
