"""The list of tenants, and what becomes of one that is deleted."""

import pytest

from tests.api.world import World


async def _made(world: World, *names: str) -> None:
    for name in names:
        await world.tenant(name)
        world.clock.now += 1000


async def test_tenants_are_listed_the_newest_first_page_by_page(world: World) -> None:
    await _made(world, "a", "b", "c")
    await world.destination("b", topics=["x"])
    first = (await world.client.get("tenants?limit=2")).json()
    assert [tenant["id"] for tenant in first["models"]] == ["c", "b"]
    assert [tenant["topics"] for tenant in first["models"]] == [[], ["x"]]
    assert [tenant["destinations_count"] for tenant in first["models"]] == [0, 1]
    assert first["count"] == 3
    cursor = first["pagination"].pop("next")
    assert first["pagination"] == {
        "order_by": "created_at",
        "dir": "desc",
        "limit": 2,
        "prev": None,
    }
    second = (await world.client.get(f"tenants?limit=2&next={cursor}")).json()
    assert [tenant["id"] for tenant in second["models"]] == ["a"]
    assert second["pagination"]["next"] is None
    back = (await world.client.get(f"tenants?limit=2&prev={second['pagination']['prev']}")).json()
    assert back["models"] == first["models"]


async def test_tenants_are_found_by_id_and_listed_upwards(world: World) -> None:
    await _made(world, "a", "b", "c")
    for query in ("id=c&id=a&dir=asc", "id[0]=a&id[1]=c&dir=asc", "id[]=a&id[]=c&dir=asc"):
        found = (await world.client.get(f"tenants?{query}")).json()
        assert [tenant["id"] for tenant in found["models"]] == ["a", "c"]
        assert found["pagination"]["limit"] == 20


@pytest.mark.parametrize(
    ("query", "status"),
    [("limit=0", 400), ("limit=101", 400), ("next=x", 400), ("next=a&prev=b", 400), ("dir=x", 422)],
)
async def test_a_page_that_cannot_be_is_refused(world: World, query: str, status: int) -> None:
    assert (await world.client.get(f"tenants?{query}")).status_code == status


async def test_a_deleted_tenant_is_gone_with_its_destinations(world: World) -> None:
    await _made(world, "a")
    await world.destination("a", id="d")
    gone = await world.client.delete("tenants/a")
    assert (gone.status_code, gone.json()) == (200, {"success": True})
    assert (await world.client.get("tenants/a")).status_code == 404
    await world.tenant("a")
    assert (await world.client.get("tenants/a/destinations")).json() == []
