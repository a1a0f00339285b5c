"""A batch straight to Kafka: rows become events here, as the role `jobs` makes them."""

import asyncio
import tempfile
import uuid
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from event_router.client.batch import Order, completed
from event_router.client.bodies import BatchPublishType, Job, Refused
from event_router.client.errors import BadArgument, JobFailed
from event_router.client.frames import slices_of
from event_router.client.sources import empty, open_source, told
from event_router.client.values import encode_lines
from event_router.consumers.ports import Producer
from event_router.router.batch import files
from event_router.router.batch.chunks import Numbered, Outcome
from event_router.router.batch.rehearsal import Rehearsal
from event_router.router.batch.row_events import RowEvents
from event_router.router.batch.rows import BadRow, Chunk, Row, Unreadable
from event_router.router.batch.source import Read
from event_router.router.batch.tally import Tally
from event_router.router.clock import now_ms
from event_router.router.store.job_ports import LISTED, JobOptions, Progress, Remarks
from event_router.schemas.columns import EventSchema
from event_router.schemas.errors import InvalidValue, TooLarge
from event_router.schemas.ids import checked_id

MAX_EVENT_BYTES = 512 * 1024
_NAMESPACE = uuid.UUID("7f3b6a0e-1f0f-5a55-9a3c-1d0c2f9e8b11")
_fields = msgspec.json.Decoder(dict[str, Any])


class KafkaBatch:
    """One batch; `schema` is None where nothing is dropped, cast or checked.

    Its rows without an `id_field` have ids made of the batch's name and their number.
    """

    def __init__(
        self, order: Order, schema: EventSchema | None, producer: Producer, topic: str
    ) -> None:
        self._order = order
        self._producer = producer
        batch = checked_id("batch_id", order.ingest["batch_id"])
        self._uuid = str(uuid.uuid5(_NAMESPACE, f"{order.project}/{order.model}/{batch}"))
        options = _options(order.ingest)
        self._events = RowEvents(
            self._uuid,
            order.project,
            order.model,
            options,
            schema,
            limit=MAX_EVENT_BYTES,
            clock=now_ms,
            kafka_topic=topic,
        )
        self._rehearsal = Rehearsal(options, schema)
        self._tally = Tally(Progress())
        self._remarks = Remarks()

    async def run(self, seconds: float) -> dict[str, Any]:
        """Publishes all rows, a chunk at a time; Kafka has so many `seconds` for each. Raises
        JobFailed when none could be taken."""
        with closing(self._order.progress), closing(_chunks(self._order)) as chunks:
            while chunk := await asyncio.to_thread(next, chunks, None):
                read = await asyncio.to_thread(self._read, chunk)
                if self._order.dry_run:
                    outcome = self._rehearsal.look_at(read)
                else:
                    outcome = await self._published(read, seconds)
                self._tally.add(outcome, now_ms())
                self._order.progress.job(self._job("STARTED"))
            if not self._tally.progress.done:
                raise empty()
            job = self._job("SUCCESS")
            self._order.progress.job(job)
        if not (job.accepted or self._order.dry_run):
            message = f"none of the {job.refused} rows was accepted"
            raise JobFailed(msgspec.structs.replace(job, status="FAILURE", error=message))
        said = "nothing was published" if self._order.dry_run else "the rows are in Kafka"
        receipt = {"status": 202, "job_uuid": self._uuid, "files": [], "message": said}
        return completed(self._order, receipt, job)

    def _read(self, chunk: Chunk) -> Read:
        first = self._tally.progress.done + 1
        events = [self._events.event(nth, row, None) for nth, row in enumerate(chunk, first)]
        return Read("", first, chunk, events)

    async def _published(self, read: Read, seconds: float) -> Outcome:
        outcome = Outcome(read.file, len(read.rows))
        sent: list[Numbered] = []
        for number, event in enumerate(read.events, read.first):
            if isinstance(event, BadRow):
                outcome.refuse(number, event.reason)
            else:
                sent.append(Numbered(number, event))
        results = await self._producer.send([one.event.message for one in sent], seconds)
        for one, result in zip(sent, results, strict=True):
            if isinstance(result, TooLarge):
                outcome.refuse(one.row, str(result))
            else:
                outcome.accepted.append(one)
        return outcome

    def _job(self, status: str) -> Job:
        progress, remarks, _ = self._tally.take()
        self._remarks = self._remarks.and_more(remarks)
        rows = progress.done if status == "SUCCESS" else None
        return Job(
            uuid=self._uuid,
            status=status,
            progress=100.0 if rows else 0.0,
            rows=rows,
            accepted=progress.accepted,
            refused=progress.refused,
            violations=progress.violations,
            dropped_fields=progress.dropped,
            errors=tuple(Refused(one.row, one.reason) for one in self._remarks.refusals[:LISTED]),
            report=tuple(msgspec.to_builtins(one) for one in self._rehearsal.report()),
        )


def _options(asked: dict[str, Any]) -> JobOptions:
    return JobOptions(
        id_field=asked["id_field"],
        update=asked["is_update"],
        timestamp_field=asked["timestamp_field"],
        timestamp_format=asked["timestamp_format"],
        group_by=asked["group_by"],
        casting=asked["casting_type"],
        dry_run=asked["dry_run"],
    )


def _chunks(order: Order) -> Generator[Chunk, None, None]:
    """The rows as the router would read them; raises BadArgument for a file that is none."""
    kind = told(order.data, order.kind)
    if kind is BatchPublishType.DATAFRAME:
        yield from _of_rows(order.data)
    elif kind is BatchPublishType.LOCAL_DISK:
        yield from _of_file(order, Path(order.data))
    else:
        with tempfile.TemporaryDirectory(prefix="event-router-") as folder:
            yield from _of_file(order, _fetched(order, Path(folder)))


def _of_rows(data: Any) -> Iterator[Chunk]:
    first = 1
    for rows in slices_of(data):
        lines = encode_lines(rows, first).splitlines()
        yield [Row(_fields.decode(line), line) for line in lines]
        first += len(rows)


def _of_file(order: Order, path: Path) -> Iterator[Chunk]:
    with closing(open_source(path, None, None)):
        pass  # what the client refuses is refused here
    try:
        known = files.examine(path, path.name, None, MAX_EVENT_BYTES, lambda: None)
        yield from files.reader(path, path.name, MAX_EVENT_BYTES, known).chunks(0)
    except (Unreadable, InvalidValue) as error:
        raise BadArgument("events_path", str(order.data), f"a batch: {error}") from error


def _fetched(order: Order, folder: Path) -> Path:
    with closing(open_source(order.data, order.kind, order.credentials)) as source:
        path = folder / source.name
        with path.open("wb") as file:
            for chunk in source.chunks:
                file.write(chunk)
    return path
