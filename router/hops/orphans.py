"""Deliveries that the log calls unsettled and nobody is going to make: found for sure, and parked.

The steps are numbered as in `sweep.py`, which says what each is for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from event_router.consumers.ports import (
    Directory,
    Parked,
    Schedule,
    TenantView,
    due_since,
    entry_key,
)
from event_router.consumers.watermark import Partition
from event_router.router.decisions.retry import Retry, RetryPolicy, decide, dice_of, policy_for
from event_router.router.hops.progress import (
    Offsets,
    Progress,
    passed,
    progress_of,
    reached,
    shrunk,
)
from event_router.router.store.log_ports import Log, Unsettled
from event_router.schemas.delivery import Delivery
from event_router.schemas.ids import new_id
from event_router.schemas.topics import Topics

TURN = 15.0
"""Seconds from the last sign of a sweep until another one may take over."""
_OVER = 0.001


@dataclass(frozen=True, slots=True)
class SweepPace:
    """Seconds, and counts. `renewed` is longer than it takes a worker to renew its leases; a look
    holds at most `look` rows (`slow_look` while there is nothing to park) and about `look_bytes`
    of payload.

    Where there is no room rows wait for some, tried every `refill_every`: up to `refill_look` of
    them, half of which last for as long as it takes to find the next. Who had no room for
    `refill_idle` is tried with fresh rows every `stuck_every`, `stuck_look` of all and
    `stuck_keys` destinations at a time.
    """

    renewed: float = 6.0
    ask: float = 0.5
    ask_at_most: float = 5.0
    page: int = 500
    page_pause: float = 0.5
    look: int = 16_000
    slow_look: int = 1_000
    look_bytes: int = 32 << 20
    park: int = 250
    park_first: int = 10
    refill_page: int = 2_000
    refill_look: int = 40_000
    refill_every: float = 0.5
    refill_idle: float = 20.0
    stuck_every: float = 5.0
    stuck_look: int = 4_000
    stuck_keys: int = 400


@dataclass(slots=True)
class SweepCounts:
    """Deliveries that were missing from the schedule, and what came of it, since the start. What
    was on its way to the log when it was looked at isn't missing."""

    missing: int = 0
    parked: int = 0
    refused: int = 0


class Parking(NamedTuple):
    """How many were parked, and which had no room. The rest was no orphan any more."""

    parked: int
    refused: list[Unsettled]


def next_attempt(row: Unsettled, policy: RetryPolicy) -> Parked:
    """The attempt that is owed, due when it would have been.

    A last attempt that should have been given up, and wasn't, is followed by another one: settle
    then gives up, visibly.
    """
    last = row.last_attempt
    if last is None:
        return Parked(Delivery(row.head, row.data), due_since(row.head))
    ended = last.started + round(last.latency)
    decision = decide(policy, last, ended, dice_of(last.delivery))
    due = decision.at if isinstance(decision, Retry) else due_since(row.head)
    later = msgspec.structs.replace(last.delivery, attempt=last.delivery.attempt + 1)
    return Parked(Delivery(later, row.data), due)


@dataclass(slots=True)
class Orphans:
    """Everything raises Unavailable for trouble of a dependency: then begin again later."""

    topics: Topics
    log: Log
    schedule: Schedule
    offsets: Offsets
    directory: Directory
    policy: RetryPolicy
    pace: SweepPace = field(default_factory=SweepPace)
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    counts: SweepCounts = field(default_factory=SweepCounts)
    owner: str = field(default_factory=new_id)
    users: set[str] = field(default_factory=set)
    """Who of ours needs the turn to stay ours."""
    _has_turn: bool = False

    async def is_mine(self) -> bool:
        """Whether it is our turn, for TURN seconds from now."""
        self._has_turn = await self.schedule.turn(self.owner, TURN)
        return self._has_turn

    async def keep_turn(self) -> None:
        """Gives signs while it is our turn, however long a look takes; until it is cancelled."""
        while True:
            await self.pause(TURN / 4)
            if self._has_turn:
                await self.is_mine()

    async def end_turn(self) -> None:
        self._has_turn = False
        await self.schedule.turn(self.owner, _OVER)

    async def leave(self, user: str) -> None:
        """That one needs the turn no more; it ends when nobody does."""
        self.users.discard(user)
        if not self.users:
            await self.end_turn()

    async def absent(self, rows: list[Unsettled]) -> list[Unsettled]:
        """3. Those that the schedule hasn't got."""
        there = await self.schedule.has([entry_key(row.head) for row in rows])
        return [row for row, parked in zip(rows, there, strict=True) if not parked]

    async def sure(self, rows: list[Unsettled]) -> list[Unsettled]:
        """Steps 2 to 5: those of the rows that nobody has, or that were settled meanwhile, which
        step 6 sees. Since only who has the turn parks them, they stay so while it is ours."""
        rows = await self.absent(await self._behind(rows))
        if not rows:
            return []
        await self.pause(self.pace.renewed)
        rows = await self.absent(rows)
        return rows if rows and await self._all_read() else []

    async def park(self, rows: Sequence[Unsettled]) -> Parking:
        """6. Of sure ones, those whose row is unchanged. What is refused stays with the log."""
        views = await self.directory.views({row.head.tenant for row in rows})
        absent = await self.absent(await self.log.still_unsettled(list(rows)))
        if not absent:
            return Parking(0, [])
        entries = [next_attempt(row, self._policy(row, views[row.head.tenant])) for row in absent]
        results = await self.schedule.park(entries)
        parked = results.count("parked")
        self.counts.parked += parked
        self.counts.refused += results.count("refused")
        outcomes = zip(absent, results, strict=True)
        return Parking(parked, [row for row, result in outcomes if result == "refused"])

    def _policy(self, row: Unsettled, view: TenantView) -> RetryPolicy:
        return policy_for(view.destinations.get(row.head.destination), self.policy)

    async def _behind(self, rows: list[Unsettled]) -> list[Unsettled]:
        """2."""
        if not rows:
            return []
        topics = self.topics
        delivered = await self._progress("deliver", topics.deliveries)
        settled = await self._progress("stream", topics.attempts)
        return [
            row
            for row in rows
            if passed(row.delivery_place, topics.deliveries, delivered)
            and passed(row.attempt_place, topics.attempts, settled)
        ]

    async def _all_read(self) -> bool:
        """4 and 5. False when it is to begin again."""
        topics = self.topics
        ends = {
            topic: await self.offsets.ends(topic) for topic in (topics.deliveries, topics.attempts)
        }
        first = (
            ("deliver", topics.deliveries),
            ("stream", topics.attempts),
            ("log", topics.deliveries),
            ("log", topics.attempts),
        )
        for role, topic in first:
            if not await self._until_read(role, topic, ends[topic]):
                return False
        # What settle gave up lies there now.
        return await self._until_read("log", topics.dead, await self.offsets.ends(topics.dead))

    async def _until_read(self, role: str, topic: str, ends: dict[Partition, int]) -> bool:
        asks = self._asks()
        while True:
            progress = await self._progress(role, topic)
            if shrunk(ends, progress.ends):
                return False
            if reached(ends, progress.done):
                return True
            await self.pause(next(asks))
            if not await self.is_mine():
                return False

    def _asks(self) -> Iterator[float]:
        pause = self.pace.ask
        while True:
            yield pause
            pause = min(pause * 1.2, self.pace.ask_at_most)

    async def _progress(self, role: str, topic: str) -> Progress:
        done = await self.offsets.done(self.topics.group(role), topic)
        return progress_of(done, await self.offsets.ends(topic))
