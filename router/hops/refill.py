"""Refilling: a destination that is owed more than the schedule has room for gets the rest from the
log as it works off what it has, the oldest first.

What is parked next is found beforehand, for being sure that nobody has a row takes seconds; and
while that is parked, the log is read on.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Mapping, Sequence
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
    after: DeliveryRef
    sure: deque[Unsettled]
    exhausted: bool = False
    moving: bool = False
    idle: float = 0.0


@dataclass(slots=True)
class Refills:
    """Of all destinations that had no room. Forgetting one is always safe: the next pass over the
    log finds its rows again. `stuck` are those that still had none when they were given up."""

    orphans: Orphans
    stuck: set[DestinationKey] = field(default_factory=set)
    _refills: dict[DestinationKey, Refill] = field(default_factory=dict)

    @property
    def keys(self) -> Collection[DestinationKey]:
        return self._refills.keys()

    def begin(self, key: DestinationKey, before: int, rows: Sequence[Unsettled]) -> None:
        """`rows` are sure, in order, and had no room."""
        self._refills[key] = Refill(before, rows[-1].ref, deque(rows))

    def forget(self) -> None:
        self._refills.clear()

    async def run(self) -> None:
        """Until it is cancelled; it has forgotten all then."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_parking(), name="refill: park")
                group.create_task(self._keep_reading(), name="refill: read on")
        finally:
            self.forget()

    # -- parking --------------------------------------------------------------------------------

    async def _keep_parking(self) -> None:
        pace = self.orphans.pace
        while True:
            await self.orphans.pause(pace.refill_every)
            if self._refills and not await self.orphans.is_mine():
                self.forget()
            for key, refill in list(self._refills.items()):
                await self._park(refill)
                if refill.idle >= pace.refill_idle:
                    self.stuck.add(key)
                    self._refills.pop(key, None)
                elif refill.exhausted and not refill.sure:
                    self._refills.pop(key, None)

    async def _park(self, refill: Refill) -> None:
        """As many as there is room for; a few at first, since mostly there is none."""
        pace = self.orphans.pace
        count = pace.park_first
        while refill.sure:
            rows = [refill.sure.popleft() for _ in range(min(count, len(refill.sure)))]
            parking = await self.orphans.park(rows)
            if parking.parked:
                refill.moving, refill.idle = True, 0.0
            if parking.refused:
                refill.sure.extendleft(reversed(parking.refused))
                refill.idle += pace.refill_every
                return
            count = pace.park

    # -- reading on -----------------------------------------------------------------------------

    async def _keep_reading(self) -> None:
        while True:
            await self.orphans.pause(self.orphans.pace.refill_every)
            wanting = {key: one for key, one in self._refills.items() if self._wants_more(one)}
            if wanting:
                await self._read_on(wanting)

    def _wants_more(self, refill: Refill) -> bool:
        enough = self.orphans.pace.look // 2
        return refill.moving and not refill.exhausted and len(refill.sure) <= enough

    async def _read_on(self, wanting: Mapping[DestinationKey, Refill]) -> None:
        """For all of them at once: being sure takes as long for many as for few."""
        pace = self.orphans.pace
        rows: list[Unsettled] = []
        for key, refill in wanting.items():
            rows += await self._next_of(
                key, refill, pace.look // len(wanting), pace.look_bytes // len(wanting)
            )
        sure = await self.orphans.sure(rows)
        for row in sure:
            wanting[row.head.key].sure.append(row)
        extra = {"destinations": len(wanting), "read": len(rows), "missing": len(sure)}
        log.info("sweep.read_on", extra=extra)

    async def _next_of(
        self, key: DestinationKey, refill: Refill, most: int, most_bytes: int
    ) -> list[Unsettled]:
        found: list[Unsettled] = []
        page = self.orphans.pace.refill_page
        while len(found) < most and sum(len(one.data) for one in found) < most_bytes:
            rows = await self.orphans.log.unsettled(refill.before, page, refill.after, only=key)
            found += await self.orphans.absent(rows)
            if len(rows) < page:
                refill.exhausted = True
                break
            refill.after = rows[-1].ref
        return found
