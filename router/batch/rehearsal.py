"""A dry run of a batch: what would become of its rows, field by field. Blocks."""

from event_router.router.batch.chunks import Numbered, Outcome
from event_router.router.batch.rows import AnyRow, BadRow
from event_router.router.batch.source import Read
from event_router.router.store.job_ports import JobOptions, ReportLine
from event_router.schemas.columns import EventSchema
from event_router.schemas.conformity import Remark, remarks

ROW = "row"


class Rehearsal:
    """Counts rows by what there is to say about them; the first one's words stand for all."""

    def __init__(self, options: JobOptions, schema: EventSchema | None) -> None:
        self._options = options
        self._schema = schema
        self._lines: dict[tuple[str, str, str], ReportLine] = {}

    def look_at(self, chunk: Read) -> Outcome:
        """What would become of it, were Kafka to take all that it is sent."""
        outcome = Outcome(chunk.file, len(chunk.rows))
        pairs = zip(chunk.rows, chunk.events, strict=True)
        for number, (row, event) in enumerate(pairs, chunk.first):
            said = self._said_of(row)
            if isinstance(event, BadRow):
                outcome.refuse(number, event.reason)
                if all(one.type != "fatal" for one in said):
                    said.append(Remark("fatal", ROW, event.reason))
            else:
                outcome.accepted.append(Numbered(number, event))
            for one in said:
                self._count(one)
        return outcome

    def report(self) -> tuple[ReportLine, ...]:
        """The fatal lines first, then those of the most rows."""
        found = self._lines.values()
        return tuple(sorted(found, key=lambda line: (line.type, -line.rows, line.field)))

    def _said_of(self, row: AnyRow) -> list[Remark]:
        if isinstance(row, BadRow):
            return []
        options = self._options
        return remarks(row.values, self._schema, casting=options.casting, partial=options.update)

    def _count(self, one: Remark) -> None:
        kind = one.desc.partition(":")[0] if one.field == ROW else ""
        key = (one.type, one.field, kind)
        before = self._lines.get(key)
        rows = before.rows + 1 if before else 1
        desc = before.desc if before else one.desc
        self._lines[key] = ReportLine(one.type, one.field, desc, rows)
