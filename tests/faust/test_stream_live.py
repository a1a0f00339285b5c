"""The stream app on Apache Kafka: what is read, what is committed, and who gets it next."""

import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from event_router.consumers.health import Health
from event_router.router.stream.app import on_assigned, run_stream, stream_app
from event_router.schemas.errors import Unavailable
from event_router.schemas.record import Record
from tests.faust.apps import DRAIN, Hops, committed, numbered, running, send, settings, start
from tests.services import ROOT, SASL_PASSWORD, SASL_USER, Kafka, unique
from tests.waiting import until


async def worker(
    kafka: Kafka, group: str, topic: str, journal: Path, held: str = ""
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faust.worker",
        kafka.bootstrap, group, topic, str(journal), held, cwd=ROOT,
    )  # fmt: skip


def noted(journal: Path, what: str) -> list[str]:
    lines = journal.read_text().splitlines() if journal.exists() else []
    return [line.split()[1] for line in lines if line.startswith(what)]


async def test_what_a_poll_fetched_of_a_topic_arrives_together(
    kafka: Kafka, tmp_path: Path
) -> None:
    topic = unique()
    await kafka.make_topics({topic: 4})
    await send(kafka.bootstrap, topic, numbered(0, 400), partitions=4)
    hops = Hops()
    async with running(settings(kafka.bootstrap, tmp_path), topic, {topic: hops}):
        await hops.finished(400)
    assert len(hops.batches) <= 4
    assert [await committed(kafka.bootstrap, topic, topic, one) for one in range(4)] == [100] * 4


async def test_each_assignment_is_told(kafka: Kafka, tmp_path: Path) -> None:
    topic = unique()
    await kafka.make_topics({topic: 2})
    told: list[bool] = []
    app = stream_app(settings(kafka.bootstrap, tmp_path), topic, {topic: Hops()}, Health())
    on_assigned(app, lambda: told.append(True))
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_stream(app, stop))
        await until(lambda: len(told) == 1)
        async with running(settings(kafka.bootstrap, tmp_path), topic, {topic: Hops()}):
            await until(lambda: len(told) == 2)
        stop.set()


async def test_offsets_wait_for_the_lowest_unfinished_record(kafka: Kafka, tmp_path: Path) -> None:
    """H1 to H3: later records are done, the first is not."""
    topic = unique()
    await kafka.make_topics({topic: 1})
    hops = Hops(hold=lambda one: one == b"0")
    async with running(settings(kafka.bootstrap, tmp_path), topic, {topic: hops}) as app:
        await send(kafka.bootstrap, topic, [b"0"])
        await until(lambda: hops.begun == [b"0"])
        await send(kafka.bootstrap, topic, numbered(1, 50))
        await hops.finished(49)
        await app.app.consumer.commit()
        assert await committed(kafka.bootstrap, topic, topic) in (None, 0)
        hops.go.set()
        await hops.finished(50)
    assert await committed(kafka.bootstrap, topic, topic) == 50


async def test_gaps_in_the_offsets_hold_nothing_back(kafka: Kafka, tmp_path: Path) -> None:
    """Each transaction leaves a marker, which takes an offset and is no record."""
    topic = unique()
    await kafka.make_topics({topic: 1})
    hops = Hops()
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=topic)
    async with running(settings(kafka.bootstrap, tmp_path), topic, {topic: hops}) as app:
        async with producer:
            for one in numbered(0, 5):
                async with producer.transaction():
                    await producer.send_and_wait(topic, one, partition=0)
        await hops.finished(5)
        await until(lambda: app.app.consumer.known_lag() == 0)
        assert await app.app.consumer.lag() == 0
    assert await committed(kafka.bootstrap, topic, topic) == 10


async def test_a_hop_that_raises_is_called_again_and_nothing_is_skipped(
    kafka: Kafka, tmp_path: Path
) -> None:
    """H5: an exception acknowledges nothing."""
    topic = unique()
    await kafka.make_topics({topic: 1})
    calls: list[list[bytes | None]] = []
    raised: list[Exception] = [Unavailable("redis", "away"), ValueError("a mistake of ours")]

    async def hop(records: Sequence[Record]) -> None:
        calls.append([record.value for record in records])
        if raised:
            assert await committed(kafka.bootstrap, topic, topic) in (None, 0)
            raise raised.pop(0)

    await send(kafka.bootstrap, topic, numbered(0, 3))
    async with running(settings(kafka.bootstrap, tmp_path), topic, {topic: hop}) as app:
        await until(lambda: len(calls) == 1 and not app.health.ready)
        await until(lambda: len(calls) == 3 and app.health.ready)
    assert calls == [numbered(0, 3)] * 3
    assert await committed(kafka.bootstrap, topic, topic) == 3


async def test_after_a_sigkill_the_unfinished_first_record_comes_again(
    kafka: Kafka, tmp_path: Path
) -> None:
    topic = unique()
    await kafka.make_topics({topic: 1})
    journal = tmp_path / "journal"
    killed = await worker(kafka, topic, topic, journal, held="0")
    await send(kafka.bootstrap, topic, [b"0"])
    await until(lambda: noted(journal, "begun") == ["0"])
    await send(kafka.bootstrap, topic, numbered(1, 60))
    await until(lambda: len(noted(journal, "done")) == 59)
    await asyncio.sleep(1.1)  # two commit intervals
    killed.kill()
    await killed.wait()
    hops = Hops()
    async with running(settings(kafka.bootstrap, tmp_path), topic, {topic: hops}):
        await hops.finished(60)
    assert set(hops.done) == set(numbered(0, 60))


async def test_on_sigterm_a_slow_record_is_given_up_in_time_and_its_offset_held_back(
    kafka: Kafka, tmp_path: Path
) -> None:
    topic = unique()
    await kafka.make_topics({topic: 1})
    journal = tmp_path / "journal"
    process = await worker(kafka, topic, topic, journal, held="5")
    await send(kafka.bootstrap, topic, numbered(0, 5))
    await until(lambda: len(noted(journal, "done")) == 5)
    await send(kafka.bootstrap, topic, [b"5"])
    await until(lambda: "5" in noted(journal, "begun"))
    await send(kafka.bootstrap, topic, numbered(6, 20))
    await until(lambda: len(noted(journal, "done")) == 19)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert time.monotonic() - begun < DRAIN + 2
    assert await committed(kafka.bootstrap, topic, topic) == 5


async def test_a_stuck_record_does_not_keep_the_group_from_rebalancing(
    kafka: Kafka, tmp_path: Path
) -> None:
    """H6."""
    topic = unique()
    await kafka.make_topics({topic: 2})
    here = settings(kafka.bootstrap, tmp_path)
    stuck, other = Hops(hold=lambda one: one == b"stuck"), Hops()
    async with running(here, topic, {topic: stuck}):
        await send(kafka.bootstrap, topic, [b"stuck"])
        await until(lambda: stuck.begun == [b"stuck"])
        begun = time.monotonic()
        async with running(here, topic, {topic: other}):
            await send(kafka.bootstrap, topic, numbered(0, 50), partitions=2)
            # Those of the other partition: what is read along with a stuck record waits with it.
            await until(lambda: {*other.done, *stuck.done} >= set(numbered(0, 50)[1::2]))
            took = time.monotonic() - begun
        await until(lambda: b"stuck" in other.done or stuck.begun.count(b"stuck") > 1)
    assert took < DRAIN + 5
    assert b"stuck" in other.done or await committed(kafka.bootstrap, topic, topic) == 0


async def test_workers_that_come_and_go_in_order_lose_nothing_and_repeat_nothing(
    kafka: Kafka, tmp_path: Path
) -> None:
    topic = unique()
    await kafka.make_topics({topic: 4})
    here = settings(kafka.bootstrap, tmp_path)
    hops = Hops()
    sending = asyncio.create_task(_trickle(kafka, topic, 2000))
    workers = [await start(here, topic, {topic: hops})]
    for _ in range(3):
        workers.append(await start(here, topic, {topic: hops}))
        await asyncio.sleep(0.3)
        await workers.pop(0).end()
    await sending
    await hops.finished(2000)
    await workers.pop().end()
    assert Counter(hops.done) == Counter(numbered(0, 2000))


async def test_workers_that_are_killed_and_join_lose_nothing(kafka: Kafka, tmp_path: Path) -> None:
    topic = unique()
    await kafka.make_topics({topic: 4})
    journal = tmp_path / "journal"
    workers = [await worker(kafka, topic, topic, journal) for _ in range(2)]
    sending = asyncio.create_task(_trickle(kafka, topic, 3000, pause=0.06))
    for _ in range(3):
        await asyncio.sleep(1.0)
        workers.append(await worker(kafka, topic, topic, journal))
        victim = workers.pop(0)
        victim.kill()
        await victim.wait()
    await sending
    await until(lambda: len(set(noted(journal, "done"))) == 3000, seconds=30)
    for one in workers:
        one.send_signal(signal.SIGTERM)
        assert await one.wait() == 0


async def _trickle(kafka: Kafka, topic: str, count: int, pause: float = 0.03) -> None:
    for first in range(0, count, 50):
        await send(kafka.bootstrap, topic, numbered(first, first + 50), partitions=4)
        await asyncio.sleep(pause)


async def test_a_recreated_topic_is_read_from_its_start(kafka: Kafka, tmp_path: Path) -> None:
    topic = unique()
    await kafka.make_topics({topic: 1})
    hops = Hops()
    async with running(settings(kafka.bootstrap, tmp_path), topic, {topic: hops}) as app:
        await send(kafka.bootstrap, topic, numbered(0, 20))
        await hops.finished(20)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.delete_topics([topic])
        await admin.close()
        await asyncio.sleep(0.5)
        await kafka.make_topics({topic: 1})
        await send(kafka.bootstrap, topic, numbered(100, 105))
        await hops.finished(25, timeout=40)
        await app.app.consumer.commit()
    assert await committed(kafka.bootstrap, topic, topic) == 5


async def test_sasl_credentials_of_the_settings_are_used(kafka: Kafka, tmp_path: Path) -> None:
    topic = unique()
    await kafka.make_topics({topic: 1})
    await send(kafka.bootstrap, topic, [b"1"])
    secured = settings(
        kafka.sasl_bootstrap, tmp_path, kafka_security="sasl_plaintext",
        kafka_username=SASL_USER, kafka_password=SASL_PASSWORD,
    )  # fmt: skip
    hops = Hops()
    async with running(secured, topic, {topic: hops}):
        await hops.finished(1)


async def test_a_member_that_gets_no_partition_is_ready_and_behind_by_nothing(
    kafka: Kafka, tmp_path: Path
) -> None:
    topic, here = unique(), settings(kafka.bootstrap, tmp_path)
    await kafka.make_topics({topic: 1})
    async with (
        running(here, topic, {topic: Hops()}) as one,
        running(here, topic, {topic: Hops()}) as two,
    ):
        await until(lambda: one.health.ready and two.health.ready)
        for member in (one, two):
            await until(lambda: member.app.consumer.known_lag() == 0)  # noqa: B023  awaited at once
            assert await member.app.consumer.lag() == 0
