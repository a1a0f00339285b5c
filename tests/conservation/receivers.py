"""The destinations: each a server on a port of its own, in a mood that faults change."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from standardwebhooks import Webhook, WebhookVerificationError

from event_router.router.child import free_port
from tests.conservation.events import Destination, Key
from tests.conservation.ledger import Ledger
from tests.receivers import Reader, Request, Writer, read_request
from tests.system import SECRET

Mood = Callable[[Writer], Awaitable[bool]]
"""Answers a request; True: with a whole 200."""

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST


async def well(writer: Writer) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    return True


async def failing(writer: Writer) -> bool:
    writer.write(b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\noops")
    return False


async def throttling(writer: Writer) -> bool:
    writer.write(b"HTTP/1.1 429 Slow\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n")
    return False


async def resetting(writer: Writer) -> bool:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
    return False


async def halving(writer: Writer) -> bool:
    """Promises a hundred bytes, and is gone after ten."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789")
    await writer.drain()
    writer.close()
    return False


async def hanging(writer: Writer) -> bool:
    """Until the client has had enough."""
    with suppress(ConnectionError):
        await writer.wait_closed()
    return False


async def slow(writer: Writer) -> bool:
    """Longer than an attempt stays with its offset, shorter than its time-out."""
    await asyncio.sleep(2.5)
    return await well(writer)


class Receiver:
    """One destination's server. `mood` may be changed at any time."""

    def __init__(self, destination: Destination, ledger: Ledger) -> None:
        self.destination = destination
        self.port = free_port()
        self.calm: Mood = failing if destination.kind == "broken" else well
        self.mood: Mood = self.calm
        self._ledger = ledger
        self._webhook = Webhook(SECRET)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.destination.key.name}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=512)

    async def close(self) -> None:
        """Nobody listens any more, and connections are cut."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while True:
                await self._answer(await read_request(reader), writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # asyncio's streams would call a cancelled one an error
        except ValueError:
            pass  # no request of ours: the machine's ports are everybody's
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _answer(self, request: Request, writer: Writer) -> None:
        key: Key = self.destination.key
        event_id = request.header("webhook-id")
        try:
            self._webhook.verify(request.body, dict(request.headers))
        except WebhookVerificationError as error:
            self._ledger.wrong.append(f"{key}: {event_id}: {error}")
        number = self._ledger.check(key, event_id, request.body)
        if await self.mood(writer) and number is not None:
            await writer.drain()
            self._ledger.take(key, number, event_id)


@asynccontextmanager
async def listening(ledger: Ledger) -> AsyncIterator[dict[Key, Receiver]]:
    """A receiver of every destination that can have one."""
    receivers = {
        one.key: Receiver(one, ledger) for one in ledger.destinations if one.kind != "absent"
    }
    for receiver in receivers.values():
        await receiver.open()
    try:
        yield receivers
    finally:
        for receiver in receivers.values():
            await receiver.close()
