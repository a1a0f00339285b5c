"""Topics of Google Cloud Pub/Sub, on Google's in-memory server: over TLS, where it asks for a
service account's token, and as an emulator."""

import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from event_router.consumers.sinks.kinds import load_sinks
from event_router.consumers.testing import (
    Arrived,
    BatchContract,
    NetworkContract,
    SinkCase,
    Trouble,
    a_delivery,
    a_destination,
    forwarded_to,
    local_resources,
    refusing_port,
    silent_port,
)
from event_router.schemas.errors import Unavailable
from tests import services


def arrived_as(message: dict[str, Any]) -> Arrived:
    told = message["Attributes"]
    data = base64.b64decode(message["Data"] or "")
    return Arrived(data, told["event-id"], told["topic"], told["content-type"], told)


class PubsubCase:
    """A topic of its own."""

    def __init__(self, server: services.Pubsub, client: httpx.AsyncClient) -> None:
        self.topic = services.unique("t")
        self.url = f"{server.http}/projects/tests/topics/{self.topic}"
        self.client = client

    async def make(self) -> None:
        (await self.client.put(self.url)).raise_for_status()

    async def arrived(self) -> list[Arrived]:
        return [arrived_as(message) for message in (await self.client.get(self.url)).json()]


@pytest.fixture
async def topic(pubsub: services.Pubsub) -> AsyncIterator[PubsubCase]:
    async with httpx.AsyncClient() as client:
        made = PubsubCase(pubsub, client)
        await made.make()
        yield made


class TestGcpPubsub(NetworkContract, BatchContract):
    type = "gcp_pubsub"

    @pytest.fixture
    async def case(
        self, pubsub: services.Pubsub, topic: PubsubCase, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[SinkCase]:
        monkeypatch.setenv("SSL_CERT_FILE", str(pubsub.ca_file))
        credentials = {"service_account_json": pubsub.account}
        async with AsyncExitStack() as stack:
            port = urlsplit(pubsub.secure).port or 0
            proxy = await stack.enter_async_context(forwarded_to((services.HOST, port)))
            silent = await stack.enter_async_context(silent_port())
            refusing = stack.enter_context(refusing_port())
            config = {
                "project_id": "tests",
                "topic": topic.topic,
                "endpoint": f"https://localhost:{proxy.port}",
            }
            troubles = {
                "wrong_credentials": Trouble(
                    credentials={"service_account_json": services.service_account()}
                ),
                "missing_target": Trouble({**config, "topic": "nobodys"}),
                "refused_connection": Trouble(
                    {**config, "endpoint": f"https://localhost:{refusing}"}
                ),
                "time_out": Trouble(
                    {**config, "endpoint": f"https://localhost:{silent}"}, seconds=0.5
                ),
                "throttling": Trouble({**config, "topic": "throttled"}),
                "too_large": Trouble(delivery=a_delivery(data=b"x" * 10_000_001)),
            }
            yield SinkCase(config, topic.arrived, troubles, credentials, proxy.connections)


async def code_of(config: dict[str, str], account: str) -> str:
    credentials = {"service_account_json": account}
    async with local_resources() as resources:
        sink = load_sinks().open(a_destination("gcp_pubsub", config, credentials), resources)
        try:
            return (await sink.deliver(a_delivery())).code
        except Unavailable as trouble:
            return trouble.code
        finally:
            await sink.aclose()


@pytest.mark.parametrize(
    ("name", "code"), [("forbidden", "permission_denied"), ("away", "service_unavailable")]
)
async def test_other_answers_of_the_service_have_their_codes(
    pubsub: services.Pubsub, name: str, code: str
) -> None:
    config = {"project_id": "tests", "topic": name, "endpoint": pubsub.plain}
    assert await code_of(config, "{}") == code


async def test_an_emulator_is_shown_no_token(pubsub: services.Pubsub, topic: PubsubCase) -> None:
    config = {"project_id": "tests", "topic": topic.topic, "endpoint": pubsub.plain}
    assert await code_of(config, pubsub.account) == "OK"
    assert [one.event for one in await topic.arrived()] == ["evt_1"]


async def test_a_certificate_that_nobody_knows_is_said(pubsub: services.Pubsub) -> None:
    config = {"project_id": "tests", "topic": "any", "endpoint": pubsub.secure}
    assert await code_of(config, pubsub.account) == "tls_error"


@pytest.mark.parametrize("account", ["{}", '{"client_email": "x", "private_key": "not a key"}'])
async def test_what_is_no_service_accounts_key_is_said(
    pubsub: services.Pubsub, account: str
) -> None:
    config = {"project_id": "tests", "topic": "any", "endpoint": pubsub.secure}
    assert await code_of(config, account) == "authentication_failed"
