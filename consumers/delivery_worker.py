"""The delivery worker: takes deliveries as it has room, attempts them, reports each attempt.

resolve the destination → sink → send the Attempt → done. A delivery that finds no room, or whose
attempt takes long, moves into the schedule's keeping after a second, and its offset is done: no
offset waits for a slow destination.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from event_router.consumers.health import Health
from event_router.consumers.open_sinks import OpenSinks
from event_router.consumers.patience import persist
from event_router.consumers.ports import (
    MAX_DOOR,
    Claim,
    Claimed,
    Directory,
    Due,
    Held,
    Lease,
    Parked,
    Producer,
    Schedule,
    TenantView,
)
from event_router.consumers.room import Room
from event_router.consumers.waiting_line import Waiting, WaitingLine
from event_router.schemas.attempt import BODY_KEPT, Attempt, AttemptHead, Outcome
from event_router.schemas.delivery import Delivery, DeliveryHead, DestinationKey
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer, Rejected, Unavailable, Undecodable
from event_router.schemas.ids import new_id
from event_router.schemas.record import Record
from event_router.schemas.topics import Topics
from event_router.schemas.wire import attempt_message, dead_message, dead_of, read_delivery

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Seconds, and counts. After `drags_after` an attempt tells against its destination, after
    `slow_after` it moves into the schedule's keeping. `flush_pause` gathers attempts for one
    write: it delays retries and the log by that much, never a delivery. `max_age` is for what
    waits for a disabled destination; elsewhere what follows an attempt decides."""

    slots: int = 500
    drags_after: float = 0.5
    slow_after: float = 1.0
    lease: float = 15.0
    keep_every: float = 0.25
    poll_every: float = 0.25
    flush_pause: float = 0.03
    flush_at: int = 200
    unreported: int = 5_000
    claim_bytes: int = 4 << 20
    seen_per_shard: int = 8
    max_age: float = math.inf
    aged_at_once: int = 50


@dataclass(slots=True)
class DeliveryCounts:
    """What this process has attempted since it started. `schedule_full` deliveries had no room in
    the schedule, and wait in the log."""

    delivered: int = 0
    failed: int = 0
    rejected: int = 0
    held: int = 0
    claimed: int = 0
    schedule_full: int = 0
    undecodable: int = 0


@dataclass(slots=True, eq=False)
class Job:
    """One attempt, until it is `reported`: acknowledged by Kafka. `record` until its offset is
    done; `lease` when the schedule keeps it. `began` is monotonic, `started` in ms."""

    delivery: Delivery
    record: Record | None
    lease: Lease | None
    started: int
    began: float
    renewed: float
    slow: bool = False
    reported: bool = False
    task: asyncio.Task[None] | None = None
    attempt: Attempt | None = None


@dataclass(slots=True)
class DeliveryWorker:
    """`done` marks records of `deliveries` as finished. `clock` gives ms since the epoch."""

    topics: Topics
    directory: Directory
    schedule: Schedule
    producer: Producer
    sinks: OpenSinks
    done: Callable[[Sequence[Record]], None]
    health: Health
    clock: Callable[[], int]
    limits: WorkerLimits = WorkerLimits()
    counts: DeliveryCounts = field(default_factory=DeliveryCounts)
    room: Room = field(init=False)
    running: set[Job] = field(default_factory=set)
    finished: list[Job] = field(default_factory=list)
    line: WaitingLine = field(default_factory=WaitingLine)
    shards: frozenset[int] = frozenset()
    parking: bool = False
    _group: asyncio.TaskGroup | None = None
    _learned: set[DestinationKey] = field(default_factory=set)
    _report: asyncio.Event = field(default_factory=asyncio.Event)
    _reported: asyncio.Event = field(default_factory=asyncio.Event)
    _freed: asyncio.Event = field(default_factory=asyncio.Event)
    _room_freed: asyncio.Event = field(default_factory=asyncio.Event)
    _flushing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.room = Room(self.limits.slots)

    # -- life -----------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event, drain: float) -> None:
        """Works until `stop` is set, then for at most `drain` seconds finishes what runs.

        On return every attempt was reported, or is parked and its offset done.
        """
        async with asyncio.TaskGroup() as group:
            self._group = group
            loops = [
                group.create_task(self._report_finished(), name="report attempts"),
                group.create_task(self._keep_slow(), name="keep slow attempts"),
                group.create_task(self._pull_due(), name="pull due deliveries"),
                group.create_task(self._serve_line(), name="serve the waiting line"),
            ]
            await stop.wait()
            for starts in loops[2:]:
                starts.cancel()
            await self._park(self.line.since_before(math.inf))
            await self._settle_running(self.running, drain, cancel=True)
            for loop in loops:
                loop.cancel()
        await self._flush()
        await self.sinks.aclose()

    def assigned(self, partitions: Collection[int]) -> None:
        """These are the partitions of `deliveries` that this worker has now."""
        self._learned.clear()
        self.shards = frozenset(
            shard
            for shard in range(self.topics.shards)
            if shard % self.topics.partitions in partitions
        )

    def park_everything(self) -> None:
        """From now on nothing new is attempted: what is read goes into the schedule."""
        self.parking = True

    async def release(self, partitions: Collection[int], drain: float) -> None:
        """Partitions go: on return each of their offsets is done. What still runs goes on, in the
        schedule's keeping."""
        await self._park(self.line.of_partitions(partitions))
        theirs = {job for job in self.running if job.record and job.record.partition in partitions}
        await self._settle_running(theirs, drain, cancel=False)
        await self._flush()

    async def _settle_running(self, jobs: Iterable[Job], drain: float, *, cancel: bool) -> None:
        tasks = {job.task: job for job in jobs if job.task}
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=drain)
        left = [tasks[task] for task in late]
        if cancel:
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        await self._hold(left, 0.0 if cancel else self.limits.lease)

    # -- intake ---------------------------------------------------------------------------------

    async def take(self, records: Sequence[Record]) -> None:
        """Each record is being attempted on return, or is held or dead and its offset done."""
        while len(self.finished) > self.limits.unreported:
            self._reported.clear()
            await self._reported.wait()
        deliveries = await self._decode(records)
        views = await self._views({one.head.tenant for _, one in deliveries})
        await self._learn({one.head.key for _, one in deliveries})
        no_room: list[Waiting] = []
        now, since = self.clock(), time.monotonic()
        for record, delivery in deliveries:
            key = delivery.head.key
            destination = views[key.tenant].destinations.get(key.destination)
            waiting = Waiting(record, delivery, since)
            if key not in self.line and self._may_start(key, destination, now):
                self._start(delivery, destination, record, None)
            elif not (self._may_wait(key, destination, now) and self.line.add(waiting)):
                no_room.append(waiting)
        await self._park(no_room)

    async def _decode(self, records: Sequence[Record]) -> list[tuple[Record, Delivery]]:
        deliveries = []
        for record in records:
            try:
                deliveries.append((record, read_delivery(record)))
            except Undecodable as problem:
                self.counts.undecodable += 1
                dead = dead_of(record, problem.reason, problem.detail, self.clock())
                await self.producer.send([dead_message(dead, self.topics)])
                self.done([record])
        return deliveries

    async def _views(self, tenants: Collection[str]) -> Mapping[str, TenantView]:
        return await persist("database", lambda: self.directory.views(tenants), self.health)

    async def _learn(self, keys: set[DestinationKey]) -> None:
        """Reads once what the schedule knows of each destination's failures. Without Redis the
        worker finds out by itself."""
        unknown = keys - self._learned
        if not unknown:
            return
        try:
            known = await self.schedule.backoff(unknown)
        except Unavailable as trouble:
            self.health.down("redis", str(trouble))
            return
        self.room.backoffs.update(known)
        self._learned |= unknown

    def _may_start(self, key: DestinationKey, destination: Destination | None, now: int) -> bool:
        if destination is None:
            return True
        if self.parking or destination.disabled_at is not None:
            return False
        return self.room.free(key, now) > 0

    def _may_wait(self, key: DestinationKey, destination: Destination | None, now: int) -> bool:
        """Whether there will be room in a moment."""
        if self.parking or destination is None or destination.disabled_at is not None:
            return False
        return not self.room.is_shut(key, now)

    async def _park(self, waiting: Sequence[Waiting]) -> None:
        """Into the schedule; then the offsets are done. What is refused for want of room is owed
        all the same: the log knows, and the router's sweep parks it when there is room."""
        if not waiting:
            return
        entries = [Parked(one.delivery, 0) for one in waiting]
        results = await persist("redis", lambda: self.schedule.park(entries), self.health)
        refused = results.count("refused")
        self.counts.held += len(waiting) - refused
        self.counts.schedule_full += refused
        if refused:
            log.warning("schedule.full", extra={"deliveries": refused})
        self.done([one.record for one in waiting])

    # -- attempts -------------------------------------------------------------------------------

    def _start(
        self,
        delivery: Delivery,
        destination: Destination | None,
        record: Record | None,
        lease: Lease | None,
    ) -> None:
        began = time.monotonic()
        job = Job(delivery, record, lease, self.clock(), began, began)
        self.room.take(delivery.head.key)
        self.running.add(job)
        assert self._group is not None, "take() is called while run() runs"  # noqa: S101
        job.task = self._group.create_task(
            self._attempt(job, destination), name=f"attempt {delivery.head.destination}"
        )

    def _refusal(self, head: DeliveryHead, destination: Destination | None) -> str:
        """Why nothing is to be sent, '' when something is."""
        if destination is None:
            return "destination_deleted"
        return "too_old" if destination.disabled_at is not None and self._is_too_old(head) else ""

    def _is_too_old(self, head: DeliveryHead) -> bool:
        return self.clock() - head.began > self.limits.max_age * 1000

    async def _attempt(self, job: Job, destination: Destination | None) -> None:
        head = job.delivery.head
        retry_after: float | None = None
        outcome: Outcome = "rejected"
        try:
            refusal = self._refusal(head, destination)
            if destination is None or refusal:
                answer = Answer(refusal)
            else:
                async with self.sinks.lend(destination) as sink:
                    answer = await sink.deliver(job.delivery)
                outcome = "delivered"
        except Rejected as refusal:
            answer = refusal.answer
        except Unavailable as trouble:
            outcome, answer, retry_after = "failed", trouble.answer, trouble.retry_after
        except Exception:
            # A mistake in a sink, maybe a user's own: this delivery fails, the others go on.
            log.exception("sink.broken", extra={"destination": head.destination})
            outcome, answer = "failed", Answer("sink_error")
        finally:
            self.running.discard(job)
            self.room.give(head.key, slow=job.slow)
        kind = destination.type if destination else ""
        self._finish(job, _attempt_head(job, kind, outcome, answer, retry_after))

    def _finish(self, job: Job, head: AttemptHead) -> None:
        key = head.delivery.key
        job.attempt = Attempt(head, b"" if head.outcome == "delivered" else job.delivery.data)
        self.finished.append(job)
        self._report.set()
        self._freed.set()
        if len(self.line):
            self._room_freed.set()
        if head.outcome == "delivered":
            self.counts.delivered += 1
            self.room.succeeded(key, self.clock())
        elif head.outcome == "failed":
            self.counts.failed += 1
            self.room.failed(key, self.clock(), head.retry_after)
        else:
            self.counts.rejected += 1
        log.debug("delivery.attempted", extra=_shown(head))

    # -- reporting ------------------------------------------------------------------------------

    async def _report_finished(self) -> None:
        while True:
            await self._report.wait()
            if len(self.finished) < self.limits.flush_at:
                await asyncio.sleep(self.limits.flush_pause)
            await asyncio.shield(self._flush())

    async def _flush(self) -> None:
        """Every finished attempt is acknowledged by Kafka, and only then its offset is done and
        its entry leaves the schedule: a crash in between costs one more attempt, never the
        attempt's consequence."""
        async with self._flushing:
            self._report.clear()
            jobs, self.finished = self.finished, []
            if not jobs:
                return
            messages = [attempt_message(job.attempt, self.topics) for job in jobs if job.attempt]
            await self.producer.send(messages)
            self._mark_done(jobs)
            for job in jobs:
                job.reported = True
            self.health.progress()
            self._reported.set()
            await self._finish_leases(jobs)

    def _mark_done(self, jobs: Sequence[Job]) -> None:
        self.done([job.record for job in jobs if job.record])
        for job in jobs:
            job.record = None

    async def _finish_leases(self, jobs: Sequence[Job]) -> None:
        leases = [job.lease for job in jobs if job.lease]
        if leases:
            await persist("redis", lambda: self.schedule.finish(leases), self.health)

    # -- what takes long ------------------------------------------------------------------------

    async def _keep_slow(self) -> None:
        while True:
            await asyncio.sleep(self.limits.keep_every)
            now = time.monotonic()
            self._mark_slow(now)
            await self._park(self.line.since_before(now - self._patience))
            await self._hold([job for job in self.running if self._wants_keeping(job, now)])
            await self.sinks.close_idle()

    @property
    def _patience(self) -> float:
        """Seconds that a delivery may wait in line."""
        return -math.inf if self.parking else self.limits.slow_after

    def _mark_slow(self, now: float) -> None:
        for job in self.running:
            if not job.slow and now - job.began >= self.limits.drags_after:
                job.slow = True
                self.room.mark_slow(job.delivery.head.key)

    def _wants_keeping(self, job: Job, now: float) -> bool:
        if job.record is not None or job.lease is None:
            return job.record is not None and now - job.began >= self.limits.slow_after
        return now - job.renewed >= self.limits.lease / 3

    async def _hold(self, jobs: Sequence[Job], seconds: float | None = None) -> None:
        """Into the schedule under a lease, or renewed there; then the offset is done."""
        if not jobs:
            return
        for_seconds = self.limits.lease if seconds is None else seconds
        held = [Held(job.delivery, job.lease) for job in jobs]
        leases = await persist("redis", lambda: self.schedule.hold(held, for_seconds), self.health)
        for job, lease in zip(jobs, leases, strict=True):
            job.lease = lease
            job.renewed = time.monotonic()
        self._mark_done(jobs)
        # These were reported while the lease was on its way: nobody else would end it.
        await self._finish_leases([job for job in jobs if job.reported])

    # -- what waits a moment --------------------------------------------------------------------

    async def _serve_line(self) -> None:
        while True:
            await self._room_freed.wait()
            self._room_freed.clear()
            startable = [key for key in self.line if self.room.free(key, self.clock())]
            if startable:
                views = await self._views({key.tenant for key in startable})
                for key in startable:
                    self._start_waiting(key, views)

    def _start_waiting(self, key: DestinationKey, views: Mapping[str, TenantView]) -> None:
        destination = views[key.tenant].destinations.get(key.destination)
        if key not in self.line or not self._may_start(key, destination, self.clock()):
            return
        count = self.room.free(key, self.clock())
        for waiting in self.line.take(key, count):
            self._start(waiting.delivery, destination, waiting.record, None)

    # -- what is due ----------------------------------------------------------------------------

    async def _pull_due(self) -> None:
        while True:
            pulled = await self._pull() if self.shards and not self.parking else 0
            if not pulled:
                self._freed.clear()
                await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        try:
            async with asyncio.timeout(self.limits.poll_every):
                await self._freed.wait()
                await asyncio.sleep(self.limits.poll_every / 10)
        except TimeoutError:
            return

    async def _pull(self) -> int:
        """Starts what is due and has room; how many that were."""
        limits = self._limits()
        look = await persist("redis", lambda: self.schedule.due(self.shards, limits), self.health)
        due = [one for one in look.due if one.at <= look.now]
        if not due:
            return 0
        views = await self._views({one.destination.tenant for one in due})
        await self._learn({one.destination for one in due})
        claims = [claim for one in due if (claim := await self._claim_for(one, views, len(due)))]
        if not claims:
            return 0
        claimed = await persist(
            "redis", lambda: self.schedule.claim(claims, self.limits.lease), self.health
        )
        self.counts.claimed += len(claimed)
        await self._hand_back([one for one in claimed if not self._start_claimed(one, views)])
        return len(claimed)

    def _limits(self) -> dict[int, int]:
        """How many destinations to look at in each shard: a full one must not hide the rest."""
        limits = dict.fromkeys(self.shards, self.limits.seen_per_shard)
        now = self.clock()
        for key in self.room.running:
            shard = self.topics.shard_of(*key)
            if shard in limits and not self.room.free(key, now):
                limits[shard] += 1
        return limits

    async def _claim_for(
        self, due: Due, views: Mapping[str, TenantView], waiting: int
    ) -> Claim | None:
        """A fair share for one of `waiting` destinations, and of a disabled one some, to see how
        old they are; the door is shut on those that can't be served, so that they don't come up
        again at every look."""
        key = due.destination
        destination = views[key.tenant].destinations.get(key.destination)
        now = self.clock()
        if destination is not None and destination.disabled_at is not None:
            return Claim(key, self.limits.aged_at_once, self.limits.claim_bytes)
        free = self.room.free(key, now)
        backoff = self.room.backoffs.get(key)
        if backoff is not None and backoff.open_until > now:
            await self._shut(key, (backoff.open_until - now) / 1000)
            return None
        share = max((self.limits.slots - self.room.taken) // waiting, 1)
        count = min(free, share)
        return Claim(key, count, self.limits.claim_bytes) if count else None

    async def _shut(self, key: DestinationKey, seconds: float) -> None:
        await persist("redis", lambda: self.schedule.door(key, seconds), self.health)

    def _start_claimed(self, claimed: Claimed, views: Mapping[str, TenantView]) -> bool:
        """False when it has to wait on, because its destination is disabled."""
        head = claimed.delivery.head
        destination = views[head.tenant].destinations.get(head.destination)
        if destination and destination.disabled_at is not None and not self._is_too_old(head):
            return False
        self._start(claimed.delivery, destination, None, claimed.lease)
        return True

    async def _hand_back(self, claimed: Sequence[Claimed]) -> None:
        """They go behind the others of their destination, whose door is shut for a while."""
        if not claimed:
            return
        held = [Held(one.delivery, one.lease) for one in claimed]
        await persist("redis", lambda: self.schedule.hold(held, 0.0), self.health)
        for key in {one.delivery.head.key for one in claimed}:
            await self._shut(key, MAX_DOOR)


def _attempt_head(
    job: Job, kind: str, outcome: Outcome, answer: Answer, retry_after: float | None
) -> AttemptHead:
    return AttemptHead(
        id=new_id(),
        delivery=job.delivery.head,
        destination_type=kind,
        outcome=outcome,
        code=answer.code,
        started=job.started,
        latency=round((time.monotonic() - job.began) * 1000, 3),
        status=answer.status,
        body=answer.body[:BODY_KEPT].decode(errors="replace"),
        retry_after=None if retry_after is None else round(retry_after * 1000),
    )


def _shown(head: AttemptHead) -> dict[str, object]:
    delivery: DeliveryHead = head.delivery
    return {
        "tenant": delivery.tenant,
        "event_id": delivery.event,
        "destination": delivery.destination,
        "attempt": delivery.attempt,
        "round": delivery.round,
        "outcome": head.outcome,
        "code": head.code,
        "latency_ms": head.latency,
    }
