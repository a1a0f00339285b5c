"""What the worker leaves to the schedule: deliveries without room, and attempts that take long.

Whichever way one goes there, its offset is done afterwards: no offset waits for a destination.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from event_router.consumers.deliver.attempts import Job
from event_router.consumers.deliver.limits import DeliveryCounts
from event_router.consumers.deliver.waiting_line import Waiting
from event_router.consumers.health import Health
from event_router.consumers.patience import persist
from event_router.consumers.ports import Held, Lease, Parked, Schedule, due_since
from event_router.schemas.record import Record

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Keeping:
    """`done` marks records of `deliveries` as finished; `holds` says whether one is still ours. An
    attempt is kept after `slow_after` seconds, under a lease of `lease` seconds."""

    schedule: Schedule
    done: Callable[[Sequence[Record]], None]
    holds: Callable[[Record], bool]
    health: Health
    counts: DeliveryCounts
    monotonic: Callable[[], float]
    slow_after: float
    lease: float
    _over: list[Lease] = field(default_factory=list)
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)

    async def park(self, waiting: Sequence[Waiting]) -> None:
        """Into the schedule; then the offsets are done. What is refused for want of room is owed
        all the same: the log knows, and the router's sweep parks it when there is room. What was
        claimed is handed back."""
        await self.hand_back([Held(one.delivery, one.lease) for one in waiting if one.lease])
        await self._park([one for one in waiting if not one.lease])

    async def hand_back(self, claimed: Sequence[Held]) -> None:
        """They go behind the others of their destination, for whoever claims them next."""
        if claimed:
            await persist("redis", lambda: self.schedule.hold(claimed, 0.0), self.health)

    async def _park(self, waiting: Sequence[Waiting]) -> None:
        if not waiting:
            return
        results = await persist(
            "redis", lambda: self.schedule.park(self._entries(waiting)), self.health
        )
        refused = results.count("refused")
        self.counts.held += len(results) - refused
        self.counts.schedule_full += refused
        if refused:
            log.warning("schedule.full", extra={"deliveries": refused})
        self.done([one.record for one in waiting if one.record])

    def _entries(self, waiting: Sequence[Waiting]) -> list[Parked]:
        """Without what was taken away while Redis was: whoever reads it again has it in hand."""
        return [
            Parked(one.delivery, due_since(one.delivery.head))
            for one in waiting
            if one.record is None or self.holds(one.record)
        ]

    def wants(self, job: Job, now: float) -> bool:
        """Whether a job that runs is to be held now: for the first time, or again."""
        if job.record is not None or job.lease is None:
            return job.record is not None and now - job.began >= self.slow_after
        return now - job.renewed >= self.lease / 3

    async def hold(self, jobs: Sequence[Job], seconds: float | None = None) -> None:
        """Into the schedule under a lease (of `seconds`), or renewed there; then the offset is
        done."""
        if not jobs:
            return
        for_seconds = self.lease if seconds is None else seconds
        held = [Held(job.delivery, job.lease) for job in jobs]
        leases = await persist("redis", lambda: self.schedule.hold(held, for_seconds), self.health)
        for job, lease in zip(jobs, leases, strict=True):
            job.lease = lease
            job.renewed = self.monotonic()
        self.mark_done(jobs)
        # These were reported while the lease was on its way: nobody else would end it.
        self.end_leases([job for job in jobs if job.reported])

    def mark_done(self, jobs: Sequence[Job]) -> None:
        """The offsets of those that have one."""
        self.done([job.record for job in jobs if job.record])
        for job in jobs:
            job.record = None

    def end_leases(self, jobs: Sequence[Job]) -> None:
        """The schedule is to forget those that it keeps: they were reported. Nobody waits for
        that: without Redis attempts are reported all the same."""
        self._over += [job.lease for job in jobs if job.lease]
        if self._over:
            self._wanted.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._wanted.wait()
            await self.forget()

    async def forget(self) -> None:
        """On return the schedule has forgotten all whose leases were ended before. Cancelled, it
        leaves them to the next one."""
        self._wanted.clear()
        leases = list(self._over)
        if leases:
            await persist("redis", lambda: self.schedule.finish(leases), self.health)
            del self._over[: len(leases)]
