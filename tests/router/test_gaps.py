"""What retention took before it was read is noted in `dead`, by whichever role missed it."""

import asyncio
from pathlib import Path

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition

from event_router.consumers.gap import Gap
from event_router.consumers.memory import MemoryBroker
from event_router.router.commands.init import initialise
from event_router.router.roles.gaps import _note
from event_router.router.settings import read_settings
from event_router.schemas.attempt import DeadHead
from event_router.schemas.topics import Topics
from event_router.schemas.wire import dead_message, read_dead
from tests.faust.test_stream_trouble import delete_records
from tests.kafka_clients import config_of, publish
from tests.services import Kafka, unique
from tests.system import System, environment

TOPICS = Topics("ns")
READ = {"stream": ("events", "attempts"), "deliver": ("deliveries",), "log": ("events", "dead")}


async def noted(gap: Gap) -> DeadHead:
    """As it is read again from `dead`."""
    broker = MemoryBroker(lambda: 7)
    await broker.send([dead_message(_note(gap, "log", 7, TOPICS), TOPICS)])
    (record,) = broker.records(TOPICS.dead)
    return read_dead(record).head


async def test_the_note_names_the_range_that_retention_took() -> None:
    head = await noted(Gap(("ns.events", 3), wanted=2, begin=7, end=10))
    assert (head.reason, head.place.partition, head.place.offset) == ("offset_out_of_range", 3, 2)
    assert "offsets 2 to 6 of ns.events/3" in head.detail
    assert "reads on from 7" in head.detail


async def test_the_note_of_a_recreated_topic_names_what_it_holds() -> None:
    head = await noted(Gap(("ns.events", 3), wanted=90, begin=0, end=10))
    assert "stood at offset 90 of ns.events/3, which holds 0 up to 10" in head.detail


async def stand_at_the_start(bootstrap: str, group: str, topic: str) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    place = TopicPartition(topic, 0)
    consumer.assign([place])
    await consumer.commit({place: 0})
    await consumer.stop()


async def lose_the_first(kafka: Kafka, topics: Topics) -> None:
    """Each topic's partition 0 begins at 2, and each group stands at 0."""
    for group, names in READ.items():
        for name in names:
            await stand_at_the_start(kafka.bootstrap, topics.group(group), getattr(topics, name))
    for topic in topics.all:
        await publish(config_of(kafka), topic, [b"1", b"2"])
        await delete_records(kafka.bootstrap, topic, 2)


async def notes(bootstrap: str, topics: Topics, count: int) -> set[str]:
    """What `dead` says went missing: so many details."""
    details: set[str] = set()
    consumer = AIOKafkaConsumer(
        topics.dead, bootstrap_servers=bootstrap, auto_offset_reset="earliest"
    )
    async with asyncio.timeout(60), consumer:
        while len(details) < count:
            record = await consumer.getone()
            headers = dict(record.headers)
            if b"offset_out_of_range" in headers.get("head", b""):
                details.add(headers["head"].decode())
    return details


async def test_every_role_notes_what_it_missed_and_counts_it(
    kafka: Kafka, redis_url: str, tmp_path: Path
) -> None:
    env = environment(kafka.bootstrap, redis_url, tmp_path, NAMESPACE=unique())
    system = System(env, tmp_path, read_settings(env))
    async for _ in initialise(system.settings):
        pass
    topics = system.topics
    await lose_the_first(kafka, topics)
    try:
        for role in READ:
            system.start(role)
        found = await notes(kafka.bootstrap, topics, count=5)
        await system.ready()
        async with httpx.AsyncClient() as http:
            metrics = {
                role: (await http.get(f"{url}/metrics")).text for role, url in system.health.items()
            }
    finally:
        system.stop()
    for group, names in READ.items():
        for name in names:
            told = f"group {topics.group(group)}: offsets 0 to 1 of {getattr(topics, name)}/0"
            assert any(told in detail for detail in found)
        assert f"router_offsets_out_of_range_total {len(names)}.0" in metrics[group]
