"""Sweep: nothing hangs on Redis. What the log calls unsettled, and nobody is going to deliver, is
parked again. It never sends.

The order of the six steps is what keeps it from parking what is still in flight (design.md):

1. Read the row: unsettled, with its last places in `deliveries` and `attempts`.
2. Deliver has committed past the first place, settle past the second.
3. The schedule hasn't got it, and still hasn't after leases must have been renewed.
4. Then read the ends of `deliveries` and `attempts`.
5. Wait until deliver, settle and the log are past those ends, and the log has read `dead`.
6. The row is unchanged and the schedule still without it: park it.

Here is a pass over the log, which is step 1; the other steps are in `orphans.py`. Where there is no
room, `refill.py` goes on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import InitVar, dataclass, field

from event_router.consumers.ports import Directory, Schedule
from event_router.router.decisions.retry import RetryPolicy
from event_router.router.hops.orphans import Orphans, SweepCounts, SweepPace
from event_router.router.hops.progress import Offsets
from event_router.router.hops.refill import Refills
from event_router.router.store.log_ports import DeliveryRef, Log, Unsettled
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.topics import Topics

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Pass:
    """Over everything that had nothing to do `before` (ms), up to `after`, but for destinations
    `without` room. It is `fast` in a hurry, and while there is something to park."""

    before: int
    fast: bool
    without: set[DestinationKey]
    after: DeliveryRef | None = None
    at_end: bool = False
    parked: int = 0


@dataclass(slots=True)
class Sweep:
    """Parks what nobody is going to deliver. One sweeps at a time, whoever has the turn.

    Everything raises Unavailable for trouble of a dependency: then begin again later.
    """

    topics: InitVar[Topics]
    log: Log
    schedule: Schedule
    offsets: InitVar[Offsets]
    directory: InitVar[Directory]
    policy: InitVar[RetryPolicy]
    pace: SweepPace = field(default_factory=SweepPace)
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    orphans: Orphans = field(init=False)
    refills: Refills = field(init=False)

    def __post_init__(
        self, topics: Topics, offsets: Offsets, directory: Directory, policy: RetryPolicy
    ) -> None:
        self.orphans = Orphans(
            topics, self.log, self.schedule, offsets, directory, policy, self.pace, self.pause
        )
        self.refills = Refills(self.orphans)

    @property
    def counts(self) -> SweepCounts:
        return self.orphans.counts

    async def __call__(self, before: int, *, hurry: bool = False) -> int:
        """One pass over everything that had nothing to do before `before` (ms); how many
        deliveries it parked. Without `hurry` it reads slowly."""
        this = _Pass(before, hurry, set(self.refills.keys))
        self.orphans.users.add("pass")
        try:
            while not this.at_end and await self.orphans.is_mine():
                this.fast = await self._look(await self._missing(this), this) or hurry
        except BaseException:
            self.orphans.users.discard("pass")
            raise
        await self.orphans.leave("pass")
        return this.parked

    async def _missing(self, this: _Pass) -> list[Unsettled]:
        """1. Rows without anybody to deliver them, as it seems. Leaving out what the schedule has
        is always safe, and mostly leaves nothing."""
        pace = self.pace
        missing: list[Unsettled] = []
        while await self.orphans.is_mine():
            rows = await self.log.unsettled(
                this.before, pace.page, this.after, without=this.without
            )
            missing += await self.orphans.absent(rows)
            if len(rows) < pace.page:
                this.at_end = True
                return missing
            this.after = rows[-1].ref
            size = sum(len(row.data) for row in missing)
            most = pace.look if this.fast else pace.slow_look
            if len(missing) >= most or size >= pace.look_bytes:
                return missing
            if not this.fast:
                await self._rest()
        return []

    async def _rest(self) -> None:
        """So that it's no burden. None of the rows is sure yet, so another one may sweep."""
        await self.orphans.leave("pass")
        await self.pause(self.pace.page_pause)
        self.orphans.users.add("pass")

    async def _look(self, rows: list[Unsettled], this: _Pass) -> bool:
        """Steps 2 to 6; whether there were some to park."""
        rows = await self.orphans.sure(rows)
        if rows:
            await self._park(rows, this)
        return bool(rows)

    async def _park(self, rows: list[Unsettled], this: _Pass) -> None:
        """6. What has no room is left to the refills."""
        left: dict[DestinationKey, list[Unsettled]] = {}
        parked = missing = 0
        for begin in range(0, len(rows), self.pace.park):
            if not await self.orphans.is_mine():
                return
            some = rows[begin : begin + self.pace.park]
            parking = await self.orphans.park([row for row in some if row.head.key not in left])
            waiting = [row for row in some if row.head.key in left]
            self.counts.refused += len(waiting)
            parked += parking.parked
            missing += parking.parked + len(parking.refused) + len(waiting)
            for row in (*waiting, *parking.refused):
                left.setdefault(row.head.key, []).append(row)
        for key, theirs in left.items():
            self.refills.begin(key, this.before, theirs)
        this.without |= left.keys()
        this.parked += parked
        self.counts.missing += missing
        extra = {"missing": missing, "parked": parked, "full": len(left)}
        log.info("sweep.looked", extra=extra)
