"""Replaying the dead: what was given up enters again where it was given up, once."""

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest

from event_router.consumers.log_rows import place_text
from event_router.router.store.log_ports import DeadFilter
from event_router.router.store.paging import Paging
from event_router.schemas.attempt import Dead, DeadHead
from event_router.schemas.decode import rfc3339
from event_router.schemas.delivery import Delivery, DeliveryHead
from event_router.schemas.record import Place
from event_router.schemas.wire import dead_message, delivery_message, read_delivery
from tests.api.world import World
from tests.store.history import START, History, write


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """In the log: a record that couldn't be read, and a delivery that was given up."""
    world, history = World(), History()
    history.dead_record()
    delivery = history.delivery(history.event())
    history.attempt(delivery, "failed")
    history.dead(delivery)
    await write(world.log, history.records)
    async with world.client:
        yield world


async def replay(world: World, **body: object) -> dict[str, object]:
    answer = await world.client.post("dead/replay", json=body)
    assert answer.status_code == 202, answer.text
    said: dict[str, object] = answer.json()
    return said


def sent(world: World) -> list[DeliveryHead]:
    return [read_delivery(one).head for one in world.broker.records(world.topics.deliveries)]


async def listed(world: World, **query: str) -> list[dict[str, object]]:
    answer = await world.client.get("dead", params=query)
    assert answer.status_code == 200, answer.text
    models: list[dict[str, object]] = answer.json()["models"]
    return models


async def test_a_delivery_enters_deliveries_again_in_a_round_of_its_own(world: World) -> None:
    assert await replay(world, event_id=["e1"]) == {"replayed": 1, "more": False}
    [head] = sent(world)
    assert (head.event, head.destination, head.round, head.attempt) == ("e1", "d1", 1, 1)
    assert head.began == world.clock.now
    assert not head.manual


async def test_a_record_enters_its_topic_again_as_it_was(world: World) -> None:
    assert await replay(world, reason=["invalid_json"]) == {"replayed": 1, "more": False}
    [record] = world.broker.records(world.topics.events)
    assert (record.key, record.value) == (None, b"\x00\xff")
    assert list(record.headers) == [("content-type", b"text/plain"), ("odd", b"\xff\x00")]


async def test_replaying_twice_does_nothing(world: World) -> None:
    assert await replay(world, all=True) == {"replayed": 2, "more": False}
    assert await replay(world, all=True) == {"replayed": 0, "more": False}
    [one] = await listed(world, event_id="e1")
    assert await replay(world, place=[one["place"]]) == {"replayed": 0, "more": False}
    assert one["replayed_at"] is not None
    assert len(sent(world)) == 1


async def test_two_who_replay_at_the_same_time_send_once(world: World) -> None:
    both = await asyncio.gather(replay(world, all=True), replay(world, all=True))
    assert {one["replayed"] for one in both} == {0, 2}
    assert len(sent(world)) == 1


async def test_what_died_while_it_replayed_is_replayed_as_the_same_round(world: World) -> None:
    [one] = (await world.log.dead(DeadFilter(events=("e1",)), Paging())).models
    now = world.clock.now
    assert await world.log.claim_replays({one.key: 5}, now, now + 60_000) == {one.key: 5}
    assert await replay(world, event_id=["e1"]) == {"replayed": 0, "more": False}
    world.clock.now += 60_000
    assert await replay(world, event_id=["e1"]) == {"replayed": 1, "more": False}
    assert [head.round for head in sent(world)] == [5]


async def test_rounds_of_a_delivery_that_died_become_one_new_round(world: World) -> None:
    history = History()
    event = history.event("e2")
    for round_ in (0, 1):
        delivery = history.delivery(event, round_=round_)
        history.attempt(delivery, "failed", f"b{round_}")
        history.dead(delivery)
    await write(world.log, history.records)
    assert await replay(world, event_id=["e2"]) == {"replayed": 2, "more": False}
    assert [(head.event, head.round) for head in sent(world)] == [("e2", 2)]


async def test_a_replay_that_kafka_did_not_take_is_not_marked(world: World) -> None:
    world.producer.down = True
    answer = await world.client.post("dead/replay", json={"all": True})
    assert answer.status_code == 503
    world.producer.down = False
    assert await replay(world, all=True) == {"replayed": 2, "more": False}


async def test_what_is_too_large_to_enter_again_holds_up_no_other(world: World) -> None:
    world.broker.max_message_bytes = 2
    assert await replay(world, all=True) == {"replayed": 1, "more": False}
    assert len(world.broker.records(world.topics.events)) == 1
    assert (await world.client.post("dead/replay", json={"all": True})).status_code == 413
    world.broker.max_message_bytes = 1 << 20
    assert await replay(world, all=True) == {"replayed": 1, "more": False}
    assert (len(sent(world)), len(world.broker.records(world.topics.events))) == (1, 1)


async def test_what_only_notes_a_gap_is_marked_and_not_sent(world: World) -> None:
    place = Place(world.topics.attempts, 1, 7, START)
    note = Dead(DeadHead("offset_out_of_range", "7 to 9 were gone", place, (), START), None, None)
    await world.broker.send([dead_message(note, world.topics)])
    await write(world.log, world.broker.records(world.topics.dead))
    await replay(world, reason=["offset_out_of_range"])
    assert world.broker.records(world.topics.attempts) == []


async def test_a_replay_goes_on_where_the_limit_stopped_it(world: World) -> None:
    assert await replay(world, all=True, limit=1) == {"replayed": 1, "more": True}
    assert await replay(world, all=True, limit=1) == {"replayed": 1, "more": False}


async def test_what_dies_after_it_began_is_not_replayed(world: World) -> None:
    """It may have died of being replayed."""
    world.clock.now = START - 1
    assert await replay(world, all=True) == {"replayed": 0, "more": False}
    world.clock.now = START + 60_000
    assert await replay(world, all=True, before=rfc3339(START)) == {"replayed": 0, "more": False}
    assert await replay(world, all=True, before=rfc3339(START + 1000)) == {
        "replayed": 2,
        "more": False,
    }


async def test_a_replay_of_nothing_in_particular_is_refused(world: World) -> None:
    answer = await world.client.post("dead/replay", json={"limit": 5})
    assert answer.status_code == 400
    assert "name what to replay" in answer.json()["message"]


async def test_the_dead_are_listed_by_what_is_known_of_them(world: World) -> None:
    delivery, record = await listed(world)
    assert delivery["destination_id"] == "d1"
    assert (delivery["tenant_id"], delivery["reason"]) == ("acme", "retries_exhausted")
    assert record.keys() == {"place", "reason", "time"}
    assert await listed(world, tenant_id="acme") == [delivery]
    assert await listed(world, replayed="true") == []


async def test_one_of_the_dead_is_shown_whole(world: World) -> None:
    [record] = await listed(world, reason="invalid_json")
    answer = await world.client.get(f"dead/{record['place']}")
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert shown["dead"] == record
    assert shown["detail"] == "not JSON"
    assert shown["key_base64"] is None
    assert base64.b64decode(shown["value_base64"]) == b"\x00\xff"
    assert (await world.client.get("dead/nowhere:0:0:0")).status_code == 404
    assert (await world.client.get("dead", params={"next": "nonsense"})).status_code == 400


async def test_of_several_given_up_at_one_place_one_must_be_named(world: World) -> None:
    history = History()
    event = history.event("e3")
    place = history.dead(history.delivery(event, "d1"))
    head = history.delivery(event, "d2").head
    original = delivery_message(Delivery(head, event.data), world.topics)
    dead = DeadHead("message_too_large", "why", place, list(original.headers), START, head)
    await world.broker.send([dead_message(Dead(dead, None, event.data), world.topics)])
    await write(world.log, [*history.records, *world.broker.records(world.topics.dead)])
    path = f"dead/{place_text(place)}"
    assert (await world.client.get(path)).status_code == 400
    shown = (await world.client.get(path, params={"destination_id": "d2"})).json()
    assert shown["dead"]["reason"] == "message_too_large"
