"""The jobs in SQL, in the database of the registry."""

from functools import partial

from event_router.router.store import job_statements as statements
from event_router.router.store.database import Database
from event_router.router.store.job_ports import (
    Ending,
    Held,
    Job,
    JobFilter,
    JobPosition,
    Lease,
    NewJob,
    Progress,
    Remarks,
    job_position,
)
from event_router.router.store.paging import Page, Paging, page, seek


class SqlJobs:
    """Jobs in a database that `migrate(url, "registry")` has prepared."""

    def __init__(self, url: str) -> None:
        self._database = Database(url, connections=2)

    async def add(self, new: NewJob) -> Job:
        return await self._database.write(partial(statements.add, new))

    async def job(self, uuid: str) -> Job | None:
        return await self._database.read(partial(statements.find, uuid))

    async def of_batch(self, tenant: str, topic: str, batch: str) -> Job | None:
        return await self._database.read(partial(statements.find_batch, tenant, topic, batch))

    async def jobs(self, wanted: JobFilter, paging: Paging) -> Page[Job]:
        sought = seek(paging, JobPosition)
        found = await self._database.read(partial(statements.list_jobs, wanted, sought))
        return page(found, sought, job_position)

    async def claim(self, lease: Lease, now: int) -> Job | None:
        # Who looks for work looks often: only what is there to take is worth a lock.
        if not await self.others_wait("", now):
            return None
        return await self._database.write(partial(statements.claim, lease, now))

    async def renew(self, uuid: str, lease: Lease) -> Held:
        return await self._database.write(partial(statements.save, uuid, lease, None, None))

    async def save(self, uuid: str, lease: Lease, progress: Progress, remarks: Remarks) -> Held:
        return await self._database.write(partial(statements.save, uuid, lease, progress, remarks))

    async def finish(
        self, uuid: str, owner: str, ending: Ending, progress: Progress, remarks: Remarks
    ) -> bool:
        work = partial(statements.finish, uuid, owner, ending, progress, remarks)
        return await self._database.write(work)

    async def release(self, uuid: str, owner: str, at: int) -> bool:
        return await self._database.write(partial(statements.release, uuid, owner, at))

    async def others_wait(self, uuid: str, now: int) -> bool:
        return await self._database.read(partial(statements.others_wait, uuid, now))

    async def cancel(self, uuid: str, now: int) -> Job | None:
        return await self._database.write(partial(statements.cancel, uuid, now))

    async def files_in_use(self) -> set[tuple[str, str, str, str]]:
        return await self._database.read(statements.files_in_use)

    async def forget(self, before: int) -> int:
        return await self._database.write(partial(statements.forget, before))

    async def aclose(self) -> None:
        await self._database.aclose()
