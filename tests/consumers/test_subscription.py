import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.errors import CorruptRecordException

from event_router.consumers.gap import Gap
from event_router.consumers.handover import MemoryHandover
from event_router.consumers.health import Health
from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.admin import Admin
from event_router.consumers.subscription import Callbacks, Reading, Subscription
from event_router.consumers.watermark import Partition
from event_router.schemas.errors import Unavailable
from event_router.schemas.record import Record
from tests import services
from tests.kafka_clients import committed, config_of, publish
from tests.waiting import until

SOON = Reading(commit_every=0.05, drain=0.1)


async def read(subscription: Subscription, count: int) -> list[Record]:
    """At least so many; none of them is done."""
    records: list[Record] = []
    async with asyncio.timeout(30):
        while len(records) < count:
            records += await anext(subscription)
    return records


@pytest.fixture
def config(kafka: services.Kafka) -> KafkaConfig:
    return config_of(kafka)


@pytest.fixture
async def topic(kafka: services.Kafka) -> str:
    name = services.unique("sub")
    await kafka.make_topics({name: 1})
    return name


async def reaches(config: KafkaConfig, topic: str, offset: int) -> None:
    async with asyncio.timeout(10):
        while (await committed(config, "g", topic)).get(0) != offset:
            await asyncio.sleep(0.05)


async def test_a_new_group_begins_at_the_earliest_record(config: KafkaConfig, topic: str) -> None:
    await publish(config, topic, [b"a", b"b"])
    async with Subscription([topic], "g", kafka=config, reading=SOON) as subscription:
        records = await read(subscription, 2)
        assert [record.value for record in records] == [b"a", b"b"]
        assert subscription.partitions == {(topic, 0)}
        assert subscription.lag == 2
        subscription.done(records)
        assert (subscription.lag, subscription.unfinished) == (0, 0)


async def test_the_lag_is_unknown_until_the_group_and_a_fetch_have_told_it(
    config: KafkaConfig, topic: str
) -> None:
    await publish(config, topic, [b"a"])
    async with Subscription([topic], "g", kafka=config, reading=SOON) as subscription:
        subscription.done(await read(subscription, 1))
    health = Health()
    again = Subscription([topic], "g", kafka=config, reading=SOON, health=health)
    assert again.lag is None
    async with again:
        assert (again.lag, health.started) == (None, False)
        with pytest.raises(Unavailable, match="no assignment"):
            await again.ask_lag()
        reading = asyncio.create_task(anext(again))
        await until(lambda: health.started)
        await until(lambda: again.lag == 0)
        again.stop()
        await asyncio.wait([reading])
    assert again.lag is None


async def test_brokers_that_are_asked_know_of_more_than_was_fetched(
    config: KafkaConfig, topic: str
) -> None:
    await publish(config, topic, [b"a"])
    async with Subscription([topic], "g", kafka=config, reading=SOON) as subscription:
        subscription.done(await read(subscription, 1))
        subscription.pause([(topic, 0)])
        # A fetch that was on its way is answered after half a second without records.
        await asyncio.sleep(0.6)
        await publish(config, topic, [b"b", b"c"])
        assert (subscription.lag, await subscription.ask_lag()) == (0, 2)


async def test_what_is_committed_stops_at_the_first_unfinished_record(
    config: KafkaConfig, topic: str
) -> None:
    await publish(config, topic, [b"%d" % number for number in range(10)])
    async with Subscription([topic], "g", kafka=config, reading=SOON) as subscription:
        records = await read(subscription, 10)
        subscription.done(records[:3])
        subscription.done(records[4:])
        await reaches(config, topic, 3)
        subscription.done(records[3:4])
        await reaches(config, topic, 10)


async def test_what_is_done_by_the_end_is_committed_and_the_rest_comes_again(
    config: KafkaConfig, topic: str
) -> None:
    await publish(config, topic, [b"a", b"b", b"c"])
    slow = Reading(commit_every=3600.0, drain=0.1)
    async with Subscription([topic], "g", kafka=config, reading=slow) as subscription:
        records = await read(subscription, 3)
        subscription.done([records[0], records[2]])
    async with Subscription([topic], "g", kafka=config) as subscription:
        again = await read(subscription, 2)
        assert [record.value for record in again] == [b"b", b"c"]
        subscription.done(again)


async def test_leaving_waits_for_what_is_about_to_be_done(config: KafkaConfig, topic: str) -> None:
    await publish(config, topic, [b"a"])
    async with Subscription([topic], "g", kafka=config) as subscription:
        records = await read(subscription, 1)
        asyncio.get_running_loop().call_later(0.2, subscription.done, records)
    assert await committed(config, "g", topic) == {0: 1}


async def test_stop_ends_an_iteration_that_waits(config: KafkaConfig, topic: str) -> None:
    async with Subscription([topic], "g", kafka=config) as subscription:
        asyncio.get_running_loop().call_later(0.2, subscription.stop)
        async with asyncio.timeout(0.45):
            assert [records async for records in subscription] == []


async def test_a_partition_with_a_wide_window_is_paused_until_it_narrows(
    config: KafkaConfig, topic: str
) -> None:
    await publish(config, topic, [b"%d" % number for number in range(100)])
    narrow = Reading(window=10, max_records=10, drain=0.1)
    async with Subscription([topic], "g", kafka=config, reading=narrow) as subscription:
        records = await read(subscription, 10)
        subscription.done(records[1:])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(subscription), 0.7)
        subscription.done(records[:1])
        for _ in range(9):
            records = await read(subscription, 1)
            subscription.done(records)
        assert records[-1].offset == 99


async def test_a_paused_partition_is_read_again_when_resumed(
    config: KafkaConfig, topic: str
) -> None:
    async with Subscription([topic], "g", kafka=config, reading=SOON) as subscription:
        await publish(config, topic, [b"a"])
        subscription.done(await read(subscription, 1))
        subscription.pause([(topic, 0)])
        await publish(config, topic, [b"b"])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(subscription), 0.5)
        subscription.resume([(topic, 0)])
        (record,) = await read(subscription, 1)
        assert record.value == b"b"


@asynccontextmanager
async def transactions(config: KafkaConfig) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=config.bootstrap, transactional_id=services.unique("tx")
    )
    await producer.start()
    yield producer
    await producer.stop()


async def test_offsets_without_records_hold_nothing_back(config: KafkaConfig, topic: str) -> None:
    """A transaction's end takes an offset; what was aborted was never said."""
    async with transactions(config) as producer:
        for value, good in ((b"aborted", False), (b"a", True), (b"b", True)):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, value)
            await (producer.commit_transaction() if good else producer.abort_transaction())
    async with Subscription([topic], "g", kafka=config, reading=SOON) as subscription:
        records = await read(subscription, 2)
        assert [(record.offset, record.value) for record in records] == [(2, b"a"), (4, b"b")]
        subscription.done(records)
        waiting = asyncio.create_task(anext(subscription))
        await reaches(config, topic, 6)
        assert subscription.lag == 0
        subscription.stop()
        with pytest.raises(StopAsyncIteration):
            await waiting


async def test_a_recreated_topic_is_read_from_its_beginning(
    kafka: services.Kafka, config: KafkaConfig, topic: str
) -> None:
    await publish(config, topic, [b"old %d" % number for number in range(5)])
    async with Subscription([topic], "g", kafka=config, reading=SOON) as subscription:
        old = await read(subscription, 5)
        subscription.done(old[:3])
        await reaches(config, topic, 3)
        async with Admin(config) as admin:
            await admin.delete([topic])
            async with asyncio.timeout(10):
                while await admin.partitions([topic]):
                    await asyncio.sleep(0.05)
        await kafka.make_topics({topic: 1})
        await publish(config, topic, [b"new 0", b"new 1"])
        new = await read(subscription, 2)
        assert [record.value for record in new] == [b"new 0", b"new 1"]
        subscription.done(old)
        assert subscription.unfinished == 2
        subscription.done(new)
        await reaches(config, topic, 2)


async def delete_up_to(config: KafkaConfig, topic: str, offset: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=config.bootstrap)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(offset)})
    await admin.close()


async def test_records_that_retention_took_are_said_before_reading_goes_on(
    config: KafkaConfig, topic: str
) -> None:
    await publish(config, topic, [b"%d" % number for number in range(10)])
    async with Subscription([topic], "g", kafka=config, reading=SOON) as subscription:
        subscription.done((await read(subscription, 10))[:2])
    assert await committed(config, "g", topic) == {0: 2}
    await delete_up_to(config, topic, 7)

    health, gaps = Health(), []

    async def note(gap: Gap) -> None:
        gaps.append(gap)
        assert "retention" in health.troubles[f"kafka offsets of {topic}/0"]

    async with Subscription(
        [topic], "g", kafka=config, reading=SOON, callbacks=Callbacks(gap=note), health=health
    ) as subscription:
        records = await read(subscription, 3)
        assert [record.offset for record in records] == [7, 8, 9]
        assert gaps == [Gap((topic, 0), wanted=2, begin=7, end=10)]
        assert health.troubles == {}


async def test_a_poll_that_fails_half_way_skips_nothing(
    config: KafkaConfig, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka drops what it had of other partitions, and counts it as read."""
    await publish(config, topic, [b"%d" % number for number in range(4)])
    reading = Reading(commit_every=0.05, max_records=2, drain=0.1)
    async with Subscription([topic], "g", kafka=config, reading=reading) as subscription:
        records = await read(subscription, 2)
        consumer = subscription._reader._consumer
        honest = consumer.getmany

        async def corrupt(**options: int) -> None:
            monkeypatch.setattr(consumer, "getmany", honest)
            assert await honest(**options)
            raise CorruptRecordException

        monkeypatch.setattr(consumer, "getmany", corrupt)
        records += await read(subscription, 2)
        assert [record.offset for record in records] == [0, 1, 2, 3]


class Told:
    """Notes what a subscription tells."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.callbacks = Callbacks(self.assigned, self.drain, self.revoked)
        self.draining: Callable[[], None] = lambda: None

    async def assigned(self, partitions: frozenset[Partition]) -> None:
        self.calls.append(("assigned", len(partitions)))

    async def drain(self, partitions: frozenset[Partition], seconds: float) -> None:
        self.calls.append(("drain", len(partitions)))
        self.draining()

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        self.calls.append(("revoked", len(partitions)))


async def run(subscription: Subscription, records: list[Record]) -> None:
    async with subscription:
        async for some in subscription:
            records += some


async def test_a_second_member_takes_over_what_the_first_one_drained(
    kafka: services.Kafka, config: KafkaConfig
) -> None:
    topic = services.unique("two")
    await kafka.make_topics({topic: 2})
    for number in (0, 1):
        await publish(config, topic, [b"a", b"b"], number)
    told, first, second = Told(), [], list[Record]()
    one = Subscription([topic], "g", kafka=config, callbacks=told.callbacks)
    two = Subscription([topic], "g", kafka=config, reading=SOON)
    first = list[Record]()
    # In the drain everything but offset 1 of each partition is finished.
    told.draining = lambda: one.done([record for record in first if record.offset == 0])
    async with asyncio.TaskGroup() as members:
        members.create_task(run(one, first))
        await until(lambda: len(first) == 4)
        members.create_task(run(two, second))
        await until(lambda: len(one.partitions) == 1 and len(second) == 1 and len(first) == 5)
        before = first[:4]
        assert {record.offset for record in (first[4], second[0])} == {1}
        one.done(before)  # from before the rebalance: it changes nothing
        assert one.unfinished == 1
        assert one.holds(first[4])
        one.stop()
        two.stop()
    assert told.calls == [
        ("assigned", 2), ("drain", 2), ("revoked", 2),
        ("assigned", 1), ("drain", 1), ("revoked", 1),
    ]  # fmt: skip
    assert await committed(config, "g", topic) == {0: 1, 1: 1}


async def test_what_was_done_and_could_not_be_committed_is_not_read_again_by_the_next_one(
    config: KafkaConfig, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise Unavailable("kafka_error", "the coordinator is away")

    handover = MemoryHandover()
    await publish(config, topic, [b"a", b"b", b"c"])
    with monkeypatch.context() as patched:
        patched.setattr("event_router.consumers.kafka.reader.Reader.commit", refuse)
        async with Subscription(
            [topic], "g", kafka=config, reading=SOON, handover=handover
        ) as subscription:
            records = await read(subscription, 3)
            subscription.done([records[0], records[2]])
    assert await committed(config, "g", topic) == {}
    async with Subscription(
        [topic], "g", kafka=config, reading=SOON, handover=handover
    ) as subscription:
        again = await read(subscription, 1)
        assert [record.value for record in again] == [b"b"]
        subscription.done(again)
        await reaches(config, topic, 3)


async def test_a_callback_that_raises_ends_the_subscription(
    config: KafkaConfig, topic: str
) -> None:
    async def broken(partitions: frozenset[Partition]) -> None:
        raise LookupError("no state")

    subscription = Subscription([topic], "g", kafka=config, callbacks=Callbacks(assigned=broken))
    with pytest.raises(LookupError):
        await run(subscription, [])


async def test_a_topic_that_is_missing_is_said(
    kafka: services.Kafka, config: KafkaConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("event_router.consumers.subscription.PROBE", 0.3)
    topic, health = services.unique("missing"), Health()
    async with Subscription([topic], "g", kafka=config, reading=SOON, health=health) as waiting:
        reading = asyncio.create_task(anext(waiting))
        await until(lambda: bool(health.troubles))
        assert "router init" in health.troubles["kafka consumer"]
        await kafka.make_topics({topic: 1})
        await publish(config, topic, [b"a"])
        (record,) = await asyncio.wait_for(reading, 20)
        assert record.value == b"a"
        await until(lambda: not health.troubles)


async def test_reading_goes_on_when_the_broker_is_back(
    faulty_kafka: services.Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("event_router.consumers.subscription.PROBE", 0.3)
    config, topic, health = config_of(faulty_kafka), services.unique("away"), Health()
    await faulty_kafka.make_topics({topic: 1})
    await publish(config, topic, [b"a"])
    seen: list[Record] = []
    subscription = Subscription([topic], "g", kafka=config, reading=SOON, health=health)
    reading = asyncio.create_task(run(subscription, seen))
    await until(lambda: len(seen) == 1)
    await asyncio.to_thread(faulty_kafka.stop)
    subscription.done(seen)
    await until(lambda: "kafka consumer" in health.troubles)
    await asyncio.to_thread(faulty_kafka.start)
    await publish(config, topic, [b"b"])
    await until(lambda: len(seen) == 2)
    await until(lambda: not health.troubles)
    subscription.done(seen)
    subscription.stop()
    await reading
    assert await committed(config, "g", topic) == {0: 2}


async def test_stopping_does_not_wait_for_a_broker_that_is_away() -> None:
    subscription = Subscription(["t"], "g", kafka="127.0.0.1:1", health=Health())
    reading = asyncio.create_task(run(subscription, []))
    await asyncio.sleep(0.2)
    subscription.stop()
    await asyncio.wait_for(reading, 2.0)
