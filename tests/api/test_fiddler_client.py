"""Fiddler's own client, as it is on PyPI, publishes to the API; and what it needs of it."""

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from event_router.router.batch.ports import Ports
from event_router.router.batch.worker import Worker
from event_router.schemas.decode import decode_event
from event_router.schemas.event import Event
from tests.api.test_outpost_client import python_with, said_by
from tests.api.test_serve import served
from tests.api.world import KEY, World
from tests.batch.world import MemoryEventsTopic

SCRIPT = Path(__file__).parent / "fiddler_client.py"
V2 = "http://router/v2"
DATASET, EVENTS = f"{V2}/datasets/org:acme", f"{V2}/events/org:acme:orders"
OF_MODEL = {"upload_type": "event", "resource_identifier": "orders"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(folder=tmp_path / "uploads")
    async with made.client:
        await made.tenant()
        yield made


@asynccontextmanager
async def working(world: World) -> AsyncIterator[None]:
    """A worker takes the jobs."""
    ports = Ports(
        uploads=world.services.uploads,
        producer=world.producer,
        duplicates=world.duplicates,
        schemas=world.registry.schemas,
        events=MemoryEventsTopic(world.broker),
        topic=world.topics.events,
        limit=world.settings.max_event_bytes,
        clock=world.clock,
    )
    stop = asyncio.Event()
    worker = Worker(world.jobs, ports, world.health, poll=0.02)
    task = asyncio.create_task(worker.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


def events(world: World) -> list[Event]:
    return [decode_event(record) for record in world.broker.records(world.topics.events)]


@pytest.mark.timeout(500)
async def test_the_client_publishes_unchanged(world: World, tmp_path: Path) -> None:
    python = await asyncio.to_thread(python_with, "fiddler-client==2.5.4", 400.0)
    async with served(world.app) as port, working(world):
        said = await said_by(python, SCRIPT, f"http://127.0.0.1:{port}", KEY, tmp_path)

    assert said["event"] == said["event again"] == "event_001"
    uuid.UUID(said["without id"])
    uuid.UUID(said["update"])
    assert said["other content"][0] == "Conflict"
    assert "use update_event" in said["other content"][1]
    assert said["no such project"][0] == "NotFound"
    assert "the project nobody was not found" in said["no such project"][1]
    assert said["bad name"][0] == "BadRequest"
    for batch in ("frame", "mixed frame", "csv", "csv path", "large"):
        assert said[batch]["status"] == "SUCCESS", said[batch]
    assert said["large size"] > 6_000_000
    assert set(said["not waited for"]) == {"status", "job_uuid", "files", "message"}
    assert said["no such column"][0] == "AsyncJobFailed"
    assert "has no column 'nothing'" in said["no such column"][1]
    assert said["pickle"][0] == "BadRequest"
    assert "a pickle runs code" in said["pickle"][1]
    assert said["wrong key"][0] == "HTTPError"

    found = events(world)
    by_id = {event.id: event for event in found}
    assert Counter(event.id for event in found).most_common(1)[0][1] == 1
    assert json.loads(by_id["event_001"].data) == {"amount": 20.5, "paid": True}
    assert by_id["event_001"].time == "2021-11-19T17:54:30.000Z"
    update = by_id[said["update"]]
    assert (update.updates, update.partition_key) == ("event_001", "event_001")
    assert json.loads(by_id["f1"].data) == {
        "id": "f1",
        "at": "2026-01-01T00:01:00Z",
        "amount": 1.0,
        "kind": "b",
        "vector": [1.0, 2.0],
    }
    assert by_id["f1"].time == "2026-01-01T00:01:00.000Z"
    assert json.loads(by_id["s2"].data) == {"id": "s2", "amount": 2.5}
    assert {"m1", "m2", "s1", "f1499"} <= set(by_id)
    assert sum(b'"pad"' in event.data for event in found) == 60_000


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def upload(world: World, content: bytes, name: str = "rows.csv") -> str:
    query = {**OF_MODEL, "multipart_upload": "False", "file_name": name}
    answer = await world.client.put(f"{DATASET}/upload", params=query, content=content)
    assert answer.status_code == 200, answer.text
    assert answer.json()["kind"] == "NORMAL"
    stored: str = answer.json()["data"]["file_name"]
    return stored


async def ingest(world: World, *stored: str, **more: Any) -> httpx.Response:
    body = {"file_name": list(stored), "batch_id": None, "upload_type": "event", **more}
    return await world.client.post(f"{EVENTS}/ingest", json=body)


async def finished(world: World, uuid: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            answer = await world.client.get(f"{V2}/jobs/{uuid}")
            job: dict[str, Any] = answer.json()["data"]
            if job["status"] not in ("PENDING", "STARTED"):
                return job
            await asyncio.sleep(0.01)


async def test_a_rejected_batch_is_told_with_the_first_rows_and_why(world: World) -> None:
    async with working(world):
        answer = await ingest(
            world, await upload(world, b"id,a\n,1\nx,2,3\n,3\n,4\n"), id_field="id"
        )
        job = await finished(world, answer.json()["data"]["job_uuid"])
    why, *rows = job["error_message"].split("; ")
    assert (job["status"], why) == ("FAILURE", "none of the 4 rows was accepted")
    assert [row.partition(": ")[::2] for row in rows] == [
        ("row 1", "id: None is not a text or a whole number"),
        ("row 2", "3 cells, and the header names 2 columns"),
        ("row 3", "id: None is not a text or a whole number"),
    ]


async def test_parts_are_put_together_in_any_order_and_may_come_twice(world: World) -> None:
    body = {"resource_identifier": "orders", "file_name": "../../big.csv", "num_rows": None}
    begun = (await world.client.post(f"{DATASET}/initialize", json=body)).json()["data"]
    assert begun["file_name"].endswith("_big.csv")
    where = {**OF_MODEL, "file_name": begun["file_name"], "upload_id": begun["upload_id"]}

    async def part(number: int, content: bytes) -> dict[str, Any]:
        query = {**where, "multipart_upload": "True", "part_number": str(number)}
        answer = await world.client.put(f"{DATASET}/upload", params=query, content=content)
        info: dict[str, Any] = answer.json()["data"]["info"]
        return info

    parts = [await part(2, b"1\n2\n"), await part(1, b"wrong"), await part(1, b"a\n")]
    there = (await world.client.get(f"{DATASET}/upload", params=where)).json()["data"]["parts"]
    assert [(one["PartNumber"], one["size"]) for one in there] == [(1, 2), (2, 4)]

    early = await world.client.post(f"{DATASET}/complete", params=where, json={"parts": parts[:2]})
    assert (early.status_code, "arrived" in early.text) == (400, True)
    for _ in range(2):
        whole = {"parts": [parts[0], parts[2]]}
        done = await world.client.post(f"{DATASET}/complete", params=where, json=whole)
        assert done.json()["data"]["file_name"] == begun["file_name"]
    job = (await ingest(world, begun["file_name"])).json()["data"]["job_uuid"]
    async with working(world):
        assert (await finished(world, job))["extras"]["accepted"] == 2


async def test_a_file_is_found_only_by_those_it_was_uploaded_for(world: World) -> None:
    await world.tenant("other")
    stored = await upload(world, b"a\n1\n")
    body = {"file_name": [stored]}
    for path in ("org:other:orders", "org:acme:payments", "elsewhere:acme:orders"):
        answer = await world.client.post(f"{V2}/events/{path}/ingest", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, 404), path
    for name in ("../../etc/passwd", f"x/../{stored}", "", "\x00"):
        assert (await ingest(world, name)).status_code == 404, name
    assert (await ingest(world, stored)).status_code == 202


async def test_a_batch_that_is_asked_for_again_is_the_same_job(world: World) -> None:
    stored = await upload(world, b"a\n1\n")
    first = (await ingest(world, stored, batch_id="b1")).json()["data"]
    async with working(world):
        await finished(world, first["job_uuid"])
    again = await ingest(world, stored, batch_id="b1")
    assert (again.status_code, again.json()["data"]) == (202, first)
    assert len(events(world)) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"is_update": True}, "id_field"),
        ({"timestamp_format": "yesterday"}, "timestamp_format"),
        ({"batch_id": "a b"}, "batch_id"),
        ({"file_name": []}, "file_name"),
        ({"file_name": "x"}, "file_name"),
    ],
)
async def test_what_a_batch_can_not_be_asked_with_is_named(
    world: World, more: dict[str, Any], said: str
) -> None:
    answer = await ingest(world, await upload(world, b"a\n1\n"), **more)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, 400)
    assert said in error["message"]
    assert error["errors"] == [{"reason": "BadRequest", "message": error["message"], "help": ""}]


@pytest.mark.parametrize("what", ["events/org:nobody:orders/ingest/event", "datasets/org:nobody"])
async def test_a_project_that_is_not_there_says_how_to_make_it(world: World, what: str) -> None:
    if what.startswith("events"):
        answer = await world.client.post(f"{V2}/{what}", json={"event": {}})
    else:
        names = {**OF_MODEL, "file_name": "rows.csv"}
        answer = await world.client.put(f"{V2}/{what}/upload", params=names, content=b"a\n1\n")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == (
        "the project nobody was not found: an administrator makes it with "
        "PUT /api/v1/tenants/nobody"
    )


async def test_every_error_is_json_in_the_clients_shape(world: World) -> None:
    client = world.client
    wrong = {"authorization": "Bearer wrong"}
    answers = [
        (401, await client.get(f"{V2}/server-info", headers=wrong)),
        (404, await client.get(f"{V2}/nothing")),
        (404, await client.get(f"{V2}/jobs/nothing")),
        (405, await client.get(f"{EVENTS}/ingest")),
        (400, await client.post(f"{EVENTS}/ingest/event", content=b"{")),
        (400, await client.post(f"{EVENTS}/ingest/event", json={"event": None})),
        (400, await client.post(f"{EVENTS}/ingest/event", json={"event": {}, "is_update": True})),
        (400, await client.post(f"{V2}/events/acme/ingest/event", json={"event": {}})),
        (413, await client.post(f"{EVENTS}/ingest/event", json={"event": {"a": "x" * 530_000}})),
        (404, await client.get(f"{DATASET}/upload", params={**OF_MODEL, "upload_id": "x"})),
    ]
    for status, answer in answers:
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, status), answer.text
        assert answer.json()["error"]["message"]


async def test_an_upload_larger_than_there_is_room_for_is_cut_off(tmp_path: Path) -> None:
    world = World(folder=tmp_path)
    object.__setattr__(world.services.uploads, "max_bytes", 1_000)
    async with world.client:
        await world.tenant()
        query = {**OF_MODEL, "file_name": "a.csv", "multipart_upload": "False"}
        answer = await world.client.put(f"{DATASET}/upload", params=query, content=b"x" * 1_001)
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, 507)
        assert files_in(tmp_path) == []
        await upload(world, b"x" * 1_000)


async def test_a_dry_run_of_an_event_reports_and_publishes_nothing(world: World) -> None:
    columns = [{"name": "amount", "type": "float", "minimum": 0}]
    await world.client.put("tenants/acme/schemas/orders", json={"columns": columns})
    body = {"event": {"amount": -1, "x": 1}, "event_timestamp": "noon", "dry_run": True}
    answer = await world.client.post(f"{EVENTS}/ingest/event", json=body)
    report = answer.json()["data"]["report"]
    assert {(line["type"], line["field"]) for line in report} == {
        ("warning", "x"),
        ("warning", "amount"),
        ("fatal", "event_timestamp"),
    }
    assert events(world) == []


async def test_an_event_is_cast_and_what_the_schema_lacks_is_dropped(world: World) -> None:
    columns = [{"name": "amount", "type": "float"}, {"name": "paid", "type": "bool"}]
    await world.client.put("tenants/acme/schemas/orders", json={"columns": columns})
    body: dict[str, Any] = {"event": {"amount": "2.50", "paid": "false", "x": 1}, "event_id": "e1"}
    answer = await world.client.post(f"{EVENTS}/ingest/event", json=body | {"casting_type": True})
    assert answer.status_code == 202
    [event] = events(world)
    assert json.loads(event.data) == {"amount": 2.5, "paid": False}
    body = {"event": {"amount": "much"}, "casting_type": True}
    answer = await world.client.post(f"{EVENTS}/ingest/event", json=body)
    assert (answer.status_code, "amount" in answer.text) == (400, True)


async def test_an_event_stays_byte_for_byte_when_nothing_has_to_change(world: World) -> None:
    raw = b'{"event": {"b":1.10,  "a": 12345678901234567890123}, "event_id": 5}'
    answer = await world.client.post(f"{EVENTS}/ingest/event", content=raw)
    assert answer.json()["data"]["__fiddler_id"] == "5"
    [event] = events(world)
    assert event.data == b'{"b":1.10,  "a": 12345678901234567890123}'


async def test_an_update_that_is_sent_again_is_one_event(world: World) -> None:
    body = {"event": {"paid": True}, "event_id": "e1", "is_update": True, "update_id": "u1"}
    for _ in range(2):
        answer = await world.client.post(f"{EVENTS}/ingest/event", json=body)
        assert answer.json()["data"]["__fiddler_id"] == "u1"
    [event] = events(world)
    assert (event.id, event.updates, event.deduplicate) == ("u1", "e1", True)
