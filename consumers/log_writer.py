"""The hop `log`: records of all four topics become rows, written in bulk.

decode → merge what belongs to one row → write, in one transaction → done.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from event_router.consumers.health import Health
from event_router.consumers.log_rows import (
    AttemptRow,
    DeadRow,
    DeliveryRow,
    EventRow,
    LogRows,
    RoutingRow,
    attempt_row,
    attempted,
    dead_order,
    dead_row,
    event_row,
    given_up,
    merged,
    ordered_place,
    queued,
    routing_order,
    routing_row,
)
from event_router.consumers.patience import persist
from event_router.consumers.ports import LogStore
from event_router.schemas.attempt import Routed
from event_router.schemas.decode import decode_event
from event_router.schemas.errors import Undecodable, UnknownVersion
from event_router.schemas.record import Record
from event_router.schemas.topics import Topics
from event_router.schemas.wire import HEAD, read_dead, read_delivery, read_outcome

log = logging.getLogger(__name__)


@dataclass(slots=True)
class LogCounts:
    """What this process has written since it started, in records."""

    records: int = 0
    undecodable: int = 0


@dataclass(slots=True)
class LogWriter:
    """Writes batches of records of the four topics to the log.

    A transaction costs more than its rows: whoever reads gathers for some 0.2 to 0.5 s first.
    """

    topics: Topics
    store: LogStore
    health: Health
    counts: LogCounts = field(default_factory=LogCounts)

    async def write(self, records: Sequence[Record]) -> None:
        """On return all that the records say is committed, or was there already.

        What can't be read is counted and left out: route has put it into `dead`, when it came
        from `events`; in the other topics only we write. Raises UnknownVersion before anything is
        written.
        """
        batch = _Batch(self.topics)
        for record in records:
            try:
                batch.add(record)
            except UnknownVersion:
                raise
            except Undecodable as problem:
                self._leave_out(record, problem)
        rows = batch.rows()
        await persist("database", lambda: self.store.write(rows), self.health)
        self.counts.records += len(records)

    def _leave_out(self, record: Record, problem: Undecodable) -> None:
        self.counts.undecodable += 1
        if record.topic != self.topics.events:
            log.error(
                "log.undecodable",
                extra={
                    "topic": record.topic,
                    "partition": record.partition,
                    "offset": record.offset,
                    "reason": problem.reason,
                    "detail": problem.detail,
                },
            )


class _Batch:
    """Rows of one batch, merged by key: each key is written once."""

    def __init__(self, topics: Topics) -> None:
        self._add: dict[str, Callable[[Record], None]] = {
            topics.events: self._add_event,
            topics.deliveries: self._add_delivery,
            topics.attempts: self._add_outcome,
            topics.dead: self._add_dead,
        }
        self._events: list[EventRow] = []
        self._routings: dict[str, RoutingRow] = {}
        self._deliveries: dict[tuple[str, str, int], DeliveryRow] = {}
        self._attempts: list[AttemptRow] = []
        self._dead: dict[tuple[str, str], DeadRow] = {}

    def add(self, record: Record) -> None:
        """Raises Undecodable; then nothing of the record is in the batch."""
        self._add[record.topic](record)

    def rows(self) -> LogRows:
        return LogRows(
            self._events,
            list(self._routings.values()),
            list(self._deliveries.values()),
            self._attempts,
            list(self._dead.values()),
        )

    def _add_event(self, record: Record) -> None:
        self._events.append(event_row(decode_event(record)))

    def _add_delivery(self, record: Record) -> None:
        place = ordered_place(record.partition, record.offset, record.timestamp)
        self._merge(queued(read_delivery(record).head, place, record.timestamp))

    def _add_outcome(self, record: Record) -> None:
        outcome = read_outcome(record)
        if isinstance(outcome, Routed):
            row = routing_row(outcome)
            kept = self._routings.setdefault(row.origin, row)
            self._routings[row.origin] = min(kept, row, key=routing_order)
            return
        place = ordered_place(record.partition, record.offset, record.timestamp)
        self._attempts.append(attempt_row(outcome))
        self._merge(attempted(outcome.head, place))

    def _add_dead(self, record: Record) -> None:
        dead = read_dead(record)
        row = dead_row(dead, record.header(HEAD) or b"")
        kept = self._dead.setdefault(row[:2], row)
        self._dead[row[:2]] = min(kept, row, key=dead_order)
        if dead.head.delivery is not None:
            self._merge(given_up(dead.head.delivery, dead.head.at))

    def _merge(self, row: DeliveryRow) -> None:
        key = row[:3]
        kept = self._deliveries.get(key)
        self._deliveries[key] = row if kept is None else merged(kept, row)
