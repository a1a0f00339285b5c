"""Faust's consumer with another delivery and another commit (docs/design.md, Faust and aiokafka).

Delivery: what one poll fetched of a topic arrives as one Faust event, whose value is a `Batch`.
Commit: up to the lowest unfinished offset of each partition, tracked per record. Faust's own
acknowledgements count for nothing.

The names that are overridden or touched here are pinned by tests/faust/test_contract.py.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service
from mode.utils.futures import maybe_async

from event_router.consumers.health import Health
from event_router.consumers.watermark import Partition, Watermarks
from event_router.router.in_flight import InFlight
from event_router.router.pacing import Pace
from event_router.schemas.record import Record

log = logging.getLogger(__name__)

POLL = 1.0
"""Seconds that a poll waits for records before it looks whether anything else is due."""

POLL_WHEN_HELD = 0.05
"""The same while partitions are held back, which a poll takes up again."""

LARGEST_BATCH = 2000

KAFKA = "kafka reads"
FETCH = "kafka fetch"


class Batch:
    """Records of one topic, of one or more polls, on their way to the hop.

    It grows until it is taken, so what was queued meanwhile is handled together.
    """

    __slots__ = ("_records", "_taken")

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = list(records)
        self._taken = False

    def add(self, records: Sequence[Record]) -> bool:
        """False when it is taken or full: these records need a batch of their own."""
        if self._taken or len(self._records) + len(records) > LARGEST_BATCH:
            return False
        self._records.extend(records)
        return True

    def take(self) -> Sequence[Record]:
        """All of them, once; none when the batch was withdrawn."""
        self._taken = True
        records, self._records = self._records, []
        return records

    withdraw = take


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the consumer delivers. Times are in seconds."""

    health: Health
    fetch_wait: float
    drain: float
    """For what runs when partitions are revoked or the app stops."""
    commit_timeout: float
    """For the last commit of a generation; when it runs out, records are read again."""
    silence: float = 10.0
    """Without an answer of any broker for so long, Kafka is down."""
    window: int = 20_000
    """Offsets of a partition from the lowest unfinished to the last read, at most (and what one
    fetch brings)."""
    held_bytes: int = 64 << 20
    """Values of a topic that are read and unfinished, at most (and what one fetch brings)."""


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

    consumer: "StreamConsumer"
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
        await self.on_thread_stop()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await self.consumer.on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        await self.consumer.on_partitions_assigned(assigned, generation_id)

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = round(transport.delivery.fetch_wait * 1000)
        return consumer

    async def on_start(self) -> None:
        await super().on_start()
        self.pace = Pace(time.monotonic())
        self.answered_at = time.monotonic()
        consumer = self._ensure_consumer()
        consumer._client.send = self._noted(consumer._client.send)
        consumer._fetcher._proc_fetch_request = self._paced(consumer._fetcher._proc_fetch_request)

    def _noted(self, send: Callable[..., Any]) -> Callable[..., Any]:
        """`send`, noting when a broker answered last."""

        async def noted(*args: Any, **kwargs: Any) -> Any:
            answer = await send(*args, **kwargs)
            self.answered_at = time.monotonic()
            return answer

        return noted

    def _paced(self, fetch: Callable[..., Any]) -> Callable[..., Any]:
        """`fetch`, sent no sooner than a pause after the last answer."""

        async def paced(assignment: Any, node_id: Any, request: Any) -> bool:
            pause = self.pace.pause
            if pause:
                try:
                    await asyncio.sleep(pause)
                except asyncio.CancelledError:
                    return False  # as `fetch` itself: nobody wants the answer any more
            return bool(await fetch(assignment, node_id, request))

        return paced

    async def poll(self, held: Collection[Partition]) -> Fetched:
        """What is there, or what comes within POLL."""
        consumer = self._ensure_consumer()
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise driver.ConsumerStoppedError
        records: Mapping[TP, Sequence[Any]] = {}
        if self.consumer.flow_active:
            self._hold(held)
            with fetcher._subscriptions.fetch_context():
                records = await fetcher.fetched_records(
                    None, timeout=POLL_WHEN_HELD if held else POLL
                )
        if records and not self.consumer.flow_active:
            self._put_back(records)
            records = {}
        self.pace.fetched(time.monotonic(), sum(map(len, records.values())))
        return Fetched(self.app.consumer_generation_id, records)

    def _hold(self, held: Collection[Partition]) -> None:
        """Fetches nothing of those that are held, and again of those that aren't any more."""
        consumer = self._ensure_consumer()
        paused = consumer.paused()
        if not (held or paused):
            return
        assigned = consumer.assignment()
        wanted = {partition for partition in assigned if tuple(partition) in held}
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
        """Commits what is still assigned. False when Kafka refuses: the offsets stand, and the
        records will be read again."""
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
            await consumer.commit(wanted)
        except (driver.KafkaError, driver.IllegalStateError) as error:
            log.warning("stream.commit_refused", extra={"error": repr(error)})
            return False
        return True


class StreamConsumer(driver.Consumer):
    """Hands on batches, and commits what is finished of the generation that is now."""

    _thread: FetchService

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.delivery: Delivery = self.transport.delivery
        self.marks: Watermarks[Record] = Watermarks()
        self.in_flight = InFlight()
        self._queued: dict[str, Batch] = {}
        self._bytes: Counter[str] = Counter()
        self._one_commit = asyncio.Lock()
        self._closing = False

    def _new_consumer_thread(self) -> FetchService:
        return FetchService(self, loop=self.loop, thread_loop=self.loop, beacon=self.beacon)

    # Reading

    async def _drain_messages(self, fetcher: Any) -> None:
        """Polls until the consumer or its fetcher stops."""
        while not (self.should_stop or fetcher.should_stop):
            if not self.flow_active:
                await self.wait(self.can_resume_flow)
                continue
            try:
                fetched = await self._thread.poll(self._held())
            except self.consumer_stopped_errors:
                if self.app.should_stop or self._closing:
                    return
                raise
            except driver.KafkaError as error:
                await self._trouble(error)
            else:
                self.delivery.health.up(FETCH)
                await self._deliver(fetched)

    async def _trouble(self, error: Exception) -> None:
        self.delivery.health.down(FETCH, f"Kafka refuses to be read from: {error!r}")
        await self.sleep(1.0)

    def _held(self) -> frozenset[Partition]:
        """Partitions whose window is as wide as it may be, or whose topic holds enough bytes."""
        full = {topic for topic, held in self._bytes.items() if held >= self.delivery.held_bytes}
        held = self.marks.wider_than(self.delivery.window)
        if full:
            held |= {partition for partition in self.marks.partitions if partition[0] in full}
        return frozenset(held)

    async def _deliver(self, fetched: Fetched) -> None:
        """Tracks the records, then hands on those of each topic together.

        Nothing may be awaited between the poll and the tracking: a commit in between would see
        that they were fetched, and not that they are unfinished.
        """
        topics: dict[str, list[Record]] = {}
        for partition, raw in fetched.records.items():
            records = [_record(one) for one in raw]
            self._track(partition, records)
            topics.setdefault(partition.topic, []).extend(records)
        for topic, records in topics.items():
            for start in range(0, len(records), LARGEST_BATCH):
                await self._hand_on(
                    topic, records[start : start + LARGEST_BATCH], fetched.generation
                )

    def _track(self, partition: TP, records: Sequence[Record]) -> None:
        self._bytes[partition.topic] += sum(map(_size, records))
        if self.marks.read(partition, records):
            log.warning(
                "stream.topic_recreated",
                extra={"topic": partition.topic, "partition": partition.partition},
            )

    async def _hand_on(self, topic: str, records: Sequence[Record], generation: int) -> None:
        if not self.flow_active or generation != self.app.consumer_generation_id:
            return  # they stay unfinished, and whoever has the partition next reads them again
        queued = self._queued.get(topic)
        if queued is None or not queued.add(records):
            self._queued[topic] = queued = Batch(records)
            await self.callback(_message(queued, records[0], generation))

    def finished(self, records: Sequence[Record]) -> None:
        """A batch is done: its effects are durable. What was read in a former generation, or
        before its topic was recreated, moves no offset."""
        self._bytes[records[0].topic] -= sum(map(_size, records))
        if self.marks.done(records):
            self.delivery.health.progress()

    # Committing

    def ack(self, message: Any) -> bool:  # noqa: ARG002  Faust's signature
        """Faust acknowledges what it skips, and what raised; here only `finished` counts."""
        return False

    async def commit(
        self,
        topics: Any = None,  # noqa: ARG002  Faust's signature
        start_new_transaction: bool = True,  # noqa: ARG002  Faust's signature
    ) -> bool:
        """Commits up to the lowest unfinished offsets. True when Kafka has taken them."""
        async with self._one_commit:
            self._skip_what_holds_no_records()
            positions = self.marks.to_commit()
            if not positions or not await self._commit(positions):
                return False
            self.marks.committed(positions)
            return True

    def _skip_what_holds_no_records(self) -> None:
        """Transactions' markers and what compaction took: fetched, but never read."""
        for partition in self.marks.partitions:
            offset = self._thread.next_fetch(partition)
            if offset is not None and not self.marks[partition].unfinished:
                self.marks[partition].skip_to(offset)

    # Joining and leaving

    def resume_flow(self) -> None:
        if not self._closing:
            super().resume_flow()
            self.delivery.health.started = True

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await self._let_go()
        if not self.app.should_stop:
            await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        if self._closing or self.app.should_stop:
            return
        self.marks.assign(assigned)
        await super().on_partitions_assigned(assigned, generation_id)

    async def finish(self) -> None:
        """Reads no more, waits for what runs, commits. The group may be left then."""
        self._closing = True
        await self._let_go()

    async def on_stop(self) -> None:
        await self.finish()
        await super().on_stop()

    async def _let_go(self) -> None:
        """Stop, drain within the deadline, commit, forget. What didn't finish is read again."""
        self.stop_flow()
        self.app.flow_control.suspend()
        self.app.flow_control.clear()
        self._withdraw()
        late = await self.in_flight.drain(self.delivery.drain)
        repeated = self.marks.unfinished
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.commit(), self.delivery.commit_timeout)
        if self.marks.partitions:
            log.info("stream.let_go", extra={"cancelled": late, "unfinished": repeated})
        self.marks.revoke(self.marks.partitions)
        self._bytes.clear()

    def _withdraw(self) -> None:
        for batch in self._queued.values():
            batch.withdraw()
        self._queued.clear()

    async def verify_all_partitions_active(self) -> None:
        """Faust's own look for stalls compares two clocks; router/watchdog.py is ours."""

    # Health

    def look(self) -> None:
        """Tells the health whether a broker has answered lately."""
        silent = time.monotonic() - self._thread.answered_at
        if silent > self.delivery.silence:
            self.delivery.health.down(KAFKA, f"no broker has answered for {silent:.0f} s")
        else:
            self.delivery.health.up(KAFKA)

    def known_lag(self) -> int | None:
        """Offsets from what is finished to the ends that fetches have seen; None while some
        partition has not been fetched from."""
        ends = {partition: self.highwater(partition) for partition in self.assignment()}
        return None if None in ends.values() else self._behind(ends)

    async def lag(self) -> int:
        """The same, to the ends that the brokers tell when they are asked now. So it grows when
        fetching has stopped."""
        assigned = self.assignment()
        ends = await self.highwaters(*assigned) if assigned else {}
        return self._behind({one: max(end, self.highwater(one) or 0) for one, end in ends.items()})

    def _behind(self, ends: Mapping[TP, int]) -> int:
        self._skip_what_holds_no_records()
        finished = {one: self.marks[one].position for one in ends if one in self.marks}
        return sum(max(0, end - (finished.get(one) or 0)) for one, end in ends.items())


def _size(record: Record) -> int:
    return len(record.value) if record.value is not None else 0


def _record(raw: Any) -> Record:
    return Record(
        raw.topic, raw.partition, raw.offset, raw.timestamp, raw.key, raw.value, raw.headers
    )


def _message(batch: Batch, first: Record, generation: int) -> ConsumerMessage:
    """The Faust message that carries a batch. It stands at its first record's partition, by which
    Faust finds the agents; nothing else of it is looked at."""
    return ConsumerMessage(
        first.topic,
        first.partition,
        first.offset,
        timestamp=first.timestamp / 1000,
        timestamp_type=0,
        headers=None,
        key=None,
        value=batch,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        tp=TP(first.topic, first.partition),
        generation_id=generation,
    )


class StreamTransport(driver.Transport):
    """`app.transport = StreamTransport(app, delivery)`, before the app starts."""

    Consumer = StreamConsumer

    def __init__(self, app: Any, delivery: Delivery) -> None:
        super().__init__(app.conf.broker_consumer, app)
        self.delivery = delivery
