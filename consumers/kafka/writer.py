"""Writing batches."""

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka import errors as kafka_errors
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from event_router.consumers.kafka.config import KafkaConfig
from event_router.consumers.kafka.connecting import connect, log_in
from event_router.consumers.kafka.guard import guard, vet_cluster
from event_router.consumers.kafka.metadata import Absent, keep_learning
from event_router.consumers.kafka.trouble import ours
from event_router.schemas.errors import Unavailable
from event_router.schemas.record import Message, Place

BATCH_BYTES = 512 * 1024
METADATA_PATIENCE = 3.0  # seconds for brokers to say where a topic is
ABSENCE = 1.0  # seconds of the same answer until a topic counts as unknown
ASKING_PAUSE = 0.1  # seconds between questions where a topic is
LEADER_PAUSE = 0.5  # seconds between questions whether there is a leader by now
_NOBODY = -1


def wire_size(message: Message) -> int:
    """An upper bound of what the message takes as a batch of one."""
    return int(
        DefaultRecordBatchBuilder.estimate_size_in_bytes(
            message.key, message.value, _header_list(message)
        )
    )


def _header_list(message: Message) -> list[tuple[str, bytes | None]]:
    headers = message.headers
    return headers if isinstance(headers, list) else list(headers)


class Writer:
    """Writes batches, acknowledged by all in-sync replicas; several at once, to any partitions.

    After a write that failed it must be closed and another one opened: the idempotent producer
    counts batches per partition, and a batch that failed leaves a gap after which the broker
    refuses all others.
    """

    def __init__(self, config: KafkaConfig, producer: AIOKafkaProducer) -> None:
        self._config = config
        self._producer = producer
        self._absent = Absent(producer.client.cluster)
        self._asked_for_leaders = -math.inf

    @classmethod
    async def open(cls, config: KafkaConfig, batch_bytes: int = BATCH_BYTES) -> "Writer":
        """Raises Unavailable when no broker answers."""
        with ours(config):
            producer = AIOKafkaProducer(
                **config.connection(),
                acks="all",
                enable_idempotence=config.idempotent,
                linger_ms=0,
                max_batch_size=batch_bytes,
            )
            keep_learning(producer.client, lambda: connect(config))
            if config.vet:
                guard(producer.client, config.vet)
            try:
                await producer.start()
                if config.vet:
                    await vet_cluster(producer.client, config.vet)
            except kafka_errors.KafkaConnectionError:
                await producer.stop()
                await log_in(config)
                raise
            except BaseException:
                await producer.stop()
                raise
        return cls(config, producer)

    async def partitions(self, topic: str) -> int:
        """How many the topic has. Raises Unavailable, `kafka_unknown_topic` when brokers say that
        there is no such topic."""
        known: set[int] | None = self._producer.client.cluster.partitions_for_topic(topic)
        if known is not None:
            return len(known)
        with ours(self._config, topic):
            try:
                async with asyncio.timeout(METADATA_PATIENCE):
                    return len(await self._found(topic))
            except TimeoutError:
                raise Unavailable(
                    "kafka_no_leader", f"no broker says where topic {topic!r} is"
                ) from None

    async def _found(self, topic: str) -> set[int]:
        """Its partitions, once brokers tell them."""
        client = self._producer.client
        client.add_topic(topic)
        while True:
            answered = await client.force_metadata_update()
            known: set[int] | None = client.cluster.partitions_for_topic(topic)
            if known is not None:
                return known
            if topic in client.cluster.unauthorized_topics:
                raise kafka_errors.TopicAuthorizationFailedError(topic)
            if answered and (self._absent.seconds(topic) or 0.0) >= ABSENCE:
                raise kafka_errors.UnknownTopicOrPartitionError
            await asyncio.sleep(ASKING_PAUSE)

    def led(self, topic: str) -> list[int]:
        """The partitions that have a leader, as far as is known."""
        return sorted(self._producer.client.cluster.available_partitions_for_topic(topic) or ())

    async def write(self, topic: str, partition: int, messages: Sequence[Message]) -> list[Place]:
        """Writes as many as fit into one batch, from the first on; returns the places of these.

        Raises TooLarge when the broker refuses the batch for its size, Unavailable for anything
        else; it may have been written all the same, but for the codes in NOTHING_SENT.
        """
        known = await self.partitions(topic)
        if partition >= known:
            await self._producer.client.force_metadata_update()
            raise Unavailable(
                "kafka_unknown_partition",
                f"topic {topic!r} has {known} partitions, and a message is for {partition}",
            )
        self._require_leader(topic, partition)
        now = time.time_ns() // 1_000_000
        with ours(self._config, topic):
            batch = self._batch(messages, now)
            acknowledged = await self._producer.send_batch(batch, topic, partition=partition)
            first = await acknowledged
        if first.offset < 0:  # acknowledged as a duplicate, and nobody remembers where it lies
            raise Unavailable("kafka_place_unknown", f"topic {topic!r}")
        written = first.timestamp if first.timestamp != -1 else now
        return [
            Place(topic, partition, offset, written)
            for offset in range(first.offset, first.offset + batch.record_count())
        ]

    def _require_leader(self, topic: str, partition: int) -> None:
        place = TopicPartition(topic, partition)
        if self._producer.client.cluster.leader_for_partition(place) != _NOBODY:
            return
        now = time.monotonic()
        if now >= self._asked_for_leaders + LEADER_PAUSE:
            self._asked_for_leaders = now
            self._producer.client.force_metadata_update()
        raise Unavailable(
            "kafka_no_leader",
            f"{topic}/{partition} has no leader: check that all brokers run",
        )

    def _batch(self, messages: Sequence[Message], now: int) -> Any:
        batch = self._producer.create_batch()
        for message in messages:
            fits = batch.append(
                timestamp=now, key=message.key, value=message.value, headers=_header_list(message)
            )
            if fits is None:
                break
        batch.close()  # or it waits for more
        return batch

    async def close(self, grace: float) -> None:
        """Waits `grace` seconds for batches in flight; the writes of others then raise."""
        try:
            async with asyncio.timeout(grace):
                await self._producer.stop()
        except (TimeoutError, kafka_errors.KafkaError):
            await self._abort()

    async def _abort(self) -> None:
        # stop() waits for batches that may never be answered, and has no other way to give up.
        # In this order: requests in flight put their batches back when the client closes.
        producer = self._producer
        await producer.client.close()
        with suppress(asyncio.CancelledError, TimeoutError):
            async with asyncio.timeout(1.0):
                await producer._sender.close()  # noqa: SLF001  see above
        batches = producer._message_accumulator  # noqa: SLF001  see above
        waiting = chain(batches._pending_batches, *batches._batches.values())  # noqa: SLF001  see above
        for batch in list(waiting):
            if not batch.future.done():
                batch.future.set_exception(kafka_errors.ProducerClosed())
                batch.future.exception()  # whoever waited for it may have given it up
