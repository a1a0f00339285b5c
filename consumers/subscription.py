"""Reading topics as a member of a group, with commits that follow what is finished.

The delivery worker, the log and `subscribe()` run on this.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from event_router.consumers.commits import Commits
from event_router.consumers.gap import Gap, log_gap
from event_router.consumers.handover import Handover, hand_over, take_over
from event_router.consumers.health import Health
from event_router.consumers.interrupt import Interrupt
from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.reader import Reader
from event_router.consumers.kafka.trouble import OutOfRange
from event_router.consumers.pace import Pace
from event_router.consumers.patience import FIRST_PAUSE, persist
from event_router.consumers.watermark import Partition, Watermarks
from event_router.schemas.errors import Unavailable
from event_router.schemas.record import Record

log = logging.getLogger(__name__)

POLL = 0.5  # seconds a poll waits for records
PROBE = 3.0  # seconds between looks whether Kafka is there
COMMIT_PATIENCE = 5.0  # seconds for a commit


@dataclass(frozen=True, slots=True)
class Reading:
    """How much is read at once. Times are in seconds.

    `window` is the span of unfinished offsets at which a partition is paused: what a crash
    repeats at most. `pace` is the longest pause before a fetch, taken at steady rates (pace.py).
    `drain` is for what runs when partitions are taken away or reading stops.
    """

    window: int = 10_000
    max_records: int = 2_000
    pace: float = 0.004
    commit_every: float = 0.5
    drain: float = 5.0


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What a subscriber is told. All are awaited; one that raises ends the subscription.

    `assigned`: before the first record of these partitions is handed out.
    `drain`: these partitions are about to go, and nothing more of them is handed out: finish
    within the seconds given, and call `done`. Without it, everything handed out is waited for.
    `revoked`: they are gone, what is done is committed, and `done` for the rest changes nothing.
    `gap`: records went missing before they were read; reading goes on from the earliest once this
    has returned.
    """

    assigned: Callable[[frozenset[Partition]], Awaitable[None]] | None = None
    drain: Callable[[frozenset[Partition], float], Awaitable[None]] | None = None
    revoked: Callable[[frozenset[Partition]], Awaitable[None]] | None = None
    gap: Callable[[Gap], Awaitable[None]] | None = None


@dataclass(slots=True)
class _State:
    """`epoch` counts assignments; `open` is set while there is one; `holding` says that fetched
    records wait for their assignment to be known."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    epoch: int = 0
    holding: bool = False
    failure: BaseException | None = None


class Subscription:
    """A member of `group`, an async context manager and an iterator over lists of records.

        async with Subscription(["events"], "billing", kafka="localhost:9092") as subscription:
            async for records in subscription:
                ...
                subscription.done(records)

    Each list is what one poll brought, of all partitions; within a partition in order. Records
    may be done in any order and from any task. What is committed is, per partition, everything
    below the first record that isn't done, about every half second, when partitions are taken
    away, and at the end. A record that is read again is another object, and only the object that
    was handed out counts. One task iterates. Trouble with Kafka is waited out and told `health`,
    which is started once the group has said which partitions are ours, be it none. What is done and
    can't be committed when partitions go is left with `handover`, if there is one.
    """

    def __init__(
        self,
        topics: Collection[str],
        group: str,
        *,
        kafka: KafkaConfig | str,
        reading: Reading | None = None,
        callbacks: Callbacks | None = None,
        health: Health | None = None,
        handover: Handover | None = None,
    ) -> None:
        self.reading = reading or Reading()
        self._callbacks = callbacks or Callbacks()
        self._health = health or Health()
        self._config = KafkaConfig(bootstrap=kafka) if isinstance(kafka, str) else kafka
        self._topics = topics
        self._group = group
        self._handover = handover
        self._reader: Reader
        self._marks = Watermarks[Record]()
        self._commits = Commits(self._marks, self._commit_positions)
        self._state = _State()
        self._paused: set[Partition] = set()
        self._wide: set[Partition] = set()
        self._rewind = False
        self._drained: asyncio.Event | None = None
        self._letting_go = asyncio.Lock()
        self._stopping = Interrupt()
        self._committer: asyncio.Task[None] | None = None

    def _new_reader(self) -> Reader:
        return Reader(
            self._config,
            self._topics,
            self._group,
            assigned=self._on_assigned,
            revoked=self._on_revoked,
            rebalance_timeout=self.reading.drain + COMMIT_PATIENCE + self._config.session_timeout,
            pace=Pace(self.reading.pace),
        )

    # What subscribers call

    async def __aenter__(self) -> Self:
        async with self._stopping:
            await persist("kafka consumer", self._start, self._health)
        self._committer = asyncio.create_task(self._keep_committing(), name=f"commit {self._group}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drains (not after an error), commits and leaves the group."""
        self.stop()
        try:
            if self._committer is not None:
                self._committer.cancel()
                await asyncio.wait([self._committer])
            await self._let_go(self._marks.partitions, drain=error is None)
            if error is None and self._state.failure is not None:
                raise self._state.failure
        finally:
            await self._reader.stop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Record]:
        while not self._stopping.fired:
            records = await self._next()
            if records:
                return records
        raise StopAsyncIteration

    def stop(self) -> None:
        """The iteration ends; what was handed out may still be done."""
        self._stopping.fire()

    def done(self, records: Sequence[Record]) -> None:
        """These are finished: their effects are durable, and they need not be read again."""
        if self._marks.done(records):
            self._health.progress()
        if self._wide:
            self._resume_narrow()
        if self._drained is not None and not self._marks.unfinished:
            self._drained.set()

    def holds(self, record: Record) -> bool:
        """Whether it isn't done, and its partition hasn't been taken away since it was read."""
        return self._marks.holds(record)

    @property
    def partitions(self) -> frozenset[Partition]:
        return self._marks.partitions

    @property
    def is_member(self) -> bool:
        """Whether the brokers can't have given the partitions to somebody else without our
        knowing: the last heartbeat was answered, not longer ago than the session's timeout."""
        return self._reader.is_member

    @property
    def unfinished(self) -> int:
        """Records handed out and not done."""
        return self._marks.unfinished

    @property
    def lag(self) -> int | None:
        """Offsets from what is finished to the ends that fetches have seen; None outside of the
        group, and until each partition was fetched from."""
        if not self._state.open.is_set():
            return None
        lag = 0
        for partition in self._marks.partitions:
            end, position = self._reader.end(partition), self._marks[partition].position
            if end is None or (end and position is None):
                return None
            lag += max(0, end - (position or 0))
        return lag

    async def ask_lag(self) -> int:
        """The same, to the ends that the brokers tell when they are asked now: it grows when
        fetching has stopped. Raises Unavailable, outside of the group too."""
        if not self._state.open.is_set():
            raise Unavailable("kafka_not_joined", f"no assignment in group {self._group!r}")
        finished = {one: self._marks[one].position or 0 for one in self._marks.partitions}
        ends = await self._reader.ends(finished)
        return sum(max(0, ends[partition] - at) for partition, at in finished.items())

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Nothing more of these is read until `resume`, or until they are assigned anew."""
        self._paused.update(partitions)
        self._reader.pause(self._paused)

    def resume(self, partitions: Iterable[Partition]) -> None:
        self._paused.difference_update(partitions)
        self._reader.resume(set(partitions) - self._wide)

    # Reading

    async def _start(self) -> None:
        self._reader = self._new_reader()
        try:
            await self._reader.start()
        except BaseException:
            await self._reader.stop()
            raise

    async def _next(self) -> list[Record]:
        records: list[Record] = []
        try:
            async with self._stopping:
                records = await self._read()
        except Unavailable as trouble:
            self._rewind = True
            self._health.down("kafka reading", str(trouble))
            await asyncio.sleep(FIRST_PAUSE if trouble.code == "kafka_rebalanced" else 1.0)
        else:
            self._health.up("kafka reading")
        return records

    async def _read(self) -> list[Record]:
        if self._rewind:
            await self._go_back()
        try:
            fetched = await self._reader.poll(POLL, self.reading.max_records)
        except OutOfRange as gone:
            await self._on_gap(gone)
            return []
        if fetched and not await self._still_assigned():
            return []
        records: list[Record] = []
        for partition, some in fetched.items():
            if self._marks.read(partition, some):
                log.warning("topic.recreated", extra={"topic": partition[0]})
            records += self._marks.to_do(partition, some)
        self._pause_wide()
        return records

    async def _still_assigned(self) -> bool:
        """What was fetched may come before its assignment is told; and then that may be gone."""
        if self._state.open.is_set():
            return True
        epoch = self._state.epoch
        self._state.holding = True
        try:
            await self._state.open.wait()
        except BaseException:
            self._rewind = True  # they are let fall, and must not count as passed
            raise
        finally:
            self._state.holding = False
        return epoch == self._state.epoch

    async def _go_back(self) -> None:
        """To the end of what was handed out: a poll that failed may have skipped some."""
        if self._state.open.is_set():
            await self._reader.rewind(
                {partition: self._marks[partition].end for partition in self._marks.partitions}
            )
        self._rewind = False

    async def _on_gap(self, gone: OutOfRange) -> None:
        begin, end = await self._reader.bounds(gone.partition)
        gap = Gap(gone.partition, gone.offset, begin, end)
        topic, number = gone.partition
        log_gap(gap)
        name = f"kafka offsets of {topic}/{number}"
        self._health.down(name, f"{gone}; there are {begin} up to {end}: retention, or recreated?")
        try:
            if self._callbacks.gap:
                await self._callbacks.gap(gap)
            await self._reader.rewind({gone.partition: begin})
        finally:
            self._health.up(name)

    def _pause_wide(self) -> None:
        wide = self._commits.held(self.reading.window) - self._wide
        if wide:
            self._wide |= wide
            self._reader.pause(wide)

    def _resume_narrow(self) -> None:
        narrow = self._wide - self._commits.held(self.reading.window)
        if narrow:
            self._wide -= narrow
            self._reader.resume(narrow - self._paused)

    # Partitions come and go

    async def _on_assigned(self, partitions: frozenset[Partition]) -> None:
        log.info("partitions.assigned", extra={"group": self._group, "count": len(partitions)})
        self._state.open.clear()  # it stays open through an assignment of none
        self._marks.assign(partitions, await take_over(self._handover, partitions))
        self._commits.forget()
        self._paused.clear()
        self._wide.clear()
        self._rewind = False
        try:
            if self._callbacks.assigned:
                await self._callbacks.assigned(partitions)
        except Exception as error:  # noqa: BLE001  aiokafka would swallow it
            self._fail(error)
        self._state.open.set()
        self._health.started = True

    async def _on_revoked(self, partitions: frozenset[Partition]) -> None:
        self._state.open.clear()
        self._state.epoch += 1
        try:
            await self._let_go(partitions, drain=True)
        except Exception as error:  # noqa: BLE001  aiokafka would swallow it
            self._fail(error)

    async def _let_go(self, partitions: frozenset[Partition], *, drain: bool) -> None:
        """Drain, commit, forget. What isn't done by then is read again by whoever comes next."""
        self._state.open.clear()
        async with self._letting_go:
            partitions &= self._marks.partitions
            if not partitions:
                return
            try:
                if drain:
                    await self._drain(partitions)
                await self._commit()
            finally:
                self._forget(partitions)
            await hand_over(self._handover, self._marks.uncommitted(partitions))
            if self._callbacks.revoked:
                await self._callbacks.revoked(partitions)

    def _forget(self, partitions: frozenset[Partition]) -> None:
        extra = {"group": self._group, "count": len(partitions)}
        log.info("partitions.released", extra={**extra, "unfinished": self._marks.unfinished})
        self._marks.revoke(partitions)

    async def _drain(self, partitions: frozenset[Partition]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.reading.drain):
                if self._callbacks.drain:
                    await self._callbacks.drain(partitions, self.reading.drain)
                elif self._marks.unfinished:
                    self._drained = asyncio.Event()
                    await self._drained.wait()

    def _fail(self, error: BaseException) -> None:
        self._state.failure = error
        self.stop()

    # Commits

    async def _keep_committing(self) -> None:
        probed = time.monotonic()
        try:
            while True:
                await asyncio.sleep(self.reading.commit_every)
                await self._pass_empty_offsets()
                await self._commit()
                self._commits.tell(self._health)
                if time.monotonic() - probed >= PROBE:
                    await self._probe()
                    probed = time.monotonic()
        except Exception as error:  # noqa: BLE001  the iteration raises it
            self._fail(error)

    async def _commit(self) -> None:
        if await self._commits():
            self._resume_narrow()

    async def _commit_positions(self, positions: Mapping[Partition, int]) -> bool:
        try:
            await self._reader.commit(positions, COMMIT_PATIENCE)
        except Unavailable as trouble:  # the next commit says the same and more
            log.info("commit.failed", extra={"group": self._group, "detail": str(trouble)})
            return False
        return True

    async def _pass_empty_offsets(self) -> None:
        """Offsets at the end that hold no records, as transactions leave, are no lag."""
        for partition in self._marks.partitions:
            mark, end = self._marks[partition], self._reader.end(partition)
            if end is None or mark.unfinished or (mark.position or 0) >= end:
                continue
            with suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(1.0):
                    position = await self._reader.position(partition)
                # Only when everything below the position was handed out.
                if self._state.open.is_set() and not (self._state.holding or self._rewind):
                    mark.skip_to(position)

    async def _probe(self) -> None:
        try:
            async with asyncio.timeout(PROBE):
                await self._reader.check()
        except TimeoutError:
            self._health.down("kafka consumer", f"no answer from {self._config.bootstrap}")
        except Unavailable as trouble:
            self._health.down("kafka consumer", str(trouble))
        else:
            self._health.up("kafka consumer")
