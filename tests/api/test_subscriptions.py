"""Operators are told when a tenant's topics or destinations may have changed, whatever crashes."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.api.world import World, a_settings, destination_body, publish_body

WANTED = {
    "operator_events_secret": "hunter2",
    "operator_events_url": "https://ops.example/events",
    "operator_events_topics": "tenant.subscription.updated",
}
ONE = "tenants/acme/destinations/one"


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World(a_settings(**WANTED))
    async with made.client:
        await made.tenant()
        yield made


def told(world: World) -> list[dict[str, Any]]:
    records = world.broker.records(world.topics.events)
    assert {record.header("ce_tenantid") for record in records} <= {b"router:operator"}
    return [json.loads(record.value or b"") for record in records]


def states(world: World) -> list[tuple[list[str], int]]:
    return [(one["data"]["topics"], one["data"]["destinations_count"]) for one in told(world)]


async def test_each_write_that_may_change_the_subscription_is_told(world: World) -> None:
    await world.destination(id="one", topics=["b", "a"])
    await world.destination(id="two", topics=["c"])
    await world.client.patch(ONE, json={"topics": ["d"]})
    await world.client.patch(ONE, json={"metadata": {"team": "x"}})
    await world.client.put(f"{ONE}/disable")
    await world.client.delete(ONE)
    await world.client.delete("tenants/acme")
    assert sorted(states(world), key=repr) == sorted(
        [(["a", "b"], 1), (["a", "b", "c"], 2), (["c", "d"], 2), (["c"], 1), ([], 0)], key=repr
    )
    assert len({one["id"] for one in told(world)}) == 5


async def test_an_event_says_whose_subscription_it_is(world: World) -> None:
    await world.destination(id="one")
    (event,) = told(world)
    event.pop("id")
    assert event == {
        "topic": "tenant.subscription.updated",
        "time": "2027-01-15T08:00:00.000Z",
        "tenant_id": "acme",
        "data": {"tenant_id": "acme", "topics": ["*"], "destinations_count": 1},
    }


CREATE = ("POST", "tenants/acme/destinations", destination_body(id="one", topics=["a"]))
WRITES = [
    (CREATE, 400, (["a"], 1)),
    (("PATCH", ONE, {"topics": ["b"]}), 200, (["b"], 1)),
    (("DELETE", ONE, None), 404, ([], 0)),
    (("DELETE", "tenants/acme", None), 404, ([], 0)),
]


@pytest.mark.parametrize(("write", "answered", "state"), WRITES)
async def test_a_write_that_kafka_did_not_hear_of_is_told_when_it_is_repeated(
    world: World, write: tuple[str, str, Any], answered: int, state: tuple[list[str], int]
) -> None:
    if write is not CREATE:
        await world.destination(id="one", topics=["a"])
    before = len(told(world))
    method, path, body = write
    world.producer.down = True
    answer = await world.client.request(method, path, json=body)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert world.producer.deadlines[-1] == 10.0
    world.producer.down = False
    assert (await world.client.request(method, path, json=body)).status_code == answered
    assert len(told(world)) == before + 1
    assert state in states(world)


async def test_a_destination_whose_id_we_made_is_named_when_it_is_left_untold(
    world: World,
) -> None:
    world.producer.down = True
    answer = await world.client.post("tenants/acme/destinations", json=destination_body())
    assert answer.status_code == 503
    (made,) = (await world.client.get("tenants/acme/destinations")).json()
    named = {"id": made["id"]}
    assert answer.json() == {"status": 503, "message": "kafka unavailable", "data": named}


async def test_the_same_told_twice_has_the_same_id(world: World) -> None:
    await world.destination(id="one")
    for _ in range(2):
        assert (await world.client.request(*CREATE[:2], json=CREATE[2])).status_code == 400
    assert len(told(world)) == 3
    assert len({one["id"] for one in told(world)}) == 1


async def test_where_it_was_before_is_told_with_another_id(world: World) -> None:
    await world.destination(id="one")
    for _ in range(2):
        await world.destination(id="two")
        await world.client.delete("tenants/acme/destinations/two")
    assert len({one["id"] for one in told(world)}) == 5


async def test_more_topics_than_fit_are_not_told(world: World) -> None:
    many = [f"{number:04}{'t' * 190}" for number in range(1000)]
    await world.destination(id="one", topics=many)
    (event,) = told(world)
    assert event["data"] == {"tenant_id": "acme", "topics": None, "destinations_count": 1}


@pytest.mark.parametrize(
    "settings", [{}, {**WANTED, "operator_events_topics": "attempt.failed"}], ids=["no", "others"]
)
async def test_nobody_is_told_who_did_not_ask(settings: dict[str, str]) -> None:
    world = World(a_settings(**settings))
    world.producer.down = True
    async with world.client:
        await world.tenant()
        await world.destination(id="one")
        assert (await world.client.delete("tenants/acme")).status_code == 200
    assert told(world) == []


async def test_the_operators_tenant_is_nobodys(world: World) -> None:
    line = "is not for tenants: it is reserved for operator events"
    for answer in (
        await world.client.put("tenants/router:operator"),
        await world.client.post("publish", json=publish_body(tenant_id="router:operator")),
    ):
        assert answer.status_code == 422
        assert answer.json()["data"] == [f"tenant_id: 'router:operator' {line}"]
    assert told(world) == []
