import base64
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from event_router.router.store.memory_registry import MemoryRegistry
from event_router.router.store.migrate import migrate
from event_router.router.store.paging import Paging
from event_router.router.store.ports import (
    AlreadyExists,
    DestinationFields,
    NoSuchTenant,
    Registry,
    Times,
)
from event_router.router.store.registry import SqlRegistry
from event_router.router.store.secrets import Secrets
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.destination import RetryOverride
from event_router.schemas.errors import InvalidValue, Unavailable
from tests.store.tokens import Tokens

KEY = DestinationKey("acme", "orders")
HOOK = DestinationFields(
    type="webhook",
    topics=("order.created", "order.paid"),
    config={"url": "https://example.com/hook", "port": 1 << 60},
    credentials={"secret": "whsec_1", "nested": {"a": [1, None]}},
    filter={"data": {"amount": {"$gt": 10.5}}},
    metadata={"team": "billing"},
    delivery_metadata={"x-token": "sesame"},
    retry=RetryOverride((1.0, 2.5), 7),
    rate_limit=12.5,
)
SECRETS = Secrets([f"k1:{base64.b64encode(bytes(32)).decode()}"])


class Clock:
    """Tests say what time it is."""

    now = 1_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def registry(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock, tokens: Tokens
) -> AsyncIterator[Registry]:
    registry: Registry
    if request.param == "memory":
        registry = MemoryRegistry(tokens, clock)
    else:
        url = f"sqlite:///{tmp_path}/registry.sqlite"
        if request.param == "postgresql":
            url = request.getfixturevalue("postgres_url")
        migrate(url, "registry")
        registry = SqlRegistry(url, SECRETS, tokens, clock)
    yield registry
    await registry.aclose()


async def test_a_tenant_is_created_once_and_then_updated(registry: Registry, clock: Clock) -> None:
    first = await registry.upsert_tenant("acme", {"plan": "free"})
    clock.now += 5
    second = await registry.upsert_tenant("acme", None)

    assert first.created
    assert first.tenant.metadata == {"plan": "free"}
    assert not second.created
    assert await registry.tenant("acme") == second.tenant
    assert second.tenant.metadata is None
    assert (second.tenant.created_at, second.tenant.updated_at) == (1_000, 1_005)


async def test_nobody_is_found_who_is_not_there(registry: Registry) -> None:
    assert await registry.tenant("acme") is None
    assert await registry.destination(KEY) is None
    assert await registry.destinations(["acme"]) == []
    assert await registry.replace(KEY, HOOK) is None
    assert await registry.set_disabled(KEY, disabled=True) is None
    assert not await registry.disable_unless_changed_since(KEY, 1 << 50, "gone")
    assert not await registry.delete(KEY)
    assert not await registry.delete_tenant("acme")
    assert not (await registry.tenants([], Paging())).models


async def test_a_destination_comes_back_as_it_was_written(registry: Registry) -> None:
    await registry.upsert_tenant("acme", None)
    created = await registry.create(KEY, HOOK)

    assert await registry.destination(KEY) == created
    assert created.key == KEY
    for name in DestinationFields.__struct_fields__:
        assert getattr(created, name) == getattr(HOOK, name)
    assert (created.created_at, created.updated_at) == (1_000, 1_000)


async def test_a_destination_needs_its_tenant(registry: Registry) -> None:
    with pytest.raises(NoSuchTenant):
        await registry.create(KEY, HOOK)


async def test_a_destination_is_created_once_and_the_first_one_stays(registry: Registry) -> None:
    await registry.upsert_tenant("acme", None)
    created = await registry.create(KEY, HOOK)
    with pytest.raises(AlreadyExists, match="acme/orders"):
        await registry.create(KEY, msgspec.structs.replace(HOOK, type="kafka"))
    assert await registry.destination(KEY) == created


async def test_two_tenants_may_use_the_same_id(registry: Registry) -> None:
    other = DestinationKey("other", KEY.destination)
    for key in (KEY, other):
        await registry.upsert_tenant(key.tenant, None)
        await registry.create(key, HOOK)
    assert await registry.delete(KEY)
    assert await registry.destination(other) is not None


async def test_replacing_keeps_the_time_of_creation_and_changes_the_version(
    registry: Registry, clock: Clock
) -> None:
    await registry.upsert_tenant("acme", None)
    created = await registry.create(KEY, HOOK)
    clock.now += 7
    plain = DestinationFields(type="kafka", topics=("*",), config={}, credentials={})
    replaced = await registry.replace(KEY, plain)

    assert replaced is not None
    assert replaced == await registry.destination(KEY)
    assert (replaced.filter, replaced.metadata, replaced.retry) == (None, None, None)
    assert replaced.version != created.version
    assert (replaced.created_at, replaced.updated_at) == (1_000, 1_007)


async def test_only_the_version_that_was_read_is_replaced(registry: Registry) -> None:
    await registry.upsert_tenant("acme", None)
    created = await registry.create(KEY, HOOK)
    first = await registry.replace(KEY, HOOK, created.version)
    assert first is not None
    assert await registry.replace(KEY, HOOK, created.version) is None
    assert await registry.destination(KEY) == first
    assert await registry.replace(KEY, HOOK, first.version) is not None


async def test_a_destination_that_moves_in_keeps_its_times(registry: Registry) -> None:
    await registry.upsert_tenant("acme", None)
    created = await registry.create(KEY, HOOK, Times(5, 7))
    assert (created.created_at, created.updated_at) == (5, 7)
    assert await registry.destination(KEY) == created


async def test_all_tenants_are_counted(registry: Registry) -> None:
    assert await registry.count_tenants() == 0
    await registry.upsert_tenant("acme", None)
    await registry.upsert_tenant("other", None)
    assert await registry.count_tenants() == 2


async def test_deleting_a_tenant_deletes_its_destinations(registry: Registry) -> None:
    await registry.upsert_tenant("acme", None)
    await registry.create(KEY, HOOK)
    assert await registry.delete_tenant("acme")
    assert await registry.destination(KEY) is None
    await registry.upsert_tenant("acme", None)
    assert await registry.destinations(["acme"]) == []


async def test_destinations_of_several_tenants_come_the_oldest_first(
    registry: Registry, clock: Clock
) -> None:
    for tenant, id_ in (("b", "2"), ("a", "9"), ("b", "1"), ("c", "0")):
        await registry.upsert_tenant(tenant, None)
        await registry.create(DestinationKey(tenant, id_), HOOK)
        clock.now += 1
    found = await registry.destinations(["a", "b"])
    assert [one.key for one in found] == [("b", "2"), ("a", "9"), ("b", "1")]


async def test_disabling_twice_keeps_the_first_time(registry: Registry, clock: Clock) -> None:
    await registry.upsert_tenant("acme", None)
    await registry.create(KEY, HOOK)
    first = await registry.set_disabled(KEY, disabled=True)
    clock.now += 5
    again = await registry.set_disabled(KEY, disabled=True)
    assert first is not None
    assert first.disabled_at == 1_000
    assert again == first
    enabled = await registry.set_disabled(KEY, disabled=False)
    assert enabled is not None
    assert enabled.disabled_at is None
    assert enabled == await registry.destination(KEY)


async def test_an_attempt_disables_only_what_was_not_changed_since(
    registry: Registry, clock: Clock
) -> None:
    await registry.upsert_tenant("acme", None)
    await registry.create(KEY, HOOK)
    assert not await registry.disable_unless_changed_since(KEY, 999, "gone")
    assert not await registry.disable_unless_changed_since(KEY, 1_000, "gone")
    clock.now = 2_000
    assert await registry.disable_unless_changed_since(KEY, 1_001, "gone")
    assert not await registry.disable_unless_changed_since(KEY, 5_000, "gone")
    found = await registry.destination(KEY)
    assert found is not None
    assert (found.disabled_at, found.updated_at) == (2_000, 2_000)


async def test_disabling_that_could_not_set_the_token_sets_it_when_it_is_repeated(
    registry: Registry, tokens: Tokens
) -> None:
    await registry.upsert_tenant("acme", None)
    await registry.create(KEY, HOOK)
    before = tokens.tokens["acme"]
    tokens.down = True
    with pytest.raises(Unavailable):
        await registry.disable_unless_changed_since(KEY, 1 << 50, "gone")
    tokens.down = False
    assert not await registry.disable_unless_changed_since(KEY, 1 << 50, "gone")
    assert tokens.tokens["acme"] != before


async def test_every_write_leaves_a_new_token(registry: Registry, tokens: Tokens) -> None:
    seen = set()
    for write in (
        registry.upsert_tenant("acme", None),
        registry.create(KEY, HOOK),
        registry.replace(KEY, HOOK),
        registry.set_disabled(KEY, disabled=True),
        registry.set_disabled(KEY, disabled=False),
        registry.disable_unless_changed_since(KEY, 1 << 50, "gone"),
        registry.delete(KEY),
        registry.delete_tenant("acme"),
    ):
        assert await write is not None
        seen.add(tokens.tokens["acme"])
    assert len(seen) == 8


async def test_tenants_are_paged_there_and_back(registry: Registry, clock: Clock) -> None:
    for index in range(7):
        clock.now = 1_000 + index // 2
        await registry.upsert_tenant(f"t{index}", None)

    first = await registry.tenants([], Paging(limit=3))
    second = await registry.tenants([], Paging(limit=3, next=first.next))
    third = await registry.tenants([], Paging(limit=3, next=second.next))
    pages = [[tenant.id for tenant in one.models] for one in (first, second, third)]
    assert pages == [["t6", "t5", "t4"], ["t3", "t2", "t1"], ["t0"]]
    assert (first.prev, third.next) == (None, None)

    back = await registry.tenants([], Paging(limit=3, prev=third.prev))
    assert back.models == second.models
    start = await registry.tenants([], Paging(limit=3, prev=back.prev))
    assert start.models == first.models
    assert start.prev is None
    assert start.next == first.next


async def test_tenants_are_listed_upwards_and_by_id(registry: Registry) -> None:
    for name in ("b", "a", "C"):
        await registry.upsert_tenant(name, None)
    listed = await registry.tenants([], Paging(descending=False))
    assert [tenant.id for tenant in listed.models] == ["C", "a", "b"]
    some = await registry.tenants(["a", "x"], Paging())
    assert [tenant.id for tenant in some.models] == ["a"]


@pytest.mark.parametrize("cursor", ["", "nonsense", "WzFd", "ööö"])
async def test_a_cursor_that_is_none_is_an_invalid_value(registry: Registry, cursor: str) -> None:
    with pytest.raises(InvalidValue, match="next"):
        await registry.tenants([], Paging(next=cursor))
    with pytest.raises(InvalidValue, match="prev"):
        await registry.tenants([], Paging(next="a", prev="b"))
