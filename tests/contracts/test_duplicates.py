"""The contract of `Duplicates`, on memory, Redis and Valkey."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from event_router.consumers.ports import Duplicates, Sighting
from event_router.router.duplicates.memory import MemoryDuplicates
from event_router.router.duplicates.redis import RedisDuplicates
from event_router.router.redis_pipe import RedisPipe

Make = Callable[[float], Duplicates]


@pytest.fixture(params=["memory", "redis", "valkey"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """By window, in seconds."""
    if request.param == "memory":
        yield MemoryDuplicates
        return
    pipe = RedisPipe(request.getfixturevalue(f"{request.param}_url"))
    yield lambda window: RedisDuplicates(pipe, "contract", window)
    await pipe.aclose()


def sighting(
    id_: str = "i", value: bytes = b"v", *, tenant: str = "t", source: str = "s"
) -> Sighting:
    return Sighting(tenant, source, id_, value)


async def test_the_first_sight_is_new_and_the_second_shows_the_first(make: Make) -> None:
    duplicates = make(60)
    assert await duplicates.claim([sighting(value=b"\x00first\xff")]) == [None]
    assert await duplicates.claim([sighting(value=b"second")]) == [b"\x00first\xff"]
    assert await duplicates.claim([sighting(value=b"third")]) == [b"\x00first\xff"]


async def test_an_id_that_one_call_brings_twice_is_seen_twice(make: Make) -> None:
    twice = [sighting(value=b"a"), sighting(value=b"b"), sighting("other")]
    assert await make(60).claim(twice) == [None, b"a", None]


async def test_looking_writes_nothing(make: Make) -> None:
    duplicates = make(60)
    assert await duplicates.look([sighting()]) == [None]
    assert await duplicates.claim([sighting(value=b"v")]) == [None]
    assert await duplicates.look([sighting(), sighting("other")]) == [b"v", None]


async def test_an_id_is_its_tenants_and_its_sources_own(make: Make) -> None:
    duplicates = make(60)
    alike = [
        sighting("c", tenant="a", source="b"),
        sighting("c", tenant="ab", source=""),
        sighting("bc", tenant="a", source=""),
        sighting("", tenant="a", source="bc"),
        sighting("1:c", tenant="a", source=":1:b"),
        sighting("x", tenant="t", source="1:1:"),
    ]
    assert await duplicates.claim(alike) == [None] * len(alike)


async def test_an_id_is_forgotten_after_the_window(make: Make) -> None:
    duplicates = make(0.02)
    await duplicates.claim([sighting()])
    await asyncio.sleep(0.03)
    assert await duplicates.claim([sighting(value=b"later")]) == [None]


async def test_of_concurrent_claims_one_is_the_first(make: Make) -> None:
    duplicates = make(60)
    values = [str(n).encode() for n in range(20)]
    seen = await asyncio.gather(*(duplicates.claim([sighting(value=v)]) for v in values))
    before = [earlier for [earlier] in seen]
    assert before.count(None) == 1
    assert {earlier for earlier in before if earlier} == {values[before.index(None)]}


async def test_no_sightings_are_no_answers(make: Make) -> None:
    assert await make(60).claim([]) == []
    assert await make(60).look([]) == []
