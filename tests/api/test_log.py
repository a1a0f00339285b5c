"""Events and attempts as they are asked for, and retries that people ask for."""

import base64
from typing import Any

import httpx
import pytest

from event_router.router.decisions.delays import FixedDelays
from event_router.router.decisions.retry import GiveUp, RetryPolicy, decide
from event_router.schemas.attempt import AttemptHead
from event_router.schemas.wire import read_delivery
from tests.api.world import World, a_settings
from tests.store.history import History, write


async def _have(world: World, history: History) -> None:
    await write(world.log, history.records)


async def _get(world: World, path: str, **query: Any) -> Any:
    answer = await world.client.get(path, params=query or None)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def _ids(world: World, path: str, query: str = "") -> list[str]:
    return [one["id"] for one in (await _get(world, f"{path}?{query}"))["models"]]


async def test_an_event_is_shown_as_it_was_published(world: World) -> None:
    history = History()
    data = b'{"b": 1.00000000000000000001,"a":[ ]}'
    event = history.event("e1", data=data, metadata={"k": "v"}, retry=False)
    history.delivery(event, "d1")
    history.delivery(event, "d2")
    await _have(world, history)
    answer = await world.client.get("events/e1")
    assert data in answer.content
    assert answer.json() == {
        "id": "e1",
        "tenant_id": "acme",
        "matched_destination_ids": ["d1", "d2"],
        "topic": "order.created",
        "time": "2026-09-21T14:13:20.000Z",
        "eligible_for_retry": False,
        "metadata": {"k": "v"},
        "data": {"b": 1.0, "a": []},
    }


@pytest.mark.parametrize("data", [b"[1]", b"plain text", b'{"a": nope}', b'{"a":"\xff"}', b""])
async def test_what_is_no_json_object_is_shown_too(world: World, data: bytes) -> None:
    history = History()
    history.event("e1", data=data)
    history.event("e2")
    await _have(world, history)
    models = (await _get(world, "events"))["models"]
    assert "data" not in models[1]
    assert base64.b64decode(models[1]["data_base64"]) == data
    assert models[0]["data"] == {"n": 1}


async def test_an_unknown_event_is_404(world: World) -> None:
    history = History()
    history.event("e1")
    await _have(world, history)
    for path in ("events/e2", "events/e1?tenant_id=other", "attempts/a1"):
        answer = await world.client.get(path)
        assert answer.status_code == 404
        assert answer.json()["message"].endswith("not found")


async def test_events_are_found_by_what_they_are(world: World) -> None:
    history = History()
    history.delivery(history.event("e1", topic="a"), "d1")
    history.event("e2", topic="b")
    history.event("e3", tenant="other", topic="b")
    await _have(world, history)
    assert await _ids(world, "events") == ["e3", "e2", "e1"]
    assert await _ids(world, "events", "dir=asc") == ["e1", "e2", "e3"]
    assert await _ids(world, "events", "id=e1&id=e3") == ["e3", "e1"]
    assert await _ids(world, "events", "id[]=e1&id[]=e3") == ["e3", "e1"]
    assert await _ids(world, "events", "id[0]=e1&id[1]=e3") == ["e3", "e1"]
    assert await _ids(world, "events", "topic=b&tenant_id=acme") == ["e2"]
    assert await _ids(world, "events", "destination_id=d1") == ["e1"]
    assert await _ids(world, "events", "topic=") == ["e3", "e2", "e1"]


async def test_events_are_found_by_their_time(world: World) -> None:
    history = History()
    for number in range(3):
        history.event(f"e{number}", time=f"2026-01-0{number + 1}T12:00:00+02:00")
    await _have(world, history)
    assert await _ids(world, "events", "time[gte]=2026-01-02T10:00:00Z") == ["e2", "e1"]
    assert await _ids(world, "events", "time[gt]=2026-01-02T10:00:00Z") == ["e2"]
    assert await _ids(world, "events", "time[lt]=2026-01-02&time[gte]=2026-01-01") == ["e0"]


async def test_pages_lead_to_one_another(world: World) -> None:
    history = History()
    for number in range(5):
        history.event(f"e{number}")
    await _have(world, history)
    first = await _get(world, "events", limit=2)
    assert first["pagination"] | {"next": ""} == {
        "order_by": "time",
        "dir": "desc",
        "limit": 2,
        "next": "",
        "prev": None,
    }
    second = await _get(world, "events", limit=2, next=first["pagination"]["next"])
    assert [one["id"] for one in second["models"]] == ["e2", "e1"]
    back = await _get(world, "events", limit=2, prev=second["pagination"]["prev"])
    assert back["models"] == first["models"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=0", 400),
        ("limit=1001", 400),
        ("next=nonsense", 400),
        ("next=a&prev=b", 400),
        ("limit=many", 422),
        ("dir=up", 422),
        ("order_by=name", 422),
        ("time[gte]=soon", 422),
        ("time[gte]=2026-01-01T00:00:00", 422),
        ("time[since]=2026-01-01", 422),
        ("time=2026-01-01", 422),
        ("topics=a", 422),
        ("id=%00", 422),
    ],
)
@pytest.mark.parametrize("path", ["events", "attempts"])
async def test_a_query_that_is_wrong_is_refused(
    world: World, path: str, query: str, status: int
) -> None:
    answer = await world.client.get(f"{path}?{query}")
    assert (answer.status_code, answer.json()["status"]) == (status, status)


async def test_a_line_names_the_field_of_a_query(world: World) -> None:
    answer = await world.client.get("events?time[gte]=soon&dir=up&topics=a")
    assert answer.json()["data"] == [
        "dir: Input should be 'asc' or 'desc'",
        "time.gte: a time such as 2026-01-31T12:00:00Z, or a date",
        "topics is not a known field",
    ]


@pytest.mark.parametrize("path", ["events/%00", "tenants/a%20b", "tenants/acme/destinations/%00"])
async def test_a_path_with_what_no_id_has_is_refused(world: World, path: str) -> None:
    assert (await world.client.get(path)).status_code == 422


async def _attempted(world: World) -> History:
    await world.tenant()
    await world.destination(id="d1")
    history = History()
    delivery = history.delivery(history.event("e1"), "d1")
    history.attempt(delivery, "failed", "a1")
    history.attempt(delivery, "delivered", "a2")
    history.attempt(history.delivery(history.event("e2"), "d2"), "rejected", "a3", status=None)
    await _have(world, history)
    return history


async def test_an_attempt_says_what_came_of_it(world: World) -> None:
    await _attempted(world)
    assert await _get(world, "attempts/a1") == {
        "id": "a1",
        "tenant_id": "acme",
        "event_id": "e1",
        "destination_id": "d1",
        "destination_type": "webhook",
        "status": "failed",
        "time": "2026-09-21T14:13:20.002Z",
        "code": "500",
        "attempt_number": 1,
        "manual": False,
        "latency_ms": 12,
    }


async def test_an_attempt_shows_more_when_asked(world: World) -> None:
    await _attempted(world)
    shown = await _get(world, "attempts/a1", include=["response_data", "event", "destination"])
    assert shown["response_data"] == {"status": 500, "body": "answer"}
    assert shown["event"]["id"] == "e1"
    assert "data" not in shown["event"]
    assert shown["destination"]["target"] == "https://example.com/hook"
    assert shown["destination"]["credentials"] == {}
    full = await _get(world, "attempts", include="event.data", event_id="e1")
    assert [one["event"]["data"] for one in full["models"]] == [{"n": 1}, {"n": 1}]
    gone = await _get(world, "attempts/a3", include="destination")
    assert "destination" not in gone


async def test_attempts_are_found_by_what_they_are(world: World) -> None:
    await _attempted(world)
    assert await _ids(world, "attempts") == ["a3", "a2", "a1"]
    assert await _ids(world, "attempts", "status=success") == ["a2"]
    assert await _ids(world, "attempts", "status=failed") == ["a3", "a1"]
    assert await _ids(world, "attempts", "destination_id=d2") == ["a3"]
    assert await _ids(world, "attempts", "tenant_id=other") == []
    assert await _ids(world, "attempts", "destination_type=kafka") == []
    assert await _ids(world, "attempts", "event_id=e1&topic=order.created&dir=asc") == ["a1", "a2"]


async def _retry(world: World, **more: Any) -> httpx.Response:
    body = {"event_id": "e1", "destination_id": "d1", **more}
    return await world.client.post("retry", json=body)


async def test_a_manual_retry_is_a_round_of_its_own_with_one_attempt(world: World) -> None:
    await _attempted(world)
    world.clock.now += 5
    answer = await _retry(world)
    assert (answer.status_code, answer.json()) == (202, {"success": True})
    (record,) = world.broker.records(world.topics.deliveries)
    assert record.partition == world.topics.partition_of("acme", "d1")
    delivery = read_delivery(record)
    head = delivery.head
    assert delivery.data == b'{"n":  1}'
    assert (head.round, head.attempt, head.manual) == (1, 1, True)
    assert (head.began, head.event, head.destination) == (world.clock.now, "e1", "d1")
    attempt = AttemptHead("a9", head, "webhook", "failed", "500", world.clock.now, 1.0)
    policy = RetryPolicy(FixedDelays((1.0,)), 5, 3600.0)
    assert decide(policy, attempt, world.clock.now, 0.5) == GiveUp("manual_retry_failed")


async def test_what_cannot_be_retried_says_why(world: World) -> None:
    await _attempted(world)
    await world.destination(id="unmatched")
    refused = {
        "event": await _retry(world, event_id="nothing"),
        "tenant": await _retry(world, tenant_id="other"),
        "destination": await _retry(world, destination_id="nothing"),
        "match": await _retry(world, destination_id="unmatched"),
        "field": await _retry(world, attempt_id="a1"),
    }
    await world.client.put("tenants/acme/destinations/d1/disable")
    refused["disabled"] = await _retry(world)
    assert {name: one.status_code for name, one in refused.items()} == {
        "event": 404,
        "tenant": 404,
        "destination": 404,
        "match": 400,
        "field": 422,
        "disabled": 400,
    }
    assert refused["disabled"].json() == {
        "status": 400,
        "message": "Destination is disabled",
        "data": {"error": "destination_disabled"},
    }
    assert world.broker.records(world.topics.deliveries) == []


async def test_a_retry_that_kafka_does_not_acknowledge_is_503(world: World) -> None:
    await _attempted(world)
    world.producer.down = True
    answer = await _retry(world)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


async def test_a_retry_that_is_too_large_is_413(world: World) -> None:
    await _attempted(world)
    world.broker.max_message_bytes = 2
    assert (await _retry(world)).status_code == 413


async def test_lists_have_their_parameters_in_the_document() -> None:
    world = World(a_settings())
    async with world.client as client:
        document = (await client.get("http://router/openapi.json")).json()
    parameters = document["paths"]["/api/v1/attempts"]["get"]["parameters"]
    assert {one["name"] for one in parameters} >= {"status", "include", "time", "next", "limit"}
