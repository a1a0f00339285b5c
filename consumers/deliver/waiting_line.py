"""Deliveries that wait a moment for room, in the worker's memory. Pure.

A destination that answers fast has room again within milliseconds: parking what came meanwhile
would cost more than delivering it. So each may have a short line, for a short time; the rest, and
what waited too long, goes into the schedule.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from event_router.consumers.ports import Lease
from event_router.schemas.delivery import Delivery, DestinationKey
from event_router.schemas.record import Record


class Waiting(NamedTuple):
    """A delivery in line, and since when (monotonic, seconds): one that was read, or one that was
    claimed from the schedule and has a lease there instead of a record."""

    delivery: Delivery
    since: float
    record: Record | None = None
    lease: Lease | None = None


class WaitingLine:
    """One line a destination: `each` deliveries at most in one, `most` in all, `most_bytes`."""

    def __init__(self, each: int = 4_000, most: int = 8_000, most_bytes: int = 64 << 20) -> None:
        self.each = each
        self.most = most
        self.most_bytes = most_bytes
        self._lines: dict[DestinationKey, deque[Waiting]] = {}
        self._count = 0
        self._bytes = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: DestinationKey) -> bool:
        return key in self._lines

    def __iter__(self) -> Iterator[DestinationKey]:
        """Destinations with a line, the one that was served longest ago first."""
        return iter(self._lines)

    def length(self, key: DestinationKey) -> int:
        return len(self._lines.get(key, ()))

    def add(self, waiting: Waiting) -> bool:
        """False when there is no place in the line."""
        size = len(waiting.delivery.data)
        if self._count >= self.most or self._bytes + size > self.most_bytes:
            return False
        line = self._lines.setdefault(waiting.delivery.head.key, deque())
        if len(line) >= self.each:
            return False
        line.append(waiting)
        self._count += 1
        self._bytes += size
        return True

    def take(self, key: DestinationKey, count: int) -> list[Waiting]:
        """The first `count` of the line; the destination goes behind the others."""
        line = self._lines.pop(key)
        taken = [line.popleft() for _ in range(min(count, len(line)))]
        if line:
            self._lines[key] = line
        self._left(taken)
        return taken

    def since_before(self, moment: float) -> list[Waiting]:
        """Takes out those that have waited since before `moment`."""
        return self._take_out(lambda waiting: waiting.since < moment)

    def of_partitions(self, partitions: Collection[int]) -> list[Waiting]:
        """Takes out those whose records lie there."""
        return self._take_out(
            lambda waiting: waiting.record is not None and waiting.record.partition in partitions
        )

    def _take_out(self, wanted: Callable[[Waiting], bool]) -> list[Waiting]:
        out = [waiting for waiting in self._all() if wanted(waiting)]
        if out:
            kept = [waiting for waiting in self._all() if not wanted(waiting)]
            self._lines.clear()
            for waiting in kept:
                self._lines.setdefault(waiting.delivery.head.key, deque()).append(waiting)
            self._left(out)
        return out

    def _all(self) -> Iterator[Waiting]:
        for line in self._lines.values():
            yield from line

    def _left(self, waiting: Collection[Waiting]) -> None:
        self._count -= len(waiting)
        self._bytes -= sum(len(one.delivery.data) for one in waiting)
