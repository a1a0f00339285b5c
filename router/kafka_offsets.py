"""How far groups have come in Kafka, as sweep asks for it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from event_router.consumers.kafka import KafkaConfig, ours
from event_router.consumers.kafka_admin import Admin
from event_router.consumers.watermark import Partition


@dataclass(frozen=True, slots=True)
class KafkaOffsets:
    """Connects for each question: they are seldom asked. Raises Unavailable for one that isn't
    answered within `patience` seconds."""

    config: KafkaConfig
    patience: float = 30.0

    async def ends(self, topic: str) -> dict[Partition, int]:
        return await self._answer(lambda admin: admin.ends(topic))

    async def done(self, group: str, topic: str) -> dict[Partition, int]:
        return await self._answer(lambda admin: admin.done(group, topic))

    async def _answer(
        self, ask: Callable[[Admin], Awaitable[dict[Partition, int]]]
    ) -> dict[Partition, int]:
        """A question that meets the end of a broker may never be answered."""
        with ours(self.config):
            async with asyncio.timeout(self.patience), Admin(self.config) as admin:
                return await ask(admin)
