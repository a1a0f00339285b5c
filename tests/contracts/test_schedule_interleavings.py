"""Random interleavings: whatever is done, in whatever order, Redis answers what memory answers."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from event_router.consumers.ports import Claim, Claimed, Due, Held, Lease, Parked, Settled
from event_router.router.redis_pipe import RedisPipe
from event_router.router.schedule.layout import Bounds, encode_body
from event_router.schemas.delivery import Delivery
from event_router.schemas.topics import Topics
from tests.contracts.schedules import BEGIN, MemoryWorld, RedisWorld, World, delivery, key

# One queue mostly, so that steps meet; another one shares its shard.
CROWDED = Topics(namespace="crowded", shards=1)
DESTINATIONS = ["d1", "d1", "d1", "d2"]
SIZE = len(encode_body(delivery()))
BOUNDS = Bounds(total=1 << 30, destination=3 * SIZE)


@dataclass(frozen=True)
class Park:
    entries: tuple[tuple[Delivery, int], ...]


@dataclass(frozen=True)
class Hold:
    """`which` picks a lease among those that were handed out; None shows none."""

    running: tuple[tuple[Delivery, int | None], ...]
    ms: int


@dataclass(frozen=True)
class Take:
    claims: tuple[tuple[str, int, int], ...]
    ms: int


@dataclass(frozen=True)
class Finish:
    which: tuple[int, ...]


@dataclass(frozen=True)
class Remove:
    settled: tuple[tuple[Delivery, int | None], ...]


@dataclass(frozen=True)
class Door:
    to: str
    ms: int


@dataclass(frozen=True)
class Advance:
    ms: int


@dataclass(frozen=True)
class Lose:
    """All of it is gone."""


Step = Park | Hold | Take | Finish | Remove | Door | Advance | Lose

few_ms = st.integers(0, 4)
deliveries = st.builds(
    delivery,
    st.integers(1, 2),
    st.sampled_from(DESTINATIONS),
    attempt=st.integers(1, 3),
    round=st.integers(0, 1),
    data=st.sampled_from([b"", b"12345678", b"x" * 100]),
)
which = st.integers(0, 4)


def some(one: st.SearchStrategy[Any], **options: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(one, min_size=1, max_size=4, **options).map(tuple)


def _entry(pair: tuple[Delivery, Any]) -> tuple[str, str, int]:
    head = pair[0].head
    return (head.destination, head.event, head.round)


holds = some(st.tuples(deliveries, st.none() | which), unique_by=_entry)
claims = some(
    st.tuples(st.sampled_from(DESTINATIONS), st.integers(0, 3), st.sampled_from([1, 2 * SIZE])),
    unique_by=lambda claim: claim[0],
)
parks = st.builds(Park, some(st.tuples(deliveries, st.integers(-2, 4))))
takes = st.builds(Take, claims, few_ms)
finishes = st.builds(Finish, some(which))
advances = st.builds(Advance, st.integers(1, 4))
seldom: st.SearchStrategy[Step] = st.one_of(
    st.builds(Hold, holds, few_ms),
    st.builds(Remove, some(st.tuples(deliveries, st.none() | st.integers(1, 3)))),
    st.builds(Door, st.sampled_from(DESTINATIONS), few_ms),
    st.builds(Lose),
)
steps: st.SearchStrategy[Step] = st.one_of(
    parks, parks, takes, takes, finishes, advances, advances, seldom, seldom
)


class Player:
    """Plays steps on one world; what they mean depends on the leases that it handed out."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = BEGIN
        self.leases: list[Lease] = []

    async def play(self, step: Step) -> object:
        """What the schedule answered, and what can be seen of it afterwards."""
        answer = await self._do(step)
        shards = range(CROWDED.shards)
        look = await self.world.schedule.due(shards, dict.fromkeys(shards, 10))
        due = sorted(Due(one.destination, max(one.at, look.now)) for one in look.due)
        await self.world.audit()
        return answer, look.now, due, await self.world.schedule.stats()

    async def _do(self, step: Step) -> object:
        schedule = self.world.schedule
        match step:
            case Park(entries):
                return await schedule.park([Parked(d, self.now + at) for d, at in entries])
            case Hold(running, ms):
                held = [Held(d, self._lease(d, index)) for d, index in running]
                return self._remember(await schedule.hold(held, ms / 1000))
            case Take(wanted, ms):
                taken = [Claim(key(to), count, most) for to, count, most in wanted]
                return self._claimed(await schedule.claim(taken, ms / 1000))
            case Finish(indices):
                shown = [lease for i in indices if (lease := self._pick(i)) is not None]
                await schedule.finish(shown)
            case Remove(settled):
                await schedule.remove([Settled(d.head, last) for d, last in settled])
            case Door(to, ms):
                await schedule.door(key(to), ms / 1000)
            case Advance(ms):
                self.now += ms
                await self.world.advance(ms)
            case Lose():
                await self.world.lose_everything()
        return None

    def _claimed(self, claimed: list[Claimed]) -> list[Claimed]:
        in_order = sorted(claimed, key=lambda one: one.lease.entry)
        self._remember([one.lease for one in in_order])
        return in_order if len({c.lease.entry.destination for c in claimed}) > 1 else claimed

    def _remember(self, leases: Sequence[Lease | None]) -> Sequence[Lease | None]:
        self.leases += [lease for lease in leases if lease is not None]
        return leases

    def _pick(self, index: int) -> Lease | None:
        """Counted from the latest one."""
        return self.leases[-1 - index] if index < len(self.leases) else None

    def _lease(self, held: Delivery, index: int | None) -> Lease | None:
        """A lease is shown for the entry it is of, else for another one: it then counts for
        nothing."""
        return None if index is None else self._pick(index)


async def compare(url: str, steps: Sequence[Step]) -> None:
    pipe = RedisPipe(url)
    in_redis = Player(RedisWorld(pipe, BOUNDS, CROWDED))
    in_memory = Player(MemoryWorld(BOUNDS, CROWDED))
    try:
        for number, step in enumerate((Lose(), *steps)):
            expected, found = await in_memory.play(step), await in_redis.play(step)
            assert found == expected, f"step {number}: {step}"
    finally:
        await pipe.aclose()


@pytest.mark.timeout(400)  # a failing example is made small before it is shown
@pytest.mark.parametrize("server", ["redis_server", "valkey_server"])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(played=st.lists(steps, min_size=20, max_size=50))
def test_a_server_answers_what_memory_answers(
    request: pytest.FixtureRequest, server: str, played: list[Step]
) -> None:
    url = request.getfixturevalue(server).url
    asyncio.run(compare(url, played))
