"""Records that a newer release wrote: they wait, undelivered and uncommitted, until one reads them.

So do those behind them in their partition, which would otherwise be done twice: once here, and once
by the process that begins at the oldest one that isn't committed.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field

from event_router.consumers.health import Health
from event_router.consumers.watermark import Partition
from event_router.schemas.errors import UnknownVersion
from event_router.schemas.record import Record

Hop = Callable[[Sequence[Record]], Awaitable[None]]
"""Returns when the effects of all the records are durable."""


@dataclass(slots=True)
class NewerRecords:
    """Of one reader: the first such record of each partition that has one. While there is any, the
    role isn't ready, and says where and what to do."""

    health: Health
    first: dict[Partition, int] = field(default_factory=dict)

    async def past(self, hop: Hop, records: Sequence[Record]) -> Sequence[Record]:
        """Calls `hop`, which raises UnknownVersion before it does anything; again without what
        waits. Returns the records it was called with in the end: those are done."""
        while True:
            readable = [record for record in records if not self._waits(record)]
            if not readable:
                return readable
            try:
                await hop(readable)
            except UnknownVersion as newer:
                self._wait(newer)
            else:
                return readable

    def forget(self, partitions: Collection[Partition] | None = None) -> None:
        """Those partitions, or all, are read from what is committed on, or by somebody else."""
        for partition in list(self.first) if partitions is None else partitions:
            if self.first.pop(partition, None) is not None:
                self.health.up(_name(partition))

    def _waits(self, record: Record) -> bool:
        first = self.first.get((record.topic, record.partition))
        return first is not None and record.offset >= first

    def _wait(self, newer: UnknownVersion) -> None:
        if newer.at is None:
            raise newer
        topic, number, offset = newer.at
        partition = (topic, number)
        self.first[partition] = min(offset, self.first.get(partition, offset))
        what = f"its record {offset} is of version {newer.version}, which this release can't read"
        self.health.down(_name(partition), f"{what}: upgrade it")


def _name(partition: Partition) -> str:
    return f"{partition[0]}[{partition[1]}]"
