"""How the stream fetches: aiokafka's consumer under Faust's, paced, on the app's own loop.

The names that are overridden or touched here are pinned by tests/faust/test_contract.py.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service
from mode.utils.futures import maybe_async

from event_router.consumers.gap import Gap
from event_router.consumers.handover import Handover
from event_router.consumers.health import Health
from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.group_consumer import LEAVE_PATIENCE, group_consumer, pace_fetches
from event_router.consumers.kafka.trouble import ours
from event_router.consumers.pace import Pace
from event_router.consumers.patience import persist
from event_router.consumers.watermark import Partition
from event_router.schemas.errors import Unavailable

log = logging.getLogger(__name__)

KAFKA = "kafka reads"

TICK = 1.0
"""Seconds between looks at the fetcher when nothing was fetched: errors stand there as well."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the consumer reads and lets go. Times are in seconds.

    `window` is the span of unfinished offsets at which a partition is held back, `held_bytes` the
    size of the values of a topic that are read and unfinished; each may be passed by one fetch.
    `pace` is the longest pause before a fetch. `drain` is for what runs when partitions are revoked
    or the app stops, `commit` for the commit after that. Without an answer of a broker for
    `silence`, Kafka is down. `gap` is told of records that went missing before they were read.
    What is done and can't be committed when partitions go is left with `handover`.
    """

    kafka: KafkaConfig
    health: Health
    drain: float
    gap: Callable[[Gap], Awaitable[None]] | None = None
    handover: Handover | None = None
    commit: float = 3.0
    silence: float = 10.0
    pace: float = 0.008
    window: int = 10_000
    held_bytes: int = 64 << 20

    @property
    def rebalance_timeout(self) -> float:
        """What the broker gives us to let go, with a margin."""
        return self.drain + self.commit + 10.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one poll brought, and the generation of the group in which it did."""

    generation: int
    records: Mapping[TP, Sequence[Any]]


class FetchService(driver.AIOKafkaConsumerThread):
    """aiokafka's consumer, on the app's own loop.

    Faust would give it a thread with a loop of its own: twice the CPU at steady rates, spent on
    waking one loop from the other, and every look at its state from outside is a race.
    """

    consumer: Any
    wait_for_shutdown = False

    start = Service.start
    maybe_start = Service.maybe_start
    stop = Service.stop
    crash = Service.crash
    set_shutdown = Service.set_shutdown
    _stopped_set = Service._stopped_set
    _stop_children = Service._stop_children
    _stop_futures = Service._stop_futures
    _stop_exit_stacks = Service._stop_exit_stacks

    @Service.task
    async def _thread_keepalive(self) -> None:
        """Nothing to keep alive."""

    async def call_thread(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await maybe_async(fun(*args, **kwargs))

    async def on_stop(self) -> None:
        """Leaves the group; when no broker answers, the session runs out instead."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_PATIENCE):
                await self.on_thread_stop()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await self.consumer.on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        await self.consumer.on_partitions_assigned(assigned, generation_id)

    def _create_worker_consumer(self, transport: Any) -> Any:
        reading: Reading = transport.reading
        return group_consumer(reading.kafka, self.app.conf.id, reading.rebalance_timeout)

    async def on_start(self) -> None:
        """Waits for a broker that answers: one may be gone since the role has looked."""
        reading = self.consumer.reading
        self.pace = Pace(reading.pace)
        self.news = asyncio.Event()
        self.holding = False
        await persist(KAFKA, self._connect, reading.health)
        self.answered_at = time.monotonic()
        consumer = self._ensure_consumer()
        consumer._client.send = self._noted(consumer._client.send)
        pace_fetches(consumer, self.pace, self.news.set)

    async def _connect(self) -> None:
        """Raises Unavailable when no broker answers."""
        try:
            with ours(self.consumer.reading.kafka):
                await super().on_start()
        except BaseException:
            if self._consumer is not None:
                await self._consumer.stop()  # it can't be started again
            raise

    def _noted(self, send: Callable[..., Any]) -> Callable[..., Any]:
        """`send`, noting when a broker answered last."""

        async def noted(*args: Any, **kwargs: Any) -> Any:
            answer = await send(*args, **kwargs)
            self.answered_at = time.monotonic()
            return answer

        return noted

    @Service.task
    async def _tick(self) -> None:
        async for _ in self.itertimer(TICK, name="stream tick"):
            self.news.set()

    async def poll(self) -> Fetched:
        """Waits for news, and takes all that was fetched. Raises Unavailable."""
        await self.news.wait()
        self.news.clear()
        records: Mapping[TP, Sequence[Any]] = {}
        if self.consumer.flow_active:
            self._hold(self.consumer.held())
            with ours(self.consumer.reading.kafka):
                records = await self._ensure_consumer()._fetcher.fetched_records(None, timeout=0)
        if records and not self.consumer.flow_active:
            self._put_back(records)
            records = {}
        if records:
            self.pace.polled(time.monotonic(), sum(map(len, records.values())))
        return Fetched(self.app.consumer_generation_id, records)

    def _hold(self, held: Collection[Partition]) -> None:
        """Fetches nothing of those that are held, and again of those that aren't any more."""
        self.holding = bool(held)
        consumer = self._ensure_consumer()
        paused = consumer.paused()
        if held or paused:
            wanted = {partition for partition in consumer.assignment() if partition in held}
            consumer.pause(*(wanted - paused))
            consumer.resume(*(paused - wanted))

    def _put_back(self, records: Mapping[TP, Sequence[Any]]) -> None:
        """Reads them again later: nobody took them, so nobody must read past them."""
        consumer = self._ensure_consumer()
        for partition, fetched in records.items():
            if partition in consumer.assignment():
                consumer.seek(partition, fetched[0].offset)

    def next_fetch(self, partition: Partition) -> int | None:
        """The offset from which it is fetched next; None while that isn't known."""
        subscription = self._ensure_consumer()._subscription.subscription
        assignment = None if subscription is None else subscription.assignment
        if assignment is None or partition not in assignment.tps:
            return None
        state = assignment.state_value(partition)
        return int(state.position) if state.has_valid_position else None

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commits what is still assigned. False when Kafka refuses, or takes longer than it may:
        the offsets stand, and the records will be read again."""
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        wanted = {
            driver.ensure_aiokafka_TP(TP(*partition)): driver.OffsetAndMetadata(offset, "")
            for partition, offset in offsets.items()
            if partition in assigned
        }
        if not wanted:
            return False
        try:
            with ours(self.consumer.reading.kafka):
                async with asyncio.timeout(self.consumer.reading.commit):
                    await consumer.commit(wanted)
        except Unavailable as trouble:
            log.warning("stream.commit_refused", extra={"error": str(trouble)})
            return False
        return True

    def refusal(self) -> str:
        """Why the group doesn't take us, '' when it does. Raises Unavailable when the client has
        given up. Who doesn't ask isn't told: the client waits until its error was seen."""
        coordinator = self._ensure_consumer()._coordinator
        try:
            with ours(self.consumer.reading.kafka):
                coordinator.check_errors()
        except Unavailable as trouble:
            if coordinator._coordination_task.done():
                raise
            return str(trouble)
        return ""

    def missing_topics(self) -> str:
        """Names of subscribed topics that no broker knows; looks again until they are there."""
        client = self._ensure_consumer()._client
        known = client.cluster.topics()
        missing = sorted(topic for topic in self.consumer.wanted if topic not in known)
        if missing:
            client.force_metadata_update()
        return ", ".join(missing)

    async def read_from_start(self, partition: Partition) -> None:
        """Its first record is the next one."""
        consumer = self._ensure_consumer()
        if partition in consumer.assignment():
            with ours(self.consumer.reading.kafka):
                await consumer.seek_to_beginning(driver.ensure_aiokafka_TP(TP(*partition)))

    async def bounds(self, partition: Partition) -> tuple[int, int]:
        """The first offset that is there, and the one after the last."""
        consumer = self._ensure_consumer()
        place = driver.ensure_aiokafka_TP(TP(*partition))
        with ours(self.consumer.reading.kafka):
            begin = await consumer.beginning_offsets([place])
            end = await consumer.end_offsets([place])
        return begin[place], end[place]

    def seen_end(self, partition: Partition) -> int | None:
        """The end up to which records can be read, as of the last fetch."""
        consumer = self._ensure_consumer()
        place = driver.ensure_aiokafka_TP(TP(*partition))
        stable = consumer.last_stable_offset(place)
        end = consumer.highwater(place) if stable is None or stable < 0 else stable
        return None if end is None else int(end)
