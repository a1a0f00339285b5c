"""Jobs in memory, for tests. They are stored as bytes, as a database would."""

import msgspec

from event_router.router.store.job_ports import (
    ENDED,
    Ending,
    Held,
    Job,
    JobFilter,
    JobPosition,
    Lease,
    NewJob,
    Progress,
    Remarks,
    begun,
    job_position,
)
from event_router.router.store.paging import Page, Paging, page, seek


class _Kept(msgspec.Struct, frozen=True):
    job: Job
    turn: int
    owner: str | None = None
    cancelled: bool = False


_replace = msgspec.structs.replace
_kept = msgspec.json.Decoder(_Kept).decode


class MemoryJobs:
    """Jobs that end with the process."""

    def __init__(self) -> None:
        self._stored: dict[str, bytes] = {}

    async def add(self, new: NewJob) -> Job:
        if new.batch_id is not None:
            known = await self.of_batch(new.tenant, new.topic, new.batch_id)
            if known is not None:
                return known
        return self._put(_Kept(Job(**begun(new)), new.created_at)).job

    async def job(self, uuid: str) -> Job | None:
        kept = self._get(uuid)
        return None if kept is None else kept.job

    async def of_batch(self, tenant: str, topic: str, batch: str) -> Job | None:
        for kept in self._all():
            if (kept.job.tenant, kept.job.topic, kept.job.batch_id) == (tenant, topic, batch):
                return kept.job
        return None

    async def jobs(self, wanted: JobFilter, paging: Paging) -> Page[Job]:
        sought = seek(paging, JobPosition)
        found = [
            _replace(kept.job, remarks=Remarks())
            for kept in self._all()
            if (not wanted.tenants or kept.job.tenant in wanted.tenants)
            and (not wanted.topics or kept.job.topic in wanted.topics)
            and (not wanted.statuses or kept.job.status in wanted.statuses)
        ]
        return page(sought.of(found, job_position), sought, job_position)

    async def claim(self, lease: Lease, now: int) -> Job | None:
        free = [kept for kept in self._all() if _is_free(kept, now)]
        if not free:
            return None
        next_one = min(free, key=lambda kept: (kept.turn, kept.job.uuid))
        started = next_one.job.started_at
        job = _replace(
            next_one.job,
            status="STARTED",
            started_at=now if started is None else started,
            lease_until=lease.until,
        )
        return self._put(_replace(next_one, job=job, owner=lease.owner)).job

    async def renew(self, uuid: str, lease: Lease) -> Held:
        kept = self._held(uuid, lease.owner)
        if kept is None:
            return "lost"
        self._put(_replace(kept, job=_replace(kept.job, lease_until=lease.until)))
        return "cancelled" if kept.cancelled else "held"

    async def save(self, uuid: str, lease: Lease, progress: Progress, remarks: Remarks) -> Held:
        kept = self._held(uuid, lease.owner)
        if kept is not None:
            added = kept.job.remarks.and_more(remarks)
            self._put(_replace(kept, job=_replace(kept.job, progress=progress, remarks=added)))
        return await self.renew(uuid, lease)

    async def finish(
        self, uuid: str, owner: str, ending: Ending, progress: Progress, remarks: Remarks
    ) -> bool:
        kept = self._held(uuid, owner)
        if kept is None:
            return False
        job = _replace(
            kept.job,
            status=ending.status,
            finished_at=ending.at,
            error_reason=ending.reason,
            error_message=ending.message,
            lease_until=0,
            progress=progress,
            remarks=kept.job.remarks.and_more(remarks),
        )
        self._put(_replace(kept, job=job, owner=None))
        return True

    async def release(self, uuid: str, owner: str, at: int) -> bool:
        kept = self._held(uuid, owner)
        if kept is None:
            return False
        self._put(_replace(kept, job=_replace(kept.job, lease_until=0), owner=None, turn=at))
        return True

    async def others_wait(self, uuid: str, now: int) -> bool:
        return any(_is_free(kept, now) and kept.job.uuid != uuid for kept in self._all())

    async def cancel(self, uuid: str, now: int) -> Job | None:
        kept = self._get(uuid)
        if kept is None or kept.job.status in ENDED:
            return None if kept is None else kept.job
        kept = self._put(_replace(kept, cancelled=True))
        if _is_free(kept, now):
            job = _replace(kept.job, status="REVOKED", finished_at=now, lease_until=0)
            kept = self._put(_replace(kept, job=job, owner=None))
        return kept.job

    async def files_in_use(self) -> set[tuple[str, str, str, str]]:
        running = [kept.job for kept in self._all() if kept.job.status not in ENDED]
        return {(job.org, job.tenant, job.topic, file) for job in running for file in job.files}

    async def forget(self, before: int) -> int:
        old = [
            kept.job.uuid
            for kept in self._all()
            if kept.job.finished_at is not None and kept.job.finished_at < before
        ]
        for uuid in old:
            del self._stored[uuid]
        return len(old)

    async def aclose(self) -> None:
        """Nothing to close."""

    def _all(self) -> list[_Kept]:
        return [_kept(stored) for stored in self._stored.values()]

    def _get(self, uuid: str) -> _Kept | None:
        stored = self._stored.get(uuid)
        return None if stored is None else _kept(stored)

    def _held(self, uuid: str, owner: str) -> _Kept | None:
        kept = self._get(uuid)
        return kept if kept and kept.owner == owner and kept.job.status not in ENDED else None

    def _put(self, kept: _Kept) -> _Kept:
        self._stored[kept.job.uuid] = msgspec.json.encode(kept)
        return kept


def _is_free(kept: _Kept, now: int) -> bool:
    return kept.job.status not in ENDED and kept.job.lease_until <= now
