import pytest

from event_router.schemas.errors import Unavailable
from tests.api.world import World

COLUMNS = [
    {"name": "amount", "type": "float", "nullable": False, "minimum": 0.0},
    {"name": "currency", "type": "category", "allowed": ["EUR", "USD"]},
]
SCHEMA = "tenants/acme/schemas/orders"


async def test_a_schema_is_put_read_listed_and_deleted(world: World) -> None:
    await world.tenant()
    made = await world.client.put(SCHEMA, json={"columns": COLUMNS, "on_violation": "reject"})
    assert made.status_code == 201, made.text
    assert made.json()["columns"] == COLUMNS
    assert (await world.client.get(SCHEMA)).json() == made.json()
    replaced = await world.client.put(SCHEMA, json={"columns": COLUMNS[:1]})
    assert replaced.status_code == 200
    assert replaced.json()["on_violation"] == "record"
    listed = (await world.client.get("tenants/acme/schemas")).json()
    assert listed == {"models": [replaced.json()]}
    assert (await world.client.delete(SCHEMA)).json() == {"success": True}
    for answer in (await world.client.get(SCHEMA), await world.client.delete(SCHEMA)):
        assert (answer.status_code, answer.json()["message"]) == (404, "schema not found")


async def test_json_schema_is_taken_for_columns(world: World) -> None:
    await world.tenant()
    document = {
        "type": "object",
        "properties": {
            "amount": {"type": "number", "minimum": 0},
            "currency": {"enum": ["EUR", "USD"]},
        },
        "required": ["amount"],
    }
    body = {"json_schema": document, "on_violation": "reject"}
    answer = await world.client.put(SCHEMA, json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["columns"] == COLUMNS
    assert answer.json()["on_violation"] == "reject"


async def test_a_mistake_in_a_schema_is_named(world: World) -> None:
    await world.tenant()
    for body, said in (
        ({"columns": [{"name": "a", "type": "flaot"}]}, "flaot"),
        ({"columns": [{"name": "a", "type": "str", "minimum": 1}]}, "a range needs"),
        ({"columns": []}, "1 to 2000 columns"),
        ({"columns": COLUMNS, "on_violation": "explode"}, "explode"),
        ({"json_schema": {"properties": {"a": {"anyOf": []}}}}, "json_schema.properties.a"),
        ({}, "columns"),
        ({"rows": []}, "rows is not a known field"),
    ):
        answer = await world.client.put(SCHEMA, json=body)
        assert answer.status_code == 422, (body, answer.text)
        assert said in answer.text


async def test_a_schema_needs_its_tenant(world: World) -> None:
    for answer in (
        await world.client.put(SCHEMA, json={"columns": COLUMNS}),
        await world.client.get("tenants/acme/schemas"),
    ):
        assert (answer.status_code, answer.json()["message"]) == (404, "tenant not found")


async def test_what_was_found_against_a_schema_is_shown(world: World) -> None:
    await world.tenant()
    await world.client.put(SCHEMA, json={"columns": COLUMNS})
    events = "http://router/v2/events/org:acme:orders/ingest/event"
    for number, amount in enumerate((5, -1, -2, None)):
        event = {"amount": amount, "currency": "EUR"}
        answer = await world.client.post(events, json={"event": event, "event_id": f"e{number}"})
        assert answer.status_code == 202, answer.text
    shown = (await world.client.get(f"{SCHEMA}/violations")).json()["models"]
    assert [(one["field"], one["kind"], one["count"], one["event_id"]) for one in shown] == [
        ("amount", "range", 2, "e2"),
        ("amount", "missing", 1, "e3"),
    ]
    assert shown[0]["detail"] == "-2 is less than 0"
    answer = await world.client.get("tenants/acme/schemas/other/violations")
    assert answer.status_code == 404


async def test_an_event_is_accepted_though_what_is_wrong_with_it_cannot_be_noted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.tenant()
    await world.client.put(SCHEMA, json={"columns": COLUMNS})
    schemas = world.registry.schemas
    record = schemas.record

    async def away(*_: object) -> None:
        raise Unavailable("database", "nobody answers")

    monkeypatch.setattr(schemas, "record", away)
    events = "http://router/v2/events/org:acme:orders/ingest/event"
    event = {"amount": -1, "currency": "EUR"}
    answer = await world.client.post(events, json={"event": event, "event_id": "e1"})
    assert answer.status_code == 202, answer.text
    monkeypatch.setattr(schemas, "record", record)
    [shown] = (await world.client.get(f"{SCHEMA}/violations")).json()["models"]
    assert (shown["field"], shown["count"], shown["event_id"]) == ("amount", 1, "e1")
