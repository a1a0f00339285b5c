"""Batches, as Fiddler's clients send them: files are uploaded, then a job is asked for."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request

from event_router.router.api.errors import Refusal
from event_router.router.api.fiddler_answers import no_such_project
from event_router.router.api.jobs import job_name, percent_done
from event_router.router.api.services import Services
from event_router.router.batch.rows import Unreadable, sniff
from event_router.router.batch.uploads import PART_BYTES, Binding
from event_router.router.store.job_ports import Job, JobOptions, NewJob
from event_router.schemas.errors import InvalidValue
from event_router.schemas.ids import checked_id
from event_router.schemas.timestamps import TimestampFormat

MOST_FILES = 1_000
_REASONS = 3
SILENCE = 30.0  # seconds without a byte until an upload is given up


class IngestBody(msgspec.Struct):
    """What is asked for; `casting_type` and `dry_run` only our own client sends."""

    file_name: list[str]
    batch_id: str | None = None
    id_field: str | None = None
    is_update: bool | None = None
    timestamp_field: str | None = None
    timestamp_format: TimestampFormat | None = None
    group_by: str | None = None
    file_type: str | None = None
    casting_type: bool | None = None
    dry_run: bool | None = None


class InitializeBody(msgspec.Struct):
    resource_identifier: str
    file_name: str


class _Part(msgspec.Struct, rename={"etag": "ETag", "number": "PartNumber"}):
    number: int
    etag: str


class CompleteBody(msgspec.Struct):
    parts: list[_Part]


_ingest = msgspec.json.Decoder(IngestBody)
_initialize = msgspec.json.Decoder(InitializeBody)
_complete = msgspec.json.Decoder(CompleteBody)


def read_as(decoder: "msgspec.json.Decoder[Any]", raw: bytes) -> Any:
    """Raises Refusal 400."""
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"the body can't be read: {error}") from error


class Batches:
    """Raises Refusal, InvalidValue, and what Uploads raises."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._uploads = services.uploads

    async def upload(self, request: Request, binding: Binding) -> dict[str, Any]:
        """A whole file, or a part of one."""
        await self._require(binding)
        query = request.query_params
        if query.get("multipart_upload", "").lower() != "true":
            stored = await self._uploads.put(binding, _named(request), _body(request))
            message = "Successfully uploaded to blob"
            return {"status": "SUCCESS", "file_name": stored, "message": message}
        number = _whole("part_number", query.get("part_number"))
        upload = query.get("upload_id", "")
        part = await self._uploads.put_part(binding, upload, number, _body(request))
        info = {"ETag": part.etag, "PartNumber": part.number}
        return {"status": "SUCCESS", "file_name": query.get("file_name"), "info": info}

    async def parts(self, request: Request, binding: Binding) -> dict[str, Any]:
        """The parts that have arrived, for whoever goes on with an upload."""
        upload = request.query_params.get("upload_id", "")
        found = await asyncio.to_thread(self._uploads.parts, binding, upload)
        parts = [{"ETag": one.etag, "PartNumber": one.number, "size": one.size} for one in found]
        return {"upload_id": upload, "parts": parts}

    async def initialize(self, body: InitializeBody, binding: Binding) -> dict[str, Any]:
        await self._require(binding)
        begin = self._uploads.begin
        upload, stored = await asyncio.to_thread(begin, binding, body.file_name)
        return {"upload_id": upload, "file_name": stored, "part_bytes": PART_BYTES}

    async def complete(self, request: Request, raw: bytes, binding: Binding) -> dict[str, Any]:
        body: CompleteBody = read_as(_complete, raw)
        query = request.query_params
        stored = await asyncio.to_thread(
            self._uploads.complete,
            binding,
            query.get("upload_id", ""),
            query.get("file_name", ""),
            [(part.number, part.etag) for part in body.parts],
        )
        return {"status": "SUCCESS", "file_name": stored}

    async def ingest(self, raw: bytes, binding: Binding) -> dict[str, Any]:
        """The job, once it is noted: what can be told at a glance is refused here, all else by
        the job, before its first row."""
        body: IngestBody = read_as(_ingest, raw)
        await self._require(binding)
        options = _options(body)
        if not 1 <= len(body.file_name) <= MOST_FILES:
            raise InvalidValue("file_name", len(body.file_name), f"1 to {MOST_FILES} files")
        batch = None if body.batch_id is None else checked_id("batch_id", body.batch_id)
        job = (
            None
            if batch is None
            else await self._services.jobs.of_batch(binding.tenant, binding.topic, batch)
        )
        if job is None:
            await asyncio.to_thread(self._look_at, body, binding)
            job = await self._services.jobs.add(self._new(body, binding, options, batch))
        return {
            "status": 202,
            "job_uuid": job.uuid,
            "files": list(job.files),
            "message": "Successfully received the event data. Please allow time for the event "
            "ingestion to complete.",
        }

    def _new(
        self, body: IngestBody, binding: Binding, options: JobOptions, batch: str | None
    ) -> NewJob:
        return NewJob(
            uuid=str(uuid.uuid4()),
            org=binding.org,
            tenant=binding.tenant,
            topic=binding.topic,
            files=tuple(body.file_name),
            options=options,
            created_at=self._services.clock(),
            batch_id=batch,
        )

    def _look_at(self, body: IngestBody, binding: Binding) -> None:
        found: list[tuple[str, Path]] = [
            (name, self._uploads.find(binding, name)) for name in body.file_name
        ]
        for name, path in found:
            try:
                sniff(path, name, body.file_type)
            except Unreadable as error:
                raise Refusal(400, str(error)) from error

    async def _require(self, binding: Binding) -> None:
        if not (await self._services.known_schemas.of(binding.tenant)).exists:
            raise no_such_project(binding.tenant)


def _options(body: IngestBody) -> JobOptions:
    if body.is_update and not body.id_field:
        raise InvalidValue("id_field", body.id_field, "there, and updates need it")
    return JobOptions(
        id_field=body.id_field or None,
        update=bool(body.is_update),
        timestamp_field=body.timestamp_field or None,
        timestamp_format=body.timestamp_format,
        group_by=body.group_by or None,
        file_type=body.file_type or None,
        casting=bool(body.casting_type),
        dry_run=bool(body.dry_run),
    )


def job_in_v2(job: Job) -> dict[str, Any]:
    """As Fiddler's clients watch it."""
    progress = job.progress
    return {
        "uuid": job.uuid,
        "name": job_name(job),
        "status": job.status,
        "progress": percent_done(job),
        "error_message": _why_it_ended(job),
        "error_reason": job.error_reason,
        "extras": {
            "accepted": progress.accepted,
            "duplicates": progress.duplicates,
            "refused": progress.refused,
            "refusals": job.remarks.refusals[:10],
        },
    }


def _why_it_ended(job: Job) -> str | None:
    """Its clients show this, and none of `extras`: so the first reasons are a part of it."""
    if job.error_message is None:
        return None
    first = [f"row {one.row}: {one.reason}" for one in job.remarks.refusals[:_REASONS]]
    return "; ".join([job.error_message, *first])


def initialize_body(raw: bytes) -> InitializeBody:
    body: InitializeBody = read_as(_initialize, raw)
    return body


def _named(request: Request) -> str:
    name = request.query_params.get("file_name", "")
    if not name:
        raise InvalidValue("file_name", name, "the name of the file")
    return name


def _whole(field: str, text: str | None) -> int:
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidValue(field, text, "a whole number")
    return int(text)


async def _body(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes. Raises Refusal 408 when nothing does."""
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(SILENCE):
                chunk = await anext(stream, None)
        except TimeoutError:
            late = f"nothing came for {SILENCE:g} s"
            raise Refusal(408, late, headers={"connection": "close"}) from None
        if chunk is None:
            return
        yield chunk
