"""The rows of a job's files as events, a chunk at a time. Blocks."""

from collections.abc import Iterator
from typing import NamedTuple

from event_router.router.batch import files
from event_router.router.batch.ports import Ports
from event_router.router.batch.row_events import RowEvent, RowEvents
from event_router.router.batch.rows import CHUNK_ROWS, BadRow, Chunk, Unreadable
from event_router.router.batch.uploads import Binding, NoSuchUpload, given_name
from event_router.router.store.job_ports import Examined, Job, Progress
from event_router.schemas.columns import ColumnType, EventSchema

_AS_TEXT = frozenset({ColumnType.STRING, ColumnType.CATEGORY, ColumnType.TIMESTAMP})


class Lost(NamedTuple):
    """Rows of a file that was readable when it was examined, and is no more."""

    file: str
    row: int
    rows: int
    reason: str


class Read(NamedTuple):
    """Rows of a file, the first of which has this number in it (from 1), and as events."""

    file: str
    first: int
    rows: Chunk
    events: list[RowEvent | BadRow]


class Source:
    """Rows from the checkpoint on. Those whose ids are ours go to the partitions in turn, a chunk
    to each: so a chunk is one batch, and nothing is hashed."""

    def __init__(
        self, ports: Ports, job: Job, progress: Progress, schema: EventSchema | None
    ) -> None:
        self._ports = ports
        self._job = job
        self._partitions = max(1, len(progress.tail))
        self._schema = schema
        self._events = RowEvents(
            job.uuid,
            job.tenant,
            job.topic,
            job.options,
            schema,
            limit=ports.limit,
            clock=ports.clock,
            kafka_topic=ports.topic,
        )
        self._chunks = self._read(progress.files or (), progress.done)

    def next(self) -> Read | Lost | None:
        """None when there is no more."""
        return next(self._chunks, None)

    def _read(self, examined: tuple[Examined, ...], done: int) -> Iterator[Read | Lost]:
        before = 0
        for file, known in zip(self._job.files, examined, strict=True):
            start = max(0, done - before)
            if start < known.rows:
                yield from self._read_file(file, known, before, start)
            before += known.rows

    def _read_file(
        self, file: str, known: Examined, before: int, row: int
    ) -> Iterator[Read | Lost]:
        reason = "the file is shorter than it was"
        try:
            job, uploads = self._job, self._ports.uploads
            path = uploads.find(Binding(job.org, job.tenant, job.topic), file)
            name = given_name(file)
            rows = files.reader(path, name, self._ports.limit, known, self._texts(known))
            for chunk in rows.chunks(row):
                partition = (before + row) // CHUNK_ROWS % self._partitions
                events = [
                    self._events.event(number, one, partition)
                    for number, one in enumerate(chunk, before + row + 1)
                ]
                yield Read(file, row + 1, chunk, events)
                row += len(chunk)
        except (Unreadable, NoSuchUpload) as error:
            reason = str(error)
        if row < known.rows:
            yield Lost(file, row + 1, known.rows - row, reason)

    def _texts(self, known: Examined) -> frozenset[str]:
        """CSV has no types: what the schema calls a text isn't read as a number."""
        if self._schema is None or known.kind != "csv":
            return frozenset()
        return frozenset(one.name for one in self._schema.columns if one.type in _AS_TEXT)
