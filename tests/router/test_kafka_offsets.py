"""What sweep asks Kafka for."""

import asyncio

import pytest
from aiokafka import TopicPartition

from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.admin import Admin
from event_router.router.kafka_offsets import KafkaOffsets
from event_router.schemas.errors import Unavailable
from tests.kafka_clients import config_of
from tests.services import Kafka, unique


async def test_a_question_that_nobody_answers_is_given_up(faulty_kafka: Kafka) -> None:
    """Without an end of its own, one outage of Kafka could keep sweep waiting for ever."""
    topic = unique()
    await faulty_kafka.make_topics({topic: 1})
    offsets = KafkaOffsets(config_of(faulty_kafka), patience=1.0)
    assert await offsets.ends(topic) == {(topic, 0): 0}
    faulty_kafka.pause()
    try:
        with pytest.raises(Unavailable):
            async with asyncio.timeout(15):
                await offsets.ends(topic)
    finally:
        faulty_kafka.resume()


async def test_trouble_right_after_connecting_is_told_as_it_is(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It once looked like a cancellation, and sweep ended for good."""

    async def nobody(admin: Admin, topic: str) -> list[TopicPartition]:
        raise Unavailable("kafka_unreachable", "no node is ready")

    monkeypatch.setattr(Admin, "_places", nobody)
    with pytest.raises(Unavailable):
        await KafkaOffsets(config_of(kafka)).ends(unique())


@pytest.mark.parametrize("trouble", ["cancelled", "hangs while it ends"])
async def test_a_client_that_ends_oddly_is_trouble_of_kafka(
    monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Sweep would end for good, or wait for ever."""

    async def odd(admin: Admin) -> Admin:
        if trouble == "cancelled":
            raise asyncio.CancelledError
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
        return admin

    monkeypatch.setattr(Admin, "__aenter__", odd)
    with pytest.raises(Unavailable):
        async with asyncio.timeout(0.8):
            await KafkaOffsets(KafkaConfig("127.0.0.1:1"), patience=0.1).ends("any")
