"""Exchanges, on RabbitMQ."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import aio_pika
import pytest
import trustme
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from event_router.consumers.ports import Sink
from event_router.consumers.sinks.kinds import load_sinks
from event_router.consumers.testing import (
    Arrived,
    SinkCase,
    SinkContract,
    Trouble,
    a_delivery,
    a_destination,
    local_resources,
    refusing_port,
    silent_port,
)
from event_router.consumers.testing.network_contract import NetworkContract, delivered
from event_router.schemas.errors import Answer, InvalidValue, Rejected, TooLarge, Unavailable
from tests import services
from tests.contracts.sinks.tls_contract import Secured, TlsContract, outcome
from tests.server_certificates import NAME, a_client_of


def arrived_as(message: AbstractIncomingMessage) -> Arrived:
    headers = {name: str(value) for name, value in message.headers.items()}
    assert message.message_id == headers["event-id"]
    assert message.routing_key == headers["topic"]
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    return Arrived(
        message.body, headers["event-id"], headers["topic"], message.content_type, headers
    )


async def exchange_with_queue(channel: AbstractChannel, most: int | None = None) -> tuple[str, str]:
    """The names of both; a queue of at most so many messages refuses more."""
    name = services.unique("exchange")
    limits: Any = {} if most is None else {"x-max-length": most, "x-overflow": "reject-publish"}
    exchange = await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC)
    queue = await channel.declare_queue(f"{name}.queue", arguments=limits)
    await queue.bind(exchange, "#")
    return name, queue.name


class TestRabbitMq(NetworkContract, SinkContract):
    type = "rabbitmq"

    @pytest.fixture
    async def case(self, own_rabbitmq: services.RabbitMq) -> AsyncIterator[SinkCase]:
        rabbitmq = own_rabbitmq
        async with AsyncExitStack() as stack:
            connection = await aio_pika.connect(rabbitmq.url)
            stack.push_async_callback(connection.close)
            channel = await connection.channel()
            exchange, queue = await exchange_with_queue(channel)
            full, _ = await exchange_with_queue(channel, most=0)
            config = {"server_url": rabbitmq.server, "exchange": exchange}
            credentials = {
                "username": services.RABBITMQ_USER,
                "password": services.RABBITMQ_PASSWORD,
            }
            seen: list[Arrived] = []

            async def arrived() -> list[Arrived]:
                taken = await channel.get_queue(queue, ensure=False)
                while message := await taken.get(no_ack=True, fail=False):
                    seen.append(arrived_as(message))
                return seen

            silent = await stack.enter_async_context(silent_port())
            refusing = stack.enter_context(refusing_port())
            yield SinkCase(
                config,
                arrived,
                {
                    "wrong_credentials": Trouble(
                        credentials={**credentials, "password": "a-wrong-guess"}
                    ),
                    "missing_target": Trouble({**config, "exchange": "nobody-made-this"}),
                    "refused_connection": Trouble(
                        {**config, "server_url": f"127.0.0.1:{refusing}"}
                    ),
                    "time_out": Trouble(
                        {**config, "server_url": f"127.0.0.1:{silent}"}, seconds=0.3
                    ),
                    "throttling": Trouble({**config, "exchange": full}),
                    "too_large": Trouble(
                        delivery=a_delivery(data=b"x" * (services.RABBITMQ_LARGEST + 1))
                    ),
                },
                credentials,
            )

    async def test_a_message_that_no_queue_is_bound_for_is_no_delivery(
        self, case: SinkCase, open_sink: object
    ) -> None:
        async with local_resources() as resources:
            config = {**case.config, "exchange": "amq.direct"}
            sink = load_sinks().open(a_destination("rabbitmq", config, case.credentials), resources)
            with pytest.raises(Exception, match="target_not_found"):
                await sink.deliver(a_delivery())
            await sink.aclose()

    async def test_one_that_is_too_large_costs_no_other_more_than_a_try(
        self, case: SinkCase, open_sink: Callable[..., Sink]
    ) -> None:
        """It closes the channel that all are on, and who still writes to that, the connection."""
        sink = open_sink()
        await sink.deliver(a_delivery("evt_first"))
        large = case.troubles["too_large"].delivery
        assert large
        at_once = [large, *(a_delivery(f"evt_{number}") for number in range(20))]
        results = await asyncio.gather(*map(sink.deliver, at_once), return_exceptions=True)
        assert isinstance(results[0], TooLarge)
        assert {type(result) for result in results[1:]} <= {Answer, Unavailable}
        await delivered(sink, "evt_last")
        arrived = {one.event for one in await case.arrived()}
        answered = {
            f"evt_{n}" for n, result in enumerate(results[1:]) if isinstance(result, Answer)
        }
        assert {"evt_first", *answered, "evt_last"} <= arrived


async def test_what_amqp_has_no_room_for_is_refused_without_a_broker() -> None:
    config = {"server_url": "127.0.0.1:1", "exchange": "e"}
    async with local_resources() as resources:
        destination = a_destination("rabbitmq", config, {"username": "u", "password": "p"})
        sink = load_sinks().open(destination, resources)
        for delivery in (a_delivery(topic="t" * 256), a_delivery(metadata={"n" * 256: "v"})):
            with pytest.raises(Rejected, match="255 bytes"):
                await sink.deliver(delivery)


class TestRabbitMqTls(TlsContract):
    server = "server_url"

    @pytest.fixture
    async def secured(self, own_rabbitmq: services.RabbitMq) -> AsyncIterator[Secured]:
        assert own_rabbitmq.certified
        async with await aio_pika.connect(own_rabbitmq.url) as connection:
            channel = await connection.channel()
            exchange, queue = await exchange_with_queue(channel)

            async def arrived() -> int:
                declared = await channel.declare_queue(queue, passive=True)
                return declared.declaration_result.message_count or 0

            yield Secured(
                "rabbitmq",
                {
                    "server_url": f"{NAME}:{own_rabbitmq.tls_port}",
                    "exchange": exchange,
                    "tls": True,
                },
                {"username": services.RABBITMQ_USER, "password": services.RABBITMQ_PASSWORD},
                own_rabbitmq.certified.authority,
                arrived,
            )

    async def test_a_certificate_may_stand_for_user_and_password(self, secured: Secured) -> None:
        """EXTERNAL: the server takes the certificate's common name for the user's."""
        external = replace(secured, credentials={})
        before = await secured.arrived()
        known = a_client_of(secured.authority, services.RABBITMQ_USER)
        answer = await outcome(external, secured.trusting, known)
        assert answer.code == "OK", str(answer)
        assert await secured.arrived() == before + 1
        unknown = a_client_of(secured.authority, "nobody")
        trouble = await outcome(external, secured.trusting, unknown, seconds=3.0)
        assert trouble.code == "authentication_failed", str(trouble)


@pytest.mark.parametrize(
    ("tls", "credentials", "field"),
    [
        (True, {}, "username"),
        (True, {"username": "u"}, "password"),
        (True, {"password": "p"}, "username"),
        (False, a_client_of(trustme.CA()), "username"),
    ],
)
def test_who_comes_has_to_be_said(tls: bool, credentials: dict[str, str], field: str) -> None:
    config = {"server_url": "127.0.0.1:1", "exchange": "e", "tls": tls}
    with pytest.raises(InvalidValue) as caught:
        load_sinks().check("rabbitmq", config, credentials)
    assert caught.value.field == f"credentials.{field}"
