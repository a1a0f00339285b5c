"""One deadline holds over everything, whatever trickles: no sink waits for it any longer."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager

import pytest

from event_router.consumers.addresses import Resolver, networks
from event_router.consumers.http1.sender import Sender
from event_router.consumers.http1.target import target_of
from event_router.consumers.sinks.fields import NoCredentials
from event_router.consumers.sinks.http_service import HttpService
from event_router.consumers.sinks.trouble import Troubles
from event_router.consumers.testing.values import a_delivery, resources_with
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.errors import Unavailable
from tests.consumers.test_every_sink_is_guarded import EACH, Way, opened
from tests.receivers import Reader, Writer, scripted

SECONDS = 0.5
LATEST = 20.0  # on a machine that has much else to do

BEGINNINGS = {
    "gcp_pubsub": b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "kafka": b"\x00\x00\xff\xff\x00\x00\x00\x01",
    "nats": b"INFO {",
    "postgres": b"R\x00\x00\x00\xff",
    "rabbitmq": b"\x01\x00\x00\x00\x00\xff\xff",
    "redis_stream": b"+",
}
"""How an answer begins that promises more; those that aren't named speak HTTP."""
HEAD = b"HTTP/1.1 200 OK\r\n"


class Dripping(asyncio.Protocol):
    """Says the next of the drops every few milliseconds, whatever it is told."""

    def __init__(self, drops: Iterator[bytes]) -> None:
        self._drops = drops

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._drip()

    def _drip(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(next(self._drops))
            asyncio.get_running_loop().call_later(0.005, self._drip)


@asynccontextmanager
async def dripping(beginning: bytes, drops: Iterable[bytes] = (b"x",)) -> AsyncIterator[int]:
    """The port of a server that says the beginning byte by byte, then the drops in turn."""
    connections: list[Dripping] = []

    def accepted() -> Dripping:
        first = (beginning[at : at + 1] for at in range(len(beginning)))
        connections.append(Dripping(itertools.chain(first, itertools.cycle(drops))))
        return connections[-1]

    server = await asyncio.get_running_loop().create_server(accepted, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.sleep(0.05)  # a connection that was accepted last is ended, too
    for one in connections:
        one._transport.abort()
    await asyncio.sleep(0)


# Azure's is given up in time, too, but its library leaves a connection that isn't set up yet to the
# garbage collector, whose warning would fail whichever test runs then.
TRICKLED = [one for one in EACH if one.values[0] != "azure_servicebus"]


@pytest.mark.parametrize(("kind", "way"), TRICKLED)
async def test_a_server_that_trickles_its_answer_is_given_up_in_time(kind: str, way: Way) -> None:
    resolver = Resolver(networks("127.0.0.0/8"))
    beginning = BEGINNINGS.get(kind, HEAD + b"x: ")
    async with (
        dripping(beginning) as port,
        opened(kind, way, f"127.0.0.1:{port}", resolver, timeout=SECONDS) as sink,
    ):
        began = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            await sink.deliver(a_delivery())
        took = time.monotonic() - began
    assert took < LATEST
    assert caught.value.code != "sink_error"


@pytest.mark.parametrize(
    ("beginning", "drops"),
    [
        (HEAD, [b"x: y\r\n"]),
        (HEAD + b"content-length: 9999\r\n\r\n", [b"x"]),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n", [b"1", b"\r\n", b"x", b"\r\n"]),
        (HEAD + b"\r\n", [b"x"]),
        (b"", [b"HTTP/1.1 103 Early Hints\r\n", b"\r\n"]),
        (b"", [b"\r\n"]),
    ],
    ids=["headers", "a body", "chunks", "a body without end", "announcements", "blank lines"],
)
async def test_an_http_service_that_trickles_is_a_timeout(
    beginning: bytes, drops: list[bytes]
) -> None:
    async with dripping(beginning, drops) as port:
        assert await _code_of(port, b"{}") == "timeout"


async def test_an_http_service_that_reads_byte_by_byte_is_a_timeout() -> None:
    async def sip(reader: Reader, _: Writer) -> None:
        while await reader.read(1):
            await asyncio.sleep(0.005)

    async with scripted(sip) as server:
        assert await _code_of(server.port, bytes(32 << 20)) == "timeout"


async def _code_of(port: int, body: bytes) -> str:
    """What a service's POST fails with, in time."""
    sender = Sender(resolver := Resolver(networks("127.0.0.0/8")))
    resources = resources_with(sender, resolver, timeout=SECONDS)
    pool = (DestinationKey("acme", "d"), "v1")
    target = target_of(f"http://127.0.0.1:{port}/")
    service = HttpService(target, pool, resources, Troubles(NoCredentials()))
    began = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        await service.post((), body)
    assert SECONDS * 0.9 < time.monotonic() - began < LATEST
    service.aclose()
    await sender.aclose()
    return caught.value.code
