"""Sweep: nothing hangs on Redis. What the log calls unsettled, and nobody is going to deliver, is
parked again. It never sends.

The order of the six steps is what keeps it from parking what is still in flight (design.md):

1. Read the row: unsettled, with its last places in `deliveries` and `attempts`.
2. Deliver has committed past the first place, settle past the second.
3. The schedule hasn't got it, and still hasn't after leases must have been renewed.
4. Then read the ends of `deliveries` and `attempts`.
5. Wait until deliver, settle and the log are past those ends, and the log has read `dead`.
6. The row is unchanged and the schedule still without it: park it.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

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
from event_router.router.store.log_ports import DeliveryRef, Log, Unsettled
from event_router.schemas.delivery import Delivery, DestinationKey
from event_router.schemas.ids import new_id
from event_router.schemas.topics import Topics

log = logging.getLogger(__name__)

TURN = 60.0
"""Seconds that a sweep has before another one may take over."""
_OVER = 0.001


class Offsets(Protocol):
    """What lies in Kafka and how far groups have come. Raises Unavailable."""

    async def ends(self, topic: str) -> dict[Partition, int]:
        """The end of each partition."""
        ...

    async def done(self, group: str, topic: str) -> dict[Partition, int]:
        """What the group has before it in each partition: its commit, or the earliest record."""
        ...


@dataclass(frozen=True, slots=True)
class SweepPace:
    """Seconds, and counts. `renewed` is longer than it takes a worker to renew its leases; a look
    holds at most `look` rows and about `look_bytes` of payload; `probe` rows of a destination
    that had no room at the last look are tried."""

    renewed: float = 6.0
    ask: float = 0.5
    ask_at_most: float = 5.0
    page: int = 500
    page_pause: float = 0.5
    look: int = 5_000
    look_bytes: int = 32 << 20
    park: int = 250
    probe: int = 100


@dataclass(slots=True)
class SweepCounts:
    """Deliveries that were missing from the schedule, and what came of it, since the start."""

    missing: int = 0
    parked: int = 0
    refused: int = 0


class _Page(NamedTuple):
    """Rows without anybody to deliver them, as it seems, and where to read on; None: the end."""

    missing: list[Unsettled]
    after: DeliveryRef | None


# -- decisions: pure ------------------------------------------------------------------------------


class Progress(NamedTuple):
    """How far a group has come with a topic, by partition, and the topic's ends right after."""

    done: dict[Partition, int]
    ends: dict[Partition, int]


def progress_of(done: dict[Partition, int], ends: dict[Partition, int]) -> Progress:
    """Without commits past the end: they were made to a topic that isn't there any more. `ends`
    were read after `done`."""
    usable = {partition: at for partition, at in done.items() if at <= ends.get(partition, 0)}
    return Progress(usable, ends)


def passed(place: tuple[int, int, int] | None, topic: str, progress: Progress) -> bool:
    """Whether the group has the record at `place` behind it, which was known before `progress`.
    One at or past the end of its partition lay in a topic that isn't there any more."""
    if place is None:
        return True
    number, offset, _ = place
    partition = (topic, number)
    return offset >= progress.ends.get(partition, 0) or progress.done.get(partition, 0) > offset


def reached(ends: dict[Partition, int], done: dict[Partition, int]) -> bool:
    return all(done.get(partition, 0) >= end for partition, end in ends.items())


def shrunk(then: dict[Partition, int], now: dict[Partition, int]) -> bool:
    return any(now.get(partition, 0) < end for partition, end in then.items())


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


# -- the shell ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Sweep:
    """Parks what nobody is going to deliver. One sweeps at a time, whoever has the turn.

    Everything raises Unavailable for trouble of a dependency: then begin again later.
    """

    topics: Topics
    log: Log
    schedule: Schedule
    offsets: Offsets
    directory: Directory
    policy: RetryPolicy
    pace: SweepPace = SweepPace()
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    counts: SweepCounts = field(default_factory=SweepCounts)
    owner: str = field(default_factory=new_id)
    _full: set[DestinationKey] = field(default_factory=set)

    async def __call__(self, before: int, *, hurry: bool = False) -> int:
        """One pass over everything that had nothing to do before `before` (ms); how many
        deliveries were parked. Without `hurry` it reads slowly."""
        parked, after = 0, None
        while await self._is_mine():
            missing, after = await self._missing(before, after, hurry=hurry)
            parked += await self._look(missing)
            if after is None:
                await self.schedule.turn(self.owner, _OVER)
                break
        return parked

    async def _missing(self, before: int, after: DeliveryRef | None, *, hurry: bool) -> _Page:
        """1. Leaving out what the schedule has is always safe, and mostly leaves nothing."""
        pace = self.pace
        missing: list[Unsettled] = []
        tried: Counter[DestinationKey] = Counter()
        size = 0
        while await self._is_mine():
            rows = await self.log.unsettled(before, pace.page, after)
            before_page = len(missing)
            for row in await self._absent(rows):
                key = row.head.key
                tried[key] += 1
                if key not in self._full or tried[key] <= pace.probe:
                    missing.append(row)
                    size += len(row.data)
            if len(rows) < pace.page:
                return _Page(missing, None)
            after = rows[-1].ref
            if len(missing) >= pace.look or size >= pace.look_bytes:
                return _Page(missing, after)
            if not hurry and len(missing) == before_page:
                await self.pause(pace.page_pause)
        return _Page([], None)

    async def _look(self, rows: list[Unsettled]) -> int:
        """Steps 2 to 6; how many were parked."""
        rows = await self._absent(await self._behind(rows))
        if not rows:
            return 0
        await self.pause(self.pace.renewed)
        rows = await self._absent(rows)
        if not rows or not await self._all_read():
            return 0
        self.counts.missing += len(rows)
        self._full.clear()
        before = self.counts.parked
        for begin in range(0, len(rows), self.pace.park):
            if not await self._is_mine():
                break
            await self._park(rows[begin : begin + self.pace.park])
        parked = self.counts.parked - before
        extra = {"missing": len(rows), "parked": parked, "full": len(self._full)}
        log.info("sweep.looked", extra=extra)
        return parked

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

    async def _absent(self, rows: list[Unsettled]) -> list[Unsettled]:
        """3."""
        there = await self.schedule.has([entry_key(row.head) for row in rows])
        return [row for row, parked in zip(rows, there, strict=True) if not parked]

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
            if not await self._is_mine():
                return False

    def _asks(self) -> Iterator[float]:
        pause = self.pace.ask
        while True:
            yield pause
            pause = min(pause * 2, self.pace.ask_at_most)

    async def _progress(self, role: str, topic: str) -> Progress:
        done = await self.offsets.done(self.topics.group(role), topic)
        return progress_of(done, await self.offsets.ends(topic))

    async def _park(self, rows: list[Unsettled]) -> None:
        """6. What is refused stays with the log; of its destination no more is tried now."""
        wanted = [row for row in rows if row.head.key not in self._full]
        views = await self.directory.views({row.head.tenant for row in wanted})
        absent = await self._absent(await self.log.still_unsettled(wanted))
        entries = [next_attempt(row, self._policy(row, views[row.head.tenant])) for row in absent]
        results = await self.schedule.park(entries)
        self.counts.parked += results.count("parked")
        self.counts.refused += results.count("refused")
        self._full.update(_refused(entries, results))

    def _policy(self, row: Unsettled, view: TenantView) -> RetryPolicy:
        return policy_for(view.destinations.get(row.head.destination), self.policy)

    async def _is_mine(self) -> bool:
        return await self.schedule.turn(self.owner, TURN)


def _refused(entries: Sequence[Parked], results: Sequence[str]) -> set[DestinationKey]:
    return {
        entry.delivery.head.key
        for entry, result in zip(entries, results, strict=True)
        if result == "refused"
    }
