"""Batch jobs: how far they are, what they refused and why."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from event_router.router.api.answers import documented, json_response
from event_router.router.api.errors import not_found
from event_router.router.api.queries import (
    PageInfo,
    PageQuery,
    Texts,
    asked,
    bad_cursor,
    parameters,
)
from event_router.router.api.services import Services
from event_router.router.store.job_ports import Job, JobFilter, Remark, ReportLine, Status
from event_router.schemas.decode import rfc3339
from event_router.schemas.errors import InvalidValue

JobPath = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]


class JobSummary(msgspec.Struct):
    """A batch job. `rows` is null until its files were examined; `progress` is in percent."""

    uuid: str
    name: str
    tenant_id: str
    topic: str
    files: list[str]
    status: Status
    progress: float
    rows: int | None
    rows_done: int
    accepted: int
    duplicates: int
    refused: int
    violations: int
    dropped_fields: dict[str, int]
    error: str | None
    error_reason: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None


class JobAnswer(JobSummary):
    """The job with its first 1,000 refused rows (`errors`), and the first 1,000 violations."""

    errors: list[Remark]
    violating_rows: list[Remark]
    report: list[ReportLine]


class JobsAnswer(msgspec.Struct):
    """A page of jobs."""

    models: list[JobSummary]
    pagination: PageInfo


class JobsQuery(PageQuery):
    """Jobs that match one of each."""

    tenant_id: Texts = ()
    topic: Texts = ()
    status: Texts = ()

    def filter(self) -> JobFilter:
        return JobFilter(self.tenant_id, self.topic, self.status)


class JobRoutes:
    """Jobs, as they are stored."""

    def __init__(self, services: Services) -> None:
        self._jobs = services.jobs
        self._clock = services.clock

    async def search(self, request: Request) -> Response:
        """The newest first, unless `dir` says otherwise."""
        query = asked(request, JobsQuery)
        try:
            page = await self._jobs.jobs(query.filter(), query.paging())
        except InvalidValue as error:
            raise bad_cursor(error) from None
        info = PageInfo("created_at", query.dir, query.limit, page.next, page.prev)
        return json_response(JobsAnswer([job_summary(job) for job in page.models], info))

    async def get(self, job_id: JobPath) -> Response:
        job = await self._jobs.job(job_id)
        if job is None:
            raise not_found("job")
        return json_response(job_answer(job))

    async def cancel(self, job_id: JobPath) -> Response:
        """A job that nobody works on yet ends at once, another one within seconds; what it has
        published stays. One that has ended stays as it is."""
        job = await self._jobs.cancel(job_id, self._clock())
        if job is None:
            raise not_found("job")
        return json_response(job_answer(job), 202)


def percent_done(job: Job) -> float:
    if job.status == "SUCCESS":
        return 100.0
    total = job.progress.total
    return round(100 * job.progress.done / total, 2) if total else 0.0


def job_name(job: Job) -> str:
    return f"ingest into {job.tenant}/{job.topic}"


def job_summary(job: Job) -> JobSummary:
    return JobSummary(**_fields(job))


def job_answer(job: Job) -> JobAnswer:
    return JobAnswer(
        **_fields(job),
        errors=list(job.remarks.refusals),
        violating_rows=list(job.remarks.violations),
        report=list(job.remarks.report),
    )


def _fields(job: Job) -> dict[str, Any]:
    progress = job.progress
    return {
        "uuid": job.uuid,
        "name": job_name(job),
        "tenant_id": job.tenant,
        "topic": job.topic,
        "files": list(job.files),
        "status": job.status,
        "progress": percent_done(job),
        "rows": progress.total,
        "rows_done": progress.done,
        "accepted": progress.accepted,
        "duplicates": progress.duplicates,
        "refused": progress.refused,
        "violations": progress.violations,
        "dropped_fields": progress.dropped,
        "error": job.error_message,
        "error_reason": job.error_reason,
        "created_at": rfc3339(job.created_at),
        "started_at": _time(job.started_at),
        "finished_at": _time(job.finished_at),
    }


def _time(at: int | None) -> str | None:
    return None if at is None else rfc3339(at)


def job_routes(services: Services) -> APIRouter:
    routes = APIRouter(prefix="/jobs", tags=["jobs"])
    do = JobRoutes(services)
    page = documented(200, JobsAnswer, 400)
    routes.get("", responses=page, openapi_extra=parameters(JobsQuery))(do.search)
    routes.get("/{job_id}", responses=documented(200, JobAnswer, 404))(do.get)
    cancelled = documented(202, JobAnswer, 404, 413)
    routes.post("/{job_id}/cancel", status_code=202, responses=cancelled)(do.cancel)
    return routes
