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
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from event_router.consumers.commits import Commits
from event_router.consumers.gap import Gap, log_gap
from event_router.consumers.handover import hand_over, take_over
from event_router.consumers.kafka.records import record_of
from event_router.consumers.kafka.trouble import lost_place, ours
from event_router.consumers.patience import persist
from event_router.consumers.watermark import Partition, Watermarks
from event_router.router.stream.batch import Batch
from event_router.router.stream.fetch import KAFKA, Fetched, FetchService, Reading
from event_router.router.stream.in_flight import InFlight
from event_router.schemas.errors import Unavailable
from event_router.schemas.record import Record

log = logging.getLogger(__name__)

TROUBLE_PAUSE = 1.0

GROUP = "kafka group"
TOPICS = "kafka topics"
FETCH = "kafka fetch"


class StreamConsumer(driver.Consumer):
    """Hands on batches, and commits what is finished of the generation that is now."""

    _thread: FetchService

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reading: Reading = self.transport.reading
        self.marks: Watermarks[Record] = Watermarks()
        self.in_flight = InFlight()
        self._queued: dict[str, Batch] = {}
        self._bytes: Counter[str] = Counter()
        self._one_commit = asyncio.Lock()
        self._commits = Commits(self.marks, self._commit_positions)
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
                self.reading.health.up(FETCH)

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
            self.reading.health.down(FETCH, str(still))
            await self.sleep(TROUBLE_PAUSE)

    async def _note_gap(self, partition: Partition, wanted: int) -> None:
        begin, end = await self._thread.bounds(partition)
        gap = Gap(partition, wanted, begin, end)
        log_gap(gap)
        topic, number = partition
        self.reading.health.down(FETCH, f"{topic}/{number} held {wanted}, and begins at {begin}")
        note = self.reading.gap
        if note is not None:
            await persist("note of a gap", lambda: note(gap), self.reading.health)

    def held(self) -> frozenset[Partition]:
        """Partitions whose window is as wide as it may be, or whose topic holds enough bytes; all
        while nothing can be committed."""
        full = {topic for topic, held in self._bytes.items() if held >= self.reading.held_bytes}
        held = self._commits.held(self.reading.window)
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
            records = list(map(record_of, raw))
            to_do = self._track(partition, records)
            topics.setdefault(partition.topic, []).extend(to_do)
        for topic, records in topics.items():
            await self._hand_on(topic, records, fetched.generation)

    def _track(self, partition: TP, records: Sequence[Record]) -> Sequence[Record]:
        """Those that are to be done."""
        if self.marks.read(partition, records):
            log.warning(
                "stream.topic_recreated",
                extra={"topic": partition.topic, "partition": partition.partition},
            )
        to_do = self.marks.to_do(partition, records)
        self._bytes[partition.topic] += sum(map(_size, to_do))
        return to_do

    async def _hand_on(self, topic: str, records: Sequence[Record], generation: int) -> None:
        if not records:
            return
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
            self.reading.health.progress()
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
            if not await self._commits():
                return False
            if self._thread.holding:
                self._thread.news.set()
            return True

    async def _commit_positions(self, positions: Mapping[Partition, int]) -> bool:
        return bool(await self._commit(positions))

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
            self.reading.health.started = True

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await self._let_go()
        if not (self._closing or self.app.should_stop):
            await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        found = await take_over(self.reading.handover, assigned)
        if self._closing or self.app.should_stop:
            return
        self.marks.assign(assigned, found)
        await super().on_partitions_assigned(assigned, generation_id)

    async def finish(self) -> None:
        """Reads no more, waits for what runs, commits. The group may be left then."""
        self._closing = True
        await self._let_go()
        # Faust takes a fetcher that is stopped in the middle of a rebalance for a crashed one.
        self.app.rebalancing = False

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
        late = await self.in_flight.drain(self.reading.drain)
        repeated = self.marks.unfinished
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.commit(), self.reading.commit)
        if self.marks.partitions:
            log.info("stream.let_go", extra={"cancelled": late, "unfinished": repeated})
        gone = self.marks.partitions
        self.marks.revoke(gone)
        await hand_over(self.reading.handover, self.marks.uncommitted(gone))
        self._commits.forget()
        self._bytes.clear()

    def _withdraw(self) -> None:
        for queued in self._queued.values():
            queued.withdraw()
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
        self._commits.tell(self.reading.health)
        missing = self._thread.missing_topics()
        self._tell(TOPICS, f"not there, make them with `router init`: {missing}" if missing else "")

    def _silence(self) -> str:
        silent = time.monotonic() - self._thread.answered_at
        return f"no broker answers since {silent:.0f} s" if silent > self.reading.silence else ""

    def _tell(self, dependency: str, trouble: str) -> None:
        if trouble:
            self.reading.health.down(dependency, trouble)
        else:
            self.reading.health.up(dependency)

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
        fetching has stopped. Raises Unavailable, outside of the group too."""
        if not self._joined:
            raise Unavailable("kafka_not_joined", "no assignment in the group of the stream")
        assigned = self.assignment()
        with ours(self.reading.kafka):
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


def _message(whole: Batch, first: Record, generation: int) -> ConsumerMessage:
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
        value=whole,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        tp=TP(first.topic, first.partition),
        generation_id=generation,
    )


class StreamTransport(driver.Transport):
    """`app.transport = StreamTransport(app, reading)`, before the app starts."""

    Consumer = StreamConsumer

    def __init__(self, app: Any, reading: Reading) -> None:
        super().__init__(app.conf.broker_consumer, app)
        self.reading = reading
