"""A destination that can't be read, as its tenant and the operator see it."""

import msgspec
import pytest

from event_router.schemas.delivery import DestinationKey
from tests.api.world import World, publish_body

KEY = DestinationKey("acme", "locked")
PATH = "tenants/acme/destinations"
WHY = "the key 'k2' isn't in ROUTER_SECRETS_KEYS: add it at the end"


@pytest.fixture
async def locked(world: World) -> World:
    await world.tenant()
    await world.destination(id="open")
    await world.destination(id="locked")
    found = await world.registry.destination(KEY)
    assert found is not None
    shut = msgspec.structs.replace(found, config={}, credentials={}, unreadable=WHY)
    await world.registry._put(shut)
    return world


async def test_it_is_listed_with_the_others_and_says_so(locked: World) -> None:
    listed = (await locked.client.get(PATH)).json()
    assert {one["id"]: one.get("unreadable") for one in listed} == {"open": None, "locked": True}
    one = await locked.client.get(f"{PATH}/locked")
    assert one.json() in listed
    assert "k2" not in one.text, "which key it is, is the operator's"


async def test_events_match_it(locked: World) -> None:
    answer = await locked.client.post("publish", json=publish_body())
    assert sorted(answer.json()["destination_ids"]) == ["locked", "open"]


async def test_it_is_not_changed_since_what_is_hidden_would_be_lost(locked: World) -> None:
    answer = await locked.client.patch(f"{PATH}/locked", json={"topics": ["a"]})
    assert answer.status_code == 409
    assert "k2" not in answer.text
    kept = await locked.registry.destination(KEY)
    assert kept is not None
    assert kept.unreadable == WHY


async def test_it_is_disabled_and_deleted_like_others(locked: World) -> None:
    disabled = await locked.client.put(f"{PATH}/locked/disable")
    assert (disabled.status_code, disabled.json()["unreadable"]) == (200, True)
    assert (await locked.client.delete(f"{PATH}/locked")).status_code == 200


async def test_a_warning_is_shown_and_leaves_the_api_healthy(world: World) -> None:
    world.health.warnings["destinations"] = "1 can't be read"
    answer = await world.client.get("healthz")
    assert answer.status_code == 200
    assert answer.json()["warnings"] == {"destinations": "1 can't be read"}
    ready = await world.client.get("http://router/readyz")
    assert (ready.status_code, ready.json()["warnings"]) == (200, answer.json()["warnings"])
