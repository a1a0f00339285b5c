"""Queues of a peer that speaks AMQP 1.0 as Azure Service Bus does: with TLS, and as an emulator."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from event_router.consumers.sinks.azure_servicebus import AzureServiceBus
from event_router.consumers.sinks.kinds import load_sinks
from event_router.consumers.testing import (
    Arrived,
    BatchContract,
    NetworkContract,
    SinkCase,
    Trouble,
    a_delivery,
    a_destination,
    local_resources,
    refusing_port,
    silent_port,
)
from event_router.consumers.testing.network import CONNECTS
from event_router.schemas.errors import Answer, InvalidValue, TooLarge, Unavailable
from tests import services
from tests.servicebus import LARGEST


def arrived_as(message: dict[str, Any]) -> Arrived:
    told = message["properties"]
    data = base64.b64decode(message["data"])
    return Arrived(data, told["event-id"], message["subject"], message["content_type"], told)


@pytest.fixture
async def queue(service_bus: services.ServiceBus) -> AsyncIterator[tuple[str, httpx.AsyncClient]]:
    """Its name, and what shows it."""
    name = services.unique("q")
    async with httpx.AsyncClient(base_url=service_bus.http) as client:
        (await client.put(name)).raise_for_status()
        yield name, client


async def case_on(
    service_bus: services.ServiceBus, server: str, queue: tuple[str, httpx.AsyncClient]
) -> AsyncIterator[SinkCase]:
    name, client = queue
    emulator = "" if server else ";UseDevelopmentEmulator=true"

    def credentials(text: str) -> dict[str, str]:
        return {"connection_string": text}

    async def arrived() -> list[Arrived]:
        return [arrived_as(message) for message in (await client.get(name)).json()]

    async with AsyncExitStack() as stack:
        silent = await stack.enter_async_context(silent_port())
        refusing = stack.enter_context(refusing_port())
        config = {"name": name}

        def elsewhere(port: int) -> dict[str, str]:
            return credentials(service_bus.connection_string(f"localhost:{port}") + emulator)

        troubles = {
            "wrong_credentials": Trouble(
                credentials=credentials(
                    service_bus.connection_string(server, key="YS13cm9uZy1ndWVzcw==")
                )
            ),
            "missing_target": Trouble({"name": "nobodys"}),
            "refused_connection": Trouble(credentials=elsewhere(refusing)),
            "time_out": Trouble(credentials=elsewhere(silent), seconds=0.5),
            "throttling": Trouble({"name": "throttled"}, seconds=20),
            "too_large": Trouble(delivery=a_delivery(data=b"x" * (LARGEST + 1))),
        }
        given = credentials(service_bus.connection_string(server))
        yield SinkCase(config, arrived, troubles, given)


class TestServiceBus(NetworkContract, BatchContract):
    type = "azure_servicebus"

    async def test_more_than_fits_in_one_batch_goes_in_several(
        self, case: SinkCase, open_sink: Callable[..., AzureServiceBus]
    ) -> None:
        sizes = [LARGEST // 2, LARGEST // 2, LARGEST, 10, LARGEST - 1000]
        batch = [a_delivery(f"evt_{n}", b"x" * size) for n, size in enumerate(sizes)]
        sink = open_sink()
        await sink.deliver(a_delivery("evt_first"))
        with CONNECTS.counting():
            results = await sink.deliver_many(batch)
            assert CONNECTS.count == 0, "a refusal of the service costs the connection"
        kinds = [type(result) for result in results]
        assert kinds == [Answer, Answer, TooLarge, Answer, Answer]
        arrived = [one.event for one in await case.arrived()]
        assert arrived == ["evt_first", "evt_0", "evt_1", "evt_3", "evt_4"]

    @pytest.fixture
    async def case(
        self,
        service_bus: services.ServiceBus,
        queue: tuple[str, httpx.AsyncClient],
        monkeypatch: pytest.MonkeyPatch,
    ) -> AsyncIterator[SinkCase]:
        monkeypatch.setenv("SSL_CERT_FILE", str(service_bus.ca_file))
        async for case in case_on(service_bus, service_bus.secure, queue):
            yield case


async def delivered_to(name: str, connection_string: str) -> Answer:
    destination = a_destination(
        "azure_servicebus", {"name": name}, {"connection_string": connection_string}
    )
    async with local_resources() as resources:
        sink = load_sinks().open(destination, resources)
        try:
            return await sink.deliver(a_delivery())
        finally:
            await sink.aclose()


async def code_of(name: str, connection_string: str) -> str:
    try:
        return (await delivered_to(name, connection_string)).code
    except Unavailable as trouble:
        return trouble.code


WHOLE = "Endpoint=sb://n.example.com/;SharedAccessKeyName=send;SharedAccessKey=a2V5b2ZvdXJz"


def checked(text: str, name: str = "q") -> None:
    load_sinks().check("azure_servicebus", {"name": name}, {"connection_string": text})


@pytest.mark.parametrize(
    ("without", "expected"),
    [
        ("Endpoint=", "Endpoint=sb://"),
        ("SharedAccessKey=", "SharedAccessKeyName and SharedAccessKey"),
        ("SharedAccessKeyName=", "SharedAccessKeyName and SharedAccessKey"),
        ("SharedAccessKey", "SharedAccessSignature"),
    ],
)
def test_a_connection_string_that_lacks_something_is_refused_by_name(
    without: str, expected: str
) -> None:
    checked(WHOLE)
    parts = [part for part in WHOLE.split(";") if not part.startswith(without)]
    with pytest.raises(InvalidValue, match=expected) as caught:
        checked(";".join(parts))
    assert caught.value.field == "credentials.connection_string"
    assert "a2V5" not in str(caught.value)


def test_a_signature_stands_for_the_key_and_not_beside_it() -> None:
    signature = "SharedAccessSignature=SharedAccessSignature sr=a&sig=b&se=1&skn=c"
    checked(f"Endpoint=sb://n.example.com/;{signature}")
    with pytest.raises(InvalidValue, match="or else with SharedAccessSignature"):
        checked(f"{WHOLE};{signature}")


def test_a_connection_string_for_one_queue_is_for_no_other() -> None:
    checked(f"{WHOLE};EntityPath=orders;", "orders")
    with pytest.raises(InvalidValue, match="'orders', the EntityPath") as caught:
        checked(f"{WHOLE};EntityPath=orders", "other")
    assert caught.value.field == "config.name"


async def test_of_a_wrong_key_people_read_what_the_service_says(
    service_bus: services.ServiceBus,
) -> None:
    given = service_bus.connection_string(key="YS13cm9uZy1ndWVzcw==")
    with pytest.raises(Unavailable, match=r"^authentication_failed: check .* InvalidSignature"):
        await delivered_to("any", given)


async def test_an_emulator_is_spoken_to_without_tls(
    service_bus: services.ServiceBus, queue: tuple[str, httpx.AsyncClient]
) -> None:
    name, client = queue
    assert await code_of(name, service_bus.connection_string()) == "OK"
    (arrived,) = (await client.get(name)).json()
    assert arrived["id"] == "one/evt_1/0"


async def test_a_certificate_that_nobody_knows_is_said(service_bus: services.ServiceBus) -> None:
    assert await code_of("any", service_bus.connection_string(service_bus.secure)) == "tls_error"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("forbidden", "permission_denied"),
        ("full", "throttled"),
        ("disabled", "service_unavailable"),
    ],
)
async def test_other_refusals_have_their_codes(
    service_bus: services.ServiceBus, name: str, code: str
) -> None:
    assert await code_of(name, service_bus.connection_string()) == code
