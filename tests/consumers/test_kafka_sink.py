"""The Kafka topic sink: what is its own beyond the contract."""

import asyncio
import dataclasses
import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import conn as aiokafka_conn
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection

from event_router.consumers.addresses import Address, Resolver, networks
from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.guard import guard, vet_cluster
from event_router.consumers.ports import Producer, Sink
from event_router.consumers.sinks.kinds import SinkResources, load_sinks
from event_router.schemas.errors import InvalidValue, TooLarge, Unavailable
from event_router.schemas.record import Message, Place
from tests import services
from tests.contracts.sinks.test_kafka import records_of
from tests.sinks import a_delivery, a_destination, local_resources

SINKS = load_sinks()


@pytest.fixture
async def resources() -> AsyncIterator[SinkResources]:
    async with local_resources() as shared:
        yield shared


def kafka_sink(
    resources: SinkResources, config: dict[str, Any], credentials: dict[str, Any] | None = None
) -> Sink:
    return SINKS.open(a_destination("kafka", config, credentials or {}), resources)


async def test_the_events_id_is_the_key(
    kafka: services.Kafka, namespace: str, resources: SinkResources
) -> None:
    await kafka.make_topics({namespace: 4})
    config = {"brokers": kafka.bootstrap, "topic": namespace, "tls": "false"}
    sink = kafka_sink(resources, config)
    await asyncio.gather(*(sink.deliver(a_delivery("ü_1")) for _ in range(3)))
    await sink.aclose()
    async with AIOKafkaConsumer(
        namespace, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        records = [await consumer.getone() for _ in range(3)]
    assert {record.key for record in records} == {"ü_1".encode()}
    assert len({record.partition for record in records}) == 1


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("mechanism", ["plain", "scram-sha-256", "scram-sha-512"])
async def test_it_logs_in_with_each_mechanism(
    faulty_kafka: services.Kafka,
    namespace: str,
    resources: SinkResources,
    monkeypatch: pytest.MonkeyPatch,
    mechanism: str,
    tls: bool,
) -> None:
    await faulty_kafka.make_topics({namespace: 1})
    assert faulty_kafka.certified
    monkeypatch.setenv("SSL_CERT_FILE", str(faulty_kafka.certified.ca))
    brokers = faulty_kafka.tls_bootstrap if tls else faulty_kafka.sasl_bootstrap
    config = {"brokers": brokers, "topic": namespace, "tls": tls, "sasl_mechanism": mechanism}
    credentials = {"username": services.SASL_USER, "password": services.SASL_PASSWORD}
    sink = kafka_sink(resources, config, credentials)
    assert (await sink.deliver(a_delivery())).code == "OK"
    await sink.aclose()


async def test_a_certificate_by_a_stranger_is_refused(
    faulty_kafka: services.Kafka, namespace: str, resources: SinkResources
) -> None:
    config = {"brokers": faulty_kafka.tls_bootstrap, "topic": namespace}
    credentials = {"username": services.SASL_USER, "password": services.SASL_PASSWORD}
    sink = kafka_sink(dataclasses.replace(resources, timeout=1.0), config, credentials)
    with pytest.raises(Unavailable, match="certificate") as caught:
        await sink.deliver(a_delivery())
    await sink.aclose()
    assert caught.value.code == "tls_error"


async def test_the_partition_key_is_what_the_template_finds(
    kafka: services.Kafka, namespace: str, resources: SinkResources
) -> None:
    await kafka.make_topics({namespace: 1})
    config = {
        "brokers": kafka.bootstrap,
        "topic": namespace,
        "tls": False,
        "partition_key_template": "join('/', [metadata.region, data.customer.id])",
    }
    sink = kafka_sink(resources, config)
    here: dict[str, Any] = {"metadata": {"region": "eu"}}
    await sink.deliver(a_delivery("evt_1", b'{"customer": {"id": "c7"}}', **here))
    await sink.deliver(a_delivery("evt_2", b'{"customer": {}}', **here))
    await sink.deliver(a_delivery("evt_3", b"not JSON", **here))
    await sink.aclose()
    records = await records_of(kafka.bootstrap, namespace)
    assert [record.key for record in records] == [b"eu/c7", b"evt_2", b"evt_3"]


async def test_what_is_ours_replaces_metadata_and_an_events_own_the_destinations(
    resources: SinkResources,
) -> None:
    sent: list[Message] = []

    class Keeping:
        async def send(
            self, messages: Sequence[Message], deadline: float | None = None
        ) -> list[Place | TooLarge]:
            assert deadline is not None
            sent.extend(messages)
            return [Place("t", 0, 0, 0)]

        async def aclose(self) -> None:
            """Nothing is open."""

    evil = dict.fromkeys(("event-id", "topic", "timestamp", "content-type"), "evil")
    destination = a_destination(
        "kafka",
        {"brokers": "127.0.0.1:1", "topic": "t"},
        {},
        delivery_metadata={**evil, "both": "destination", "fixed": "1"},
    )
    keeping = dataclasses.replace(resources, open_producer=lambda _: Keeping())
    sink = SINKS.open(destination, keeping)
    await sink.deliver(a_delivery(metadata={**evil, "both": "event"}))
    assert dict(sent[0].headers) == {
        "event-id": b"evt_1",
        "topic": b"user.created",
        "timestamp": b"2026-01-01T00:00:00Z",
        "content-type": b"application/json",
        "both": b"event",
        "fixed": b"1",
    }
    assert len(sent[0].headers) == 6


class Unsuspecting(Resolver):
    """Takes `localhost` for a name of the internet, and everything else as what it is."""

    async def addresses(self, host: str) -> Sequence[Address]:
        if host == "localhost":
            return [ip_address("127.0.0.1")]
        return await super().addresses(host)


async def test_a_broker_inside_that_the_cluster_names_is_not_connected_to(
    kafka: services.Kafka, namespace: str, resources: SinkResources
) -> None:
    await kafka.make_topics({namespace: 1})
    told = f"localhost:{kafka.bootstrap.rpartition(':')[2]}"
    outside = Unsuspecting()
    sink = kafka_sink(
        dataclasses.replace(resources, resolver=outside, timeout=1.0),
        {"brokers": told, "topic": namespace, "tls": False},
    )
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1") as caught:
        await sink.deliver(a_delivery())
    await sink.aclose()
    assert caught.value.code == "forbidden_address"
    assert await records_of(kafka.bootstrap, namespace) == []


async def test_a_broker_that_moves_inside_later_is_as_one_that_does_not_answer() -> None:
    connected: list[str] = []

    class Client:
        _conns: ClassVar[dict[object, object]] = {}
        cluster = SimpleNamespace(
            broker_metadata=lambda node: SimpleNamespace(host=node),
            brokers=lambda: [SimpleNamespace(host="10.0.0.1")],
        )

        async def _get_conn(self, node: str, **_: object) -> str:
            connected.append(node)
            return node

    client: Any = Client()
    vet = Resolver().addresses
    guard(client, vet)
    assert await client._get_conn("10.0.0.1", group=1) is None
    assert await client._get_conn("8.8.8.8", group=1) == "8.8.8.8"
    assert connected == ["8.8.8.8"]
    with pytest.raises(Unavailable, match="forbidden_address"):
        await vet_cluster(client, vet)


async def test_a_name_that_leads_elsewhere_when_it_is_connected_to_leads_nowhere(
    kafka: services.Kafka, namespace: str, resources: SinkResources
) -> None:
    """The cluster is found at the address that was vetted, though nobody else knows the name."""
    asked: list[str] = []

    def lookup(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    resolver = Resolver(networks("127.0.0.0/8"), lookup=lookup)
    port = kafka.bootstrap.rpartition(":")[2]
    await kafka.make_topics({namespace: 1})
    here = dataclasses.replace(resources, resolver=resolver)
    config = {"brokers": f"nowhere.invalid:{port}", "topic": namespace, "tls": False}
    sink = kafka_sink(here, config)
    assert (await sink.deliver(a_delivery())).code == "OK"
    await sink.aclose()
    assert set(asked) == {"nowhere.invalid"}


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (AIOKafkaClient.bootstrap, "bootstrap_conn = await create_conn("),
        (AIOKafkaClient.bootstrap, "client_id=self._client_id,"),
        (AIOKafkaClient._get_conn, "self._conns[conn_id] = await create_conn("),
        (AIOKafkaClient._get_conn, "client_id=self._client_id,"),
        (AIOKafkaConnection.connect, "loop = self._loop"),
        (AIOKafkaConnection.connect, "lambda: protocol, self.host, self.port, ssl=ssl"),
        (aiokafka_conn.create_conn, "await conn.connect()"),
    ],
)
def test_the_client_still_connects_where_the_guard_stands(
    function: Callable[..., object], line: str
) -> None:
    assert line in inspect.getsource(function)


async def test_one_broker_inside_refuses_the_cluster(resources: SinkResources) -> None:
    sink = kafka_sink(resources, {"brokers": "[::1]:9092, 10.0.0.1:9092", "topic": "t"})
    with pytest.raises(Unavailable, match=r"10\.0\.0\.1") as caught:
        await sink.deliver(a_delivery())
    assert caught.value.code == "forbidden_address"


@pytest.mark.parametrize(
    ("entered", "security", "mechanism"),
    [
        ({}, "sasl_ssl", "PLAIN"),
        ({"tls": "false"}, "sasl_plaintext", "PLAIN"),
        ({"sasl_mechanism": "scram-sha-512"}, "sasl_ssl", "SCRAM-SHA-512"),
        ({"sasl_mechanism": "plain", "tls": False}, "sasl_plaintext", "PLAIN"),
    ],
)
async def test_what_is_entered_says_how_the_cluster_is_spoken_to(
    resources: SinkResources, entered: dict[str, Any], security: str, mechanism: str
) -> None:
    opened = await opened_with(resources, entered, {"username": "u", "password": "p"})
    assert opened.bootstrap == "127.0.0.1:1,127.0.0.1:2"
    assert (opened.security, opened.sasl_mechanism) == (security, mechanism)
    assert (opened.username, opened.password) == ("u", "p")


@pytest.mark.parametrize(("tls", "security"), [(True, "ssl"), (False, "plaintext")])
async def test_there_is_no_sasl_without_a_username(
    resources: SinkResources, tls: bool, security: str
) -> None:
    entered = {"tls": tls, "sasl_mechanism": "scram-sha-256"}
    assert (await opened_with(resources, entered, {})).security == security


async def opened_with(
    resources: SinkResources, entered: dict[str, Any], credentials: dict[str, Any]
) -> KafkaConfig:
    opened: list[KafkaConfig] = []

    def refuse(config: KafkaConfig) -> Producer:
        opened.append(config)
        raise Unavailable("enough")

    config = {"brokers": "127.0.0.1:1,127.0.0.1:2", "topic": "t", **entered}
    asking = SinkResources(resources.sender, resources.resolver, refuse)
    with pytest.raises(Unavailable, match="enough"):
        await kafka_sink(asking, config, credentials).deliver(a_delivery())
    return opened[0]


@pytest.mark.parametrize(
    ("entered", "field"),
    [
        ({"brokers": ""}, "config.brokers"),
        ({"brokers": "a.example"}, "config.brokers"),
        ({"brokers": "a.example:9092,"}, "config.brokers"),
        ({"brokers": "http://a.example:9092"}, "config.brokers"),
        ({"topic": ""}, "config.topic"),
        ({"topic": "a/b"}, "config.topic"),
        ({"topic": "a\n"}, "config.topic"),
        ({"tls": "maybe"}, "config.tls"),
        ({"sasl_mechanism": "gssapi"}, "config.sasl_mechanism"),
        ({"partition_key_template": "data."}, "config.partition_key_template"),
    ],
)
def test_what_cannot_be_is_refused_by_name(entered: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        SINKS.check("kafka", {"brokers": "a.example:9092", "topic": "t", **entered}, {})
    assert caught.value.field == field
