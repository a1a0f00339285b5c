"""Batch jobs as they are stored: what was asked for, how far it is, and who works on it.

A job is worked on under a lease, so that any number of processes may look for work and one takes
it; one that died lets go of it by the lease's end.
"""

from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from event_router.router.batch.formats import Kind
from event_router.router.store.paging import Page, Paging

Status = Literal["PENDING", "STARTED", "SUCCESS", "FAILURE", "REVOKED"]
Ended = Literal["SUCCESS", "FAILURE", "REVOKED"]
Held = Literal["held", "cancelled", "lost"]
ENDED: tuple[Status, ...] = ("SUCCESS", "FAILURE", "REVOKED")
LISTED = 1_000

JobPosition = tuple[int, str]


class JobOptions(msgspec.Struct, frozen=True):
    """How the rows of a batch become events."""

    id_field: str | None = None
    update: bool = False
    timestamp_field: str | None = None
    timestamp_format: str | None = None
    group_by: str | None = None
    file_type: str | None = None
    casting: bool = False
    dry_run: bool = False


class NewJob(msgspec.Struct, frozen=True):
    """A batch to be ingested: files that were uploaded for (org, tenant, topic)."""

    uuid: str
    org: str
    tenant: str
    topic: str
    files: tuple[str, ...]
    options: JobOptions
    created_at: int
    batch_id: str | None = None


class Examined(msgspec.Struct, frozen=True):
    """What was found in a file when all of it was read once. `columns` are empty where each row
    brings its own; `types` are those of a CSV file's columns."""

    kind: Kind
    gzipped: bool
    rows: int
    columns: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


class Progress(msgspec.Struct, frozen=True):
    """How far a job is: a checkpoint. All rows before `done` are dealt with.

    `files` is None until they were examined. `dropped` counts the fields that the schema lacks,
    by name. `tail` says from which offset on, by partition, rows at and after `done` may lie in
    the topic; nothing lies there when `clean`.
    """

    files: tuple[Examined, ...] | None = None
    done: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    violations: int = 0
    dropped: dict[str, int] = {}
    tail: dict[int, int] = {}
    clean: bool = True

    @property
    def total(self) -> int | None:
        return None if self.files is None else sum(file.rows for file in self.files)


class Remark(msgspec.Struct, frozen=True, gc=False):
    """Something about one row of a file, which counts from 1."""

    file: str
    row: int
    reason: str


class ReportLine(msgspec.Struct, frozen=True):
    """What a dry run has to say about a field, and about how many rows. A fatal line is of rows
    that would be refused."""

    type: Literal["fatal", "warning"]
    field: str
    desc: str
    rows: int


class Remarks(msgspec.Struct, frozen=True):
    """The first rows that were refused, the first that violate the schema, and the report of a
    dry run."""

    refusals: tuple[Remark, ...] = ()
    violations: tuple[Remark, ...] = ()
    report: tuple[ReportLine, ...] = ()

    def and_more(self, later: "Remarks") -> "Remarks":
        return Remarks(
            (self.refusals + later.refusals)[:LISTED],
            (self.violations + later.violations)[:LISTED],
            (self.report + later.report)[:LISTED],
        )


class Job(msgspec.Struct, frozen=True):
    """One batch job. Lists of jobs come without their remarks. Times are in ms."""

    uuid: str
    org: str
    tenant: str
    topic: str
    files: tuple[str, ...]
    options: JobOptions
    status: Status
    progress: Progress
    created_at: int
    batch_id: str | None = None
    started_at: int | None = None
    finished_at: int | None = None
    lease_until: int = 0
    error_reason: str | None = None
    error_message: str | None = None
    remarks: Remarks = Remarks()


class JobFilter(msgspec.Struct, frozen=True):
    """Jobs that match one of each; an empty tuple matches all."""

    tenants: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()


class Lease(NamedTuple):
    """The right to work on a job until then (ms)."""

    owner: str
    until: int


class Ending(NamedTuple):
    status: Ended
    at: int
    reason: str | None = None
    message: str | None = None


def job_position(job: Job) -> JobPosition:
    """Where it stands in the list of jobs."""
    return job.created_at, job.uuid


class Jobs(Protocol):
    """The jobs, in the database of the registry. Raises Unavailable when it is in trouble.

    What is written under a lease is written only while nobody else has taken it.
    """

    async def add(self, new: NewJob) -> Job:
        """The new job; or, of one with the tenant's, topic's and batch's id, that one."""
        ...

    async def job(self, uuid: str) -> Job | None: ...

    async def of_batch(self, tenant: str, topic: str, batch: str) -> Job | None: ...

    async def jobs(self, wanted: JobFilter, paging: Paging) -> Page[Job]:
        """By the time of creation."""
        ...

    async def claim(self, lease: Lease, now: int) -> Job | None:
        """The job that has waited for its turn the longest, of those that nobody works on."""
        ...

    async def renew(self, uuid: str, lease: Lease) -> Held:
        """The lease lasts until the new time, unless somebody else has taken it, or the job has
        ended; `cancelled`: it lasts, and the job is to end."""
        ...

    async def save(self, uuid: str, lease: Lease, progress: Progress, remarks: Remarks) -> Held:
        """A checkpoint; renews, and answers as that does. Remarks are added to those before."""
        ...

    async def finish(
        self, uuid: str, owner: str, ending: Ending, progress: Progress, remarks: Remarks
    ) -> bool:
        """The last checkpoint. False when the lease was lost: then nothing was written."""
        ...

    async def release(self, uuid: str, owner: str, at: int) -> bool:
        """Anybody may take it, those who waited longer first."""
        ...

    async def others_wait(self, uuid: str, now: int) -> bool:
        """Whether there is another job that nobody works on."""
        ...

    async def cancel(self, uuid: str, now: int) -> Job | None:
        """The job, which ends at once when nobody works on it, else as soon as who does has
        heard of it. One that has ended stays as it is. None when there is none."""
        ...

    async def files_in_use(self) -> set[tuple[str, str, str, str]]:
        """(org, tenant, topic, file) of the jobs that have not ended."""
        ...

    async def forget(self, before: int) -> int:
        """How many jobs went that ended before then (ms)."""
        ...

    async def aclose(self) -> None: ...


def begun(new: NewJob) -> dict[str, Any]:
    """A new job as it is stored: nothing done, its turn as of its creation."""
    return {
        "uuid": new.uuid,
        "org": new.org,
        "tenant": new.tenant,
        "topic": new.topic,
        "files": new.files,
        "options": new.options,
        "status": "PENDING",
        "progress": Progress(),
        "created_at": new.created_at,
        "batch_id": new.batch_id,
    }
