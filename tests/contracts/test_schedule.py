"""The contract of `Schedule`, on memory, Redis and Valkey, by a clock that the tests set."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from event_router.consumers.ports import (
    MAX_DOOR,
    Backoff,
    Claim,
    Claimed,
    Due,
    Held,
    Lease,
    Look,
    Parked,
    ScheduleStats,
    Settled,
    entry_key,
)
from event_router.router.redis_pipe import RedisPipe
from event_router.router.schedule.layout import Bounds, encode_body
from event_router.schemas.delivery import Delivery
from tests.contracts.schedules import (
    BEGIN,
    ROOM,
    TOPICS,
    MemoryWorld,
    RedisWorld,
    World,
    delivery,
    key,
)

MakeWorld = Callable[[Bounds], World]


@pytest.fixture(params=["memory", "redis", "valkey"])
async def make_world(request: pytest.FixtureRequest) -> AsyncIterator[MakeWorld]:
    """Audits the books of what it made at the end of each test."""
    made: list[World] = []
    pipe = None
    if request.param != "memory":
        pipe = RedisPipe(request.getfixturevalue(f"{request.param}_url"))

    def make(bounds: Bounds) -> World:
        made.append(MemoryWorld(bounds) if pipe is None else RedisWorld(pipe, bounds))
        return made[-1]

    yield make
    for world in made:
        await world.audit()
        await world.schedule.aclose()


@pytest.fixture
async def world(make_world: MakeWorld) -> World:
    world = make_world(ROOM)
    await world.advance(0)
    return world


async def claim(
    world: World, count: int = 10, max_bytes: int = 1 << 20, *, seconds: float = 10, to: str = "d1"
) -> list[Claimed]:
    return await world.schedule.claim([Claim(key(to), count, max_bytes)], seconds)


async def look(world: World, limit: int = 10) -> Look:
    shards = range(TOPICS.shards)
    return await world.schedule.due(shards, dict.fromkeys(shards, limit))


async def waiting(world: World) -> int:
    return (await world.schedule.stats()).entries


async def test_a_parked_delivery_comes_back_byte_for_byte(world: World) -> None:
    parked = delivery(data=b'{"b": 1.000, "a": \xff\x00}')
    assert await world.schedule.park([Parked(parked, 0)]) == ["parked"]
    [claimed] = await claim(world)
    assert claimed.delivery == parked


async def test_a_delivery_is_claimed_when_it_is_due_and_not_before(world: World) -> None:
    await world.schedule.park([Parked(delivery(), BEGIN + 5)])
    await world.advance(4)
    assert await claim(world) == []
    await world.advance(1)
    assert len(await claim(world)) == 1


async def test_the_oldest_is_claimed_first(world: World) -> None:
    await world.schedule.park([Parked(delivery(1), BEGIN - 1), Parked(delivery(2), BEGIN - 2)])
    assert [c.delivery.head.event for c in await claim(world, 1)] == ["event-2"]
    assert [c.delivery.head.event for c in await claim(world, 1)] == ["event-1"]


async def test_a_claim_is_bounded_in_bytes_but_takes_at_least_one(world: World) -> None:
    await world.schedule.park([Parked(delivery(n, data=b"x" * 1000), 0) for n in range(5)])
    assert len(await claim(world, max_bytes=1)) == 1
    two = 2 * len(encode_body(delivery(1, data=b"x" * 1000)))
    assert len(await claim(world, max_bytes=two + 1)) == 2


async def test_one_claim_may_take_more_than_a_call_has_arguments(world: World) -> None:
    await world.schedule.park([Parked(delivery(n), 0) for n in range(1201)])
    claimed = await claim(world, 1201)
    assert [c.delivery for c in claimed] == sorted(
        (delivery(n) for n in range(1201)), key=lambda d: f"0:{d.head.origin.offset}:"
    )
    await world.schedule.finish([c.lease for c in claimed])
    assert await waiting(world) == 0


async def test_claims_of_several_destinations_answer_in_one_call(world: World) -> None:
    names = [f"d{n}" for n in range(20)]
    await world.schedule.park([Parked(delivery(1, to), 0) for to in names])
    claims = [Claim(key(to), 1, 1000) for to in names]
    claimed = await world.schedule.claim(claims, 10)
    assert sorted(c.delivery.head.destination for c in claimed) == sorted(names)


async def test_a_claimed_delivery_is_not_claimed_again_while_its_lease_lasts(world: World) -> None:
    await world.schedule.park([Parked(delivery(), 0)])
    await claim(world, seconds=10)
    await world.advance(10_000)
    assert await claim(world) == []
    await world.advance(1)
    assert len(await claim(world)) == 1


async def test_nothing_is_left_of_what_is_finished(world: World) -> None:
    await world.schedule.park([Parked(delivery(n), 0) for n in range(3)])
    claimed = await claim(world)
    await world.schedule.finish([c.lease for c in claimed])
    assert await world.schedule.stats() == ScheduleStats(0, 0, 0)
    assert (await look(world)).due == []


async def test_finishing_twice_is_finishing_once(world: World) -> None:
    await world.schedule.park([Parked(delivery(1), 0), Parked(delivery(2), BEGIN + 1)])
    [claimed] = await claim(world)
    await world.schedule.finish([claimed.lease, claimed.lease])
    await world.schedule.finish([claimed.lease])
    assert await waiting(world) == 1


async def test_an_equal_attempt_parked_again_changes_nothing(world: World) -> None:
    await world.schedule.park([Parked(delivery(), BEGIN + 7)])
    assert await world.schedule.park([Parked(delivery(), 0)]) == ["kept"]
    assert (await look(world)).due == [Due(key(), BEGIN + 7)]


async def test_a_lower_attempt_parked_late_changes_nothing(world: World) -> None:
    await world.schedule.park([Parked(delivery(attempt=3), BEGIN + 7)])
    assert await world.schedule.park([Parked(delivery(attempt=2), 0)]) == ["kept"]
    await world.advance(7)
    assert [c.delivery.head.attempt for c in await claim(world)] == [3]


async def test_an_attempt_that_one_call_brings_twice_is_parked_once(world: World) -> None:
    twice = [Parked(delivery(), 0), Parked(delivery(), 0)]
    assert await world.schedule.park(twice) == ["parked", "kept"]
    assert await waiting(world) == 1


async def test_a_later_attempt_takes_the_place_of_a_lower_one(world: World) -> None:
    await world.schedule.park([Parked(delivery(attempt=1, data=b"x" * 500), 0)])
    assert await world.schedule.park([Parked(delivery(attempt=2), BEGIN + 9)]) == ["parked"]
    assert (await look(world)).due == [Due(key(), BEGIN + 9)]
    assert await waiting(world) == 1


async def test_parked_again_between_claim_and_finish_stays(world: World) -> None:
    """Settle parks the next attempt before the worker finishes the one before."""
    await world.schedule.park([Parked(delivery(attempt=1), 0)])
    [claimed] = await claim(world)
    assert await world.schedule.park([Parked(delivery(attempt=2), BEGIN + 100)]) == ["parked"]
    await world.schedule.finish([claimed.lease])
    await world.advance(100)
    assert [c.delivery.head.attempt for c in await claim(world)] == [2]


async def test_a_lease_that_ran_out_finishes_nothing_of_the_next_one(world: World) -> None:
    await world.schedule.park([Parked(delivery(), 0)])
    [first] = await claim(world, seconds=1)
    await world.advance(1001)
    [second] = await claim(world, seconds=1)
    await world.schedule.finish([first.lease])
    assert await waiting(world) == 1
    await world.schedule.finish([second.lease])
    assert await waiting(world) == 0


async def test_a_lease_that_ran_out_is_good_until_somebody_takes_it(world: World) -> None:
    await world.schedule.park([Parked(delivery(), 0)])
    [claimed] = await claim(world, seconds=1)
    await world.advance(5000)
    await world.schedule.finish([claimed.lease])
    assert await waiting(world) == 0


async def test_two_workers_during_a_rebalance_share_without_overlap(world: World) -> None:
    await world.schedule.park([Parked(delivery(n), 0) for n in range(6)])
    old = await claim(world, 4)
    new = await claim(world, 4)
    assert {c.lease.entry for c in old}.isdisjoint(c.lease.entry for c in new)
    assert len(old) + len(new) == 6
    await world.schedule.finish([Lease(c.lease.entry, old[0].lease.token) for c in new])
    assert await waiting(world) == 6


async def test_a_retry_due_at_the_very_ms_of_a_leases_end_is_not_that_lease(world: World) -> None:
    await world.schedule.park([Parked(delivery(attempt=1), 0)])
    [claimed] = await claim(world, seconds=10)
    end = int(float(claimed.lease.token))
    assert end == BEGIN + 10_000
    await world.schedule.park([Parked(delivery(attempt=2), end)])
    await world.schedule.finish([claimed.lease])
    assert (await look(world)).due == [Due(key(), end)]
    assert (await world.schedule.hold([Held(delivery(attempt=1), claimed.lease)], 10)) == [None]
    await world.advance(10_000)
    assert [c.delivery.head.attempt for c in await claim(world)] == [2]


async def test_a_hold_puts_a_running_attempt_under_a_lease(world: World) -> None:
    [lease] = await world.schedule.hold([Held(delivery())], 5)
    assert lease is not None
    assert await claim(world) == []
    assert await world.schedule.stats() == ScheduleStats(1, len(encode_body(delivery())), 1)
    await world.schedule.finish([lease])
    assert await waiting(world) == 0


async def test_a_hold_whose_worker_died_is_claimed_by_another(world: World) -> None:
    await world.schedule.hold([Held(delivery())], 5)
    await world.advance(5001)
    assert [c.delivery for c in await claim(world)] == [delivery()]


async def test_a_hold_read_twice_is_one_hold(world: World) -> None:
    [first, within_the_call] = await world.schedule.hold([Held(delivery()), Held(delivery())], 5)
    [later] = await world.schedule.hold([Held(delivery())], 5)
    assert first is not None
    assert (within_the_call, later) == (None, None)
    assert await waiting(world) == 1


async def test_a_renewed_lease_lasts_and_the_one_before_is_void(world: World) -> None:
    [lease] = await world.schedule.hold([Held(delivery())], 5)
    [renewed] = await world.schedule.hold([Held(delivery(), lease)], 50)
    assert lease is not None
    assert renewed is not None
    await world.advance(10_000)
    assert await claim(world) == []
    await world.schedule.finish([lease])
    assert await waiting(world) == 1
    await world.schedule.finish([renewed])
    assert await waiting(world) == 0


async def test_a_lease_that_another_took_is_not_renewed(world: World) -> None:
    await world.schedule.park([Parked(delivery(), 0)])
    [mine] = await claim(world, seconds=1)
    await world.advance(1001)
    [theirs] = await claim(world)
    assert await world.schedule.hold([Held(delivery(), mine.lease)], 5) == [None]
    assert await world.schedule.hold([Held(delivery(), theirs.lease)], 5) != [None]


async def test_a_waiting_equal_attempt_is_not_taken_by_a_hold(world: World) -> None:
    await world.schedule.park([Parked(delivery(), BEGIN + 9)])
    assert await world.schedule.hold([Held(delivery())], 5) == [None]
    assert (await look(world)).due == [Due(key(), BEGIN + 9)]


async def test_a_hold_takes_the_place_of_a_lower_attempt(world: World) -> None:
    await world.schedule.park([Parked(delivery(attempt=1), 0)])
    [lease] = await world.schedule.hold([Held(delivery(attempt=2))], 5)
    assert lease is not None
    await world.advance(5001)
    assert [c.delivery.head.attempt for c in await claim(world)] == [2]


async def test_renewing_recreates_what_was_lost(world: World) -> None:
    [lease] = await world.schedule.hold([Held(delivery(data=b"kept"))], 5)
    await world.lose_everything()
    [again] = await world.schedule.hold([Held(delivery(data=b"kept"), lease)], 5)
    assert again is not None
    await world.advance(5001)
    assert [c.delivery.data for c in await claim(world)] == [b"kept"]


async def test_a_lease_handed_back_is_due_at_once(world: World) -> None:
    await world.schedule.park([Parked(delivery(), 0)])
    [claimed] = await claim(world, seconds=100)
    await world.schedule.hold([Held(delivery(), claimed.lease)], 0)
    await world.advance(1)
    assert len(await claim(world)) == 1


async def test_removing_takes_its_own_and_lower_rounds(world: World) -> None:
    rounds = [delivery(1, round=n, attempt=5) for n in range(4)]
    others = [delivery(2), delivery(1, "d2")]
    await world.schedule.park([Parked(d, 0) for d in (*rounds, *others)])
    await claim(world, 1)
    await world.schedule.remove([Settled(rounds[2].head)])
    await world.advance(10_001)
    left = [c.delivery for c in await claim(world)]
    assert sorted((d.head.event, d.head.round) for d in left) == [("event-1", 3), ("event-2", 0)]


async def test_giving_up_leaves_a_later_attempt_and_lower_rounds(world: World) -> None:
    lower, own = delivery(1), delivery(1, round=1, attempt=2)
    await world.schedule.park([Parked(lower, 0), Parked(own, 0)])
    await world.schedule.remove([Settled(own.head, up_to_attempt=1)])
    assert await waiting(world) == 2
    await world.schedule.remove([Settled(own.head, up_to_attempt=2)])
    assert [c.delivery for c in await claim(world)] == [lower]


async def test_removing_what_is_not_there_does_nothing(world: World) -> None:
    await world.schedule.remove([Settled(delivery(n, f"d{n}").head) for n in range(20)])
    await world.schedule.park([Parked(delivery(1), 0)])
    await world.schedule.remove([Settled(delivery(2).head), Settled(delivery(2).head, 1)])
    assert await waiting(world) == 1


async def test_nothing_is_claimed_behind_a_closed_door(world: World) -> None:
    await world.schedule.park([Parked(delivery(), 0)])
    await world.schedule.door(key(), 2)
    assert await claim(world) == []
    assert (await look(world)).due == [Due(key(), BEGIN + 2000)]
    await world.schedule.door(key(), 0)
    assert len(await claim(world)) == 1


async def test_a_door_ends_by_itself(world: World) -> None:
    await world.schedule.door(key(), 3600)
    await world.schedule.park([Parked(delivery(), 0)])
    await world.advance(int(MAX_DOOR * 1000) - 1)
    assert await claim(world) == []
    await world.advance(1)
    assert len(await claim(world)) == 1


async def test_a_door_is_its_destinations_alone(world: World) -> None:
    await world.schedule.park([Parked(delivery(tenant=t), 0) for t in ("t1", "t2")])
    await world.schedule.door(key(tenant="t1"), 60)
    claims = [Claim(key(tenant=t), 1, 1000) for t in ("t1", "t2")]
    assert [c.delivery.head.tenant for c in await world.schedule.claim(claims, 1)] == ["t2"]


async def test_what_is_due_is_the_soonest_of_each_destination(world: World) -> None:
    await world.schedule.park(
        [
            Parked(delivery(1, "d1"), BEGIN + 9),
            Parked(delivery(2, "d1"), BEGIN + 3),
            Parked(delivery(1, "d2"), BEGIN + 5),
        ]
    )
    seen = await look(world)
    assert seen.now == BEGIN
    assert sorted(seen.due) == [Due(key("d1"), BEGIN + 3), Due(key("d2"), BEGIN + 5)]


async def test_due_shows_as_many_of_a_shard_as_are_asked_for(world: World) -> None:
    names = [f"d{n}" for n in range(40)]
    shard = TOPICS.shard_of("t1", "d0")
    inside = [to for to in names if TOPICS.shard_of("t1", to) == shard]
    assert len(inside) > 2
    await world.schedule.park([Parked(delivery(1, to), BEGIN + n) for n, to in enumerate(names)])
    one = await world.schedule.due([shard], {})
    two = await world.schedule.due([shard], {shard: 2})
    assert [due.destination for due in one.due] == [key(inside[0])]
    assert [due.destination for due in two.due] == [key(to) for to in inside[:2]]


async def test_a_lease_shows_in_due_as_the_ms_after_its_end(world: World) -> None:
    await world.schedule.park([Parked(delivery(), 0)])
    await claim(world, seconds=1)
    [due] = (await look(world)).due
    assert due.at == BEGIN + 1001
    await world.advance(1001)
    assert len(await claim(world)) == 1


async def test_past_its_bound_a_destination_gets_no_new_entries(make_world: MakeWorld) -> None:
    size = len(encode_body(delivery(1)))
    world = make_world(Bounds(total=100 * size, destination=2 * size))
    await world.advance(0)
    entries = [Parked(delivery(n), 0) for n in range(1, 4)]
    assert await world.schedule.park(entries) == ["parked", "parked", "refused"]
    assert await world.schedule.park([Parked(delivery(1, "d2"), 0)]) == ["parked"]


async def test_past_the_bound_of_all_leases_and_overwrites_still_work(
    make_world: MakeWorld,
) -> None:
    size = len(encode_body(delivery(1)))
    world = make_world(Bounds(total=2 * size, destination=2 * size))
    await world.advance(0)
    await world.schedule.park([Parked(delivery(1, "d1"), 0)])
    await world.schedule.park([Parked(delivery(1, "d2"), 0)])
    assert await world.schedule.park([Parked(delivery(1, "d3"), 0)]) == ["refused"]
    later = delivery(1, "d1", attempt=2, data=b"x" * 100)
    assert await world.schedule.park([Parked(later, 0)]) == ["parked"]
    assert await world.schedule.hold([Held(delivery(1, "d4"))], 10) != [None]
    claimed = [*await claim(world, to="d1"), *await claim(world, to="d2")]
    await world.schedule.finish([c.lease for c in claimed])
    assert await world.schedule.park([Parked(delivery(2, "d3"), 0)]) == ["parked"]


async def test_a_call_never_fills_more_than_there_is_room(make_world: MakeWorld) -> None:
    size = len(encode_body(delivery(1)))
    world = make_world(Bounds(total=3 * size, destination=3 * size))
    await world.advance(0)
    entries = [Parked(delivery(1, f"d{n}"), 0) for n in range(9)]
    assert (await world.schedule.park(entries)).count("parked") == 3


async def test_failures_in_a_row_are_kept_until_they_are_forgotten(world: World) -> None:
    kept = {key("d1"): Backoff(3, BEGIN, BEGIN + 5), key("d2"): Backoff(1)}
    await world.schedule.set_backoff(kept)
    assert await world.schedule.backoff([key("d1"), key("d2"), key("d3")]) == kept
    await world.schedule.set_backoff({key("d1"): None, key("d3"): None, key("d2"): Backoff(2)})
    assert await world.schedule.backoff([key("d1"), key("d2")]) == {key("d2"): Backoff(2)}


async def test_has_says_of_each_entry_whether_it_waits_or_is_leased(world: World) -> None:
    parked = [Parked(delivery(n, to), 0) for n, to in ((1, "d1"), (2, "d1"), (1, "d2"))]
    await world.schedule.park(parked)
    await claim(world, 1)
    asked = [
        entry_key(delivery(n, to).head)
        for n, to in ((3, "d1"), (1, "d1"), (1, "d3"), (1, "d2"), (2, "d1"), (2, "d2"))
    ]
    assert await world.schedule.has(asked) == [False, True, False, True, True, False]


async def test_has_knows_an_entry_whatever_its_attempt_but_not_another_round(world: World) -> None:
    await world.schedule.park([Parked(delivery(attempt=3, round=1), BEGIN + 9)])
    rounds = [entry_key(delivery(round=number).head) for number in range(3)]
    assert await world.schedule.has(rounds) == [False, True, False]


async def test_has_nothing_once_all_is_lost(world: World) -> None:
    await world.schedule.park([Parked(delivery(), 0)])
    await world.lose_everything()
    assert await world.schedule.has([entry_key(delivery().head)]) == [False]


async def test_a_loss_of_everything_shows_once_it_was_marked(world: World) -> None:
    assert await world.schedule.intact_for() is None
    await world.schedule.mark()
    await world.advance(1_500)
    assert await world.schedule.intact_for() == 1.5
    await world.lose_everything()
    assert await world.schedule.intact_for() is None


async def test_one_sweeps_at_a_time(world: World) -> None:
    assert await world.schedule.turn("a", 60)
    assert not await world.schedule.turn("b", 60)
    assert await world.schedule.turn("a", 0.001)
    await asyncio.sleep(0.01)
    await world.advance(10)
    assert await world.schedule.turn("b", 60)
    assert not await world.schedule.turn("a", 60)


async def test_stats_count_what_is_leased_now(world: World) -> None:
    entries = [delivery(n, f"d{n}") for n in range(4)]
    await world.schedule.park([Parked(d, BEGIN + 1) for d in entries])
    await world.schedule.hold([Held(delivery(9, "d9"))], 1)
    await world.advance(1)
    await claim(world, to="d1", seconds=100)
    size = sum(map(_size, (*entries, delivery(9, "d9"))))
    assert await world.schedule.stats() == ScheduleStats(5, size, 2)
    await world.advance(1001)
    assert await world.schedule.stats() == ScheduleStats(5, size, 1)


async def test_calls_without_entries_do_nothing(world: World) -> None:
    schedule = world.schedule
    assert await schedule.park([]) == []
    assert await schedule.hold([], 1) == []
    assert await schedule.claim([], 1) == []
    await schedule.finish([])
    await schedule.remove([])
    await schedule.set_backoff({})
    assert await schedule.backoff([]) == {}
    assert await schedule.has([]) == []
    assert (await schedule.due([], {})).due == []


def _size(parked: Delivery) -> int:
    return len(encode_body(parked))
