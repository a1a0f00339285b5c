"""The Kafka client: all that knows aiokafka, but for what stands under Faust.

It raises errors of our tree only. What to do about trouble is decided by its users:
`consumers.producer` and `consumers.subscription`.
"""

from event_router.consumers.kafka.config import KafkaConfig

__all__ = ["KafkaConfig"]
