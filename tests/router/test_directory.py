from collections.abc import Collection

import pytest

from event_router.router.directory import LONGEST, WITHOUT_TOKEN, CachedDirectory
from event_router.router.store.memory_registry import MemoryRegistry
from event_router.router.store.ports import DestinationFields
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Unavailable
from tests.store.tokens import Tokens

FIELDS = DestinationFields(type="webhook", topics=("*",), config={"n": 1}, credentials={})
OTHER = DestinationFields(type="webhook", topics=("*",), config={"n": 2}, credentials={})
KEY = DestinationKey("acme", "d1")


class CountedRegistry(MemoryRegistry):
    """Counts how often it is read; writes `write_meanwhile` between reading and answering."""

    loads = 0
    down = False
    write_meanwhile: DestinationFields | None = None

    async def destinations(self, tenants: Collection[str]) -> list[Destination]:
        self.loads += 1
        if self.down:
            raise Unavailable("database", "down")
        found = await super().destinations(tenants)
        if self.write_meanwhile is not None:
            fields, self.write_meanwhile = self.write_meanwhile, None
            await self.replace(KEY, fields)
        return found


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.tokens = Tokens()
        self.registry = CountedRegistry(self.tokens)
        self.directory = CachedDirectory(self.registry, self.tokens, lambda: self.now)

    async def configs(self, tenant: str = "acme") -> list[object]:
        views = await self.directory.views([tenant])
        return [one.config["n"] for one in views[tenant].destinations.values()]


@pytest.fixture
async def world() -> World:
    world = World()
    await world.registry.upsert_tenant("acme", None)
    await world.registry.create(KEY, FIELDS)
    return world


async def test_a_view_is_loaded_once_while_nothing_changes(world: World) -> None:
    for _ in range(3):
        assert await world.configs() == [1]
    assert world.registry.loads == 1


async def test_a_write_holds_at_the_next_look(world: World) -> None:
    await world.configs()
    await world.registry.replace(KEY, OTHER)
    assert await world.configs() == [2]
    await world.registry.delete(KEY)
    assert await world.configs() == []


async def test_all_tenants_that_changed_are_loaded_together(world: World) -> None:
    await world.registry.upsert_tenant("b", None)
    views = await world.directory.views(["acme", "b", "nobody", "acme"])
    assert {name: len(view.destinations) for name, view in views.items()} == {
        "acme": 1,
        "b": 0,
        "nobody": 0,
    }
    assert world.registry.loads == 1


async def test_a_view_that_is_outdated_while_it_is_loaded_is_not_kept(world: World) -> None:
    world.registry.write_meanwhile = OTHER
    await world.configs()
    assert await world.configs() == [2]


async def test_without_redis_a_write_holds_after_a_short_while(world: World) -> None:
    await world.configs()
    world.tokens.down = True
    assert await world.configs() == [1]
    with pytest.raises(Unavailable):
        await world.registry.replace(KEY, OTHER)
    assert await world.configs() == [1]
    assert world.registry.loads == 2
    world.now += WITHOUT_TOKEN
    assert await world.configs() == [2]


async def test_a_write_whose_token_could_not_be_set_holds_in_the_end(world: World) -> None:
    await world.configs()
    world.tokens.down = True
    with pytest.raises(Unavailable):
        await world.registry.replace(KEY, OTHER)
    world.tokens.down = False
    assert await world.configs() == [1]
    world.now += LONGEST
    assert await world.configs() == [2]


async def test_tokens_that_were_lost_are_set_again(world: World) -> None:
    world.tokens.tokens.clear()
    for _ in range(5):
        assert await world.configs() == [1]
    assert world.registry.loads == 2
    await world.registry.replace(KEY, OTHER)
    assert await world.configs() == [2]


async def test_ids_that_nobody_knows_leave_nothing_in_redis(world: World) -> None:
    world.tokens.tokens.clear()
    assert await world.configs("nobody") == []
    assert world.tokens.tokens == {}


async def test_a_view_that_cannot_be_loaded_is_unavailable_not_empty(world: World) -> None:
    world.registry.down = True
    with pytest.raises(Unavailable):
        await world.configs()


async def test_the_longest_unused_views_are_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("event_router.router.directory.MOST_TENANTS", 2)
    views = await world.directory.views(["acme", "b", "c"])
    assert len(views) == 3
    world.registry.loads = 0
    await world.directory.views(["b", "c"])
    assert world.registry.loads == 0
    await world.configs("acme")
    assert world.registry.loads == 1
