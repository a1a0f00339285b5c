"""Webhooks, to receivers of our own."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from event_router.consumers.signing import new_secret
from event_router.consumers.testing import (
    Arrived,
    SinkCase,
    SinkContract,
    Trouble,
    refusing_port,
    silent_port,
)
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


class TestWebhook(SinkContract):
    type = "webhook"

    @pytest.fixture
    async def case(self) -> AsyncIterator[SinkCase]:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(receiver())
            silent = await stack.enter_async_context(silent_port())
            refusing = stack.enter_context(refusing_port())
            troubles = {
                "refused_connection": Trouble({"url": f"http://127.0.0.1:{refusing}/"}),
                "time_out": Trouble({"url": f"http://127.0.0.1:{silent}/"}, seconds=0.3),
            }
            for name, status in STATUSES.items():
                other = await stack.enter_async_context(receiver(STATUS % status))
                troubles[name] = Trouble({"url": other.url}, code=str(status))

            async def arrived() -> list[Arrived]:
                return arrived_at(server)

            yield SinkCase({"url": server.url}, arrived, troubles, {"secret": new_secret()})
