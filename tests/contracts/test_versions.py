"""The contract of `Versions`, on memory, Redis and Valkey."""

from collections.abc import AsyncIterator

import pytest

from event_router.consumers.ports import Versions
from event_router.router.redis_pipe import RedisPipe
from event_router.router.versions import MemoryVersions, RedisVersions


@pytest.fixture(params=["memory", "redis", "valkey"])
async def versions(request: pytest.FixtureRequest) -> AsyncIterator[Versions]:
    if request.param == "memory":
        yield MemoryVersions()
        return
    pipe = RedisPipe(request.getfixturevalue(f"{request.param}_url"))
    yield RedisVersions(pipe, "contract")
    await pipe.aclose()


async def test_a_tenant_that_nobody_wrote_has_no_token(versions: Versions) -> None:
    assert await versions.get(["t1", "t2"]) == [None, None]
    assert await versions.get([]) == []


async def test_a_token_is_read_as_it_was_set(versions: Versions) -> None:
    token = await versions.set("t1")
    assert await versions.get(["t2", "t1", "t1"]) == [None, token, token]


async def test_every_write_changes_the_token(versions: Versions) -> None:
    assert await versions.set("t1") != await versions.set("t1")
