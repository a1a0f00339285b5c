"""How far groups have come in Kafka, as sweep asks for it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.admin import Admin
from event_router.consumers.kafka.trouble import ours
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
        """A question that meets the end of a broker may never be answered, or end as if somebody
        had cancelled it, and neither may its clean-up end: so it has a task of its own."""
        asking = asyncio.create_task(self._ask(ask), name="ask Kafka for offsets")
        asking.add_done_callback(_look_at)
        try:
            done, _ = await asyncio.wait({asking}, timeout=self.patience)
        finally:
            asking.cancel()
        with ours(self.config):
            if not done or asking.cancelled():
                raise TimeoutError("a question about offsets was not answered")
        return asking.result()

    async def _ask(
        self, ask: Callable[[Admin], Awaitable[dict[Partition, int]]]
    ) -> dict[Partition, int]:
        with ours(self.config):
            async with Admin(self.config) as admin:
                return await ask(admin)


def _look_at(asking: "asyncio.Task[dict[Partition, int]]") -> None:
    """What an abandoned question raises is nobody's business."""
    if not asking.cancelled():
        asking.exception()
