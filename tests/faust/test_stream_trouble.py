"""The stream app when Kafka isn't as it should be."""

import asyncio
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.errors import GroupAuthorizationFailedError

from event_router.consumers.gap import Gap
from event_router.consumers.handover import MemoryHandover
from event_router.consumers.health import Health
from event_router.router.stream.app import run_stream, stream_app
from event_router.router.stream.fetch import FetchService
from tests.faust.apps import Hops, committed, numbered, running, send, settings, start
from tests.services import Kafka, Tansu, unique
from tests.waiting import until


async def delete_records(bootstrap: str, topic: str, offset: int) -> None:
    """Those below `offset`, as retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(offset)})
    await admin.close()


async def test_who_starts_without_kafka_says_where_it_looked_and_may_be_stopped(
    tmp_path: Path,
) -> None:
    stop, health = asyncio.Event(), Health()
    app = stream_app(settings("127.0.0.1:1", tmp_path), "group", {"events": Hops()}, health)
    task = asyncio.create_task(run_stream(app, stop))
    await until(lambda: task.done() or "127.0.0.1:1" in health.troubles.get("kafka reads", ""))
    assert not task.done()
    stop.set()
    async with asyncio.timeout(5):
        await task


async def test_who_starts_while_kafka_is_away_begins_once_it_is_back(
    faulty_kafka: Kafka, tmp_path: Path
) -> None:
    topic, hops, health, stop = unique(), Hops(), Health(), asyncio.Event()
    await faulty_kafka.make_topics({topic: 1})
    await send(faulty_kafka.bootstrap, topic, [b"1"])
    await asyncio.to_thread(faulty_kafka.stop)
    app = stream_app(settings(faulty_kafka.bootstrap, tmp_path), topic, {topic: hops}, health)
    task = asyncio.create_task(run_stream(app, stop))
    try:
        await until(lambda: task.done() or "kafka reads" in health.troubles)
        await asyncio.sleep(1)  # long enough for a second try in vain
        assert not task.done()
    finally:
        await asyncio.to_thread(faulty_kafka.start)
    await hops.finished(1, timeout=40)
    await until(lambda: health.ready)
    stop.set()
    await task


async def test_a_topic_that_is_not_there_is_named_and_read_once_it_is(
    kafka: Kafka, tmp_path: Path
) -> None:
    topic, hops, health = unique(), Hops(), Health()
    stop = asyncio.Event()
    app = stream_app(settings(kafka.bootstrap, tmp_path), topic, {topic: hops}, health)
    task = asyncio.create_task(run_stream(app, stop))
    await until(lambda: any(topic in trouble for trouble in health.troubles.values()))
    assert not health.ready
    await kafka.make_topics({topic: 1})
    await send(kafka.bootstrap, topic, [b"1"])
    await hops.finished(1)
    await until(lambda: health.ready)
    stop.set()
    await task


async def test_records_that_retention_took_are_noted_and_reading_goes_on(
    kafka: Kafka, tmp_path: Path
) -> None:
    topic, hops = unique(), Hops()
    here = settings(kafka.bootstrap, tmp_path)
    await kafka.make_topics({topic: 1})
    await send(kafka.bootstrap, topic, numbered(0, 2))
    async with running(here, topic, {topic: hops}):
        await hops.finished(2)
    await send(kafka.bootstrap, topic, numbered(2, 10))
    await delete_records(kafka.bootstrap, topic, 7)
    gaps: list[Gap] = []

    async def note(gap: Gap) -> None:
        gaps.append(gap)

    async with running(here, topic, {topic: hops}, note):
        await hops.finished(5)
    assert gaps == [Gap((topic, 0), wanted=2, begin=7, end=10)]
    assert await committed(kafka.bootstrap, topic, topic) == 10


async def test_a_group_that_may_not_be_joined_is_told_with_what_to_do(
    kafka: Kafka, tmp_path: Path
) -> None:
    """The client keeps such errors for who asks; Faust never does."""
    topic, hops = unique(), Hops()
    await kafka.make_topics({topic: 1})
    await send(kafka.bootstrap, topic, [b"1"])
    async with running(settings(kafka.bootstrap, tmp_path), topic, {topic: hops}) as app:
        await hops.finished(1)
        coordinator = app.app.consumer._thread._ensure_consumer()._coordinator
        coordinator._push_error_to_user(GroupAuthorizationFailedError(topic)).close()
        await until(lambda: not app.health.ready)
        assert "grant it Read on the group" in app.health.troubles["kafka group"]
        await until(lambda: app.health.ready)


async def test_kafka_may_be_away_for_a_while(faulty_kafka: Kafka, tmp_path: Path) -> None:
    topic, hops = unique(), Hops()
    await faulty_kafka.make_topics({topic: 2})
    here = settings(faulty_kafka.bootstrap, tmp_path)
    async with running(here, topic, {topic: hops}) as app:
        object.__setattr__(app.app.consumer.reading, "silence", 2.0)
        await send(faulty_kafka.bootstrap, topic, numbered(0, 50), partitions=2)
        await hops.finished(50)
        await asyncio.to_thread(faulty_kafka.stop)
        await until(lambda: "kafka reads" in app.health.troubles)
        await asyncio.to_thread(faulty_kafka.start)
        await send(faulty_kafka.bootstrap, topic, numbered(50, 100), partitions=2)
        await hops.finished(100, timeout=30)
        await until(lambda: app.health.ready)
    assert len(hops.done) == 100


async def test_what_it_could_not_commit_is_not_done_again_by_the_next_one(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> bool:
        return False

    topic, hops, handover = unique(), Hops(), MemoryHandover()
    here = settings(kafka.bootstrap, tmp_path)
    await kafka.make_topics({topic: 2})
    with monkeypatch.context() as patched:
        patched.setattr(FetchService, "_commit", refuse)
        async with running(here, topic, {topic: hops}, handover=handover):
            await send(kafka.bootstrap, topic, numbered(0, 20), partitions=2)
            await hops.finished(20)
    assert await committed(kafka.bootstrap, topic, topic) is None
    async with running(here, topic, {topic: hops}, handover=handover):
        await send(kafka.bootstrap, topic, numbered(20, 30), partitions=2)
        await hops.finished(30)
    assert sorted(hops.done) == sorted(numbered(0, 30))
    assert await committed(kafka.bootstrap, topic, topic) == 15


async def test_it_stops_in_time_while_kafka_is_away(faulty_kafka: Kafka, tmp_path: Path) -> None:
    topic, hops = unique(), Hops(hold=lambda _: True)
    await faulty_kafka.make_topics({topic: 1})
    app = await start(settings(faulty_kafka.bootstrap, tmp_path), topic, {topic: hops})
    await send(faulty_kafka.bootstrap, topic, [b"1"])
    await until(lambda: hops.begun == [b"1"])
    await asyncio.to_thread(faulty_kafka.stop)
    try:
        hops.go.set()  # from now on there is something to commit
        await asyncio.sleep(1)
        async with asyncio.timeout(20):
            await app.end()
    finally:
        await asyncio.to_thread(faulty_kafka.start)


async def test_the_embedded_broker_serves_as_well(tansu: Tansu, tmp_path: Path) -> None:
    topic, hops = unique(), Hops()
    await tansu.make_topics({topic: 4})
    here = settings(tansu.bootstrap, tmp_path, kafka_fetch_wait_ms=20)
    async with running(here, topic, {topic: hops}) as app:
        await send(tansu.bootstrap, topic, numbered(0, 200), partitions=4)
        await hops.finished(200)
        await until(lambda: app.app.consumer.known_lag() == 0)
    async with running(here, topic, {topic: hops}):
        await send(tansu.bootstrap, topic, numbered(200, 210), partitions=4)
        await hops.finished(210)
    assert len(hops.done) == 210
