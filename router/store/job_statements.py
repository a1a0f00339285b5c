"""The jobs' SQL. Each function is one transaction's work, on a connection it is given."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, or_, select, update

from event_router.router.store.destination_rows import from_json, to_json
from event_router.router.store.job_ports import (
    ENDED,
    Ending,
    Held,
    Job,
    JobFilter,
    JobOptions,
    Lease,
    NewJob,
    Progress,
    Remarks,
    begun,
)
from event_router.router.store.ordering import in_order, insert_if_new
from event_router.router.store.paging import Seek
from event_router.router.store.tables import jobs
from event_router.schemas.errors import Unavailable

_LISTED = [column for column in jobs.c if column.name != "remarks"]
_OPEN = jobs.c.status.not_in(ENDED)
_encode = msgspec.json.encode


def add(new: NewJob, connection: Connection) -> Job:
    row = begun(new) | {
        "files": to_json(new.files),
        "options": to_json(new.options),
        "progress": to_json(Progress()),
        "remarks": to_json(Remarks()),
        "turn": new.created_at,
        "cancelled": False,
        "lease_until": 0,
    }
    insert_if_new(connection, jobs, row)
    if new.batch_id is None:
        found = find(new.uuid, connection)
    else:
        found = find_batch(new.tenant, new.topic, new.batch_id, connection)
    if found is None:
        raise Unavailable("database", f"the job {new.uuid} was deleted meanwhile")
    return found


def find(uuid: str, connection: Connection) -> Job | None:
    row = connection.execute(select(jobs).where(jobs.c.uuid == uuid)).one_or_none()
    return None if row is None else _job_of(row)


def find_batch(tenant: str, topic: str, batch: str, connection: Connection) -> Job | None:
    its = (jobs.c.tenant == tenant) & (jobs.c.topic == topic) & (jobs.c.batch_id == batch)
    row = connection.execute(select(jobs).where(its)).one_or_none()
    return None if row is None else _job_of(row)


def list_jobs(wanted: JobFilter, sought: Seek, connection: Connection) -> list[Job]:
    query = select(*_LISTED)
    chosen = (
        (jobs.c.tenant, wanted.tenants),
        (jobs.c.topic, wanted.topics),
        (jobs.c.status, wanted.statuses),
    )
    for column, values in chosen:
        if values:
            query = query.where(column.in_(values))
    ordered = in_order(query, sought, jobs.c.created_at, jobs.c.uuid)
    return [_job_of(row) for row in connection.execute(ordered)]


def claim(lease: Lease, now: int, connection: Connection) -> Job | None:
    free = (
        select(jobs.c.uuid)
        .where(_OPEN, jobs.c.lease_until <= now)
        .order_by(jobs.c.turn, jobs.c.uuid)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    uuid = connection.execute(free).scalar_one_or_none()
    if uuid is None:
        return None
    taken = {"status": "STARTED", "lease_owner": lease.owner, "lease_until": lease.until}
    connection.execute(update(jobs).where(jobs.c.uuid == uuid).values(taken))
    first = (jobs.c.uuid == uuid) & jobs.c.started_at.is_(None)
    connection.execute(update(jobs).where(first).values(started_at=now))
    return find(uuid, connection)


def save(
    uuid: str,
    lease: Lease,
    progress: Progress | None,
    remarks: Remarks | None,
    connection: Connection,
) -> Held:
    """A renewal, when there is no progress to save."""
    values: dict[str, Any] = {"lease_until": lease.until} | _saved(
        uuid, progress, remarks, connection
    )
    written = connection.execute(update(jobs).where(_held(uuid, lease.owner)).values(values))
    if not written.rowcount:
        return "lost"
    cancelled = connection.execute(select(jobs.c.cancelled).where(jobs.c.uuid == uuid)).scalar_one()
    return "cancelled" if cancelled else "held"


def finish(
    uuid: str,
    owner: str,
    ending: Ending,
    progress: Progress,
    remarks: Remarks,
    connection: Connection,
) -> bool:
    values = {
        "status": ending.status,
        "finished_at": ending.at,
        "error_reason": ending.reason,
        "error_message": ending.message,
        "lease_owner": None,
        "lease_until": 0,
    } | _saved(uuid, progress, remarks, connection)
    return connection.execute(update(jobs).where(_held(uuid, owner)).values(values)).rowcount > 0


def release(uuid: str, owner: str, at: int, connection: Connection) -> bool:
    free = {"lease_owner": None, "lease_until": 0, "turn": at}
    return connection.execute(update(jobs).where(_held(uuid, owner)).values(free)).rowcount > 0


def others_wait(uuid: str, now: int, connection: Connection) -> bool:
    others = select(jobs.c.uuid).where(_OPEN, jobs.c.lease_until <= now, jobs.c.uuid != uuid)
    return connection.execute(others.limit(1)).one_or_none() is not None


def cancel(uuid: str, now: int, connection: Connection) -> Job | None:
    its = (jobs.c.uuid == uuid) & _OPEN
    connection.execute(update(jobs).where(its).values(cancelled=True))
    ended = {"status": "REVOKED", "finished_at": now, "lease_owner": None, "lease_until": 0}
    unattended = or_(jobs.c.lease_until <= now, jobs.c.lease_owner.is_(None))
    connection.execute(update(jobs).where(its, unattended).values(ended))
    return find(uuid, connection)


def files_in_use(connection: Connection) -> set[tuple[str, str, str, str]]:
    rows = connection.execute(
        select(jobs.c.org, jobs.c.tenant, jobs.c.topic, jobs.c.files).where(_OPEN)
    )
    return {
        (row.org, row.tenant, row.topic, file)
        for row in rows
        for file in from_json(row.files, tuple[str, ...])
    }


def forget(before: int, connection: Connection) -> int:
    return connection.execute(delete(jobs).where(jobs.c.finished_at < before)).rowcount


def _held(uuid: str, owner: str) -> Any:
    return (jobs.c.uuid == uuid) & (jobs.c.lease_owner == owner) & _OPEN


def _saved(
    uuid: str, progress: Progress | None, remarks: Remarks | None, connection: Connection
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if progress is not None:
        values["progress"] = to_json(progress)
    if remarks is not None and remarks != Remarks():
        before = connection.execute(
            select(jobs.c.remarks).where(jobs.c.uuid == uuid)
        ).scalar_one_or_none()
        known = from_json(before, Remarks) or Remarks()
        values["remarks"] = to_json(known.and_more(remarks))
    return values


def _job_of(row: Row[Any]) -> Job:
    listed = "remarks" not in row._fields
    return Job(
        uuid=row.uuid,
        org=row.org,
        tenant=row.tenant,
        topic=row.topic,
        files=from_json(row.files, tuple[str, ...]),
        options=from_json(row.options, JobOptions),
        status=row.status,
        progress=from_json(row.progress, Progress),
        created_at=row.created_at,
        batch_id=row.batch_id,
        started_at=row.started_at,
        finished_at=row.finished_at,
        lease_until=row.lease_until,
        error_reason=row.error_reason,
        error_message=row.error_message,
        remarks=Remarks() if listed else from_json(row.remarks, Remarks),
    )
