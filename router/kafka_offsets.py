"""How far groups have come in Kafka, as sweep asks for it."""

from dataclasses import dataclass

from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka_admin import Admin
from event_router.consumers.watermark import Partition


@dataclass(frozen=True, slots=True)
class KafkaOffsets:
    """Connects for each question: they are seldom asked."""

    config: KafkaConfig

    async def ends(self, topic: str) -> dict[Partition, int]:
        async with Admin(self.config) as admin:
            return await admin.ends(topic)

    async def done(self, group: str, topic: str) -> dict[Partition, int]:
        async with Admin(self.config) as admin:
            return await admin.done(group, topic)
