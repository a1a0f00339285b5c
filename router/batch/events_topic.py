"""The topic `events` as a job needs it beside the producer: its ends, and what lies there."""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.admin import Admin
from event_router.consumers.kafka.tail import read_tail
from event_router.schemas.record import Record


class EventsTopic(Protocol):
    """Raises Unavailable."""

    async def ends(self) -> dict[int, int]:
        """The offset that the next record gets, by partition."""
        ...

    def tail(self, begins: Mapping[int, int]) -> AsyncIterator[list[Record]]:
        """The records from these offsets on, to the ends as they are now at least."""
        ...


class KafkaEventsTopic:
    """The topic of that name."""

    def __init__(self, config: KafkaConfig, topic: str) -> None:
        self._config = config
        self._topic = topic

    async def ends(self) -> dict[int, int]:
        async with Admin(self._config) as admin:
            ends = await admin.ends(self._topic)
        return {partition: end for (_, partition), end in ends.items()}

    def tail(self, begins: Mapping[int, int]) -> AsyncIterator[list[Record]]:
        return read_tail(self._config, self._topic, begins)
