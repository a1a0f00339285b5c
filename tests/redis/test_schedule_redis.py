"""What only the schedule in Redis has: scripts, slots, a memory that fills up, a real clock."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from event_router.consumers.ports import Backoff, Claim, Held, Parked, ScheduleStats, Settled
from event_router.consumers.ports import Sighting as Seen
from event_router.router.duplicates.redis import RedisDuplicates
from event_router.router.redis_pipe import RedisPipe, UnfitRedis, check_redis, request
from event_router.router.schedule.redis import RedisSchedule
from event_router.router.versions import RedisVersions
from tests import services
from tests.contracts.schedules import ROOM, TOPICS, delivery, key

MANY = [f"d{n}" for n in range(30)]


@pytest.fixture(params=["redis", "valkey"])
async def pipe(request: pytest.FixtureRequest) -> AsyncIterator[RedisPipe]:
    pipe = RedisPipe(request.getfixturevalue(f"{request.param}_url"))
    yield pipe
    await pipe.aclose()


@pytest.fixture
def schedule(pipe: RedisPipe) -> RedisSchedule:
    return RedisSchedule(pipe, TOPICS, ROOM)


async def run_through(schedule: RedisSchedule) -> None:
    """Every operation, on many destinations, with nothing left in the end."""
    entries = [delivery(1, to) for to in MANY]
    assert await schedule.park([Parked(d, 0) for d in entries]) == ["parked"] * len(MANY)
    await schedule.door(key(MANY[0]), 60)
    await schedule.door(key(MANY[0]), 0)
    look = await schedule.due(range(TOPICS.shards), dict.fromkeys(range(TOPICS.shards), 30))
    assert sorted(due.destination for due in look.due) == sorted(map(key, MANY))
    claimed = await schedule.claim([Claim(due.destination, 1, 1000) for due in look.due], 10)
    assert (await schedule.stats()).leased == len(MANY)
    held = [Held(one.delivery, one.lease) for one in claimed]
    leases = [lease for lease in await schedule.hold(held, 10) if lease]
    await schedule.finish(leases[1:])
    await schedule.remove([Settled(d.head) for d in entries])
    backoff = {key(to): Backoff(n + 1) for n, to in enumerate(MANY)}
    await schedule.set_backoff(backoff)
    assert await schedule.backoff(backoff.keys()) == backoff
    await schedule.set_backoff(dict.fromkeys(backoff))
    assert await schedule.stats() == ScheduleStats(0, 0, 0)


async def test_an_idle_schedule_leaves_no_keys(pipe: RedisPipe, schedule: RedisSchedule) -> None:
    await run_through(schedule)
    assert await pipe.call("DBSIZE") == 0


async def test_scripts_that_redis_forgot_are_sent_again(
    pipe: RedisPipe, schedule: RedisSchedule
) -> None:
    for _ in range(2):
        await pipe.call("SCRIPT", "FLUSH")
        await run_through(schedule)


async def test_every_operation_stays_in_one_slot() -> None:
    """A cluster refuses a script that names, or touches, keys of another slot than its first."""
    server = await asyncio.to_thread(services.own_redis, "--cluster-enabled", "yes")
    pipe = RedisPipe(server.url)
    try:
        await pipe.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        async with asyncio.timeout(30):
            while b"cluster_state:ok" not in await pipe.call("CLUSTER", "INFO"):
                await asyncio.sleep(0.05)
        await run_through(RedisSchedule(pipe, TOPICS, ROOM))
        versions = RedisVersions(pipe, "contract")
        token = await versions.set("t1")
        assert await versions.get(["t1", "t2", "t3"]) == [token, None, None]
        with pytest.raises(UnfitRedis, match="Cluster"):
            await check_redis(pipe)
    finally:
        await pipe.aclose()
        await asyncio.to_thread(server.kill)


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru"])
async def test_a_full_redis_still_drains(pipe: RedisPipe, policy: str) -> None:
    schedule = RedisSchedule(pipe, TOPICS, ROOM)
    old = delivery(1)
    await schedule.park([Parked(old, 0), Parked(delivery(2, "d2"), 0)])
    await pipe.call("CONFIG", "SET", "maxmemory-policy", policy)
    await pipe.call("CONFIG", "SET", "maxmemory", 1)
    assert (await pipe.send(request(("SET", "k", "v"))))[0].args[0].startswith("OOM")
    try:
        later = Parked(delivery(1, attempt=2), 0)
        assert await schedule.park([Parked(delivery(3), 0), later]) == ["refused", "parked"]
        await schedule.door(key(), 1)
        await schedule.door(key(), 0)
        await schedule.set_backoff({key(): Backoff(1)})
        [held] = await schedule.hold([Held(delivery(4))], 10)
        assert held is not None
        claimed = await schedule.claim([Claim(key(), 9, 1 << 20)], 10)
        assert [one.delivery.head.attempt for one in claimed] == [2]
        await schedule.finish([held, claimed[0].lease])
        await schedule.remove([Settled(delivery(2, "d2").head)])
        assert await schedule.stats() == ScheduleStats(0, 0, 0)
        assert await RedisVersions(pipe, "contract").set("t1")
    finally:
        await pipe.call("CONFIG", "SET", "maxmemory", 0)
        await pipe.call("CONFIG", "SET", "maxmemory-policy", "noeviction")


async def test_where_memory_is_used_up_known_ids_are_still_known(
    pipe: RedisPipe, caplog: pytest.LogCaptureFixture
) -> None:
    duplicates = RedisDuplicates(pipe, "contract", 60)
    known, new = Seen("t", "s", "known", b"1"), Seen("t", "s", "new", b"2")
    await duplicates.claim([known])
    await pipe.call("CONFIG", "SET", "maxmemory", 1)
    try:
        assert await duplicates.claim([known, new]) == [b"1", None]
        assert "duplicates.full" in caplog.messages
    finally:
        await pipe.call("CONFIG", "SET", "maxmemory", 0)


async def test_what_cannot_be_read_is_left_alone_and_harms_nobody(
    pipe: RedisPipe, schedule: RedisSchedule, caplog: pytest.LogCaptureFixture
) -> None:
    await schedule.park([Parked(delivery(n), n) for n in (1, 2)])
    shard = TOPICS.shard_of("t1", "d1")
    body = f"{{contractr{shard}}}body"
    first = min(await pipe.call("HKEYS", body))
    await pipe.call("HSET", body, first, b"\0\0\0\1\0\0\0\2{}")
    claimed = await schedule.claim([Claim(key(), 2, 1 << 20)], 10)
    assert [one.delivery for one in claimed] == [delivery(2)]
    assert "schedule.undecodable" in caplog.messages
    assert (await schedule.stats()).leased == 2


async def test_the_clock_is_the_servers(schedule: RedisSchedule) -> None:
    look = await schedule.due([0], {})
    assert abs(look.now - time.time() * 1000) < 60_000
    await schedule.park(
        [Parked(delivery(1), look.now + 30), Parked(delivery(2), look.now + 60_000)]
    )
    assert await schedule.claim([Claim(key(), 2, 1000)], 10) == []
    await asyncio.sleep(0.04)
    assert [c.delivery for c in await schedule.claim([Claim(key(), 2, 1000)], 10)] == [delivery(1)]


async def test_the_sentinel_shows_that_redis_lost_everything(
    pipe: RedisPipe, schedule: RedisSchedule
) -> None:
    assert await schedule.intact_for() is None
    await schedule.mark()
    assert await schedule.intact_for() is not None
    await pipe.call("FLUSHALL")
    assert await schedule.intact_for() is None


async def test_namespaces_do_not_see_each_other(pipe: RedisPipe) -> None:
    topics = [type(TOPICS)(namespace=name, shards=4) for name in ("", "a", "ar1")]
    schedules = [RedisSchedule(pipe, each, ROOM) for each in topics]
    await schedules[1].park([Parked(delivery(n, f"d{n}"), 0) for n in range(8)])
    assert [(await each.stats()).entries for each in schedules] == [0, 8, 0]
