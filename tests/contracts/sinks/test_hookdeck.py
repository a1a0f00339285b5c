"""Hookdeck's Event Gateway, as a local server that answers as its documentation says.

https://hookdeck.com/docs/sources: a POST to the source's URL is answered with 200.
"""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import ClassVar

import pytest

from event_router.consumers.sinks.hookdeck import PREFIX, Hookdeck
from event_router.consumers.sinks.kinds import SinkTypes
from event_router.consumers.testing import (
    Arrived,
    SinkCase,
    SinkContract,
    Trouble,
    a_delivery,
    forwarded_to,
    refusing_port,
    silent_port,
)
from event_router.consumers.testing.network_contract import Faults, NetworkContract
from tests.receivers import Reader, Request, Writer, read_request, scripted

KEY = "signing-key"
LARGEST = 300_000


class Gateway:
    """One source; `throttled` answers 429."""

    def __init__(self) -> None:
        self.taken: list[Request] = []
        self.throttled = False

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        while True:
            request = await read_request(reader)
            status = self._status(request)
            if status == 200:
                self.taken.append(request)
            more = "retry-after: 7\r\n" if status == 429 else ""
            writer.write(f"HTTP/1.1 {status} X\r\n{more}content-length: 0\r\n\r\n".encode())
            await writer.drain()

    def _status(self, request: Request) -> int:
        if self.throttled:
            return 429
        if request.line.split()[1] != "/e/src_1":
            return 404
        signed = hmac.digest(KEY.encode(), request.body, hashlib.sha256)
        if request.header("x-hookdeck-signature") != base64.b64encode(signed).decode():
            return 401
        return 413 if len(request.body) > LARGEST else 200

    @asynccontextmanager
    async def throttling(self) -> AsyncIterator[None]:
        self.throttled = True
        yield
        self.throttled = False


def arrived_as(request: Request) -> Arrived:
    ours = {
        name.removeprefix(PREFIX): value
        for name, value in request.headers
        if name.startswith(PREFIX)
    }
    return Arrived(
        request.body, ours["event-id"], ours["topic"], request.header("content-type"), ours
    )


class LocalHookdeck(Hookdeck):
    """Hookdeck, with each source at a port of its own."""

    ports: ClassVar[dict[str, int]] = {}

    @staticmethod
    def url_of(source: str) -> str:
        return f"http://127.0.0.1:{LocalHookdeck.ports[source]}/e/{source}"


def token_of(source: str, key: str = KEY) -> str:
    return base64.b64encode(f"{source}:{key}".encode()).decode()


class TestHookdeck(NetworkContract, SinkContract):
    type = "hookdeck"
    without: ClassVar = {}

    def sinks(self) -> SinkTypes:
        return SinkTypes({"hookdeck": LocalHookdeck})

    @asynccontextmanager
    async def through(self, case: SinkCase) -> AsyncIterator[tuple[SinkCase, Faults]]:
        async with forwarded_to(("127.0.0.1", LocalHookdeck.ports["src_1"])) as proxy:
            LocalHookdeck.ports["src_1"] = proxy.port
            yield case, proxy

    @pytest.fixture
    async def case(self) -> AsyncIterator[SinkCase]:
        gateway = Gateway()
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(scripted(gateway))
            silent = await stack.enter_async_context(silent_port())
            refusing = stack.enter_context(refusing_port())
            LocalHookdeck.ports |= {
                "src_1": server.port,
                "unknown": server.port,
                "refusing": refusing,
                "silent": silent,
            }

            async def arrived() -> list[Arrived]:
                return [arrived_as(request) for request in gateway.taken]

            too_large = a_delivery(data=b"x" * (LARGEST + 1))
            yield SinkCase(
                {},
                arrived,
                {
                    "wrong_credentials": Trouble(
                        credentials={"token": token_of("src_1", "forged")}
                    ),
                    "missing_target": Trouble(credentials={"token": token_of("unknown")}),
                    "refused_connection": Trouble(credentials={"token": token_of("refusing")}),
                    "time_out": Trouble(credentials={"token": token_of("silent")}, seconds=0.3),
                    "throttling": Trouble(arranged=gateway.throttling, retry_after=7),
                    "too_large": Trouble(delivery=too_large),
                },
                {"token": token_of("src_1")},
            )
