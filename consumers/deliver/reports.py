"""Attempts that have ended, until Kafka has acknowledged them."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from event_router.consumers.deliver.attempts import Job
from event_router.consumers.deliver.keeping import Keeping
from event_router.consumers.deliver.limits import WorkerLimits
from event_router.consumers.health import Health
from event_router.consumers.ports import Producer
from event_router.schemas.attempt import Attempt, with_less
from event_router.schemas.errors import TooLarge
from event_router.schemas.topics import Topics
from event_router.schemas.wire import attempt_message

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Reports:
    """Written together: those that end within `flush_pause`, or `flush_at` of them. `writing` are
    on their way to Kafka."""

    topics: Topics
    producer: Producer
    keeping: Keeping
    health: Health
    limits: WorkerLimits
    ended: list[Job] = field(default_factory=list)
    writing: list[Job] = field(default_factory=list)
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _written: asyncio.Event = field(default_factory=asyncio.Event)
    _flushing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def add(self, job: Job) -> None:
        self.ended.append(job)
        self._wanted.set()

    @property
    def unreported(self) -> list[Job]:
        """Whoever else attempted one of these now would repeat it."""
        return [job for job in (*self.writing, *self.ended) if not job.reported]

    async def few(self) -> None:
        """Returns when no more than `unreported` attempts wait to be written."""
        while len(self.ended) > self.limits.unreported:
            self._written.clear()
            await self._written.wait()

    async def run(self) -> None:
        """Until it is cancelled; a write that has begun goes on."""
        while True:
            await self._wanted.wait()
            if len(self.ended) < self.limits.flush_at:
                await asyncio.sleep(self.limits.flush_pause)
            await asyncio.shield(self.flush())

    async def flush(self) -> None:
        """Every attempt that has ended is acknowledged by Kafka, and only then its offset is done
        and its entry leaves the schedule: a crash in between costs one more attempt, never the
        attempt's consequence. Cancelled, it leaves them to the next flush."""
        async with self._flushing:
            self._wanted.clear()
            self.writing, self.ended = self.ended, []
            jobs = self.writing
            if not jobs:
                return
            try:
                await self._write([job.attempt for job in jobs if job.attempt])
            except BaseException:
                self.writing, self.ended = [], [*jobs, *self.ended]
                self._wanted.set()
                raise
            self.keeping.mark_done(jobs)
            for job in jobs:
                job.reported = True
            self.health.progress()
            self._written.set()
            self.writing = []
            self.keeping.end_leases(jobs)

    async def _write(self, attempts: Sequence[Attempt]) -> None:
        """One that is too large goes with less in it, or nobody would ever settle it."""
        while attempts:
            sent = await self.producer.send([attempt_message(one, self.topics) for one in attempts])
            results = zip(attempts, sent, strict=True)
            large = [one for one, result in results if isinstance(result, TooLarge)]
            if large:
                log.error("attempt.too_large", extra={"attempts": len(large)})
            attempts = [less for one in large if (less := with_less(one))]
