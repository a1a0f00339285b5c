"""Schedules under test, whose clock the test sets and whose books it can audit."""

import itertools
from collections.abc import Sequence
from typing import Protocol

from event_router.consumers.ports import Schedule
from event_router.router.redis_pipe import RedisPipe
from event_router.router.schedule.layout import Bounds
from event_router.router.schedule.memory import MemorySchedule
from event_router.router.schedule.redis import RedisSchedule
from event_router.schemas.delivery import Delivery, DeliveryHead, DestinationKey
from event_router.schemas.record import Place
from event_router.schemas.topics import Topics

TOPICS = Topics(namespace="contract", shards=8)
ROOM = Bounds(total=1 << 30, destination=1 << 30)
BEGIN = 1_790_000_000_000
CLOCK = ("MGET", "clock:seconds", "clock:microseconds")


class World(Protocol):
    """A schedule, its clock, and the means to lose all of it."""

    schedule: Schedule

    async def advance(self, ms: int) -> None: ...

    async def lose_everything(self) -> None: ...

    async def audit(self) -> None:
        """Fails unless the books agree with what is really there."""
        ...


class MemoryWorld:
    def __init__(self, bounds: Bounds = ROOM, topics: Topics = TOPICS) -> None:
        self.now = BEGIN
        self.memory = MemorySchedule(
            topics, bounds, clock=lambda: self.now, fractions=itertools.count(1)
        )
        self.schedule: Schedule = self.memory

    async def advance(self, ms: int) -> None:
        self.now += ms

    async def lose_everything(self) -> None:
        self.memory.clear()

    async def audit(self) -> None:
        """It keeps no books: it counts."""


class RedisWorld:
    """Scripts and `due` read the time with MGET from two keys that the test sets."""

    def __init__(self, pipe: RedisPipe, bounds: Bounds = ROOM, topics: Topics = TOPICS) -> None:
        self.pipe = pipe
        self.now = BEGIN
        self.topics = topics
        self.schedule: Schedule = RedisSchedule(
            pipe, topics, bounds, time=CLOCK, fractions=itertools.count(1)
        )

    async def advance(self, ms: int) -> None:
        self.now += ms
        seconds, rest = divmod(self.now, 1000)
        await self.pipe.call("MSET", CLOCK[1], seconds, CLOCK[2], rest * 1000 + 999)

    async def lose_everything(self) -> None:
        await self.pipe.call("FLUSHALL")
        await self.advance(0)

    async def audit(self) -> None:
        for shard in range(self.topics.shards):
            await self._audit_shard(f"{{{self.topics.namespace}r{shard}}}")

    async def _audit_shard(self, tag: str) -> None:
        bodies = _pairs(await self.pipe.call("HGETALL", f"{tag}body"))
        sizes: dict[bytes, int] = {}
        members: dict[bytes, set[bytes]] = {}
        for field, body in bodies.items():
            destination, member = field.split(b"\0", 1)
            sizes[destination] = sizes.get(destination, 0) + len(body)
            members.setdefault(destination, set()).add(member)
        books = {
            name: int(value)
            for name, value in _pairs(await self.pipe.call("HGETALL", f"{tag}bytes")).items()
        }
        assert books.pop(b"", 0) == sum(sizes.values())
        assert books == sizes
        doors = _pairs(await self.pipe.call("ZRANGE", f"{tag}doors", 0, -1, "WITHSCORES"))
        expected = {}
        for destination, names in members.items():
            queue = await self.pipe.call(
                "ZRANGE", f"{tag}q:{destination.decode()}", 0, -1, "WITHSCORES"
            )
            scores = _pairs(queue)
            assert set(scores) == names
            head = min(map(float, scores.values()))
            expected[destination] = max(head, float(doors.get(destination, 0)))
        due = _pairs(await self.pipe.call("ZRANGE", f"{tag}due", 0, -1, "WITHSCORES"))
        assert {name: self._open(float(at)) for name, at in due.items()} == {
            name: self._open(at) for name, at in expected.items()
        }

    def _open(self, at: float) -> float:
        """Doors that are over are forgotten, so a past `at` is as good as another."""
        return max(at, self.now)


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def delivery(
    number: int = 1,
    to: str = "d1",
    *,
    attempt: int = 1,
    round: int = 0,  # noqa: A002  a round is a round
    data: bytes = b'{"n": 1}',
    tenant: str = "t1",
) -> Delivery:
    head = DeliveryHead(
        tenant=tenant,
        event=f"event-{number}",
        destination=to,
        origin=Place("events", 0, number, 1_700_000_000_000),
        topic="orders",
        time="2026-11-21T12:00:00Z",
        source="shop",
        began=1_700_000_000_500,
        round=round,
        attempt=attempt,
    )
    return Delivery(head, data)


def key(to: str = "d1", tenant: str = "t1") -> DestinationKey:
    return DestinationKey(tenant, to)
