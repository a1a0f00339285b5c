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
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service
from mode.utils.futures import maybe_async

from event_router.consumers.health import Health
from event_router.consumers.kafka import KafkaConfig, group_consumer, lost_place, ours
from event_router.consumers.pace import Pace
from event_router.consumers.patience import persist
from event_router.consumers.subscription import Gap
from event_router.consumers.watermark import Partition, Watermarks
from event_router.router.in_flight import InFlight
from event_router.schemas.errors import Unavailable
from event_router.schemas.record import Record

log = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between looks at the fetcher when nothing was fetched: errors stand there as well."""

TROUBLE_PAUSE = 1.0
LARGEST_BATCH = 2000

KAFKA = "kafka reads"
GROUP = "kafka group"
TOPICS = "kafka topics"
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
    """How the consumer reads and lets go. Times are in seconds.

    `window` is the span of unfinished offsets at which a partition is held back, `held_bytes` the
    size of the values of a topic that are read and unfinished; each may be passed by one fetch.
    `pace` is the longest pause before a fetch. `drain` is for what runs when partitions are revoked
    or the app stops, `commit` for the commit after that. Without an answer of a broker for
    `silence`, Kafka is down. `gap` is told of records that went missing before they were read.
    """

    kafka: KafkaConfig
    health: Health
    drain: float
    gap: Callable[[Gap], Awaitable[None]] | None = None
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
        delivery: Delivery = transport.delivery
        return group_consumer(delivery.kafka, self.app.conf.id, delivery.rebalance_timeout)

    async def on_start(self) -> None:
        delivery = self.consumer.delivery
        self.pace = Pace(delivery.pace)
        self.answered_at = time.monotonic()
        self.news = asyncio.Event()
        self.holding = False
        with ours(delivery.kafka):
            await super().on_start()
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
        """`fetch`, sent no sooner than a pause after the last answer. Records are news at once:
        the fetcher's own way of telling takes several more rounds of the loop."""

        async def paced(assignment: Any, node_id: Any, request: Any) -> bool:
            pause = self.pace.pause(time.monotonic())
            if pause:
                try:
                    await asyncio.sleep(pause)
                except asyncio.CancelledError:
                    return False  # as `fetch` itself: nobody wants the answer any more
            found = bool(await fetch(assignment, node_id, request))
            if found:
                self.news.set()
            return found

        return paced

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
            with ours(self.consumer.delivery.kafka):
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
            with ours(self.consumer.delivery.kafka):
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
            with ours(self.consumer.delivery.kafka):
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
            with ours(self.consumer.delivery.kafka):
                await consumer.seek_to_beginning(driver.ensure_aiokafka_TP(TP(*partition)))

    async def bounds(self, partition: Partition) -> tuple[int, int]:
        """The first offset that is there, and the one after the last."""
        consumer = self._ensure_consumer()
        place = driver.ensure_aiokafka_TP(TP(*partition))
        with ours(self.consumer.delivery.kafka):
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
        self.gaps = 0
        self.wanted: frozenset[str] = frozenset()
        self._joined = False
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
                await self._deliver(await self._thread.poll())
            except Unavailable as trouble:
                await self._mend(trouble)
            else:
                self.delivery.health.up(FETCH)

    async def _mend(self, trouble: Unavailable) -> None:
        """Goes on where there is something to read, or waits a little."""
        self._thread.news.set()  # there may be more where this came from
        lost = lost_place(trouble.__cause__)
        try:
            if lost is None:
                raise trouble
            partition, offset = lost
            if offset is not None:
                await self._note_gap(partition, offset)
            await self._thread.read_from_start(partition)
        except Unavailable as still:
            self.delivery.health.down(FETCH, str(still))
            await self.sleep(TROUBLE_PAUSE)

    async def _note_gap(self, partition: Partition, wanted: int) -> None:
        topic, number = partition
        begin, end = await self._thread.bounds(partition)
        place = {"topic": topic, "partition": number, "wanted": wanted, "begin": begin, "end": end}
        log.error("offset.out_of_range", extra=place)
        self.delivery.health.down(FETCH, f"{topic}/{number} held {wanted}, and begins at {begin}")
        self.gaps += 1
        note = self.delivery.gap
        if note is not None:
            gap = Gap(partition, wanted, begin, end)
            await persist("note of a gap", lambda: note(gap), self.delivery.health)

    def held(self) -> frozenset[Partition]:
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
        if self._thread.holding:
            self._thread.news.set()

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

    async def subscribe(self, topics: Iterable[str]) -> None:
        self.wanted = frozenset(topics)
        await super().subscribe(topics)

    async def perform_seek(self) -> None:
        """Nothing to do: an assignment begins at the commits, and what was fetched before the flow
        was resumed has been put back."""

    def resume_flow(self) -> None:
        if not self._closing:
            super().resume_flow()
            self._joined = True
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
        self._joined = False
        self.app.flow_control.suspend()
        self.app.flow_control.clear()
        self._withdraw()
        late = await self.in_flight.drain(self.delivery.drain)
        repeated = self.marks.unfinished
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.commit(), self.delivery.commit)
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
        """Tells the health how Kafka is: do brokers answer, are the topics there, may we join?

        Raises Unavailable when the client has given up.
        """
        self._tell(KAFKA, self._silence())
        self._tell(GROUP, self._thread.refusal())
        missing = self._thread.missing_topics()
        self._tell(TOPICS, f"not there, make them with `router init`: {missing}" if missing else "")

    def _silence(self) -> str:
        silent = time.monotonic() - self._thread.answered_at
        return f"no broker answers since {silent:.0f} s" if silent > self.delivery.silence else ""

    def _tell(self, dependency: str, trouble: str) -> None:
        if trouble:
            self.delivery.health.down(dependency, trouble)
        else:
            self.delivery.health.up(dependency)

    def known_lag(self) -> int | None:
        """Offsets from what is finished to the ends that fetches have seen; None outside of
        the group, and while some partitions haven't been fetched from."""
        if not self._joined:
            return None
        ends = {partition: self._thread.seen_end(partition) for partition in self.assignment()}
        known = {partition: end for partition, end in ends.items() if end is not None}
        return self._behind(known) if len(known) == len(ends) else None

    async def lag(self) -> int:
        """The same, to the ends that the brokers tell when they are asked now. So it grows when
        fetching has stopped."""
        assigned = self.assignment()
        with ours(self.delivery.kafka):
            ends = await self.highwaters(*assigned) if assigned else {}
        return self._behind(
            {one: max(end, self._thread.seen_end(one) or 0) for one, end in ends.items()}
        )

    def _behind(self, ends: Mapping[Any, int]) -> int:
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
