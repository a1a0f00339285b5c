"""The client's calls without HTTP: what lies in Kafka afterwards."""

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pandas as pd
import pytest
import pytest_asyncio

from event_router.client import BadArgument, Column, ColumnType, EventSchema, JobFailed, Retries
from event_router.consumers.kafka import KafkaConfig
from event_router.router.child import free_port
from event_router.router.kafka_publisher import FirstContact, KafkaPublisher
from event_router.schemas.decode import decode_event
from event_router.schemas.errors import InvalidValue, TooLarge, Unavailable
from event_router.schemas.event import Event
from event_router.schemas.record import Message
from event_router.schemas.topics import Topics
from tests import services
from tests.kafka_clients import read_all

SCHEMA = EventSchema(
    (Column("id", ColumnType.STRING), Column("amount", ColumnType.FLOAT, minimum=0))
)
ROWS = [{"id": "a", "amount": "1.5"}, {"id": "b", "amount": "many"}, {"id": "c", "amount": "-1"}]


class Place:
    """A publisher, and what it has written."""

    def __init__(self, kafka: services.Kafka, namespace: str, publisher: KafkaPublisher) -> None:
        self.kafka = kafka
        self.topic = Topics(namespace).events
        self.publisher = publisher

    async def events(self) -> dict[str, Event]:
        found = [decode_event(record) for record in await read_all(self.kafka, self.topic)]
        return {event.id: event for event in found}


@pytest_asyncio.fixture
async def place(kafka: services.Kafka, namespace: str) -> AsyncIterator[Place]:
    await kafka.make_topics({Topics(namespace).events: 2})
    schemas = {("acme", "orders"): SCHEMA}
    async with KafkaPublisher(kafka.bootstrap, namespace=namespace, schemas=schemas) as publisher:
        yield Place(kafka, namespace, publisher)


async def test_an_event_is_written_as_the_api_writes_it(place: Place) -> None:
    published = await place.publisher.publish.event(
        b'{"b":  1.0}',
        tenant_id="acme",
        topic="order.created",
        destination_id="d1",
        eligible_for_retry=False,
        metadata={"a": "b"},
        time="2026-01-31T12:00:00Z",
    )
    event = (await place.events())[published.id]
    assert (event.tenant, event.topic, event.data) == ("acme", "order.created", b'{"b":  1.0}')
    assert (event.destination, event.retry, event.metadata) == ("d1", False, {"a": "b"})
    assert event.time == "2026-01-31T12:00:00Z"
    assert event.deduplicate


async def test_an_event_of_a_model_is_cast_and_timed(place: Place) -> None:
    event_id = await place.publisher.publish_event(
        "acme",
        "orders",
        {"id": "a", "amount": "20.7", "x": 1},
        event_id="e1",
        event_timestamp=1_637_344_470,
        casting_type=True,
    )
    event = (await place.events())[event_id]
    assert event_id == "e1"
    assert json.loads(event.data) == {"id": "a", "amount": 20.7}
    assert event.time == "2021-11-19T17:54:30.000Z"


async def test_a_dry_run_writes_nothing(place: Place) -> None:
    said = await place.publisher.publish_event("acme", "orders", {"x": 1}, dry_run=True)
    assert [one["field"] for one in json.loads(said)] == ["x"]
    rows = await place.publisher.publish_events_batch(
        "acme", "orders", ROWS, casting_type=True, dry_run=True
    )
    assert {one["field"] for one in json.loads(rows["report"])} == {"amount"}
    await place.publisher.publish_event("acme", "other", {}, event_id="only")
    assert set(await place.events()) == {"only"}


async def test_an_update_has_an_id_of_its_own_and_its_events_key(place: Place) -> None:
    update = await place.publisher.publish_event(
        "acme", "orders", {"amount": 2}, event_id="e1", update_event=True
    )
    event = (await place.events())[update]
    assert update != "e1"
    assert event.partition_key == "e1"


async def test_rows_are_written_and_bad_ones_named(place: Place) -> None:
    answer = await place.publisher.publish_events_batch(
        "acme", "orders", pd.DataFrame(ROWS), id_field="id", casting_type=True
    )
    job = answer["job"]
    assert (job.rows, job.accepted, job.refused, job.violations) == (3, 2, 1, 1)
    assert job.errors[0].row == 2
    assert "castable to float" in job.errors[0].reason
    assert set(await place.events()) == {"a", "c"}


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet", "rows.jsonl"])
async def test_files_are_read_as_the_router_reads_them(
    place: Place, tmp_path: Path, name: str
) -> None:
    frame, path = pd.DataFrame({"id": ["a", "b"], "amount": [1.5, 2.5]}), tmp_path / name
    writers: dict[str, Any] = {
        ".csv": lambda: frame.to_csv(path, index=False),
        ".parquet": lambda: frame.to_parquet(path),
        ".jsonl": lambda: frame.to_json(path, orient="records", lines=True),
    }
    writers[path.suffix]()
    await place.publisher.publish_events_batch("acme", "orders", path, id_field="id")
    events = await place.events()
    assert {name: json.loads(event.data) for name, event in events.items()} == {
        "a": {"id": "a", "amount": 1.5},
        "b": {"id": "b", "amount": 2.5},
    }


async def test_a_batch_of_which_no_row_is_taken_fails_with_the_reasons(place: Place) -> None:
    with pytest.raises(
        JobFailed, match=r"none of the 1 rows was accepted\n  row 1: amount: 'many'"
    ):
        await place.publisher.publish_events_batch("acme", "orders", ROWS[1:2], casting_type=True)


async def test_the_same_batch_again_has_the_same_ids(place: Place) -> None:
    rows = [{"n": n} for n in range(5)]
    for _ in range(2):
        answer = await place.publisher.publish_events_batch("acme", "t1", rows, batch_id="b1")
    job = UUID(answer["job_uuid"])
    assert set(await place.events()) == {str(uuid5(job, str(row))) for row in range(1, 6)}


@pytest.mark.parametrize(
    ("rows", "said"),
    [([], "at least one row"), (iter(()), "at least one row"), ("nowhere", "a file that is there")],
)
async def test_what_is_no_batch_is_refused(place: Place, rows: Any, said: str) -> None:
    with pytest.raises(BadArgument, match=said):
        await place.publisher.publish_events_batch("acme", "orders", rows)


async def test_a_file_that_cant_be_read_is_refused(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(BadArgument, match=r"rows.parquet.* is not a batch"):
        await place.publisher.publish_events_batch("acme", "orders", path)


async def test_what_the_api_would_refuse_is_refused(place: Place) -> None:
    with pytest.raises(InvalidValue, match="tenant_id"):
        await place.publisher.publish.event({}, tenant_id="a/b", topic="t")
    with pytest.raises(TooLarge):
        await place.publisher.publish.event({"a": "x" * 2_000_000}, tenant_id="acme", topic="t")


async def test_a_kafka_that_isnt_there_is_unavailable() -> None:
    config = KafkaConfig("127.0.0.1:9")
    async with KafkaPublisher(config, retries=Retries(patience=0.2)) as publisher:
        with pytest.raises(Unavailable, match="kafka"):
            await publisher.publish.event({}, tenant_id="acme", topic="t")


@pytest.mark.parametrize("batch", [False, True], ids=["event", "batch"])
async def test_a_kafka_that_was_never_reached_is_not_waited_for(batch: bool) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    async with KafkaPublisher(nobody, connect_timeout=3) as publisher:
        with pytest.raises(Unavailable, match=f"unreachable: .* within 3 s: {nobody}"):
            if batch:
                await publisher.publish_events_batch("acme", "orders", ROWS)
            else:
                await publisher.publish.event({}, tenant_id="acme", topic="t")


async def test_a_kafka_that_says_nothing_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        async with KafkaPublisher(address, connect_timeout=0.3) as publisher:
            with pytest.raises(Unavailable, match=f"nothing came from {address}, check"):
                await publisher.publish.event({}, tenant_id="acme", topic="t")


async def test_the_embedded_kafka_is_told_from_what_it_refuses(tansu: services.Tansu) -> None:
    namespace = services.unique("publisher")
    await tansu.make_topics({Topics(namespace).events: 1})
    async with KafkaPublisher(tansu.bootstrap, namespace=namespace, connect_timeout=3) as publisher:
        with pytest.raises(Unavailable, match=r"needs KafkaConfig\(…, idempotent=False\)"):
            await publisher.publish.event({}, tenant_id="acme", topic="t")


async def test_a_kafka_that_was_reached_is_waited_for(place: Place) -> None:
    await place.publisher.publish.event({}, tenant_id="acme", topic="t")
    contact = place.publisher._producer
    assert isinstance(contact, FirstContact)
    contact._connect_timeout = 0.01
    nowhere = [Message(services.unique("nowhere"), b"key", b"{}", [])]
    with pytest.raises(Unavailable, match=r"not acknowledged within 0\.5 s"):
        await contact.send(nowhere, 0.5)
