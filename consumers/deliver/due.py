"""What is due in the schedule, pulled as there is room."""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from event_router.consumers.deliver.admission import Admission
from event_router.consumers.deliver.ahead import Ahead
from event_router.consumers.deliver.attempts import Attempts
from event_router.consumers.deliver.keeping import Keeping
from event_router.consumers.deliver.limits import DeliveryCounts, WorkerLimits
from event_router.consumers.deliver.waiting_line import Waiting, WaitingLine
from event_router.consumers.health import Health
from event_router.consumers.patience import persist
from event_router.consumers.ports import MAX_DOOR, Claim, Claimed, Due, Held, Schedule, TenantView
from event_router.consumers.room import Room
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.destination import Destination
from event_router.schemas.topics import Topics


@dataclass(slots=True)
class DuePull:
    """`shards` are those that this worker looks at; `freed` says that a slot was given back. While
    too many attempts wait to be reported, `few_unreported` doesn't return."""

    topics: Topics
    schedule: Schedule
    room: Room
    line: WaitingLine
    admission: Admission
    attempts: Attempts
    keeping: Keeping
    few_unreported: Callable[[], Awaitable[None]]
    health: Health
    clock: Callable[[], int]
    monotonic: Callable[[], float]
    limits: WorkerLimits
    counts: DeliveryCounts
    shards: frozenset[int] = frozenset()
    ahead: Ahead = field(init=False)
    _freed: asyncio.Event = field(default_factory=asyncio.Event)
    _next_look: float = math.inf
    _slot_is_wanted: bool = False

    def __post_init__(self) -> None:
        self.ahead = Ahead(self.limits.claim_ahead, self.limits.claim_ahead_alone)

    def freed(self) -> None:
        self._freed.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            pulled = await self._pull() if self.shards and not self.admission.parking else 0
            if not pulled:
                self._freed.clear()
                await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        """For a slot, or for the end of what a destination waits for that isn't one. Slots that
        come free within a moment are filled together; a short one while somebody waits for them
        who gives them back at once, as it costs that one so many deliveries."""
        shortest = self.limits.poll_every / (50 if self._slot_is_wanted else 10)
        longest = max(min(self.limits.poll_every, self._next_look), shortest)
        try:
            async with asyncio.timeout(longest):
                await self._freed.wait()
                await asyncio.sleep(shortest)
        except TimeoutError:
            return

    async def _pull(self) -> int:
        """Starts what is due and has room; how many that were."""
        await self.few_unreported()
        limits = self._limits()
        self._next_look = math.inf
        self._slot_is_wanted = False
        look = await persist("redis", lambda: self.schedule.due(self.shards, limits), self.health)
        due = [one for one in look.due if one.at <= look.now]
        if not due:
            return 0
        views = await self.admission.views({one.destination.tenant for one in due})
        await self.admission.learn({one.destination for one in due})
        claims = await self._claims(due, views)
        if not claims:
            return 0
        claimed = await persist(
            "redis", lambda: self.schedule.claim(claims, self.limits.lease), self.health
        )
        self.counts.claimed += len(claimed)
        self._catch_up(claims, claimed)
        await self._hand_back([one for one in claimed if not self._start(one, views)], views)
        return len(claimed)

    def _limits(self) -> dict[int, int]:
        """How many destinations to look at in each shard: a full one must not hide the rest."""
        limits = dict.fromkeys(self.shards, self.limits.seen_per_shard)
        now = self.clock()
        for key in self.room.running.keys() | self.room.rates.behind | set(self.line):
            shard = self.topics.shard_of(*key)
            if shard in limits and (key in self.line or not self.room.free(key, now)):
                limits[shard] += 1
        return limits

    async def _claims(self, due: Sequence[Due], views: Mapping[str, TenantView]) -> list[Claim]:
        """As many as there are slots, in equal shares; who is due the longest comes first."""
        left = self.limits.slots - self.room.taken
        share = max(left // len(due), 1)
        claims = []
        for one in sorted(due, key=lambda one: one.at):
            claim = await self._claim_for(one, views, min(share, left))
            if claim:
                claims.append(claim)
                paused = _is_paused(_destination(one.destination, views))
                left -= 0 if paused else min(claim.count, share)
        return claims

    async def _claim_for(
        self, due: Due, views: Mapping[str, TenantView], most: int
    ) -> Claim | None:
        """At most so many, and of a paused one some, to see how old they are; the door is shut
        on those that can't be served, so that they don't come up again at every look."""
        key = due.destination
        destination = _destination(key, views)
        now = self.clock()
        if _is_paused(destination):
            return Claim(key, self.limits.aged_at_once, self.limits.claim_bytes)
        if self.room.is_shut(key, now):
            await self._shut(key, (self.room.backoffs[key].open_until - now) / 1000)
            return None
        if not self._is_worth_it(key, destination, now):
            return None
        count = min(self.room.free(key, now), most)
        if most and self._may_wait(key):
            waiting, alone = self.line.length(key), self.room.is_alone(key, now)
            pause = self.ahead.pause(key, waiting, self.monotonic(), alone=alone)
            if pause:
                self._next_look = min(self._next_look, pause)
                return None
            count += self.ahead.count(waiting, alone=alone)
        if not count:
            self._slot_is_wanted |= key in self.room.trusted
            return None
        return Claim(key, count, self.limits.claim_bytes)

    def _may_wait(self, key: DestinationKey) -> bool:
        """Whether what was claimed for it soon has a slot, if it hasn't one yet."""
        return (
            key in self.room.trusted
            and key not in self.room.backoffs
            and not self.room.rates.is_limited(key)
        )

    def _is_worth_it(self, key: DestinationKey, destination: Destination | None, now: int) -> bool:
        """Whether there are tokens; if not, or not enough, there will be soon."""
        rates = self.room.rates
        rates.limit(key, destination.rate_limit if destination else None, now)
        rates.fall_behind(key)
        wait = rates.wait(key, now)
        if wait:
            self._next_look = min(self._next_look, wait)
        return not wait

    def _catch_up(self, claims: Sequence[Claim], claimed: Sequence[Claimed]) -> None:
        """Of whom there were fewer than there was room for, there are no more."""
        counts = Counter(one.delivery.head.key for one in claimed)
        for claim in claims:
            if counts[claim.destination] < claim.count:
                self.room.rates.catch_up(claim.destination)
                self.ahead.caught_up(claim.destination)
            else:
                self.ahead.claimed(claim.destination, self.monotonic())

    async def _shut(self, key: DestinationKey, seconds: float) -> None:
        await persist("redis", lambda: self.schedule.door(key, seconds), self.health)

    def _start(self, claimed: Claimed, views: Mapping[str, TenantView]) -> bool:
        """Now, or when its turn in line comes. False when it has to wait in the schedule: its
        destination is paused, or another worker's by now, or what came meanwhile has taken the
        slots."""
        head = claimed.delivery.head
        destination = _destination(head.key, views)
        if _is_paused(destination):
            if not self.attempts.is_too_old(head):
                return False
        elif destination is not None and (
            head.key in self.line or not self.room.free(head.key, self.clock())
        ):
            waiting = Waiting(claimed.delivery, self.monotonic(), lease=claimed.lease)
            return self._may_wait(head.key) and self.line.add(waiting)
        self.attempts.start(claimed.delivery, destination, lease=claimed.lease)
        return True

    async def _hand_back(self, claimed: Sequence[Claimed], views: Mapping[str, TenantView]) -> None:
        """They go behind the others of their destination; a paused one's door is shut for a
        while."""
        await self.keeping.hand_back([Held(one.delivery, one.lease) for one in claimed])
        for key in {one.delivery.head.key for one in claimed}:
            if _is_paused(_destination(key, views)):
                await self._shut(key, MAX_DOOR)


def _destination(key: DestinationKey, views: Mapping[str, TenantView]) -> Destination | None:
    return views[key.tenant].destinations.get(key.destination)


def _is_paused(destination: Destination | None) -> bool:
    return destination is not None and destination.is_paused
