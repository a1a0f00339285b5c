"""Looks for jobs, and works on one at a time under its lease.

A job has to give way after a turn when others wait. Who works on a job renews its lease all the
time; when that can't be done, or somebody else has taken it, the work is dropped where it is.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from event_router.consumers.health import Health
from event_router.consumers.patience import persist
from event_router.router.batch.ingest import Counts, Ingest, Rejected
from event_router.router.batch.ports import Ports
from event_router.router.batch.uploads import Binding
from event_router.router.store.job_ports import (
    Ending,
    Held,
    Job,
    Jobs,
    Lease,
    Progress,
    Remarks,
)
from event_router.schemas.errors import EventRouterError, Unavailable
from event_router.schemas.ids import new_id

log = logging.getLogger(__name__)

DEPENDENCY = "database"
DAY = 86_400.0
_TIDY_EVERY = 600.0

Why = Literal["stopping", "cancelled", "turn"]


class LeaseLost(EventRouterError):
    """Somebody else has the job, or the time to say that it is ours ran out."""


@dataclass(slots=True)
class Worker:
    """`lease` is how long a job is ours after we last said so, `turn` how long a job may go on
    while others wait, `poll` how often work is looked for, `drain` what is on its way has until
    it is acknowledged when the job is to stop, `kept` how long ended jobs can be asked for; all
    in seconds."""

    jobs: Jobs
    ports: Ports
    health: Health
    lease: float = 15.0
    turn: float = 20.0
    poll: float = 0.5
    drain: float = 5.0
    kept: float = 30 * DAY
    counts: Counts = field(default_factory=Counts)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set: then the job at hand is drained, and left to others."""
        tidied = -_TIDY_EVERY
        while not stop.is_set():
            job, owner = None, new_id()
            if time.monotonic() - tidied >= _TIDY_EVERY:
                tidied = time.monotonic()
                await self._tidy()
            job = await self._claim(owner, stop)
            if job is not None:
                await self._work(job, owner, stop)
            else:
                await _set_within(stop, self.poll)

    async def _claim(self, owner: str, stop: asyncio.Event) -> Job | None:
        """None when there is no job, or the database is away: then it is tried again."""
        now = self.ports.clock()
        try:
            job = await self.jobs.claim(Lease(owner, self._until()), now)
        except Unavailable as trouble:
            self.health.down(DEPENDENCY, str(trouble))
            await _set_within(stop, self.lease / 10)
            return None
        self.health.up(DEPENDENCY)
        return job

    async def _work(self, job: Job, owner: str, stop: asyncio.Event) -> None:
        log.info("job.begun", extra={"job": job.uuid, "row": job.progress.done})
        held = _Holding(self, job.uuid, owner, stop)
        ingest = Ingest(self.ports, job, held.save, held.asked_to_stop, self.counts)
        working = asyncio.create_task(self._finish(job, ingest, held), name=f"job {job.uuid}")
        keeping = asyncio.create_task(held.keep(), name=f"lease of {job.uuid}")
        draining = asyncio.create_task(held.drain(self.drain), name=f"drain {job.uuid}")
        tasks = (working, keeping, draining)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, LeaseLost) and ended[0] is not None:
                log.warning("job.lost", extra={"job": job.uuid, "why": str(error)})
            elif isinstance(error, Exception) and not isinstance(error, LeaseLost):
                raise error
        if ended[2] == "cancelled":
            await self._revoke(job, ingest, held)

    async def _finish(self, job: Job, ingest: Ingest, held: "_Holding") -> None:
        try:
            done = await ingest.run()
        except Rejected as rejected:
            ending = Ending("FAILURE", self.ports.clock(), rejected.reason, str(rejected))
            await self._end(job, ingest, held, ending)
            return
        if done:
            await self._end(
                job,
                ingest,
                held,
                _ending_of(ingest.tally.progress, self._now(), dry_run=job.options.dry_run),
            )
        elif held.why == "cancelled":
            await self._revoke(job, ingest, held)
        else:
            await ingest.save()
            await held.release()

    async def _revoke(self, job: Job, ingest: Ingest, held: "_Holding") -> None:
        ending = Ending("REVOKED", self._now(), "cancelled", "the job was cancelled")
        await self._end(job, ingest, held, ending)

    async def _end(self, job: Job, ingest: Ingest, held: "_Holding", ending: Ending) -> None:
        progress, remarks, found = ingest.tally.take()
        if not job.options.dry_run:
            await ingest.record(found)
        await held.finish(ending, progress, remarks)
        self.counts.jobs += 1
        log.info(
            "job.ended",
            extra={
                "job": job.uuid,
                "status": ending.status,
                "reason": ending.reason,
                "accepted": progress.accepted,
                "duplicates": progress.duplicates,
                "refused": progress.refused,
            },
        )
        await asyncio.to_thread(self._remove, job)

    def _remove(self, job: Job) -> None:
        for file in job.files:
            self.ports.uploads.remove(Binding(job.org, job.tenant, job.topic), file)

    async def _tidy(self) -> None:
        """Uploads of more than a day ago that no job has asked for are gone, and old jobs."""
        try:
            in_use = await self.jobs.files_in_use()
            await self.jobs.forget(self._now() - round(self.kept * 1000))
        except Unavailable:
            return
        gone = await asyncio.to_thread(self.ports.uploads.forget, in_use, DAY)
        if gone:
            log.info("uploads.forgotten", extra={"files": gone})

    def _now(self) -> int:
        return self.ports.clock()

    def _until(self) -> int:
        return self.ports.clock() + round(self.lease * 1000)


class _Holding:
    """The lease of one job while this process has it."""

    def __init__(self, worker: Worker, uuid: str, owner: str, stop: asyncio.Event) -> None:
        self._worker = worker
        self._uuid = uuid
        self._owner = owner
        self._stop = stop
        self._began = time.monotonic()
        self._ours_until = self._began + worker.lease
        self.why: Why | None = None
        self._cancelled = asyncio.Event()

    async def drain(self, seconds: float) -> Why | None:
        """Why the job is to stop, so many seconds after it was told."""
        told = (self._stop.wait(), self._cancelled.wait())
        waiting = [asyncio.ensure_future(one) for one in told]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
        await asyncio.sleep(seconds)
        return self.why

    def asked_to_stop(self) -> bool:
        if self._stop.is_set():
            self.why = self.why or "stopping"
        return self.why is not None

    async def keep(self) -> None:
        """Renews, until the lease is lost: then it raises LeaseLost."""
        while True:
            await asyncio.sleep(self._worker.lease / 4)
            await self._persist(
                lambda: self._worker.jobs.renew(self._uuid, self._lease()), renews=True
            )
            if time.monotonic() - self._began > self._worker.turn and await self._others_wait():
                self.why = self.why or "turn"

    async def save(self, progress: Progress, remarks: Remarks) -> None:
        """Raises LeaseLost."""
        save = self._worker.jobs.save
        await self._persist(lambda: save(self._uuid, self._lease(), progress, remarks), renews=True)

    async def finish(self, ending: Ending, progress: Progress, remarks: Remarks) -> None:
        finish = self._worker.jobs.finish
        await self._persist(
            partial(finish, self._uuid, self._owner, ending, progress, remarks), renews=False
        )

    async def release(self) -> None:
        release, now = self._worker.jobs.release, self._worker.ports.clock()
        await self._persist(partial(release, self._uuid, self._owner, now), renews=False)

    async def _persist(self, write: Callable[[], Awaitable[Held | bool]], *, renews: bool) -> None:
        """What is written under the lease; waits for the database for as long as it lasts."""
        asked = time.monotonic()
        try:
            async with asyncio.timeout_at(self._end_of_lease()):
                answer = await persist(DEPENDENCY, write, self._worker.health)
        except TimeoutError:
            raise LeaseLost("the database was away for longer than the lease lasts") from None
        if answer in ("lost", False):
            raise LeaseLost("somebody else has taken the job, or it has ended")
        if answer == "cancelled":
            self.why = "cancelled"
            self._cancelled.set()
        if renews:
            self._ours_until = max(self._ours_until, asked + self._worker.lease)

    def _end_of_lease(self) -> float:
        left = self._ours_until - time.monotonic()
        return asyncio.get_running_loop().time() + left

    async def _others_wait(self) -> bool:
        try:
            return await self._worker.jobs.others_wait(self._uuid, self._worker.ports.clock())
        except Unavailable:
            return False

    def _lease(self) -> Lease:
        return Lease(self._owner, self._worker.ports.clock() + round(self._worker.lease * 1000))


def _ending_of(progress: Progress, now: int, *, dry_run: bool) -> Ending:
    """A job that has published a row, or whose rows lie in the topic already, is a success."""
    if progress.accepted or progress.duplicates or dry_run:
        return Ending("SUCCESS", now)
    message = f"none of the {progress.refused} rows was accepted"
    return Ending("FAILURE", now, "nothing_accepted", message)


async def _set_within(stop: asyncio.Event, seconds: float) -> None:
    """Returns when it is set, or after so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
