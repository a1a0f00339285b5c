"""Publishing, when Kafka answers and doesn't."""

import asyncio

import pytest
from aiokafka import AIOKafkaProducer

from event_router.schemas.record import Message
from tests.conservation import producers
from tests.conservation.producers import KafkaClient


async def test_a_client_that_waits_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is published waits for it: a run once went on without any events."""

    async def start(_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(AIOKafkaProducer, "start", start)
    monkeypatch.setattr(producers, "LATE", 0.05)
    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError):
            await KafkaClient("127.0.0.1:1").write(Message("t", None, b"", []))
