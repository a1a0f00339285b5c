"""A topic of ten thousand records, every third of which is rubbish, is drained by the roles as they
run: the good are delivered, the rubbish lies in `dead`, and can be replayed."""

from collections import Counter
from pathlib import Path

from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.admin import Admin
from event_router.consumers.subscription import Reading, Subscription
from event_router.schemas.record import Message, Record
from event_router.schemas.wire import read_dead
from tests import services
from tests.test_loop_live import Loop, binary, loop

RECORDS = 10_000
DEEP = 5_000

RUBBISH: tuple[tuple[bytes | None, list[tuple[str, bytes | None]]], ...] = (
    (b"\x00\xff not even text", []),
    (None, [("why", b"a tombstone")]),
    (b'{"tenant_id": "acme", "data": {', []),
    (b'{"tenant_id": "a tenant!", "data": {}}', []),
    (b'{"tenant_id": "acme", "data": {}, "time": "yesterday"}', [("meta_a", b"\xff")]),
    (b"[" * DEEP, []),
    (b'{"tenant_id": "acme", "data": ' + b"[" * DEEP + b"]" * DEEP + b', "id": 7}', []),
    (b"{}", [("ce_specversion", b"9.9"), ("ce_id", b"x"), ("ce_tenantid", b"acme")]),
    (b"{}", [("ce_specversion", b"1.0"), ("ce_id", b"\xff\xfe"), ("ce_tenantid", b"acme")]),
    (b"<event/>", [("content-type", b"application/cloudevents+xml")]),
    (b'{"specversion": "1.0"}', [("content-type", b"application/cloudevents+json")]),
)


def _messages(topic: str) -> list[Message]:
    messages = []
    for number in range(RECORDS):
        value, headers = RUBBISH[number % len(RUBBISH)]
        rubbish = Message(topic, b"k%d" % number, value, headers)
        messages.append(rubbish if number % 3 == 0 else binary(topic, f"e{number}"))
    return messages


async def _all(config: KafkaConfig, topic: str, group: str) -> list[Record]:
    async with Admin(config) as admin:
        waiting = sum((await admin.ends(topic)).values())
    records: list[Record] = []
    async with Subscription([topic], group, kafka=config, reading=Reading(drain=0.1)) as reading:
        while len(records) < waiting:
            batch = await anext(reading)
            reading.done(batch)
            records += batch
    return records


async def _dead(here: Loop, group: str) -> "Counter[tuple[object, ...]]":
    """What lies in `dead`, as it was."""
    records = await _all(here.kafka, here.system.topics.dead, group)
    found = [(one.key, one.value, tuple(read_dead(one).head.headers)) for one in records]
    return Counter(found)


async def test_rubbish_stops_nobody_and_can_be_replayed(
    kafka: services.Kafka, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    async with loop((kafka.bootstrap, redis_url, {}), namespace, tmp_path) as here:
        await here.ask("PUT", "/tenants/acme", 201)
        await here.make_destination("healthy")
        messages = _messages(here.system.topics.events)
        rubbish = Counter((one.key, one.value, tuple(one.headers)) for one in messages[::3])
        good = {f"e{number}" for number in range(RECORDS) if number % 3}
        await here.write(*messages)
        await here.until(lambda: here.receiver.got("/healthy").keys() == good, 120)
        await here.system.quiet()
        assert await _dead(here, f"{namespace}-1") == rubbish

        said = await here.system.command("dead", "replay", "--all")
        assert said == f"replayed {rubbish.total()}\n", "and not those that died again meanwhile"
        again = rubbish + rubbish

        async def all_died_again() -> bool:
            async with Admin(here.kafka) as admin:
                ends = await admin.ends(here.system.topics.dead)
            return sum(ends.values()) >= again.total()

        await here.until(all_died_again, 60)
        assert await _dead(here, f"{namespace}-2") == again
        assert here.receiver.got("/healthy").keys() == good
