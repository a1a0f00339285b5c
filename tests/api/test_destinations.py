"""Tenants and destinations: what people enter is checked, and shown without its secrets."""

from typing import Any

import pytest

from event_router.consumers.ports import Parked
from event_router.schemas.delivery import Delivery, DeliveryHead
from event_router.schemas.errors import Unavailable
from event_router.schemas.record import Place
from tests.api.world import START, World, a_settings, destination_body, publish_body

WHEN = "2027-01-15T08:00:00.000Z"


async def test_a_tenant_is_new_once(world: World) -> None:
    first = await world.client.put("tenants/acme", json={"metadata": {"plan": "free"}})
    again = await world.client.put("tenants/acme")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == {
        "id": "acme",
        "destinations_count": 0,
        "topics": [],
        "metadata": {"plan": "free"},
        "created_at": WHEN,
        "updated_at": WHEN,
    }
    assert again.json()["metadata"] is None


async def test_a_tenant_knows_its_destinations_topics(world: World) -> None:
    await world.tenant()
    await world.destination(topics=["b", "a"])
    await world.destination(topics=["b", "c"])
    tenant = (await world.client.get("tenants/acme")).json()
    assert (tenant["destinations_count"], tenant["topics"]) == (2, ["a", "b", "c"])


async def test_a_webhook_gets_a_secret_and_shows_it(world: World) -> None:
    await world.tenant()
    made = await world.destination(id="hook", metadata={"team": "x"})
    secret = made["credentials"]["secret"]
    assert secret.startswith("whsec_")
    assert made == {
        "id": "hook",
        "tenant_id": "acme",
        "type": "webhook",
        "topics": "*",
        "filter": None,
        "config": {"url": "https://example.com/hook"},
        "credentials": {"secret": secret},
        "metadata": {"team": "x"},
        "delivery_metadata": None,
        "disabled_at": None,
        "created_at": WHEN,
        "updated_at": WHEN,
        "target": "https://example.com/hook",
        "target_url": "https://example.com/hook",
    }
    assert (await world.client.get("tenants/acme/destinations/hook")).json() == made
    assert (await world.client.get("tenants/acme/destinations")).json() == [made]


async def test_other_credentials_are_obfuscated(world: World) -> None:
    await world.tenant()
    config = {"brokers": "kafka.example.com:9092", "topic": "in", "tls": "false"}
    given = {"username": "someone-long", "password": "short"}
    made = await world.destination(type="kafka", config=config, credentials=given)
    assert made["config"]["tls"] == "false"
    assert made["credentials"] == {"username": "some********", "password": "********"}


async def test_a_previous_secret_is_shown_while_it_counts(world: World) -> None:
    await world.tenant()
    previous = {
        "previous_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "previous_secret_invalid_at": "2027-01-15T09:00:00Z",
    }
    made = await world.destination(id="hook", credentials=previous)
    assert made["credentials"]["previous_secret"] == previous["previous_secret"]
    world.clock.now += 3600_001
    found = (await world.client.get("tenants/acme/destinations/hook")).json()
    assert list(found["credentials"]) == ["secret"]


async def test_config_may_be_given_in_other_types_than_strings(world: World) -> None:
    await world.tenant()
    headers = {"x-team": "a"}
    config = {"url": "https://example.com/", "custom_headers": headers}
    made = await world.destination(config=config)
    assert made["config"]["custom_headers"] == '{"x-team":"a"}'


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"config": {}}, "config.url is required"),
        ({"config": {"url": "ftp://x"}}, "config.url: 'ftp://x' is not an http or https URL"),
        ({"config": {"url": "https://x.org", "u": 1}}, "config.u: '***' is not a known field"),
        ({"credentials": {"secret": "x"}}, "credentials.secret: '***' is not "),
        ({"type": "pigeon"}, "type: 'pigeon' is not one of aws_eventbridge, "),
        ({"topics": []}, "topics"),
        ({"topics": [""]}, "topics: a topic's name isn't empty"),
        ({"url": "https://x.org"}, "url is not a known field"),
        ({"filter": {"body": {}}}, "filter.body: 'body' is not one of id, topic"),
        ({"filter": {"data": {"$near": 1}}}, "filter.data.$near: '$near' is not an operator"),
        ({"id": "a/b"}, "id: 'a/b' is not an id"),
        ({"disabled_at": "2030-01-01T00:00:00Z"}, "disabled_at: '2030-01-01T00:00:00+00:00' is"),
        ({"metadata": {"a": 1}}, "metadata.a: Input should be a valid string"),
    ],
)
async def test_a_destination_that_is_wrong_says_where(
    world: World, change: dict[str, Any], line: str
) -> None:
    await world.tenant()
    answer = await world.client.post("tenants/acme/destinations", json=destination_body(**change))
    assert answer.status_code == 422
    assert answer.json()["message"] == "validation error"
    assert answer.json()["data"][0].startswith(line)
    assert (await world.client.get("tenants/acme/destinations")).json() == []


async def test_a_secret_that_is_refused_is_not_repeated(world: World) -> None:
    await world.tenant()
    body = destination_body(credentials={"secret": "hunter2"})
    answer = await world.client.post("tenants/acme/destinations", json=body)
    assert "hunter2" not in answer.text


async def test_topics_must_be_configured_ones() -> None:
    world = World(a_settings(topics="a,b"))
    async with world.client:
        await world.tenant()
        await world.destination(topics=["a", "*"])
        body = destination_body(topics=["a", "c"])
        answer = await world.client.post("tenants/acme/destinations", json=body)
        assert (await world.client.get("topics")).json() == ["a", "b"]
    assert answer.json()["data"] == ["topics: 'c' is not * or among a, b"]


async def test_topics_have_wildcards_where_that_is_allowed(world: World) -> None:
    await world.tenant()
    body = destination_body(topics=["user.*"])
    answer = await world.client.post("tenants/acme/destinations", json=body)
    assert answer.json()["data"] == ["topics: 'user.*' is not *, or a name without it"]


async def test_a_wildcard_covers_at_least_one_of_the_topics() -> None:
    world = World(a_settings(topics="user.created", topics_allow_wildcards=True))
    async with world.client:
        await world.tenant()
        assert (await world.destination(topics=["user.*"]))["topics"] == ["user.*"]
        body = destination_body(topics=["order.*"])
        answer = await world.client.post("tenants/acme/destinations", json=body)
        published = await world.client.post("publish", json=publish_body())
    assert answer.status_code == 422
    assert len(published.json()["destination_ids"]) == 1


async def test_destinations_are_found_by_type_and_topics(world: World) -> None:
    await world.tenant()
    await world.destination(id="a", topics=["x", "y"])
    await world.destination(id="b", topics=["x"])
    kafka = {"brokers": "kafka.example.com:9092", "topic": "in"}
    await world.destination(id="c", type="kafka", config=kafka)

    async def found(query: str) -> list[str]:
        answer = await world.client.get(f"tenants/acme/destinations?{query}")
        return [one["id"] for one in answer.json()]

    assert await found("topics=x") == ["a", "b", "c"]
    assert await found("topics=x&topics=y") == ["a", "c"]
    assert await found("type=webhook&topics[]=y") == ["a"]
    assert (await world.client.get("tenants/acme/destinations?kind=x")).status_code == 422


async def test_an_id_is_taken_once_a_tenant(world: World) -> None:
    await world.tenant()
    await world.tenant("other")
    await world.destination(id="d")
    await world.destination("other", id="d")
    body = destination_body(id="d")
    answer = await world.client.post("tenants/acme/destinations", json=body)
    assert (answer.status_code, answer.json()["message"]) == (400, "destination already exists")


async def test_a_tenant_has_so_many_destinations() -> None:
    world = World(a_settings(max_destinations_per_tenant=2))
    async with world.client:
        await world.tenant()
        for _ in range(2):
            await world.destination()
        answer = await world.client.post("tenants/acme/destinations", json=destination_body())
    assert (answer.status_code, answer.json()["message"]) == (
        400,
        "a tenant has at most 2 destinations",
    )


async def test_one_that_moves_in_keeps_its_times(world: World) -> None:
    await world.tenant()
    made = await world.destination(
        created_at="2025-01-01T00:00:00Z", updated_at="2025-02-01T00:00:00Z"
    )
    assert (made["created_at"], made["updated_at"]) == (
        "2025-01-01T00:00:00.000Z",
        "2025-02-01T00:00:00.000Z",
    )


async def test_a_deleted_destination_is_gone(world: World) -> None:
    await world.tenant()
    await world.destination(id="d")
    first = await world.client.delete("tenants/acme/destinations/d")
    again = await world.client.delete("tenants/acme/destinations/d")
    assert (first.status_code, first.json()) == (200, {"success": True})
    assert (again.status_code, again.json()["message"]) == (404, "destination not found")


async def test_disabling_twice_keeps_the_time(world: World) -> None:
    await world.tenant()
    await world.destination(id="d")
    first = (await world.client.put("tenants/acme/destinations/d/disable")).json()
    world.clock.now += 1000
    again = (await world.client.put("tenants/acme/destinations/d/disable")).json()
    assert first["disabled_at"] == again["disabled_at"] == WHEN
    enabled = (await world.client.put("tenants/acme/destinations/d/enable")).json()
    assert enabled["disabled_at"] is None


async def test_one_may_be_made_disabled(world: World) -> None:
    await world.tenant()
    made = await world.destination(disabled_at="2026-01-01T00:00:00Z")
    assert made["disabled_at"] == "2026-01-01T00:00:00.000Z"


async def test_enabling_wakes_what_waits(world: World) -> None:
    await world.tenant()
    made = await world.destination(id="d")
    head = DeliveryHead("acme", "e", "d", Place("events", 0, 0, 0), "t", "time", "s", START)
    await world.schedule.park([Parked(Delivery(head, b"{}"), 0)])
    await world.schedule.door(head.key, 60)
    shard = world.topics.shard_of("acme", made["id"])
    assert (await world.schedule.due([shard], {})).due[0].at == START + 60_000
    await world.client.put("tenants/acme/destinations/d/enable")
    assert (await world.schedule.due([shard], {})).due[0].at <= START


async def test_without_redis_a_destination_is_still_enabled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise Unavailable("redis", "gone")

    await world.tenant()
    await world.destination(id="d")
    monkeypatch.setattr(world.schedule, "door", fail)
    answer = await world.client.put("tenants/acme/destinations/d/enable")
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "tenants/nobody"),
        ("DELETE", "tenants/nobody"),
        ("GET", "tenants/nobody/destinations"),
        ("POST", "tenants/nobody/destinations"),
        ("GET", "tenants/nobody/destinations/d"),
        ("DELETE", "tenants/nobody/destinations/d"),
        ("PATCH", "tenants/nobody/destinations/d"),
        ("PUT", "tenants/nobody/destinations/d/enable"),
    ],
)
async def test_a_missing_tenant_is_named(world: World, method: str, path: str) -> None:
    body = {"POST": destination_body(), "PATCH": {}}.get(method)
    answer = await world.client.request(method, path, json=body)
    assert answer.status_code == 404
    assert answer.json() == {"status": 404, "message": "tenant not found"}
