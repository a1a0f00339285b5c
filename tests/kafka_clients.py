"""What the live tests of the Kafka client have in common."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from event_router.consumers.health import Health
from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.admin import Admin
from event_router.consumers.producer import KafkaProducer
from event_router.consumers.subscription import Subscription
from event_router.schemas.record import Message, Place, Record
from tests import services


def config_of(kafka: services.Kafka | services.Tansu, **options: object) -> KafkaConfig:
    """Joins in 30 ms, is missed after a second."""
    return KafkaConfig(bootstrap=kafka.bootstrap, session_timeout=1.0, **options)  # type: ignore[arg-type]  # of any type


@asynccontextmanager
async def producing(
    config: KafkaConfig, health: Health | None = None
) -> AsyncIterator[KafkaProducer]:
    producer = KafkaProducer(config, health or Health())
    try:
        yield producer
    finally:
        await producer.aclose()


async def publish(
    config: KafkaConfig, topic: str, values: Sequence[bytes], partition: int = 0
) -> None:
    """All in one partition, in order."""
    async with producing(config) as producer:
        messages = [Message(topic, None, value, (), partition) for value in values]
        assert all(isinstance(place, Place) for place in await producer.send(messages))


async def read_all(kafka: services.Kafka, topic: str) -> list[Record]:
    """All that the topic holds now, of which there must be something."""
    async with Admin(config_of(kafka)) as admin:
        expected = sum((await admin.ends(topic)).values())
    found: list[Record] = []
    async with Subscription([topic], services.unique(), kafka=config_of(kafka)) as reading:
        async for records in reading:
            found += records
            reading.done(records)
            if len(found) >= expected:
                reading.stop()
    return found


async def committed(config: KafkaConfig, group: str, topic: str) -> dict[int, int]:
    """By partition number."""
    async with Admin(config) as admin:
        return {number: at for (_, number), at in (await admin.committed(group, topic)).items()}
