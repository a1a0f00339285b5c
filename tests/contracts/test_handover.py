"""The contract of `Handover`, on memory, Redis and Valkey; and that nobody waits for it."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping

import pytest

from event_router.consumers import handover as handing
from event_router.consumers.handover import Handover, MemoryHandover, hand_over, take_over
from event_router.consumers.watermark import Finished, Partition
from event_router.router.redis_handover import RedisHandover
from event_router.router.redis_pipe import RedisPipe
from event_router.schemas.errors import Unavailable

ONE, TWO = ("topic", 0), ("topic", 1)


@pytest.fixture(params=["memory", "redis", "valkey"])
async def handover(request: pytest.FixtureRequest) -> AsyncIterator[Handover]:
    if request.param == "memory":
        yield MemoryHandover()
        return
    pipe = RedisPipe(request.getfixturevalue(f"{request.param}_url"))
    yield RedisHandover(pipe, "contract")
    await pipe.aclose()


async def test_what_was_left_is_found_by_partition(handover: Handover) -> None:
    await handover.leave({ONE: {7: 1_700_000_000_000, 9: 1_700_000_000_001}})
    assert await handover.find([ONE, TWO]) == {ONE: {7: 1_700_000_000_000, 9: 1_700_000_000_001}}
    assert await handover.find([TWO]) == {}


async def test_who_leaves_later_takes_the_place_of_what_was_left_before(
    handover: Handover,
) -> None:
    await handover.leave({ONE: {7: 1}, TWO: {1: 1}})
    await handover.leave({ONE: {8: 2}})
    assert await handover.find([ONE, TWO]) == {ONE: {8: 2}, TWO: {1: 1}}


async def test_groups_find_their_own(redis_url: str) -> None:
    pipe = RedisPipe(redis_url)
    await RedisHandover(pipe, "deliver").leave({ONE: {7: 1}})
    assert await RedisHandover(pipe, "stream").find([ONE]) == {}
    assert 0 < await pipe.call("PTTL", "deliver:finished:topic:0") <= 600_000
    await pipe.aclose()


async def test_what_nobody_left_is_trouble_and_not_a_crash(redis_url: str) -> None:
    pipe = RedisPipe(redis_url)
    await pipe.call("SET", "deliver:finished:topic:0", b"\xc1")
    assert await take_over(RedisHandover(pipe, "deliver"), [ONE]) == {}
    await pipe.aclose()


class Silent:
    """Never answers."""

    async def leave(self, finished: Mapping[Partition, Finished]) -> None:
        await asyncio.Event().wait()

    async def find(self, partitions: Collection[Partition]) -> dict[Partition, Finished]:
        await asyncio.Event().wait()
        raise AssertionError


class Down:
    async def leave(self, finished: Mapping[Partition, Finished]) -> None:
        raise Unavailable("redis", "gone")

    async def find(self, partitions: Collection[Partition]) -> dict[Partition, Finished]:
        raise Unavailable("redis", "gone")


@pytest.mark.parametrize("trouble", [Silent(), Down(), None])
async def test_partitions_come_and_go_without_it(
    trouble: Handover | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handing, "PATIENCE", 0.05)
    async with asyncio.timeout(5):
        await hand_over(trouble, {ONE: {7: 1}})
        assert await take_over(trouble, [ONE]) == {}
