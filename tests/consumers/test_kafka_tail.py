"""Reading a topic from given offsets to its end, on both brokers."""

import pytest

from event_router.consumers.health import Health
from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.tail import read_tail
from event_router.consumers.producer import KafkaProducer
from event_router.schemas.record import Message
from tests.services import Kafka, Tansu, unique

LISTS, ROWS = 3, 400


@pytest.fixture(params=["kafka", "tansu"])
async def written(request: pytest.FixtureRequest) -> tuple[KafkaConfig, str]:
    """A topic of two partitions, each with LISTS batches of ROWS records, numbered."""
    broker: Kafka | Tansu = request.getfixturevalue(request.param)
    topic = unique()
    await broker.make_topics({topic: 2})
    config = KafkaConfig(broker.bootstrap, idempotent=request.param == "kafka", fetch_wait_ms=20)
    producer = KafkaProducer(config, Health())
    for first in range(0, LISTS * ROWS, ROWS):
        numbers = range(first, first + ROWS)
        await producer.send(
            [Message(topic, b"", b"%d" % n, [], p) for n in numbers for p in (0, 1)]
        )
    await producer.aclose()
    return config, topic


async def numbers(config: KafkaConfig, topic: str, begins: dict[int, int]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    async for records in read_tail(config, topic, begins):
        for record in records:
            found.setdefault(record.partition, set()).add(int(record.value or b""))
    return found


async def test_everything_from_the_offsets_on_is_read(written: tuple[KafkaConfig, str]) -> None:
    found = await numbers(*written, {0: 0, 1: 500})
    assert found[0] == set(range(LISTS * ROWS))
    assert found[1] == set(range(500, LISTS * ROWS))


async def test_an_offset_near_the_end_misses_nothing(written: tuple[KafkaConfig, str]) -> None:
    found = await numbers(*written, {0: LISTS * ROWS - 1})
    assert LISTS * ROWS - 1 in found[0]
    assert 1 not in found


async def test_an_offset_of_a_topic_that_was_made_anew_reads_all_of_it(
    written: tuple[KafkaConfig, str],
) -> None:
    assert (await numbers(*written, {1: 10**6}))[1] == set(range(LISTS * ROWS))


async def test_nothing_is_read_where_nothing_is_asked_for(
    written: tuple[KafkaConfig, str],
) -> None:
    assert await numbers(*written, {}) == {}


async def test_nothing_is_read_from_the_end_on(kafka: Kafka) -> None:
    topic = unique()
    await kafka.make_topics({topic: 1})
    assert await numbers(KafkaConfig(kafka.bootstrap), topic, {0: 0}) == {}
