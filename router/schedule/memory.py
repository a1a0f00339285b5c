"""The schedule in memory: for tests, and the model that the one in Redis is compared with."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from event_router.consumers.ports import (
    MAX_DOOR,
    Backoff,
    Claim,
    Claimed,
    Due,
    EntryKey,
    Held,
    Lease,
    Look,
    Parked,
    ParkResult,
    ScheduleStats,
    Settled,
    entry_key,
    member_of,
)
from event_router.router.schedule.layout import (
    NONCES,
    Bounds,
    attempt_of,
    decode_body,
    encode_body,
    lease_ms,
    nonces,
)
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.topics import Topics


@dataclass(slots=True)
class _Entry:
    score: float
    body: bytes


def _wall_clock() -> int:
    return time.time_ns() // 1_000_000


class MemorySchedule:
    """Keeps bytes, not objects. `clock` is in ms."""

    def __init__(
        self,
        topics: Topics,
        bounds: Bounds,
        *,
        clock: Callable[[], int] = _wall_clock,
        fractions: Iterator[int] | None = None,
    ) -> None:
        self._topics = topics
        self._bounds = bounds
        self._now = clock
        self._nonces = fractions or nonces()
        self._queues: dict[DestinationKey, dict[str, _Entry]] = defaultdict(dict)
        self._doors: dict[DestinationKey, int] = {}
        self._backoff: dict[DestinationKey, Backoff] = {}
        self._marked: int | None = None
        self._turn = ("", 0)

    async def park(self, entries: Sequence[Parked]) -> list[ParkResult]:
        return [self._park(entry) for entry in entries]

    async def hold(self, running: Sequence[Held], seconds: float) -> list[Lease | None]:
        score = self._lease(seconds)
        return [self._hold(held, score) for held in running]

    async def claim(self, claims: Sequence[Claim], seconds: float) -> list[Claimed]:
        score = self._lease(seconds)
        return [claimed for claim in claims for claimed in self._claim(claim, score)]

    async def finish(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            queue = self._queues[lease.entry.destination]
            entry = queue.get(lease.entry.member)
            if entry is not None and _token(entry.score) == lease.token:
                del queue[lease.entry.member]

    async def remove(self, settled: Sequence[Settled]) -> None:
        for each in settled:
            queue = self._queues[each.head.key]
            if each.up_to_attempt is None:
                for round_ in range(each.head.round + 1):
                    queue.pop(member_of(each.head, round_), None)
            else:
                member = member_of(each.head, each.head.round)
                if member in queue and attempt_of(queue[member].body) <= each.up_to_attempt:
                    del queue[member]

    async def has(self, entries: Sequence[EntryKey]) -> list[bool]:
        return [entry.member in self._queues[entry.destination] for entry in entries]

    async def door(self, destination: DestinationKey, seconds: float) -> None:
        self._doors[destination] = self._now() + round(min(seconds, MAX_DOOR) * 1000)

    async def due(self, shards: Collection[int], limit: Mapping[int, int]) -> Look:
        heads: dict[int, list[tuple[float, str, DestinationKey]]] = defaultdict(list)
        for key, queue in self._queues.items():
            if queue:
                first = min(entry.score for entry in queue.values())
                at = max(first, self._doors.get(key, 0))
                heads[self._topics.shard_of(*key)].append((at, "/".join(key), key))
        due = [
            Due(key, math.ceil(at))
            for shard in shards
            for at, _, key in sorted(heads[shard])[: limit.get(shard, 1)]
        ]
        return Look(self._now(), due)

    async def backoff(
        self, destinations: Collection[DestinationKey]
    ) -> dict[DestinationKey, Backoff]:
        return {key: self._backoff[key] for key in destinations if key in self._backoff}

    async def set_backoff(self, backoff: Mapping[DestinationKey, Backoff | None]) -> None:
        for key, value in backoff.items():
            if value is None:
                self._backoff.pop(key, None)
            else:
                self._backoff[key] = value

    async def stats(self) -> ScheduleStats:
        entries = [entry for queue in self._queues.values() for entry in queue.values()]
        leased = sum(entry.score % 1 != 0 and entry.score > self._now() for entry in entries)
        return ScheduleStats(len(entries), self._bytes(), leased)

    async def intact_for(self) -> float | None:
        return None if self._marked is None else (self._now() - self._marked) / 1000

    async def mark(self) -> None:
        self._marked = self._now()

    async def turn(self, owner: str, seconds: float) -> bool:
        holder, until = self._turn
        if holder != owner and until > self._now():
            return False
        self._turn = (owner, self._now() + round(seconds * 1000))
        return True

    async def aclose(self) -> None:
        """Nothing to close."""

    def clear(self) -> None:
        """Forgets everything, as a Redis that was lost has."""
        self._queues.clear()
        self._doors.clear()
        self._backoff.clear()
        self._marked = None
        self._turn = ("", 0)

    def _park(self, entry: Parked) -> ParkResult:
        key, member = entry_key(entry.delivery.head)
        body = encode_body(entry.delivery)
        stored = self._queues[key].get(member)
        if stored is None and not self._fits(key, len(body)):
            return "refused"
        if stored is not None and attempt_of(stored.body) >= attempt_of(body):
            return "kept"
        self._queues[key][member] = _Entry(entry.due, body)
        return "parked"

    def _hold(self, held: Held, score: float) -> Lease | None:
        entry = entry_key(held.delivery.head)
        body = encode_body(held.delivery)
        stored = self._queues[entry.destination].get(entry.member)
        if stored is not None and held.lease and _token(stored.score) == held.lease.token:
            stored.score = score
        elif stored is not None and attempt_of(stored.body) >= attempt_of(body):
            return None
        else:
            self._queues[entry.destination][entry.member] = _Entry(score, body)
        return Lease(entry, _token(score))

    def _claim(self, claim: Claim, score: float) -> Iterator[Claimed]:
        key, now = claim.destination, self._now()
        if self._doors.get(key, 0) > now:
            return
        left = claim.max_bytes
        queue = self._queues[key]
        ready = sorted((entry.score, member) for member, entry in queue.items())
        for index, (at, member) in enumerate(ready[: claim.count]):
            left -= len(queue[member].body)
            if at > now or (left < 0 and index > 0):
                return
            queue[member].score = score
            lease = Lease(EntryKey(key, member), _token(score))
            yield Claimed(lease, decode_body(queue[member].body))

    def _lease(self, seconds: float) -> float:
        return self._now() + lease_ms(seconds) + next(self._nonces) / NONCES

    def _fits(self, key: DestinationKey, size: int) -> bool:
        return (
            self._bytes() + size <= self._bounds.total
            and self._bytes(key) + size <= self._bounds.destination
        )

    def _bytes(self, key: DestinationKey | None = None) -> int:
        queues = self._queues.values() if key is None else [self._queues[key]]
        return sum(len(entry.body) for queue in queues for entry in queue.values())


def _token(score: float) -> str:
    return f"{score:.17g}"
