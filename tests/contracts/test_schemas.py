import pytest

from event_router.router.store.ports import NoSuchTenant, Registry
from event_router.router.store.schema_ports import Found
from event_router.schemas.columns import Column, ColumnType, EventSchema
from tests.contracts.test_registry import Clock, clock, registry, tokens

__all__ = ["clock", "registry", "tokens"]

SCHEMA = EventSchema(
    (
        Column("amount", ColumnType.FLOAT, nullable=False, minimum=0, maximum=1e9),
        Column("currency", ColumnType.CATEGORY, allowed=("EUR", "USD", 7, 1.5)),
        Column("vector", ColumnType.VECTOR, dimensions=3),
    ),
    "reject",
)


def found(field: str = "amount", count: int = 1, at: int = 1_000, **more: str) -> Found:
    fields = {"kind": "range", "event": "e1", "detail": "-1 is less than 0", **more}
    return Found(field=field, count=count, first_at=at, last_at=at, **fields)


async def test_a_schema_comes_back_as_it_was_put(registry: Registry, clock: Clock) -> None:
    await registry.upsert_tenant("acme", None)
    first, created = await registry.schemas.put("acme", "orders", SCHEMA)
    assert created
    assert await registry.schemas.get("acme", "orders") == first
    assert (first.schema, first.created_at, first.updated_at) == (SCHEMA, 1_000, 1_000)
    clock.now += 5
    plain = EventSchema(SCHEMA.columns[:1])
    second, created = await registry.schemas.put("acme", "orders", plain)
    assert not created
    assert (second.schema, second.created_at, second.updated_at) == (plain, 1_000, 1_005)
    assert await registry.schemas.get("acme", "orders") == second


async def test_a_schema_needs_its_tenant(registry: Registry) -> None:
    with pytest.raises(NoSuchTenant):
        await registry.schemas.put("acme", "orders", SCHEMA)
    assert await registry.schemas.get("acme", "orders") is None


async def test_schemas_are_a_tenants_own_and_listed_by_topic(registry: Registry) -> None:
    for tenant in ("acme", "other"):
        await registry.upsert_tenant(tenant, None)
        for topic in ("b", "a"):
            await registry.schemas.put(tenant, topic, SCHEMA)
    listed = await registry.schemas.all_of("acme")
    assert [(one.tenant, one.topic) for one in listed] == [("acme", "a"), ("acme", "b")]
    assert await registry.schemas.delete("acme", "a")
    assert not await registry.schemas.delete("acme", "a")
    assert len(await registry.schemas.all_of("other")) == 2
    assert await registry.delete_tenant("other")
    assert await registry.schemas.all_of("other") == []
    assert [one.topic for one in await registry.schemas.all_of("acme")] == ["b"]


async def test_what_is_found_adds_up_by_field_and_kind(registry: Registry) -> None:
    await registry.upsert_tenant("acme", None)
    await registry.schemas.put("acme", "orders", SCHEMA)
    await registry.schemas.record("acme", "orders", [found(count=2), found("currency", count=4)])
    later = found(count=3, at=2_000, event="e9", detail="-7 is less than 0")
    await registry.schemas.record("acme", "orders", [later, found(kind="missing", at=2_000)])
    amount, currency, missing = await registry.schemas.violations("acme", "orders")
    assert (amount.field, amount.count) == ("amount", 5)
    assert (amount.first_at, amount.last_at) == (1_000, 2_000)
    assert (amount.event, amount.detail) == ("e9", "-7 is less than 0")
    assert currency == found("currency", count=4)
    assert (missing.kind, missing.count) == ("missing", 1)


async def test_what_was_found_goes_with_the_schema(registry: Registry) -> None:
    await registry.upsert_tenant("acme", None)
    await registry.schemas.record("acme", "orders", [found()])
    assert await registry.schemas.violations("acme", "orders") == []
    for of_all in (True, False):
        await registry.schemas.put("acme", "orders", SCHEMA)
        await registry.schemas.record("acme", "orders", [found()])
        assert await registry.schemas.violations("acme", "orders") == [found()]
        if of_all:
            assert await registry.delete_tenant("acme")
            await registry.upsert_tenant("acme", None)
        else:
            assert await registry.schemas.delete("acme", "orders")
        assert await registry.schemas.violations("acme", "orders") == []
