import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from event_router.consumers.health import Health
from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.admin import Admin, NewTopicSpec
from event_router.consumers.kafka.writer import Writer
from event_router.consumers.producer import DEPENDENCY, KafkaProducer
from event_router.router.child import free_port
from event_router.schemas.errors import EventRouterError, TooLarge, Unavailable
from event_router.schemas.record import Message, Place
from tests import services
from tests.kafka_clients import config_of, producing
from tests.waiting import until


def message(value: bytes = b"v", partition: int | None = 0, topic: str = "t") -> Message:
    return Message(topic, None, value, (), partition)


def movable(partition: int) -> Message:
    return Message("t", None, b"v", (), partition, anywhere=True)


class Broker:
    """Stands for Kafka: what was written to it, and what it does to writes."""

    def __init__(self) -> None:
        self.written: list[tuple[int, list[bytes | None]]] = []
        self.opened = 0
        self.closed = 0
        self.failures: dict[int, list[EventRouterError]] = {}
        self.stuck: set[int] = set()
        self.leaderless: set[int] = set()
        self.released = asyncio.Event()
        self.fits = 1_000

    async def open(self, config: KafkaConfig) -> "Broker":
        self.opened += 1
        return self

    async def partitions(self, topic: str) -> int:
        return 4

    def led(self, topic: str) -> list[int]:
        return [partition for partition in range(4) if partition not in self.leaderless]

    async def write(self, topic: str, partition: int, messages: Sequence[Message]) -> list[Place]:
        if partition in self.leaderless and partition not in self.stuck:
            raise Unavailable("kafka_no_leader", f"{partition}")
        if self.failures.get(partition):
            raise self.failures[partition].pop(0)
        taken = messages[: self.fits]
        self.written.append((partition, [message.value for message in taken]))
        if partition in self.stuck:
            await self.released.wait()
        return [Place(topic, partition, offset, 0) for offset, _ in enumerate(taken)]

    async def close(self, grace: float) -> None:
        self.closed += 1


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
async def producer(broker: Broker, health: Health) -> AsyncIterator[KafkaProducer]:
    producer = KafkaProducer(KafkaConfig(), health, open_writer=broker.open)
    yield producer
    broker.released.set()
    await producer.aclose()


@pytest.fixture
async def impatient(broker: Broker, health: Health) -> AsyncIterator[KafkaProducer]:
    config = KafkaConfig(at_once=frozenset({"kafka_unknown_topic", "kafka_authentication"}))
    producer = KafkaProducer(config, health, open_writer=broker.open)
    yield producer
    await producer.aclose()


@pytest.mark.parametrize("partition", [0, None])
async def test_what_is_to_be_told_at_once_is_and_the_next_call_works(
    impatient: KafkaProducer, broker: Broker, health: Health, partition: int | None
) -> None:
    trouble = Unavailable("kafka_unknown_topic", "make it")
    broker.failures = {number: [trouble] for number in range(4)}
    with pytest.raises(Unavailable, match="make it"):
        await impatient.send([message(partition=partition)], deadline=60)
    broker.failures = {}
    assert await impatient.send([message(b"next")], deadline=60) == [Place("t", 0, 0, 0)]
    assert broker.written == [(0, [b"next"])]
    assert not health.troubles


async def test_a_log_in_that_fails_is_told_at_once_and_tried_by_the_next_call(
    broker: Broker, health: Health
) -> None:
    config = KafkaConfig(at_once=frozenset({"kafka_authentication"}))
    refusals = [Unavailable("kafka_authentication", "who?")]

    async def opened(config: KafkaConfig) -> Broker:
        if refusals:
            raise refusals.pop()
        return await broker.open(config)

    producer = KafkaProducer(config, health, open_writer=opened)
    with pytest.raises(Unavailable, match="who"):
        await producer.send([message(partition=None)], deadline=60)
    assert len(await producer.send([message(partition=None)], deadline=60)) == 1
    await producer.aclose()


async def test_an_empty_list_needs_no_broker(producer: KafkaProducer, broker: Broker) -> None:
    assert await producer.send([]) == []
    assert broker.opened == 0


async def test_a_list_that_does_not_fit_goes_in_several_batches(
    producer: KafkaProducer, broker: Broker
) -> None:
    broker.fits = 2
    places = await producer.send([message(b"%d" % number) for number in range(5)])
    assert len(places) == 5
    assert broker.written == [(0, [b"0", b"1"]), (0, [b"2", b"3"]), (0, [b"4"])]


async def test_single_messages_gather_while_a_batch_is_in_flight(
    producer: KafkaProducer, broker: Broker
) -> None:
    broker.stuck.add(0)
    async with asyncio.TaskGroup() as senders:
        senders.create_task(producer.send([message(b"first")]))
        await until(lambda: bool(broker.written))
        for number in range(20):
            senders.create_task(producer.send([message(b"%d" % number)]))
        await asyncio.sleep(0)
        broker.released.set()
    assert [len(values) for _, values in broker.written] == [1, 20]


async def test_a_partition_that_hangs_holds_up_no_other(
    producer: KafkaProducer, broker: Broker
) -> None:
    broker.stuck.add(0)
    async with asyncio.TaskGroup() as senders:
        stuck = senders.create_task(producer.send([message(partition=0)]))
        await until(lambda: bool(broker.written))
        assert await producer.send([message(partition=1)]) == [Place("t", 1, 0, 0)]
        assert not stuck.done()
        broker.released.set()


async def test_what_may_go_anywhere_goes_where_there_is_a_leader(
    producer: KafkaProducer, broker: Broker, health: Health
) -> None:
    broker.leaderless = {0, 1}
    places = await producer.send([movable(0), movable(1), movable(2)])
    assert {place.partition for place in places if isinstance(place, Place)} <= {2, 3}
    assert sum(len(values) for _, values in broker.written) == 3
    assert not health.troubles
    broker.leaderless.clear()
    assert await producer.send([movable(0)]) == [Place("t", 0, 0, 0)]


async def test_what_belongs_to_a_partition_waits_for_its_leader(
    producer: KafkaProducer, broker: Broker, health: Health
) -> None:
    broker.leaderless = {0}
    async with asyncio.TaskGroup() as senders:
        bound = senders.create_task(producer.send([message(partition=0)]))
        assert (await producer.send([movable(0)]))[0] != Place("t", 0, 0, 0)
        await until(lambda: DEPENDENCY in health.troubles)
        assert not bound.done()
        broker.leaderless.clear()
    assert bound.result() == [Place("t", 0, 0, 0)]


async def test_a_batch_in_flight_is_given_up_when_its_leader_is_lost(
    producer: KafkaProducer, broker: Broker
) -> None:
    broker.stuck.add(0)
    async with asyncio.TaskGroup() as senders:
        sending = senders.create_task(producer.send([movable(0)]))
        await until(lambda: bool(broker.written))
        broker.leaderless = {0}
        broker.stuck.clear()
    assert sending.result() != [Place("t", 0, 0, 0)]
    assert broker.opened == 2


async def test_a_batch_in_flight_is_left_alone_while_no_partition_has_a_leader(
    producer: KafkaProducer, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("event_router.consumers.producer.LOOK", 0.01)
    broker.stuck.add(0)
    broker.leaderless = {0, 1, 2, 3}
    async with asyncio.TaskGroup() as senders:
        sending = senders.create_task(producer.send([movable(0)]))
        await asyncio.sleep(0.1)
        broker.released.set()
    assert sending.result() == [Place("t", 0, 0, 0)]
    assert broker.opened == 1


async def test_only_what_is_not_acknowledged_is_sent_again(
    producer: KafkaProducer, broker: Broker
) -> None:
    broker.failures[1] = [Unavailable("kafka_error", "no leader")]
    await producer.send([message(b"a", 0), message(b"b", 1)])
    assert Counter(value for _, values in broker.written for value in values) == {b"a": 1, b"b": 1}


async def test_a_write_that_failed_closes_its_writer_and_opens_another(
    producer: KafkaProducer, broker: Broker
) -> None:
    broker.failures[0] = [Unavailable("kafka_error", "wedged")] * 2
    await producer.send([message()])
    assert broker.opened == 3
    await until(lambda: broker.closed == 2)


async def test_a_missing_topic_does_not_cost_writers(
    producer: KafkaProducer, broker: Broker
) -> None:
    broker.failures[0] = [Unavailable("kafka_unknown_topic", "make it")]
    await producer.send([message()])
    assert broker.opened == 1


async def test_trouble_makes_the_role_not_ready_until_all_of_it_is_over(
    producer: KafkaProducer, broker: Broker, health: Health
) -> None:
    broker.failures[0] = [Unavailable("kafka_unauthorized", "grant it Write")] * 3
    sending = asyncio.create_task(producer.send([message()]))
    await until(lambda: DEPENDENCY in health.troubles)
    assert health.troubles[DEPENDENCY] == "kafka_unauthorized: grant it Write"
    await sending
    assert not health.troubles


async def test_one_too_large_for_the_broker_is_found_and_the_others_go(
    producer: KafkaProducer, broker: Broker
) -> None:
    broker.failures[0] = [TooLarge("the list"), TooLarge("the first one")]
    results = await producer.send([message(b"large"), message(b"b"), message(b"c")])
    assert isinstance(results[0], TooLarge)
    assert [type(result) for result in results[1:]] == [Place, Place]


async def test_one_larger_than_its_topic_takes_is_never_sent(broker: Broker) -> None:
    producer = KafkaProducer(
        KafkaConfig(), Health(), limits={"small": 100}, open_writer=broker.open
    )
    small, large = await producer.send(
        [message(b"v" * 100, topic="t"), message(b"v" * 100, topic="small")]
    )
    assert isinstance(small, Place)
    assert isinstance(large, TooLarge)
    assert "topic 'small' takes 100" in large.detail
    await producer.aclose()


async def test_after_the_deadline_nobody_waits_and_nothing_more_is_sent(
    producer: KafkaProducer, broker: Broker
) -> None:
    broker.failures[0] = [Unavailable("kafka_error", "down")] * 3
    with pytest.raises(Unavailable, match=r"kafka_error: .* 0\.01 s: down"):
        await producer.send([message(b"late")], deadline=0.01)
    await producer.send([message(b"next")])
    assert broker.written == [(0, [b"next"])]


async def test_what_nobody_waits_for_is_no_trouble_and_takes_no_memory(
    producer: KafkaProducer, broker: Broker, health: Health
) -> None:
    broker.stuck.add(0)
    broker.failures[1] = [Unavailable("kafka_unauthorized", "grant it Write")] * 2
    first = asyncio.create_task(producer.send([message()]))
    await until(lambda: bool(broker.written))
    for partition, code in ((0, "kafka_timeout"), (1, "kafka_unauthorized")):
        with pytest.raises(Unavailable, match=code):
            await producer.send([message(b"late", partition)], deadline=0.01)
    assert not any(lane.waiting for lane in producer._lanes.values())
    broker.released.set()
    await first
    await until(lambda: not health.troubles)
    assert broker.written == [(0, [b"v"])]


async def test_closing_answers_those_who_wait(broker: Broker) -> None:
    producer = KafkaProducer(KafkaConfig(), Health(), open_writer=broker.open)
    broker.stuck.add(0)
    sending = asyncio.create_task(producer.send([message()]))
    await until(lambda: bool(broker.written))
    await producer.aclose()
    with pytest.raises(Unavailable, match="kafka_closed"):
        await sending
    with pytest.raises(Unavailable, match="kafka_closed"):
        await producer.send([message()])


# Live


async def records_of(
    config: KafkaConfig, topic: str, partition: int, count: int
) -> list[tuple[int, int]]:
    """(offset, timestamp) of each."""
    consumer = AIOKafkaConsumer(bootstrap_servers=config.bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, partition)])
        consumer.seek(TopicPartition(topic, partition), 0)
        return [
            (record.offset, record.timestamp)
            for record in [await consumer.getone() for _ in range(count)]
        ]
    finally:
        await consumer.stop()


@pytest.mark.parametrize("clock", ["CreateTime", "LogAppendTime"])
async def test_places_are_where_consumers_find_the_messages(
    kafka: services.Kafka, clock: str
) -> None:
    topic, config = services.unique("places"), config_of(kafka)
    await kafka.make_topics({topic: 3}, {"message.timestamp.type": clock})
    async with producing(config) as producer:
        numbers = [index % 3 for index in range(30)]
        places = await producer.send([message(b"v", number, topic) for number in numbers])
    assert [place.partition for place in places if isinstance(place, Place)] == numbers
    for number in range(3):
        mine = [
            (place.offset, place.timestamp)
            for place in places
            if isinstance(place, Place) and place.partition == number
        ]
        assert mine == await records_of(config, topic, number, 10)


async def test_a_key_always_goes_to_the_same_partition(kafka: services.Kafka) -> None:
    topic = services.unique("keys")
    await kafka.make_topics({topic: 8})
    async with producing(config_of(kafka)) as producer:
        places = await producer.send([Message(topic, b"k%d" % (n % 5), b"", ()) for n in range(50)])
    partitions = [place.partition for place in places if isinstance(place, Place)]
    assert partitions == partitions[:5] * 10


async def test_more_than_a_batch_takes_arrives_in_order(kafka: services.Kafka) -> None:
    topic = services.unique("large")
    await kafka.make_topics({topic: 1})
    async with producing(config_of(kafka)) as producer:
        places = await producer.send([message(b"v" * 1000, 0, topic) for _ in range(3000)])
    assert [place.offset for place in places if isinstance(place, Place)] == list(range(3000))


async def test_a_refused_batch_does_not_wedge_the_producer(kafka: services.Kafka) -> None:
    """The idempotent producer by itself refuses every later message of that partition."""
    topic = services.unique("wedge")
    await kafka.make_topics({topic: 1}, {"max.message.bytes": "20000"})
    async with producing(config_of(kafka)) as producer:
        await producer.send([message(b"good", 0, topic)])
        sizes = (10, 30_000, 10, 40_000, 10)
        results = await producer.send([message(b"v" * size, 0, topic) for size in sizes])
        assert [type(result) for result in results] == [Place, TooLarge, Place, TooLarge, Place]
        (after,) = await producer.send([message(b"good", 0, topic)])
        assert isinstance(after, Place)
        assert after.offset == 4


async def test_a_topic_that_is_missing_is_said_and_waited_for(kafka: services.Kafka) -> None:
    topic, health = services.unique("missing"), Health()
    async with producing(config_of(kafka), health) as producer:
        sending = asyncio.create_task(producer.send([message(partition=None, topic=topic)]))
        await until(lambda: DEPENDENCY in health.troubles)
        assert "router init" in health.troubles[DEPENDENCY]
        await kafka.make_topics({topic: 1})
        (place,) = await sending
        assert isinstance(place, Place)
        assert health.troubles == {}


async def test_no_broker_for_longer_than_the_request_timeout_loses_nothing(
    faulty_kafka: services.Kafka,
) -> None:
    topic, health = services.unique("outage"), Health()
    config = config_of(faulty_kafka, request_timeout=2.0)
    await faulty_kafka.make_topics({topic: 2}, {"max.message.bytes": "20000"})
    async with producing(config, health) as producer:
        await producer.send([message(b"before", number, topic) for number in (0, 1)])
        faulty_kafka.stop()
        values = [b"good", b"v" * 30_000, b"good"]
        sending = asyncio.create_task(
            producer.send([message(value, number, topic) for number in (0, 1) for value in values])
        )
        with pytest.raises(Unavailable):
            await producer.send([message(b"impatient", 0, topic)], deadline=0.5)
        await until(lambda: DEPENDENCY in health.troubles)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(faulty_kafka.start)
        results = await sending
        assert [type(result) for result in results] == [Place, TooLarge, Place] * 2
        (after,) = await producer.send([message(b"after", 0, topic)])
        assert isinstance(after, Place)
        assert health.troubles == {}


async def test_closing_a_writer_does_not_wait_for_a_broker_that_is_silent(
    faulty_kafka: services.Kafka,
) -> None:
    topic, config = services.unique("silent"), config_of(faulty_kafka, request_timeout=20.0)
    await faulty_kafka.make_topics({topic: 1})
    writer = await Writer.open(config)
    assert await writer.partitions(topic) == 1
    faulty_kafka.pause()
    try:
        writing = asyncio.create_task(writer.write(topic, 0, [message(topic=topic)]))
        await asyncio.sleep(0.1)
        async with asyncio.timeout(5.0):
            await writer.close(grace=0.2)
            with pytest.raises(Unavailable):
                await writing
    finally:
        faulty_kafka.resume()


async def test_topics_are_made_once_by_several_at_a_time(kafka: services.Kafka) -> None:
    config, names = config_of(kafka), [services.unique("made") for _ in range(3)]
    specs = [NewTopicSpec(name, 2, {"retention.ms": "-1"}) for name in names]

    async def make() -> list[str]:
        async with Admin(config) as admin:
            return await admin.create(specs)

    made = [name for some in await asyncio.gather(make(), make(), make()) for name in some]
    assert sorted(made) == sorted(names)
    async with Admin(config) as admin:
        assert await admin.partitions([*names, "nowhere"]) == dict.fromkeys(names, 2)
        assert (await admin.topic_config(names[0]))["retention.ms"] == "-1"
        await admin.delete([*names, "nowhere"])


async def test_wrong_credentials_say_so(kafka: services.Kafka) -> None:
    if not kafka.sasl_bootstrap:
        pytest.fail("this Kafka has no SASL listener: unset TEST_KAFKA")
    wrong = KafkaConfig(
        kafka.sasl_bootstrap, "sasl_plaintext", username=services.SASL_USER, password="wrong"
    )
    with pytest.raises(Unavailable, match="kafka_"):
        async with Admin(wrong):
            pass
    right = KafkaConfig(
        kafka.sasl_bootstrap,
        "sasl_plaintext",
        username=services.SASL_USER,
        password=services.SASL_PASSWORD,
    )
    async with Admin(right) as admin:
        assert await admin.brokers() == 1


def test_a_password_is_not_shown() -> None:
    assert "s3cret" not in repr(KafkaConfig(password="s3cret"))


async def test_no_broker_at_the_address_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="no broker answers at"):
        async with Admin(KafkaConfig(bootstrap=f"127.0.0.1:{free_port()}")):
            pass
