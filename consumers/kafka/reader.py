"""Reading as a member of a group."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka import errors as kafka_errors

from event_router.consumers.kafka.config import KafkaConfig
from event_router.consumers.kafka.group_consumer import (
    LEAVE_PATIENCE,
    Membership,
    group_consumer,
    pace_fetches,
)
from event_router.consumers.kafka.records import record_of
from event_router.consumers.kafka.trouble import OutOfRange, lost_place, ours, translated
from event_router.consumers.pace import Pace
from event_router.consumers.watermark import Partition
from event_router.schemas.errors import Unavailable
from event_router.schemas.record import Record

Moved = Callable[[frozenset[Partition]], Awaitable[None]]


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, assigned: Moved, revoked: Moved) -> None:
        self._assigned = assigned
        self._revoked = revoked

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        if revoked:
            await self._revoked(frozenset(tuple(partition) for partition in revoked))

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        await self._assigned(frozenset(tuple(partition) for partition in assigned))


def _nobody() -> None:
    """Who polls is woken by the poll."""


class Reader:
    """A member of a consumer group. It commits nothing by itself.

    `revoked` is awaited before the group moves on, for at most `rebalance_timeout` seconds, and
    nothing is handed out meanwhile; `assigned` before the first record of the new assignment.
    A group without a commit begins at the earliest record.
    """

    def __init__(
        self,
        config: KafkaConfig,
        topics: Collection[str],
        group: str,
        *,
        assigned: Moved,
        revoked: Moved,
        rebalance_timeout: float,
        pace: Pace,
    ) -> None:
        self._config = config
        self._topics = sorted(topics)
        self._pace = pace
        self._consumer = group_consumer(config, group, rebalance_timeout)
        self._listener = _Listener(assigned, revoked)
        self._membership: Membership | None = None

    @property
    def is_member(self) -> bool:
        """Whether nobody else can have what is assigned, by the last heartbeat."""
        return self._membership is not None and self._membership.is_sure

    async def start(self) -> None:
        """Joins the group; assignments come later. Raises Unavailable when no broker answers."""
        with ours(self._config):
            await self._consumer.start()
            self._membership = Membership(self._consumer, self._config.session_timeout)
            pace_fetches(self._consumer, self._pace, _nobody)
            # Not before: start() would wait for topics that aren't there.
            self._consumer.subscribe(self._topics, listener=self._listener)

    async def poll(self, seconds: float, max_records: int) -> dict[Partition, list[Record]]:
        """What was fetched of all partitions, after at most `seconds` without any.

        Raises OutOfRange; Unavailable, after which partitions may have been read without being
        returned, so go back with `seek`.
        """
        try:
            with ours(self._config):
                fetched = await self._consumer.getmany(
                    timeout_ms=int(seconds * 1000), max_records=max_records
                )
        except Unavailable as trouble:
            if not await self._mended(trouble.__cause__):
                raise
            return {}
        if fetched:
            self._pace.polled(time.monotonic(), sum(map(len, fetched.values())))
        return {tuple(place): list(map(record_of, records)) for place, records in fetched.items()}

    async def _mended(self, cause: BaseException | None) -> bool:
        lost = lost_place(cause)
        if lost is None:
            return False
        partition, offset = lost
        if offset is not None:
            raise OutOfRange(partition, offset) from cause
        await self.rewind({partition: None})
        return True

    async def rewind(self, places: Mapping[Partition, int | None]) -> None:
        """Reads on from these offsets; None = from the commit, or the earliest record."""
        with ours(self._config):
            for partition, offset in places.items():
                place = TopicPartition(*partition)
                if offset is None:
                    offset = await self._consumer.committed(place)
                if offset is None:
                    await self._consumer.seek_to_beginning(place)
                else:
                    self._consumer.seek(place, offset)

    async def commit(self, positions: Mapping[Partition, int], seconds: float) -> None:
        """Raises Unavailable when it isn't taken within `seconds`."""
        offsets = {TopicPartition(*partition): at for partition, at in positions.items()}
        with ours(self._config):
            try:
                async with asyncio.timeout(seconds):
                    await self._consumer.commit(offsets)
            except TimeoutError:
                raise kafka_errors.RequestTimedOutError from None

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Those that aren't assigned any more are left out, here and in `resume`."""
        self._consumer.pause(*self._assigned(partitions))

    def resume(self, partitions: Iterable[Partition]) -> None:
        self._consumer.resume(*self._assigned(partitions))

    def _assigned(self, partitions: Iterable[Partition]) -> list[TopicPartition]:
        mine = self._consumer.assignment()
        return [TopicPartition(*partition) for partition in partitions if partition in mine]

    def end(self, partition: Partition) -> int | None:
        """The end of the partition as of the last fetch; None before the first one."""
        for place in self._assigned([partition]):
            stable = self._consumer.last_stable_offset(place)
            end = self._consumer.highwater(place) if stable is None or stable < 0 else stable
            return None if end is None else int(end)
        return None

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The end of each as the brokers tell it now. Raises Unavailable."""
        places = [TopicPartition(*partition) for partition in partitions]
        with ours(self._config):
            ends = await self._consumer.end_offsets(places) if places else {}
        return {tuple(place): int(end) for place, end in ends.items()}

    async def position(self, partition: Partition) -> int:
        """The offset that is read next. Raises Unavailable when it isn't assigned."""
        with ours(self._config):
            return int(await self._consumer.position(TopicPartition(*partition)))

    async def bounds(self, partition: Partition) -> tuple[int, int]:
        """The offset of the earliest record, and the end."""
        place = TopicPartition(*partition)
        with ours(self._config, partition[0]):
            begin = await self._consumer.beginning_offsets([place])
            end = await self._consumer.end_offsets([place])
        return int(begin[place]), int(end[place])

    async def check(self) -> None:
        """Raises Unavailable when no broker answers, or a topic isn't there."""
        if not await self._consumer._client.force_metadata_update():  # noqa: SLF001  no other probe
            raise translated(kafka_errors.NodeNotReadyError(), self._config, "")
        for topic in self._topics:
            if not self._consumer.partitions_for_topic(topic):
                raise translated(kafka_errors.UnknownTopicOrPartitionError(), self._config, topic)

    async def stop(self) -> None:
        """Leaves the group; when no broker answers, the session runs out instead."""
        with suppress(kafka_errors.KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(LEAVE_PATIENCE):
                await self._consumer.stop()
