"""Publishing over HTTP: accepted means that Kafka has it."""

import asyncio
from dataclasses import asdict
from typing import Any

import pytest

from event_router.router.decisions.sighting import sighting_of
from event_router.schemas.decode import decode_event
from event_router.schemas.errors import Unavailable
from tests.api.world import NoDirectory, World, a_settings, publish_body
from tests.waiting import until


async def test_an_accepted_event_lies_in_kafka_byte_for_byte(world: World) -> None:
    data = b'{"b" : 1.000000000000000000001,  "a":["\\u00e9", 12345678901234567890]}'
    body = b'{"tenant_id":"acme","topic":"t","metadata":{"k":"v"},"data": ' + data + b" }"
    answer = await world.client.post("publish", content=body)
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/json"
    (record,) = world.broker.records("events")
    event = decode_event(record)
    assert event.data == data
    assert (event.tenant, event.topic, event.metadata) == ("acme", "t", {"k": "v"})
    assert answer.json() == {"id": event.id, "duplicate": False, "destination_ids": []}


async def test_an_event_without_an_id_gets_one_and_asks_redis_nothing(world: World) -> None:
    await world.client.post("publish", json=publish_body())
    (record,) = world.broker.records("events")
    assert not decode_event(record).deduplicate
    assert world.duplicates.calls == []


async def test_all_that_can_be_said_of_an_event_is_kept(world: World) -> None:
    body = publish_body(
        id="e1",
        destination_id="d1",
        eligible_for_retry=False,
        time="2026-01-31T12:00:00Z",
        partition_key="p",
    )
    await world.client.post("publish", json=body)
    (record,) = world.broker.records("events")
    event = decode_event(record)
    assert (event.id, event.destination, event.retry) == ("e1", "d1", False)
    assert (event.time, event.partition_key) == ("2026-01-31T12:00:00Z", "p")
    assert (record.key, event.deduplicate) == (b"p", True)


async def test_it_says_which_destinations_match_now(world: World) -> None:
    await world.tenant()
    await world.destination(id="all")
    await world.destination(id="topic", topics=["user.created"])
    await world.destination(id="other", topics=["user.deleted"])
    await world.destination(id="filtered", filter={"data": {"a": {"$gt": 1}}})
    await world.client.put("tenants/acme/destinations/all/disable")
    answer = await world.client.post("publish", json=publish_body())
    assert answer.json()["destination_ids"] == ["topic"]
    answer = await world.client.post("publish", json=publish_body(data={"a": 2}))
    assert answer.json()["destination_ids"] == ["filtered", "topic"]
    answer = await world.client.post("publish", json=publish_body(destination_id="filtered"))
    assert answer.json()["destination_ids"] == []


async def test_a_duplicate_is_not_produced_again(world: World) -> None:
    body = publish_body(id="e1")
    first = await world.client.post("publish", json=body)
    second = await world.client.post("publish", json=body)
    assert (first.status_code, second.status_code) == (202, 202)
    assert (first.json()["duplicate"], second.json()["duplicate"]) == (False, True)
    assert len(world.broker.records("events")) == 1


async def test_an_id_with_other_content_is_a_conflict(world: World) -> None:
    await world.client.post("publish", json=publish_body(id="e1"))
    answer = await world.client.post("publish", json=publish_body(id="e1", data={"a": 2}))
    assert answer.status_code == 409
    assert answer.json() == {
        "status": 409,
        "message": "the id e1 was used with other content",
        "data": {"id": "e1"},
    }
    assert len(world.broker.records("events")) == 1


async def test_the_idempotency_key_is_the_id_of_an_event_without_one(world: World) -> None:
    key = {b"idempotency-key": "k-é".encode()}
    first = await world.client.post("publish", json=publish_body(), headers=key)
    second = await world.client.post("publish", json=publish_body(id="k-é"))
    assert first.json() == {"id": "k-é", "duplicate": False, "destination_ids": []}
    assert second.json()["duplicate"]
    (record,) = world.broker.records("events")
    assert decode_event(record).deduplicate


async def test_an_idempotency_key_may_repeat_the_id_but_not_contradict_it(world: World) -> None:
    key = {"idempotency-key": "e1"}
    same = await world.client.post("publish", json=publish_body(id="e1"), headers=key)
    assert (same.status_code, same.json()["id"]) == (202, "e1")
    other = await world.client.post("publish", json=publish_body(id="e2"), headers=key)
    assert other.status_code == 422
    (line,) = other.json()["data"]
    assert line.startswith("Idempotency-Key: 'e1' is not the id in the body ('e2')")
    assert len(world.published()) == 1


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ([b"a", b"b"], "Idempotency-Key: 'a, b' is not given once"),
        ([b"\xff"], "Idempotency-Key: b'\\xff' is not UTF-8"),
        ([b""], "id: '' is not 1 to 256 bytes"),
        ([b"k" * 257], f"id: '{'k' * 78}… is not 1 to 256 bytes"),
    ],
)
async def test_an_idempotency_key_that_cannot_be_an_id_is_422(
    world: World, keys: list[bytes], line: str
) -> None:
    headers = [(b"idempotency-key", key) for key in keys]
    answer = await world.client.post("publish", json=publish_body(), headers=headers)
    assert answer.status_code == 422
    (said,) = answer.json()["data"]
    assert said.startswith(line)
    assert world.published() == []


async def test_another_tenant_may_use_the_same_id(world: World) -> None:
    await world.client.post("publish", json=publish_body(id="e1"))
    answer = await world.client.post("publish", json=publish_body(id="e1", tenant_id="other"))
    assert not answer.json()["duplicate"]


async def test_what_is_remembered_is_what_route_would_write(world: World) -> None:
    await world.client.post("publish", json=publish_body(id="e1", metadata={"k": "v"}))
    (record,) = world.broker.records("events")
    seen = sighting_of(decode_event(record))
    assert await world.duplicates.look([seen]) == [seen.value]


async def test_of_two_at_once_the_later_one_is_a_duplicate(world: World) -> None:
    content = (await _remembered(world)).rpartition(b"|")[2]
    world.duplicates.before_claim = lambda _: b"9:9:9|" + content
    answer = await world.client.post("publish", json=publish_body(id="e2"))
    assert answer.json()["duplicate"]


async def test_of_two_at_once_with_other_content_the_later_one_conflicts(world: World) -> None:
    world.duplicates.before_claim = lambda _: b"9:9:9|other"
    answer = await world.client.post("publish", json=publish_body(id="e2"))
    assert answer.status_code == 409


async def _remembered(world: World) -> bytes:
    await world.client.post("publish", json=publish_body(id="e1"))
    (record,) = world.broker.records("events")
    return sighting_of(decode_event(record)).value


async def test_without_redis_it_goes_on(world: World) -> None:
    world.duplicates.down = True
    answer = await world.client.post("publish", json=publish_body(id="e1"))
    assert (answer.status_code, answer.json()["duplicate"]) == (202, False)
    assert world.publish.counts.without_deduplication == 2


async def test_a_redis_that_hangs_is_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any) -> Any:
        await asyncio.Event().wait()

    world.publish.patience = 0.01
    monkeypatch.setattr(world.duplicates, "look", hang)
    world.publish.directory = NoDirectory(hang)
    answer = await world.client.post("publish", json=publish_body(id="e1"))
    assert answer.status_code == 202
    assert world.publish.counts.without_matching == 1


async def test_without_the_registry_it_goes_on(world: World) -> None:
    async def fail() -> None:
        raise Unavailable("database", "gone")

    world.publish.directory = NoDirectory(fail)
    answer = await world.client.post("publish", json=publish_body())
    assert (answer.status_code, answer.json()["destination_ids"]) == (202, [])


async def test_without_an_acknowledgement_the_outcome_is_unknown(world: World) -> None:
    world.producer.down = True
    answer = await world.client.post("publish", json=publish_body(id="e1"))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json() == {
        "status": 503,
        "message": "outcome unknown: retry with this id",
        "data": {"id": "e1"},
    }
    assert world.producer.deadlines == [10.0]
    world.producer.down = False
    assert not (await world.client.post("publish", json=publish_body(id="e1"))).json()["duplicate"]


async def test_a_server_that_stops_still_answers_with_the_id_to_retry_with(world: World) -> None:
    world.producer.silent = True
    asking = asyncio.create_task(world.client.post("publish", json=publish_body(id="e1")))
    await until(lambda: world.producer.deadlines == [10.0])
    asking.cancel()
    answer = await asking
    assert (answer.status_code, answer.json()["data"]) == (503, {"id": "e1"})


async def test_an_unknown_outcome_names_the_id_that_was_made(world: World) -> None:
    world.producer.down = True
    answer = await world.client.post("publish", json=publish_body())
    assert len(answer.json()["data"]["id"]) == 36


async def test_what_the_broker_finds_too_large_is_413(world: World) -> None:
    world.broker.max_message_bytes = 2
    answer = await world.client.post("publish", json=publish_body())
    assert (answer.status_code, answer.json()["status"]) == (413, 413)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"tenant_id": None}, "tenant_id: Expected `str`, got `null`"),
        ({"tenant_id": "a/b"}, "tenant_id: 'a/b' is not an id ([A-Za-z0-9._~:-]{1,128})"),
        ({"data": [1]}, "data: '[1]' is not a JSON object"),
        ({"data": None}, "data: 'null' is not a JSON object"),
        ({"id": ""}, "id: '' is not 1 to 256 bytes of UTF-8"),
        ({"id": "é" * 129}, f"id: '{'é' * 78}… is not 1 to 256 bytes of UTF-8"),
        ({"time": "yesterday"}, "time: 'yesterday' is not an RFC 3339 time such as "),
        ({"metadata": {"a": 1}}, "metadata[...]: Expected `str`, got `int`"),
        ({"tenant": "acme"}, "tenant is not a known field"),
        ({"destination_id": "a b"}, "destination_id: 'a b' is not an id "),
    ],
)
async def test_a_body_that_is_wrong_says_where(
    world: World, change: dict[str, Any], line: str
) -> None:
    answer = await world.client.post("publish", json=publish_body(**change))
    assert answer.status_code == 422
    assert answer.json()["message"] == "validation error"
    (said,) = answer.json()["data"]
    assert said.startswith(line)
    assert world.published() == []


@pytest.mark.parametrize("missing", ["tenant_id", "data"])
async def test_what_is_missing_is_named(world: World, missing: str) -> None:
    body = {name: value for name, value in publish_body().items() if name != missing}
    answer = await world.client.post("publish", json=body)
    assert answer.json()["data"] == [f"{missing} is required"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"tenant_id":"a","data":{"a":nope}}', b'{"tenant_id":"\xff","data":{}}']
)
async def test_what_is_not_json_is_422(world: World, body: bytes) -> None:
    answer = await world.client.post("publish", content=body)
    assert (answer.status_code, answer.json()["message"]) == (422, "invalid JSON")


async def test_data_that_is_not_utf8_is_refused(world: World) -> None:
    answer = await world.client.post("publish", content=b'{"tenant_id":"a","data":{"a":"\xff"}}')
    assert answer.status_code == 422
    assert world.published() == []


async def test_topics_that_are_configured_are_the_only_ones() -> None:
    world = World(a_settings(topics="user.created,user.deleted"))
    async with world.client as client:
        answers = {
            topic: await client.post("publish", json=publish_body(topic=topic))
            for topic in ("user.created", "*", "order.paid", None)
        }
    codes = {topic: answer.status_code for topic, answer in answers.items()}
    assert codes == {"user.created": 202, "*": 202, "order.paid": 422, None: 422}
    assert answers[None].json()["data"] == ["topic is required"]
    (line,) = answers["order.paid"].json()["data"]
    assert line == "topic is invalid: 'order.paid' is not one of user.created, user.deleted"


async def test_without_configured_topics_none_means_all(world: World) -> None:
    await world.client.post("publish", json=publish_body(topic=None))
    assert world.published()[0]["ce_type"] == b"*"


async def test_what_was_published_is_counted(world: World) -> None:
    for _ in range(2):
        await world.client.post("publish", json=publish_body(id="e1"))
    counts = asdict(world.publish.counts)
    assert {name: n for name, n in counts.items() if n} == {"accepted": 1, "duplicate": 1}
    metrics = await world.client.get("http://router/metrics")
    assert "router_publish_accepted_total 1.0" in metrics.text
