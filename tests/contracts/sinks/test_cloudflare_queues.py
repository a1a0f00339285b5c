"""Cloudflare Queues, as a local server that answers as its documentation says.

https://developers.cloudflare.com/api/resources/queues/subresources/messages: `messages/batch` takes
`{"messages": [{"body", "content_type"}]}` and answers `{"success": true}`, or `errors`.
"""

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar

import pytest

from event_router.consumers.ports import Sink
from event_router.consumers.sinks.cloudflare_queues import LONGEST, CloudflareQueues
from event_router.consumers.sinks.kinds import SinkTypes
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
from event_router.consumers.testing.network_contract import Faults, NetworkContract
from event_router.schemas.errors import Unavailable
from tests.receivers import Reader, Request, Writer, read_request, receiver, scripted

ACCOUNT, REFUSING, SILENT, ECHOING = "a" * 32, "b" * 32, "c" * 32, "d" * 32
QUEUE, NOBODYS = "1" * 32, "2" * 32
TOKEN = "the-api-token"
MOST, LARGEST = 100, 256_000


class Cloudflare:
    """One account with one queue; `throttled` answers 429."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.throttled = False

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        while True:
            status = self._take(await read_request(reader))
            body = json.dumps({"success": status == 200, "errors": [], "messages": []})
            more = "retry-after: 7\r\n" if status == 429 else ""
            head = f"HTTP/1.1 {status} X\r\n{more}content-length: {len(body)}\r\n\r\n"
            writer.write((head + body).encode())
            await writer.drain()

    def _take(self, request: Request) -> int:
        if self.throttled:
            return 429
        if request.header("authorization") != f"Bearer {TOKEN}":
            return 401
        if request.line.split()[1] != f"/accounts/{ACCOUNT}/queues/{QUEUE}/messages/batch":
            return 404
        messages = json.loads(request.body)["messages"]
        if len(messages) > MOST or len(request.body) > LARGEST:
            return 413
        assert {message["content_type"] for message in messages} == {"json"}
        self.messages += [message["body"] for message in messages]
        return 200

    @asynccontextmanager
    async def throttling(self) -> AsyncIterator[None]:
        self.throttled = True
        yield
        self.throttled = False


def arrived_as(body: dict[str, Any]) -> Arrived:
    known = body["metadata"]
    data = body["data"].encode() if "data" in body else base64.b64decode(body["data_base64"])
    return Arrived(data, known["event-id"], known["topic"], known["content-type"], known)


class LocalCloudflare(CloudflareQueues):
    """Cloudflare, with each account at a port of its own."""

    ports: ClassVar[dict[str, int]] = {}

    @staticmethod
    def url_of(account: str) -> str:
        return f"http://127.0.0.1:{LocalCloudflare.ports[account]}/accounts/{account}"


class TestCloudflareQueues(NetworkContract, BatchContract):
    type = "cloudflare_queues"
    refused_payloads: ClassVar = {"large": "message_too_large"}

    def sinks(self) -> SinkTypes:
        return SinkTypes({"cloudflare_queues": LocalCloudflare})

    @asynccontextmanager
    async def through(self, case: SinkCase) -> AsyncIterator[tuple[SinkCase, Faults]]:
        async with forwarded_to(("127.0.0.1", LocalCloudflare.ports[ACCOUNT])) as proxy:
            LocalCloudflare.ports[ACCOUNT] = proxy.port
            yield case, proxy

    @pytest.fixture
    async def case(self) -> AsyncIterator[SinkCase]:
        cloudflare = Cloudflare()
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(scripted(cloudflare))
            silent = await stack.enter_async_context(silent_port())
            refusing = stack.enter_context(refusing_port())
            LocalCloudflare.ports |= {ACCOUNT: server.port, REFUSING: refusing, SILENT: silent}

            async def arrived() -> list[Arrived]:
                return [arrived_as(body) for body in cloudflare.messages]

            config = {"account_id": ACCOUNT, "queue_id": QUEUE}
            yield SinkCase(
                config,
                arrived,
                {
                    "wrong_credentials": Trouble(credentials={"api_token": "a-wrong-one"}),
                    "missing_target": Trouble({**config, "queue_id": NOBODYS}),
                    "refused_connection": Trouble({**config, "account_id": REFUSING}),
                    "time_out": Trouble({**config, "account_id": SILENT}, seconds=0.3),
                    "throttling": Trouble(arranged=cloudflare.throttling, retry_after=7),
                    "too_large": Trouble(delivery=a_delivery(data=b"x" * LONGEST)),
                },
                {"api_token": TOKEN},
            )

    async def test_a_secret_in_an_answer_is_not_kept(
        self, case: SinkCase, open_sink: Callable[..., Sink]
    ) -> None:
        said = f"welcome, Bearer {TOKEN}".encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(said)
        async with receiver(head + said) as server:
            LocalCloudflare.ports[ECHOING] = server.port
            answer = await open_sink({**case.config, "account_id": ECHOING}).deliver(a_delivery())
        assert (answer.code, answer.body) == ("OK", b"welcome, Bearer ***")

    async def test_the_status_of_a_refusal_is_shown_beside_its_code(
        self, case: SinkCase, open_sink: Callable[..., Sink]
    ) -> None:
        with pytest.raises(Unavailable) as caught:
            await open_sink(credentials={"api_token": "a-wrong-one"}).deliver(a_delivery())
        assert (caught.value.answer.code, caught.value.answer.status) == (
            "authentication_failed",
            401,
        )
