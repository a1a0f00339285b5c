"""One job: examined as a whole, then published row by row, from its last checkpoint on.

Whatever can reject a batch is found before its first row is published; a job that has published a
row never fails. Rows that were published after the last checkpoint are found in the topic itself,
so that a job that was killed publishes each of its rows once.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from event_router.router.batch import files
from event_router.router.batch.chunks import Chunks, Outcome, fingerprint
from event_router.router.batch.ports import Ports
from event_router.router.batch.rehearsal import Rehearsal
from event_router.router.batch.rows import CHUNK_ROWS, Unreadable
from event_router.router.batch.source import Lost, Read, Source
from event_router.router.batch.tally import Tally
from event_router.router.batch.uploads import Binding, NoSuchUpload, given_name
from event_router.router.store.job_ports import Examined, Job, JobOptions, Progress, Remarks
from event_router.router.store.schema_ports import Found
from event_router.schemas.columns import EventSchema
from event_router.schemas.errors import EventRouterError, InvalidValue

log = logging.getLogger(__name__)

IN_FLIGHT = 4
CHECKPOINT_ROWS = 20_000
CHECKPOINT_SECONDS = 0.5


class Rejected(EventRouterError):
    """The batch as a whole can't be ingested, and nothing of it was. `reason` is for machines."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class _Interrupted(Exception):
    """Asked to stop, while the files were examined."""


@dataclass(slots=True)
class Counts:
    """What this process has ingested since it started."""

    jobs: int = 0
    rows: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0


Save = Callable[[Progress, Remarks], Awaitable[None]]
"""Takes down a checkpoint; raises when the job isn't ours any more."""


class Ingest:
    """One job, while this process works on it. `asked_to_stop` is looked at between chunks."""

    def __init__(
        self, ports: Ports, job: Job, save: Save, asked_to_stop: Callable[[], bool], counts: Counts
    ) -> None:
        self._ports = ports
        self._job = job
        self._save = save
        self._asked_to_stop = asked_to_stop
        self._counts = counts
        self._binding = Binding(job.org, job.tenant, job.topic)
        self._tally = Tally(job.progress)

    @property
    def tally(self) -> Tally:
        return self._tally

    async def run(self) -> bool:
        """True when the job is done, False when it was asked to stop before; either way nothing
        is on its way. Raises Rejected."""
        job, progress = self._job, self._job.progress
        kept = await self._ports.schemas.get(job.tenant, job.topic)
        schema = None if kept is None else kept.schema
        if progress.files is None:
            try:
                examined = await self._examine()
            except _Interrupted:
                return False
            progress = msgspec.structs.replace(progress, files=examined)
        if job.options.dry_run:
            return await self._rehearse(progress, schema)
        lying = set() if progress.clean else await self._lying(progress)
        tail = await self._ports.events.ends() if progress.clean else progress.tail
        progress = msgspec.structs.replace(progress, tail=tail, clean=False)
        # Before the first row of ours: whoever takes over looks for rows from here on.
        await self._save(progress, Remarks())
        self._tally = Tally(progress, 0 if job.progress.clean else _furthest(progress))
        chunks = Chunks(
            job.tenant,
            job.topic,
            self._ports.producer,
            self._ports.duplicates,
            job.options.id_field is not None and not job.options.update,
            lying,
        )
        source = Source(self._ports, job, progress, schema)
        done = await self._publish(chunks, source)
        self._tally.drained()
        return done

    async def _examine(self) -> tuple[Examined, ...]:
        """Every file, read to its end."""
        try:
            found = await asyncio.to_thread(self._examine_files)
        except (InvalidValue, Unreadable, NoSuchUpload) as error:
            raise Rejected("unreadable", str(error)) from error
        if not sum(one.rows for one in found):
            raise Rejected("empty", "the batch has no rows")
        for one, file in zip(found, self._job.files, strict=True):
            _check_columns(one, given_name(file), self._job.options)
        return found

    def _examine_files(self) -> tuple[Examined, ...]:
        file_type, limit = self._job.options.file_type, self._ports.limit
        return tuple(
            files.examine(
                self._ports.uploads.find(self._binding, stored),
                given_name(stored),
                file_type,
                limit,
                self._tick,
            )
            for stored in self._job.files
        )

    def _tick(self) -> None:
        if self._asked_to_stop():
            raise _Interrupted

    async def _rehearse(self, progress: Progress, schema: EventSchema | None) -> bool:
        """A dry run: every row is read, and nothing published."""
        progress = msgspec.structs.replace(progress, done=0)
        source = Source(self._ports, self._job, progress, schema)
        rehearsal = Rehearsal(self._job.options, schema)
        self._tally = Tally(progress, report=rehearsal.report)
        while not self._asked_to_stop():
            chunk = await asyncio.to_thread(source.next)
            if chunk is None:
                return True
            if isinstance(chunk, Lost):
                self._tally.give_up(*chunk)
            else:
                self._add(await asyncio.to_thread(rehearsal.look_at, chunk))
        return False

    async def _lying(self, progress: Progress) -> set[int]:
        """What lies in the topic since the last checkpoint of the tenant's and the topic's."""
        tenant, topic = self._job.tenant.encode(), self._job.topic.encode()
        lying = set()
        async for records in self._ports.events.tail(progress.tail):
            for record in records:
                headers = dict(record.headers)
                if headers.get("ce_tenantid") == tenant and headers.get("ce_type") == topic:
                    lying.add(fingerprint(headers.get("ce_id"), record.value))
        log.info("job.resumed", extra={"job": self._job.uuid, "lying": len(lying)})
        return lying

    async def _publish(self, chunks: Chunks, source: "Source") -> bool:
        """Whether all rows are done. Chunks come back in order."""
        flying: deque[asyncio.Task[Outcome]] = deque()
        try:
            return await self._flow(chunks, source, flying)
        finally:
            for task in flying:
                task.cancel()
            await asyncio.gather(*flying, return_exceptions=True)

    async def _flow(
        self, chunks: Chunks, source: "Source", flying: "deque[asyncio.Task[Outcome]]"
    ) -> bool:
        most = 1 if chunks.chosen_ids else IN_FLIGHT
        saved = (self._tally.progress.done, time.monotonic())
        while True:
            chunk = None if self._asked_to_stop() else await asyncio.to_thread(source.next)
            if isinstance(chunk, Read):
                task = asyncio.create_task(chunks.publish(chunk), name="publish a chunk")
                flying.append(task)
            while flying and (len(flying) >= most or not isinstance(chunk, Read)):
                self._add(await flying[0])
                flying.popleft()
            if isinstance(chunk, Lost):
                self._tally.give_up(*chunk)
            elif chunk is None:
                return self._tally.progress.done == self._tally.progress.total
            saved = await self._checkpoint(saved)

    def _add(self, outcome: Outcome) -> None:
        self._tally.add(outcome, self._ports.clock())
        self._counts.rows += outcome.rows
        self._counts.accepted += len(outcome.accepted)
        self._counts.duplicates += outcome.duplicates
        self._counts.refused += len(outcome.refusals)

    async def _checkpoint(self, saved: tuple[int, float]) -> tuple[int, float]:
        rows, at = saved
        done, now = self._tally.progress.done, time.monotonic()
        if done == rows or (done - rows < CHECKPOINT_ROWS and now - at < CHECKPOINT_SECONDS):
            return saved
        await self.save()
        return done, time.monotonic()

    async def save(self) -> None:
        """A checkpoint, and what was found against the schema."""
        progress, remarks, found = self._tally.take()
        await self._save(progress, remarks)
        await self.record(found)

    async def record(self, found: list[Found]) -> None:
        if found:
            await self._ports.schemas.record(self._job.tenant, self._job.topic, found)


def _furthest(progress: Progress) -> int:
    """No row at or after it was sent by whoever worked on the job before."""
    return progress.done + CHECKPOINT_ROWS + (IN_FLIGHT + 2) * CHUNK_ROWS


def _check_columns(found: Examined, file: str, options: JobOptions) -> None:
    """Where a file names its columns, those that were asked for are among them."""
    asked = {
        "id_field": options.id_field,
        "timestamp_field": options.timestamp_field,
        "group_by": options.group_by,
    }
    for what, name in asked.items():
        if name is not None and found.columns and name not in found.columns:
            there = ", ".join(found.columns[:20])
            message = f"{file} has no column {name!r}, which is to be the {what}: it has {there}"
            raise Rejected("missing_column", message)
