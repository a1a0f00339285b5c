"""Kafka topics, on Apache Kafka."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from event_router.consumers.ports import Sink
from event_router.consumers.testing import (
    Arrived,
    BatchContract,
    SinkCase,
    Trouble,
    a_delivery,
    forwarded_to,
    refusing_port,
    silent_port,
)
from event_router.consumers.testing.cases import CODES
from event_router.consumers.testing.network_contract import LATEST, Faults, NetworkContract
from event_router.schemas.errors import Unavailable
from tests import services
from tests.contracts.sinks.tls_contract import CLOSED, Secured, TlsContract, outcome
from tests.server_certificates import NAME, a_client_of


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


def arrived_as(record: Any) -> Arrived:
    headers = {name: value.decode() for name, value in record.headers}
    return Arrived(
        record.value, headers["event-id"], headers["topic"], headers["content-type"], headers
    )


def _named(host: str, port: int) -> bytes:
    """As an answer of Kafka's has it."""
    return host.encode() + port.to_bytes(4, "big")


class TestKafka(NetworkContract, BatchContract):
    type = "kafka"
    without: ClassVar = {"throttling": "a broker with a quota answers late instead of refusing"}

    broken: ClassVar = frozenset({"timeout"})  # a broker that goes is waited for
    patience: ClassVar = 7.0

    @asynccontextmanager
    async def through(self, case: SinkCase) -> AsyncIterator[tuple[SinkCase, Faults]]:
        """The broker says where it is: it is made to name the proxy, which would be passed by."""
        host, _, port = case.config["brokers"].partition(":")
        async with forwarded_to((host, int(port))) as proxy:
            here, there = _named(host, int(port)), _named(host, proxy.port)
            proxy.says = lambda answer: answer.replace(here, there)
            yield replace(case, config={**case.config, "brokers": proxy.server}), proxy

    @pytest.fixture
    async def case(self, faulty_kafka: services.Kafka) -> AsyncIterator[SinkCase]:
        kafka, topic = faulty_kafka, services.unique()
        await kafka.make_topics({topic: 1})
        config = {"brokers": kafka.sasl_bootstrap, "topic": topic, "tls": False}
        credentials = {"username": services.SASL_USER, "password": services.SASL_PASSWORD}

        async def arrived() -> list[Arrived]:
            return [arrived_as(record) for record in await records_of(kafka.bootstrap, topic)]

        async with AsyncExitStack() as stack:
            silent = await stack.enter_async_context(silent_port())
            refusing = stack.enter_context(refusing_port())
            yield SinkCase(
                config,
                arrived,
                {
                    "wrong_credentials": Trouble(
                        credentials={**credentials, "password": "a-wrong-guess"}
                    ),
                    "missing_target": Trouble({**config, "topic": "nobody-made-this"}),
                    "refused_connection": Trouble(
                        {**config, "brokers": f"127.0.0.1:{refusing}"}, seconds=0.5
                    ),
                    "time_out": Trouble({**config, "brokers": f"127.0.0.1:{silent}"}, seconds=0.5),
                    "too_large": Trouble(delivery=a_delivery(data=b"x" * (2 << 20))),
                },
                credentials,
            )

    @pytest.mark.parametrize("name", ["wrong_credentials", "missing_target"])
    async def test_what_only_people_mend_is_said_at_once_and_in_words_for_them(
        self, case: SinkCase, open_sink: Callable[..., Sink], name: str
    ) -> None:
        how, began = case.troubles[name], time.monotonic()
        sink = open_sink(how.config, how.credentials, 3 * LATEST)
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                await sink.deliver(a_delivery())
            assert caught.value.code in CODES[name]
            assert "router init" not in str(caught.value)
        assert time.monotonic() - began < LATEST

    async def test_a_topic_that_is_made_after_all_is_found(
        self, case: SinkCase, open_sink: Callable[..., Sink], faulty_kafka: services.Kafka
    ) -> None:
        topic = services.unique()
        sink = open_sink({**case.config, "topic": topic})
        with pytest.raises(Unavailable, match="target_not_found"):
            await sink.deliver(a_delivery())
        await faulty_kafka.make_topics({topic: 1})
        assert (await sink.deliver(a_delivery())).code == "OK"


class TestKafkaTls(TlsContract):
    server = "brokers"

    @pytest.fixture
    async def secured(self, faulty_kafka: services.Kafka) -> Secured:
        kafka, topic = faulty_kafka, services.unique()
        assert kafka.certified
        await kafka.make_topics({topic: 1})

        async def arrived() -> int:
            return len(await records_of(kafka.bootstrap, topic))

        brokers = f"{NAME}:{kafka.tls_bootstrap.rpartition(':')[2]}"
        return Secured(
            "kafka",
            {"brokers": brokers, "topic": topic, "tls": True},
            {"username": services.SASL_USER, "password": services.SASL_PASSWORD},
            kafka.certified.authority,
            arrived,
        )

    async def test_a_certificate_may_be_all_that_is_asked_for(
        self, secured: Secured, faulty_kafka: services.Kafka
    ) -> None:
        port = faulty_kafka.certificate_bootstrap.rpartition(":")[2]
        asking = replace(secured, credentials={})
        config = {**secured.trusting, "brokers": f"{NAME}:{port}"}
        nobody = await outcome(asking, config, seconds=3.0)
        answer = await outcome(asking, config, a_client_of(secured.authority))
        assert nobody.code in CLOSED, str(nobody)
        assert answer.code == "OK", str(answer)
