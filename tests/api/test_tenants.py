"""The list of tenants, and what becomes of one that is deleted."""

import pytest

from event_router.router.store.log_ports import DeadFilter, EventFilter
from event_router.router.store.paging import Paging
from event_router.schemas.errors import Unavailable
from tests.api.world import World, a_settings
from tests.store.history import History, write


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


async def _logged(world: World, *tenants: str) -> None:
    history = History()
    for tenant in tenants:
        history.dead(history.delivery(history.event("e1", tenant)))
    await write(world.log, history.records)


async def _in_the_log(world: World) -> tuple[list[str], list[str | None]]:
    events = await world.log.events(EventFilter(), Paging())
    dead = await world.log.dead(DeadFilter(), Paging())
    return [one.tenant for one in events.models], [one.tenant for one in dead.models]


async def test_a_deleted_tenant_s_data_is_kept_unless_it_is_purged(world: World) -> None:
    await _made(world, "acme", "other")
    await _logged(world, "acme", "other")
    answer = await world.client.delete("tenants/other?purge=false")
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert await _in_the_log(world) == (["other", "acme"], ["other", "acme"])
    answer = await world.client.delete("tenants/acme?purge=true")
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert await _in_the_log(world) == (["other"], ["other"])
    assert (await world.client.get("tenants/acme")).status_code == 404


async def test_what_is_logged_later_is_purged_though_the_tenant_is_gone(world: World) -> None:
    await _logged(world, "acme")
    assert (await world.client.delete("tenants/acme")).status_code == 404
    assert (await world.client.delete("tenants/acme?purge=true")).status_code == 200
    assert await _in_the_log(world) == ([], [])
    assert (await world.client.delete("tenants/acme?purge=true")).status_code == 404


async def test_a_purge_that_fails_halfway_is_taken_up_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(tenant: str, most: int) -> int:
        raise Unavailable("database", "gone")

    await world.tenant()
    await _logged(world, "acme")
    with monkeypatch.context() as broken:
        broken.setattr(world.log, "purge", fail)
        assert (await world.client.delete("tenants/acme?purge=true")).status_code == 503
    assert (await world.client.delete("tenants/acme?purge=true")).status_code == 200
    assert await _in_the_log(world) == ([], [])


async def test_a_tenant_deletes_itself_but_does_not_purge() -> None:
    world = World(a_settings(jwt_secret="s" * 32))
    async with world.client as client:
        await world.tenant()
        await _logged(world, "acme")
        token = (await client.get("tenants/acme/token")).json()["token"]
        as_tenant = {"authorization": f"Bearer {token}"}
        answer = await client.delete("tenants/acme?purge=true", headers=as_tenant)
        assert answer.status_code == 403
        assert answer.json()["message"] == "only the administrator purges"
        assert (await client.get("tenants/acme")).status_code == 200
        assert (await client.delete("tenants/acme", headers=as_tenant)).status_code == 200
        assert await _in_the_log(world) == (["acme"], ["acme"])


async def test_purge_is_true_or_false(world: World) -> None:
    await world.tenant()
    answer = await world.client.delete("tenants/acme?purge=maybe")
    assert answer.status_code == 422
    assert answer.json()["data"][0].startswith("purge: ")
    assert (await world.client.get("tenants/acme")).status_code == 200
