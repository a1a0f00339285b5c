"""Topics and groups of Kafka, looked at and made from outside: for set-up and checks."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka import errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.group_consumer import LEAVE_PATIENCE
from event_router.consumers.kafka.trouble import ours
from event_router.consumers.watermark import Partition


@dataclass(frozen=True, slots=True)
class NewTopicSpec:
    """A topic to be made, with three replicas, or as many as there are brokers.

    With three, a write needs two of them in sync; `config` may say otherwise.
    """

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


class Admin:
    """Makes topics and looks at them and at groups. A context manager; raises Unavailable."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._admin = AIOKafkaAdminClient(**config.connection())

    async def __aenter__(self) -> Self:
        with ours(self._config):
            try:
                await self._admin.start()
            except BaseException:
                await self._admin.close()
                raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._admin.close()

    async def brokers(self) -> int:
        with ours(self._config):
            return len((await self._admin.describe_cluster())["brokers"])

    async def create(self, topics: Sequence[NewTopicSpec]) -> list[str]:
        """Makes those that aren't there, and returns their names, once all have leaders.

        Several may do it at once. A topic that is there stays as it is.
        """
        made = []
        replicas = min(3, await self.brokers())
        for topic in topics:
            with ours(self._config, topic.name):
                if await self._create(topic, replicas):
                    made.append(topic.name)
        await self._leaders({topic.name for topic in topics})
        return made

    async def _create(self, topic: NewTopicSpec, replicas: int) -> bool:
        config = {"min.insync.replicas": "2" if replicas >= 3 else "1", **topic.config}
        new = NewTopic(topic.name, topic.partitions, replicas, topic_configs=config)
        answer = await self._admin.create_topics([new])
        try:
            _check(answer.topic_errors)
        except kafka_errors.TopicAlreadyExistsError:
            return False
        return True

    async def _leaders(self, names: set[str]) -> None:
        with ours(self._config):  # a time-out is an OSError
            async with asyncio.timeout(self._config.request_timeout):
                while not await self._are_led(names):  # noqa: ASYNC110  Kafka tells nobody
                    await asyncio.sleep(0.02)

    async def _are_led(self, names: set[str]) -> bool:
        return set(await self.partitions(names)) == names and not await self.leaderless(names)

    async def partitions(self, names: Collection[str]) -> dict[str, int]:
        """How many partitions each has, with or without a leader; a topic that isn't there isn't
        in it."""
        described = await self._described(names)
        return {topic["topic"]: len(topic["partitions"]) for topic in described}

    async def leaderless(self, names: Collection[str]) -> list[Partition]:
        """Partitions that have no leader."""
        return [
            (topic["topic"], partition["partition"])
            for topic in await self._described(names)
            for partition in topic["partitions"]
            if partition["leader"] < 0
        ]

    async def _described(self, names: Collection[str]) -> list[dict[str, Any]]:
        with ours(self._config):
            described = await self._admin.describe_topics(sorted(names))
        return [topic for topic in described if topic["error_code"] == 0 and topic["partitions"]]

    async def topic_config(self, name: str) -> dict[str, str]:
        """The topic's configuration, with what it inherits."""
        with ours(self._config, name):
            answers = await self._admin.describe_configs(
                [ConfigResource(ConfigResourceType.TOPIC, name)]
            )
        return {entry[0]: entry[1] for entry in answers[0].resources[0][4]}

    async def delete(self, names: Sequence[str]) -> None:
        """Deletes topics with everything in them; those that aren't there are none."""
        with ours(self._config):
            answer = await self._admin.delete_topics(list(names))
            with suppress(kafka_errors.UnknownTopicOrPartitionError):
                _check(answer.topic_error_codes)

    async def ends(self, topic: str) -> dict[Partition, int]:
        """The end of each partition: the offset that the next record gets."""
        async with _Lookup(self._config) as lookup:
            places = await self._places(topic)
            with ours(self._config, topic):
                ends = await lookup.end_offsets(places)
        return {tuple(place): int(end) for place, end in ends.items()}

    async def done(self, group: str, topic: str) -> dict[Partition, int]:
        """What the group has before it in each partition: its commit, or the earliest record."""
        async with _Lookup(self._config) as lookup:
            places = await self._places(topic)
            with ours(self._config, topic):
                earliest = await lookup.beginning_offsets(places)
        begins = {tuple(place): int(begin) for place, begin in earliest.items()}
        return begins | await self.committed(group, topic)

    async def committed(self, group: str, topic: str) -> dict[Partition, int]:
        """What the group has committed; partitions without a commit are not in it."""
        async with _Lookup(self._config, group) as lookup:
            places = await self._places(topic)
            with ours(self._config, topic):
                lookup.assign(places)
                offsets = {tuple(place): await lookup.committed(place) for place in places}
        return {partition: int(at) for partition, at in offsets.items() if at is not None}

    async def _places(self, topic: str) -> list[TopicPartition]:
        known = await self.partitions([topic])
        return [TopicPartition(topic, number) for number in range(known.get(topic, 0))]


class _Lookup:
    """A consumer that reads nothing and joins no group, to ask for offsets."""

    def __init__(self, config: KafkaConfig, group: str | None = None) -> None:
        self._config = config
        self._consumer = AIOKafkaConsumer(
            **config.connection(), group_id=group, enable_auto_commit=False
        )

    async def __aenter__(self) -> AIOKafkaConsumer:
        with ours(self._config):
            try:
                await self._consumer.start()
                # Its tasks begin: ending it awaits one that it cancels, and if that never ran,
                # whoever asks is told of a cancellation that there wasn't.
                await asyncio.sleep(0)
            except BaseException:
                await self._consumer.stop()
                raise
        return self._consumer

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(kafka_errors.KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(LEAVE_PATIENCE):
                await self._consumer.stop()


def _check(errors: Iterable[Sequence[Any]]) -> None:
    for _, code, *_ in errors:
        kind = kafka_errors.for_code(code)
        if kind is not kafka_errors.NoError:
            raise kind()
