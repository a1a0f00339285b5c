"""The delivery worker: takes deliveries as it has room, attempts them, reports each attempt.

resolve the destination → sink → send the Attempt → done. A delivery that finds no room, or whose
attempt takes long, moves into the schedule's keeping after a second, and its offset is done: no
offset waits for a slow destination.

What is done to one delivery stands in `consumers/deliver/`; here is how it comes in and how the
worker lives.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import InitVar, dataclass, field
from functools import partial

from event_router.consumers.burial import bury
from event_router.consumers.deliver.admission import Admission
from event_router.consumers.deliver.attempts import Attempts, Job
from event_router.consumers.deliver.due import DuePull
from event_router.consumers.deliver.keeping import Keeping
from event_router.consumers.deliver.limits import DeliveryCounts, WorkerLimits
from event_router.consumers.deliver.parking import Parking
from event_router.consumers.deliver.reports import Reports
from event_router.consumers.deliver.turns import Turns
from event_router.consumers.deliver.waiting_line import Waiting, WaitingLine
from event_router.consumers.health import Health
from event_router.consumers.open_sinks import OpenSinks
from event_router.consumers.ports import Directory, EntryKey, Producer, Schedule, entry_key
from event_router.consumers.rates import Rates
from event_router.consumers.room import Room
from event_router.schemas.delivery import Delivery
from event_router.schemas.errors import Undecodable, UnknownVersion
from event_router.schemas.record import Record
from event_router.schemas.topics import Topics
from event_router.schemas.wire import dead_of, read_delivery

__all__ = ["DeliveryWorker", "WorkerLimits"]


@dataclass(slots=True)
class DeliveryWorker:
    """`done` marks records of `deliveries` as finished; `holds` says whether one isn't, and its
    partition hasn't gone since it was read. `clock` gives ms since the epoch,
    `monotonic` seconds. `is_member` says whether the group can't have given us up without our
    knowing it: only then are destinations with a limit attempted.

    What came here since its own partition had no leader, and that one is another worker's, goes
    to that one through the schedule."""

    topics: Topics
    directory: InitVar[Directory]
    schedule: InitVar[Schedule]
    producer: Producer
    sinks: OpenSinks
    done: Callable[[Sequence[Record]], None]
    health: InitVar[Health]
    clock: Callable[[], int]
    monotonic: Callable[[], float] = time.monotonic
    holds: Callable[[Record], bool] = lambda _: True
    is_member: InitVar[Callable[[], bool]] = lambda: True
    limits: WorkerLimits = field(default_factory=WorkerLimits)
    counts: DeliveryCounts = field(default_factory=DeliveryCounts)
    room: Room = field(init=False)
    line: WaitingLine = field(default_factory=WaitingLine)
    admission: Admission = field(init=False)
    attempts: Attempts = field(init=False)
    keeping: Keeping = field(init=False)
    parking: Parking = field(init=False)
    reports: Reports = field(init=False)
    turns: Turns = field(init=False)
    due: DuePull = field(init=False)
    _in_hand: dict[tuple[EntryKey, int], Job] = field(default_factory=dict)
    _partitions: frozenset[int] = frozenset()
    _leaving: frozenset[int] = frozenset()

    def __post_init__(
        self,
        directory: Directory,
        schedule: Schedule,
        health: Health,
        is_member: Callable[[], bool],
    ) -> None:
        topics, limits, counts, clock = self.topics, self.limits, self.counts, self.clock
        self.room = room = Room(limits.slots, rates=Rates(is_member))
        self.admission = admission = Admission(directory, schedule, room, health)
        self.attempts = attempts = Attempts(
            self.sinks, room, counts, clock, self.monotonic, limits.max_age, self._ended
        )
        self.keeping = Keeping(
            schedule,
            self.done,
            self.holds,
            health,
            counts,
            self.monotonic,
            limits.slow_after,
            limits.lease,
        )
        self.parking = Parking(self.keeping, limits.parking)
        self.reports = Reports(topics, self.producer, self.keeping, health, limits)
        self.turns = Turns(self.line, room, admission, attempts, self.reports.few, clock)
        self.due = DuePull(
            topics,
            schedule,
            room,
            self.line,
            admission,
            attempts,
            self.keeping,
            self.reports.few,
            health,
            clock,
            self.monotonic,
            limits,
            counts,
        )

    @property
    def running(self) -> Collection[Job]:
        return self.attempts.running

    # -- life -----------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event, drain: float) -> None:
        """Works until `stop` is set, then for at most `drain` seconds finishes what runs, and for
        as long at most reports it.

        On return every attempt was reported, or is parked and its offset done; but for what Kafka
        or Redis doesn't take by then, which will be read or attempted again.
        """
        async with asyncio.TaskGroup() as group:
            self.attempts.group = group
            starts = [
                group.create_task(self.due.run(), name="pull due deliveries"),
                group.create_task(self.turns.run(), name="serve the waiting line"),
            ]
            others = [
                group.create_task(self.parking.run(), name="park what has no room"),
                group.create_task(self.reports.run(), name="report attempts"),
                group.create_task(self.keeping.run(), name="end leases"),
                group.create_task(self._watch(), name="watch what takes long"),
                group.create_task(self._keep(), name="keep slow attempts"),
                group.create_task(self._close_unused(), name="close unused sinks"),
            ]
            await stop.wait()
            for loop in starts:
                loop.cancel()
            self.parking.add(self.line.since_before(math.inf))
            late, parked = await asyncio.gather(
                self.attempts.wait(self.running, drain), _in_time(drain, self.parking.flush)
            )
            await self.attempts.cancel(late)
            if parked:
                cut_short = [job for job in late if job.attempt is None]
                await _in_time(drain, partial(self.keeping.hold, cut_short, 0.0))
            for loop in others:
                loop.cancel()
        await _in_time(drain, self._report)
        await self.sinks.aclose()

    def assigned(self, partitions: Collection[int]) -> None:
        """These are the partitions of `deliveries` that this worker has now."""
        self.admission.forget()
        in_hand = [*self.running, *self.reports.unreported]
        self._in_hand = {_attempt_of(job.delivery): job for job in in_hand}
        if partitions:
            self.room.rates.begin(self.clock())
        else:
            self.room.rates.stop()
        self._partitions = frozenset(partitions)
        self._leaving = frozenset()
        self.due.shards = frozenset(
            shard
            for shard in range(self.topics.shards)
            if shard % self.topics.partitions in partitions
        )

    def park_everything(self) -> None:
        """From now on nothing new is attempted: what is read goes into the schedule."""
        self.admission.parking = True

    async def release(self, partitions: Collection[int], drain: float) -> None:
        """Partitions go: on return each of their offsets is done. What still runs after as long as
        it may keep its offset goes on in the schedule's keeping: the whole group waits for this."""
        self.room.rates.stop()
        self._leaving |= frozenset(partitions)
        self.parking.add(self.line.of_partitions(partitions))
        await self.parking.flush()
        theirs = {job for job in self.running if job.record and job.record.partition in partitions}
        patience = min(drain, self.limits.slow_after)
        await self.keeping.hold(await self.attempts.wait(theirs, patience))
        await self.reports.flush()

    async def _report(self) -> None:
        await self.reports.flush()
        await self.keeping.forget()

    async def _watch(self) -> None:
        """What runs for long tells against its destination, and what has waited for long is parked;
        whether Redis answers or not."""
        while True:
            await asyncio.sleep(self.limits.keep_every)
            self.attempts.mark_slow(round(self.limits.drags_after / self.limits.keep_every))
            self.parking.add(self.line.since_before(self.monotonic() - self._patience))

    async def _keep(self) -> None:
        """What has run for long goes into the schedule's keeping, and stays there until it was
        reported, however long Kafka takes."""
        while True:
            await asyncio.sleep(self.limits.keep_every)
            now = self.monotonic()
            kept = [*self.running, *(job for job in self.reports.unreported if job.lease)]
            await self.keeping.hold([job for job in kept if self.keeping.wants(job, now)])

    async def _close_unused(self) -> None:
        while True:
            await asyncio.sleep(self.limits.keep_every)
            await self.sinks.close_idle()

    @property
    def _patience(self) -> float:
        """Seconds that a delivery may wait in line."""
        return -math.inf if self.admission.parking else self.limits.slow_after

    def _ended(self, job: Job) -> None:
        self.reports.add(job)
        self.due.freed()
        self.turns.freed()

    # -- intake ---------------------------------------------------------------------------------

    async def take(self, records: Sequence[Record]) -> None:
        """Each record is being attempted on return, waits in line, is on its way into the schedule,
        or is dead and its offset done; or its partition has gone meanwhile, and it is somebody
        else's. Raises UnknownVersion before anything is done."""
        await self.reports.few()
        await self.parking.few()
        read = await self._decode(records)
        admission = self.admission
        keys = {one.head.key for _, one in read}
        views = await admission.views({key.tenant for key in keys})
        await admission.learn(keys)
        # From here on nothing is awaited: what is ours now is so until it is in hand.
        deliveries = self._not_in_hand([one for one in read if self._is_ours(one[0])])
        strange = {key for key in keys if self.topics.partition_of(*key) not in self._partitions}
        no_room: list[Waiting] = []
        now, since = self.clock(), self.monotonic()
        self.room.hurry = self._is_late(records, now) and any(key not in self.line for key in keys)
        for record, delivery in deliveries:
            key = delivery.head.key
            destination = views[key.tenant].destinations.get(key.destination)
            waiting = Waiting(delivery, since, record)
            if key in strange:
                no_room.append(waiting)
            elif key not in self.line and admission.may_start(key, destination, now):
                self.attempts.start(delivery, destination, record=record)
            elif not (admission.may_wait(key, destination, now) and self.line.add(waiting)):
                no_room.append(waiting)
                self.room.rates.fall_behind(key)
        self.parking.add(no_room)

    def _is_ours(self, record: Record) -> bool:
        return record.partition not in self._leaving and self.holds(record)

    def _is_late(self, records: Sequence[Record], now: int) -> bool:
        """Whether there is more to read than there should be."""
        limits = self.limits
        return len(records) >= limits.long_list and now - records[-1].timestamp > limits.late * 1000

    def _not_in_hand(self, read: list[tuple[Record, Delivery]]) -> list[tuple[Record, Delivery]]:
        """Without what is read again because its partition went and came back while the attempt
        ran, or its report waited for Kafka: that attempt has the record from now on."""
        if not self._in_hand:
            return read
        others = []
        for record, delivery in read:
            job = self._in_hand.pop(_attempt_of(delivery), None)
            if job is None:
                others.append((record, delivery))
            elif job.reported:
                self.done([record])
            else:
                job.record = record
        return others

    async def _decode(self, records: Sequence[Record]) -> list[tuple[Record, Delivery]]:
        deliveries, undecodable = [], []
        for record in records:
            try:
                deliveries.append((record, read_delivery(record)))
            except UnknownVersion:
                raise
            except Undecodable as problem:
                undecodable.append((record, problem))
        for record, found in undecodable:
            await self._bury(record, found)
        return deliveries

    async def _bury(self, record: Record, problem: Undecodable) -> None:
        self.counts.undecodable += 1
        dead = dead_of(record, problem.reason, problem.detail, self.clock())
        await bury([dead], self.producer, self.topics)
        self.done([record])


async def _in_time(seconds: float, work: Callable[[], Awaitable[None]]) -> bool:
    """False when it took longer, and was given up."""
    try:
        async with asyncio.timeout(seconds):
            await work()
    except TimeoutError:
        return False
    return True


def _attempt_of(delivery: Delivery) -> tuple[EntryKey, int]:
    return entry_key(delivery.head), delivery.head.attempt
