"""Refilling: a destination that is owed more than the schedule has room for gets the rest from the
log as it works off what it has, the oldest first.

What is parked next is found beforehand, for being sure that nobody has a row takes seconds; and
while that is parked, the log is read on. Nobody else parks anything of a destination meanwhile: the
passes over the log leave it out.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from event_router.router.hops.orphans import Orphans
from event_router.router.store.log_ports import DeliveryRef, Unsettled
from event_router.schemas.delivery import DestinationKey

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Refill:
    """Of one destination: `sure` rows wait for room, and the log has more `after` them that had
    nothing to do `before` (ms), unless it is `exhausted`. `moving`: there has been room since it
    began; `idle`: for so many seconds there has been none."""

    before: int
    after: DeliveryRef | None = None
    sure: deque[Unsettled] = field(default_factory=deque)
    exhausted: bool = False
    moving: bool = False
    idle: float = 0.0

    def take(self, count: int) -> list[Unsettled]:
        """The next sure ones."""
        return [self.sure.popleft() for _ in range(min(count, len(self.sure)))]

    def wants_more(self, most: int, most_bytes: int) -> bool:
        """Half of it lasts for as long as it takes to find the next."""
        if not self.moving or self.exhausted or len(self.sure) > most // 2:
            return False
        return sum(len(row.data) for row in self.sure) <= most_bytes // 2

    def from_here(self) -> "Refill":
        """Another one that reads its sure rows again."""
        if not self.sure:
            return Refill(self.before, self.after)
        first = self.sure[0].ref
        return Refill(self.before, first._replace(round=first.round - 1))


@dataclass(slots=True)
class Refills:
    """Of all destinations that had no room; those that still had none when they were given up are
    `_stuck`, and hold no rows. Forgetting one is always safe: the next pass over the log finds its
    rows again."""

    orphans: Orphans
    _refills: dict[DestinationKey, Refill] = field(default_factory=dict)
    _stuck: dict[DestinationKey, Refill] = field(default_factory=dict)

    @property
    def keys(self) -> AbstractSet[DestinationKey]:
        """The destinations that are left to this."""
        return self._refills.keys() | self._stuck.keys()

    def begin(self, key: DestinationKey, before: int, rows: Sequence[Unsettled]) -> None:
        """`rows` are sure, in order, and had no room."""
        self._refills[key] = Refill(before, rows[-1].ref, deque(rows))
        self.orphans.users.add("refill")

    def forget(self) -> None:
        self._refills.clear()
        self._stuck.clear()
        self.orphans.users -= {"refill", "stuck"}

    async def run(self) -> None:
        """Until it is cancelled; it has forgotten all then."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_parking(), name="refill: park")
                group.create_task(self._keep_reading(), name="refill: read on")
                group.create_task(self._keep_trying(), name="refill: try those that are stuck")
        finally:
            self.forget()

    # -- parking --------------------------------------------------------------------------------

    async def _keep_parking(self) -> None:
        while True:
            await self.orphans.pause(self.orphans.pace.refill_every)
            if not self._refills:
                continue
            if not await self.orphans.is_mine():
                self.forget()
            for key, refill in list(self._refills.items()):
                await self._park(key, refill)
                self._let_go(key, refill)
            if not self._refills:
                await self.orphans.leave("refill")

    def _let_go(self, key: DestinationKey, refill: Refill) -> None:
        """If it is done, or has been without room for too long."""
        if key not in self._refills:
            return
        if refill.idle >= self.orphans.pace.refill_idle:
            self._stuck[key] = refill.from_here()
            del self._refills[key]
        elif refill.exhausted and not refill.sure:
            del self._refills[key]

    async def _park(self, key: DestinationKey, refill: Refill) -> None:
        """As many as there is room for; a few at first, since mostly there is none."""
        pace = self.orphans.pace
        count = pace.park_first
        while refill.sure and key in self._refills:
            parking = await self.orphans.park(refill.take(count))
            if parking.parked:
                refill.moving, refill.idle = True, 0.0
            if parking.refused:
                refill.sure.extendleft(reversed(parking.refused))
                refill.idle += pace.refill_every
                return
            count = pace.park

    # -- reading on -----------------------------------------------------------------------------

    async def _keep_reading(self) -> None:
        pace = self.orphans.pace
        while True:
            await self.orphans.pause(pace.refill_every)
            among = max(1, len(self._refills))
            most, most_bytes = pace.refill_look // among, pace.look_bytes // among
            wanting = {
                key: refill
                for key, refill in self._refills.items()
                if refill.wants_more(most, most_bytes)
            }
            if wanting:
                await self._read_on(wanting, most, most_bytes)

    async def _read_on(
        self, wanting: Mapping[DestinationKey, Refill], most: int, most_bytes: int
    ) -> None:
        """For all of them at once: being sure takes as long for many as for few. Up to `most` rows
        of each."""
        rows: list[Unsettled] = []
        for key, refill in wanting.items():
            rows += await self._next_of(key, refill, most, most_bytes)
        sure = await self.orphans.sure(rows)
        self.orphans.counts.missing += len(sure)
        for row in sure:
            wanting[row.head.key].sure.append(row)
        extra = {"destinations": len(wanting), "read": len(rows), "missing": len(sure)}
        log.info("sweep.read_on", extra=extra)

    async def _next_of(
        self, key: DestinationKey, refill: Refill, most: int, most_bytes: int
    ) -> list[Unsettled]:
        found: list[Unsettled] = []
        size = 0
        while len(found) < most and size < most_bytes:
            page = min(self.orphans.pace.refill_page, most)
            rows = await self.orphans.log.unsettled(refill.before, page, refill.after, only=key)
            missing = await self.orphans.absent(rows)
            found += missing
            size += sum(len(one.data) for one in missing)
            if len(rows) < page:
                refill.exhausted = True
                break
            refill.after = rows[-1].ref
        return found

    # -- those that are stuck -------------------------------------------------------------------

    async def _keep_trying(self) -> None:
        while True:
            await self.orphans.pause(self.orphans.pace.stuck_every)
            if not self._stuck:
                continue
            self.orphans.users.add("stuck")
            if await self.orphans.is_mine():
                await self._try()
                await self.orphans.leave("stuck")
            else:
                self.forget()

    async def _try(self) -> None:
        """Some of them, in turn: with a few rows each, that are made sure of again."""
        pace = self.orphans.pace
        tried: dict[DestinationKey, Refill] = {}
        for key in list(self._stuck)[: pace.stuck_keys]:
            self._stuck[key] = stuck = self._stuck.pop(key)  # behind the others
            tried[key] = stuck.from_here()
        among = max(1, len(tried))
        await self._read_on(tried, max(1, pace.stuck_look // among), pace.look_bytes // among)
        first = [row for refill in tried.values() for row in refill.take(pace.park_first)]
        refused: set[DestinationKey] = set()
        for begin in range(0, len(first), pace.park):
            if not tried.keys() <= self._stuck.keys():
                return  # forgotten meanwhile
            parking = await self.orphans.park(first[begin : begin + pace.park])
            refused |= {row.head.key for row in parking.refused}
        with_room = {row.head.key for row in first} - refused
        for key in self._stuck.keys() & tried.keys():
            if key in with_room:
                self._resume(key, tried[key])
            elif tried[key].exhausted and key not in refused:
                del self._stuck[key]

    def _resume(self, key: DestinationKey, refill: Refill) -> None:
        del self._stuck[key]
        refill.moving = True
        self._refills[key] = refill
        self.orphans.users.add("refill")
