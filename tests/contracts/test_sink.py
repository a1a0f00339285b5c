"""The contract of `Sink`, on each of ours: a new sink adds a row to ROWS."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from event_router.consumers.addresses import Resolver, networks
from event_router.consumers.http1.sender import Sender
from event_router.consumers.ports import Sink
from event_router.consumers.signing import new_secret
from event_router.consumers.sinks.kinds import load_sinks
from event_router.schemas.errors import InvalidValue, Rejected, Unavailable
from tests import services
from tests.receivers import receiver
from tests.sinks import a_delivery, a_destination, resources_with

SINKS = load_sinks()


class Arrived(NamedTuple):
    """What a destination got of a delivery; `metadata` under the names of the sink's own."""

    data: bytes
    event: str
    topic: str
    content_type: str
    metadata: dict[str, str]


@dataclass
class Row:
    """A destination that works, one that doesn't answer, and what arrived at the first."""

    type: str
    config: dict[str, Any]
    unreachable: dict[str, Any]
    credentials: dict[str, Any]
    arrived: Callable[[], Awaitable[list[Arrived]]]


@asynccontextmanager
async def webhook(_: pytest.FixtureRequest) -> AsyncIterator[Row]:
    async with receiver() as server:

        async def arrived() -> list[Arrived]:
            return [
                Arrived(
                    request.body,
                    request.header("webhook-id"),
                    request.header("webhook-topic"),
                    request.header("content-type"),
                    {
                        name.removeprefix("webhook-"): value
                        for name, value in request.headers
                        if name.startswith("webhook-")
                    },
                )
                for request in server.requests
            ]

        yield Row(
            "webhook",
            {"url": server.url},
            {"url": "http://127.0.0.1:1/"},
            {"secret": new_secret()},
            arrived,
        )


@asynccontextmanager
async def kafka_topic(request: pytest.FixtureRequest) -> AsyncIterator[Row]:
    kafka: services.Kafka = request.getfixturevalue("kafka")
    topic = services.unique()
    await kafka.make_topics({topic: 1})

    async def arrived() -> list[Arrived]:
        return [
            Arrived(
                record.value,
                headers["event-id"],
                headers["topic"],
                headers["content-type"],
                headers,
            )
            for record in await records_of(kafka.bootstrap, topic)
            for headers in [{name: value.decode() for name, value in record.headers}]
        ]

    config = {"brokers": kafka.bootstrap, "topic": topic, "tls": False}
    yield Row("kafka", config, {**config, "brokers": "127.0.0.1:1"}, {}, arrived)


async def records_of(bootstrap: str, topic: str) -> list[Any]:
    """All records of the topic's only partition."""
    partition = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    consumer.assign([partition])
    await consumer.start()
    try:
        (end,) = (await consumer.end_offsets([partition])).values()
        records: list[Any] = []
        while len(records) < end:
            records += [await consumer.getone()]
        return records
    finally:
        await consumer.stop()


Rows = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Row]]
ROWS: dict[str, Rows] = {"kafka": kafka_topic, "webhook": webhook}


@pytest.fixture(params=sorted(ROWS))
async def row(request: pytest.FixtureRequest) -> AsyncIterator[Row]:
    async with ROWS[request.param](request) as row:
        yield row


Open = Callable[..., Sink]


@pytest.fixture
async def open_sink(row: Row) -> AsyncIterator[Open]:
    """Opens the row's sink; keywords are of the destination, or say `config` and `allowed`."""
    opened: list[Sink] = []
    senders: list[Sender] = []

    def open_(
        config: dict[str, Any] | None = None,
        allowed: str = "127.0.0.0/8",
        timeout: float = 20.0,
        **more: Any,
    ) -> Sink:
        resolver = Resolver(networks(allowed))
        senders.append(Sender(resolver))
        resources = resources_with(senders[-1], resolver, timeout=timeout)
        destination = a_destination(row.type, config or row.config, row.credentials, **more)
        opened.append(SINKS.open(destination, resources))
        return opened[-1]

    yield open_
    for sink in opened:
        await sink.aclose()
    for sender in senders:
        await sender.aclose()


def test_every_sink_has_a_row() -> None:
    assert sorted(ROWS) == [name for name in SINKS.names if SINKS.is_installed(name)]


@pytest.mark.parametrize(
    "data",
    [b'{ "b":1,\t"a": 12345678901234567890.10 }\n', b"", b"\x00\xff\r\n\r\n", b"x" * 500_000],
    ids=["json", "empty", "binary", "large"],
)
async def test_the_payload_arrives_byte_for_byte(row: Row, open_sink: Open, data: bytes) -> None:
    answer = await open_sink().deliver(a_delivery("evt_1", data, content_type="text/x"))
    assert answer.code
    (arrived,) = await row.arrived()
    assert arrived[:4] == (data, "evt_1", "user.created", "text/x")


async def test_a_duplicate_carries_the_same_id(row: Row, open_sink: Open) -> None:
    sink = open_sink()
    for _ in range(2):
        await sink.deliver(a_delivery("evt_2"))
    assert [arrived.event for arrived in await row.arrived()] == ["evt_2", "evt_2"]


async def test_deliveries_at_once_all_arrive(row: Row, open_sink: Open) -> None:
    sink = open_sink()
    names = [f"evt_{number}" for number in range(50)]
    await asyncio.gather(*(sink.deliver(a_delivery(name)) for name in names))
    assert sorted(arrived.event for arrived in await row.arrived()) == sorted(names)


async def test_metadata_arrive_and_the_events_own_win(row: Row, open_sink: Open) -> None:
    sink = open_sink(delivery_metadata={"both": "destination", "fixed": "1"})
    await sink.deliver(a_delivery(metadata={"both": "event", "own": "2"}))
    (arrived,) = await row.arrived()
    expected = {"both": "event", "fixed": "1", "own": "2"}
    assert expected.items() <= arrived.metadata.items()


async def test_metadata_override_nothing_of_the_events(row: Row, open_sink: Open) -> None:
    names = ("id", "event-id", "topic", "timestamp", "content-type", "Content-Type", "ID")
    await open_sink().deliver(a_delivery(metadata=dict.fromkeys(names, "evil")))
    (arrived,) = await row.arrived()
    assert arrived[1:4] == ("evt_1", "user.created", "application/json")


async def test_a_destination_that_does_not_answer_is_unavailable(row: Row, open_sink: Open) -> None:
    with pytest.raises(Unavailable) as caught:
        await open_sink(row.unreachable, timeout=0.5).deliver(a_delivery())
    assert caught.value.code
    assert caught.value.answer.code == caught.value.code


async def test_a_destination_inside_is_refused(row: Row, open_sink: Open) -> None:
    with pytest.raises(Unavailable) as caught:
        await open_sink(allowed="10.0.0.0/8").deliver(a_delivery())
    assert caught.value.code == "forbidden_address"
    assert await row.arrived() == []


async def test_a_cancelled_delivery_leaves_the_sink_in_order(row: Row, open_sink: Open) -> None:
    sink = open_sink()
    await sink.deliver(a_delivery("evt_1"))
    cancelled = asyncio.create_task(sink.deliver(a_delivery("evt_2")), name="cancelled")
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await sink.deliver(a_delivery("evt_3"))
    assert {"evt_1", "evt_3"} <= {arrived.event for arrived in await row.arrived()}


async def test_a_sink_may_be_closed_unused_and_twice(open_sink: Open) -> None:
    unused = open_sink()
    await unused.aclose()
    used = open_sink()
    await used.deliver(a_delivery())
    await used.aclose()
    await used.aclose()


def test_what_is_checked_stays_the_same_when_checked_again(row: Row) -> None:
    checked = SINKS.check(row.type, row.config, row.credentials)
    assert SINKS.check(row.type, *checked) == checked


def test_where_it_leads_is_shown_without_credentials(row: Row) -> None:
    shown = SINKS.shown(a_destination(row.type, row.config, row.credentials))
    assert shown.target
    assert not any(secret in shown.target for secret in row.credentials.values())


@pytest.mark.parametrize("part", ["config", "credentials"])
def test_a_field_that_is_not_known_is_refused_by_name(row: Row, part: str) -> None:
    given = {"config": dict(row.config), "credentials": dict(row.credentials)}
    given[part]["nonsense"] = "x"
    with pytest.raises(InvalidValue, match="a known field") as caught:
        SINKS.check(row.type, **given)
    assert caught.value.field == f"{part}.nonsense"


def test_a_config_without_its_fields_is_refused_by_name(row: Row) -> None:
    with pytest.raises(InvalidValue, match="required") as caught:
        SINKS.check(row.type, {}, row.credentials)
    assert caught.value.field.startswith("config.")


async def test_a_stored_config_that_is_invalid_is_rejected(open_sink: Open) -> None:
    with pytest.raises(Rejected) as caught:
        open_sink({"nonsense": "x"})
    assert caught.value.code == "invalid_config"
