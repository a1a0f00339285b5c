"""CPU of a POST by our sender: 64 kept-alive connections to a local nginx, 500 bytes.

`python -m benchmarks.http1` prints µs of this process for each POST, over TCP and TLS, and what a
bare asyncio protocol costs that neither keeps deadlines nor pools nor checks anything.
"""

import asyncio
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httptools

from event_router.consumers.addresses import Resolver, networks
from event_router.consumers.http1.sender import Sender
from event_router.consumers.http1.target import header_lines, target_of
from tests.nginx import running_nginx

POSTS = 30_000
CONNECTIONS = 64
ROUNDS = 3
BODY = b"x" * 500
HEADERS = [
    ("content-type", "application/json"),
    ("webhook-id", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"),
    ("webhook-timestamp", "1649367553"),
    ("webhook-signature", "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="),
    ("webhook-topic", "user.created"),
]

Post = Callable[[], Awaitable[object]]


async def cost(connect: Callable[[], Awaitable[Post]]) -> float:
    """µs of CPU a POST: the best of some rounds, because others use the machine too."""
    best = float("inf")
    posts = [await connect() for _ in range(CONNECTIONS)]
    for _ in range(ROUNDS):
        began = time.process_time()
        await asyncio.gather(*(_repeat(post, POSTS // CONNECTIONS) for post in posts))
        best = min(best, (time.process_time() - began) / POSTS * 1e6)
    return best


async def _repeat(post: Post, times: int) -> None:
    for _ in range(times):
        await post()


async def ours(url: str, tls: ssl.SSLContext) -> float:
    loop = asyncio.get_running_loop()
    sender = Sender(Resolver(networks("127.0.0.0/8")), tls=tls)
    target = target_of(url, [("user-agent", "benchmark")])

    async def post() -> None:
        await sender.post(target, HEADERS, BODY, pool="one", deadline=loop.time() + 30)

    async def connect() -> Post:
        return post

    try:
        return await cost(connect)
    finally:
        await sender.aclose()


class Bare(asyncio.Protocol):
    """Sends the same bytes, waits for the end of an answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.parser = httptools.HttpResponseParser(self)
        self.loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.waiter.set_result(None)

    async def post(self, request: bytes) -> None:
        self.waiter: asyncio.Future[None] = self.loop.create_future()
        self.transport.write(request)
        await self.waiter


async def bare(port: int) -> float:
    head = target_of(f"http://127.0.0.1:{port}/", [("user-agent", "benchmark")]).head
    request = head + header_lines([*HEADERS, ("content-length", str(len(BODY)))]) + b"\r\n" + BODY
    opened: list[Bare] = []

    async def connect() -> Post:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(Bare, "127.0.0.1", port)
        opened.append(protocol)
        return lambda: protocol.post(request)

    try:
        return await cost(connect)
    finally:
        for protocol in opened:
            protocol.transport.abort()


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory, running_nginx(Path(directory)) as nginx:
        print(f"bare protocol {await bare(nginx.port):5.1f} µs")
        print(f"our sender    {await ours(nginx.url, nginx.tls):5.1f} µs")
        print(f"the same, TLS {await ours(nginx.tls_url, nginx.tls):5.1f} µs")


if __name__ == "__main__":
    asyncio.run(main())
