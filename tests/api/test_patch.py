"""Changes to a destination: merged where it says so, and never on top of what wasn't read."""

from typing import Any

import pytest

from event_router.router.store.ports import DestinationFields
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.destination import Destination
from tests.api.world import World, a_settings

PATH = "tenants/acme/destinations/d"
KEY = DestinationKey("acme", "d")
KAFKA: dict[str, Any] = {
    "type": "kafka",
    "config": {"brokers": "k.example.com:9092", "topic": "in", "sasl_mechanism": "plain"},
    "credentials": {"username": "someone-long", "password": "long-password"},
}


async def patched(world: World, **change: Any) -> dict[str, Any]:
    answer = await world.client.patch(PATH, json=change)
    assert answer.status_code == 200, answer.text
    changed: dict[str, Any] = answer.json()
    assert (await world.client.get(PATH)).json() == changed
    return changed


async def stored(world: World) -> Destination:
    found = await world.registry.destination(KEY)
    assert found is not None
    return found


async def a_destination(world: World, **more: Any) -> dict[str, Any]:
    await world.tenant()
    return await world.destination(id="d", **more)


async def test_what_is_not_named_stays(world: World) -> None:
    made = await a_destination(world, filter={"topic": "a"}, metadata={"team": "x"})
    world.clock.now += 1000
    changed = await patched(world, topics=["a", "b"])
    assert changed == {
        **made,
        "topics": ["a", "b"],
        "updated_at": "2027-01-15T08:00:01.000Z",
    }
    assert await patched(world) == changed


@pytest.mark.parametrize("field", ["metadata", "delivery_metadata"])
async def test_metadata_is_merged(world: World, field: str) -> None:
    await a_destination(world, **{field: {"a": "1", "b": "2"}})
    assert (await patched(world, **{field: {}}))[field] == {"a": "1", "b": "2"}
    assert (await patched(world, **{field: {"a": None, "c": "3"}}))[field] == {"b": "2", "c": "3"}
    assert (await patched(world, **{field: None}))[field] is None
    assert (await patched(world, **{field: {"d": "4"}}))[field] == {"d": "4"}


async def test_config_and_credentials_are_merged_and_checked(world: World) -> None:
    await a_destination(world, **KAFKA)
    changed = await patched(
        world,
        config={"topic": "out", "tls": False},
        credentials={"password": "another-password"},
    )
    assert changed["config"] == {**KAFKA["config"], "topic": "out", "tls": "false"}
    assert (await stored(world)).credentials == {
        "username": "someone-long",
        "password": "another-password",
    }
    default = await patched(world, config={"sasl_mechanism": None})
    assert default["config"]["sasl_mechanism"] == "plain"
    for wrong, line in (
        ({"topic": None}, "config.topic is required"),
        ({"topic": "a b"}, "config.topic: 'a b' is not "),
        (None, "config.brokers is required"),
    ):
        answer = await world.client.patch(PATH, json={"config": wrong})
        assert answer.status_code == 422
        assert answer.json()["data"][0].startswith(line)


async def test_credentials_that_come_back_as_they_were_shown_stay(world: World) -> None:
    made = await a_destination(world, **KAFKA)
    await patched(world, credentials={**made["credentials"], "username": "someone-else"})
    assert (await stored(world)).credentials == {
        "username": "someone-else",
        "password": "long-password",
    }


async def test_a_webhook_keeps_its_secret(world: World) -> None:
    made = await a_destination(world)
    changed = await patched(world, config={"url": "https://example.com/other"})
    assert changed["credentials"] == made["credentials"]
    assert changed["target"] == "https://example.com/other"


async def test_a_filter_is_replaced(world: World) -> None:
    await a_destination(world, filter={"topic": "a", "data": {"x": 1}})
    assert (await patched(world, filter={"topic": "b"}))["filter"] == {"topic": "b"}
    assert (await patched(world, filter={}))["filter"] is None
    await patched(world, filter={"topic": "b"})
    assert (await patched(world, filter=None))["filter"] is None
    answer = await world.client.patch(PATH, json={"filter": {"data": {"$near": 1}}})
    assert answer.status_code == 422


async def test_it_can_be_disabled_and_enabled(world: World) -> None:
    await a_destination(world)
    off = await patched(world, disabled_at="2026-01-01T00:00:00Z")
    assert off["disabled_at"] == "2026-01-01T00:00:00.000Z"
    assert (await patched(world, topics="*"))["disabled_at"] == off["disabled_at"]
    assert (await patched(world, disabled_at=None))["disabled_at"] is None


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"type": "kafka"}, "type: 'kafka' is not webhook, which can't be changed"),
        ({"topics": []}, "topics"),
        ({"id": "e"}, "id is not a known field"),
        ({"disabled_at": "2030-01-01T00:00:00Z"}, "disabled_at: "),
        ({"metadata": {"a": 1}}, "metadata.a"),
    ],
)
async def test_a_change_that_is_wrong_says_where(
    world: World, change: dict[str, Any], line: str
) -> None:
    made = await a_destination(world)
    answer = await world.client.patch(PATH, json=change)
    assert answer.status_code == 422
    assert answer.json()["data"][0].startswith(line)
    assert (await world.client.get(PATH)).json() == made


async def test_the_type_may_be_named(world: World) -> None:
    await a_destination(world)
    assert (await patched(world, type="webhook"))["type"] == "webhook"


async def test_topics_are_checked() -> None:
    world = World(a_settings(topics="a"))
    async with world.client:
        await a_destination(world)
        answer = await world.client.patch(PATH, json={"topics": ["b"]})
    assert answer.json()["data"] == ["topics: 'b' is not * or among a"]


async def test_a_change_meanwhile_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await a_destination(world)
    replace, others = world.registry.replace, [{"a": "1"}, {"b": "2"}]

    async def overtaken(
        key: DestinationKey, fields: DestinationFields, version: str | None = None
    ) -> Destination | None:
        if others:
            await world.client.patch(PATH, json={"metadata": others.pop()})
        return await replace(key, fields, version)

    monkeypatch.setattr(world.registry, "replace", overtaken)
    assert (await patched(world, metadata={"c": "3"}))["metadata"] == {
        "a": "1",
        "b": "2",
        "c": "3",
    }


async def test_changes_without_an_end_are_a_conflict(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def overtaken(*_: Any) -> None:
        """Somebody else was faster, each time."""

    await a_destination(world)
    monkeypatch.setattr(world.registry, "replace", overtaken)
    assert (await world.client.patch(PATH, json={})).status_code == 409


async def test_one_that_is_not_there_is_404(world: World) -> None:
    await world.tenant()
    answer = await world.client.patch(PATH, json={})
    assert (answer.status_code, answer.json()["message"]) == (404, "destination not found")


async def test_a_rate_limit_is_replaced(world: World) -> None:
    made = await a_destination(world, rate_limit=12.5)
    assert made["rate_limit"] == 12.5
    assert (await patched(world, topics=["a"]))["rate_limit"] == 12.5
    assert (await patched(world, rate_limit=3))["rate_limit"] == 3
    assert (await stored(world)).rate_limit == 3
    assert "rate_limit" not in await patched(world, rate_limit=None)
    assert (await stored(world)).rate_limit is None


@pytest.mark.parametrize("wrong", [0, -1, "5", True, 2_000_000])
async def test_a_rate_limit_is_a_number_above_0(world: World, wrong: object) -> None:
    await a_destination(world)
    answer = await world.client.patch(PATH, json={"rate_limit": wrong})
    assert answer.status_code == 422
    assert answer.json()["data"][0].startswith("rate_limit")
