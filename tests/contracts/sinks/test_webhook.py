"""Webhooks: to receivers of our own, in the clear, over TLS and mutual TLS; and to nginx."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from event_router.consumers.signing import new_secret
from event_router.consumers.testing import (
    Arrived,
    NetworkContract,
    SinkCase,
    SinkContract,
    Trouble,
    refusing_port,
    silent_port,
)
from tests.https import asking, issued, server_context, tls_server, trusted
from tests.nginx import mutual_nginx
from tests.receivers import Scripted, receiver

STATUS = b"HTTP/1.1 %d Status\r\ncontent-length: 0\r\n\r\n"
STATUSES = {"wrong_credentials": 401, "missing_target": 404, "throttling": 429, "too_large": 413}


def arrived_at(server: Scripted) -> list[Arrived]:
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


async def troubles_of(
    stack: AsyncExitStack, tls: ssl.SSLContext | None = None, **config: str
) -> dict[str, Trouble]:
    """Those of a webhook, with and without TLS; the status is the code."""
    scheme = "https" if tls else "http"
    silent = await stack.enter_async_context(silent_port())
    refusing = stack.enter_context(refusing_port())

    def at(url: str, code: str = "", seconds: float = 5.0) -> Trouble:
        return Trouble({"url": url, **config}, code=code, seconds=seconds)

    troubles = {
        "refused_connection": at(f"{scheme}://127.0.0.1:{refusing}/"),
        "time_out": at(f"{scheme}://127.0.0.1:{silent}/", seconds=0.3),
    }
    for name, status in STATUSES.items():
        other = await stack.enter_async_context(receiver(STATUS % status, tls))
        troubles[name] = at(other.url, str(status))
    return troubles


class WebhookContract(SinkContract):
    type = "webhook"
    tells_time = False  # but that of the attempt, which is signed


class TestWebhook(NetworkContract, WebhookContract):
    @pytest.fixture
    async def case(self) -> AsyncIterator[SinkCase]:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(receiver())
            troubles = await troubles_of(stack)

            async def arrived() -> list[Arrived]:
                return arrived_at(server)

            yield SinkCase({"url": server.url}, arrived, troubles, {"secret": new_secret()})


class TestWebhookOverTls(WebhookContract):
    """To a receiver whose certificate a private authority has issued."""

    @pytest.fixture
    async def case(self) -> AsyncIterator[SinkCase]:
        async with AsyncExitStack() as stack:
            tls = server_context("127.0.0.1")
            server = await stack.enter_async_context(receiver(tls=tls))
            config = {"ca_certificate": trusted()}
            troubles = await troubles_of(stack, tls, **config)

            async def arrived() -> list[Arrived]:
                return arrived_at(server)

            config["url"] = server.url
            yield SinkCase(config, arrived, troubles, {"secret": new_secret()})


class TestWebhookOverMutualTls(WebhookContract):
    """To a receiver that lets in whom a private authority vouches for."""

    @pytest.fixture
    async def case(self) -> AsyncIterator[SinkCase]:
        async with AsyncExitStack() as stack:
            tls = asking(server_context("127.0.0.1"))
            server = await stack.enter_async_context(receiver(tls=tls))
            config = {"ca_certificate": trusted()}
            troubles = await troubles_of(stack, tls, **config)
            older = asking(server_context("127.0.0.1"))
            older.maximum_version = ssl.TLSVersion.TLSv1_2  # which says so within the handshake
            troubles["wrong_credentials"] = Trouble(
                {"url": stack.enter_context(tls_server(older)), **config},
                {"secret": new_secret(), **issued("client", by="others").credentials},
                code="tls_client_certificate",
            )

            async def arrived() -> list[Arrived]:
                return arrived_at(server)

            config["url"] = server.url
            credentials = {"secret": new_secret(), **issued("client").credentials}
            yield SinkCase(config, arrived, troubles, credentials)


class TestWebhookToNginx(NetworkContract, WebhookContract):
    """With `ssl_verify_client on`, in front of a receiver of ours."""

    @pytest.fixture
    async def case(self, tmp_path: Path) -> AsyncIterator[SinkCase]:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(receiver())
            of_nginx = mutual_nginx(tmp_path, issued("127.0.0.1"), trusted(), server.port)
            config = {"url": stack.enter_context(of_nginx), "ca_certificate": trusted()}
            tls = asking(server_context("127.0.0.1"))
            troubles = await troubles_of(stack, tls, ca_certificate=trusted())
            troubles["wrong_credentials"] = Trouble(
                credentials={"secret": new_secret(), **issued("client", by="others").credentials},
                code="400",  # it says so in HTTP
            )

            async def arrived() -> list[Arrived]:
                return arrived_at(server)

            credentials = {"secret": new_secret(), **issued("client").credentials}
            yield SinkCase(config, arrived, troubles, credentials)
