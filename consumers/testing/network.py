"""Ports that misbehave, and the connections that this process makes."""

import asyncio
import os
import socket
import stat
import struct
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

HOST = "127.0.0.1"

Break = Literal["closed", "reset"]


@contextmanager
def refusing_port() -> Iterator[int]:
    """A port of 127.0.0.1 that nobody listens on, and nobody else gets meanwhile."""
    with socket.socket() as held:
        held.bind((HOST, 0))
        yield held.getsockname()[1]


@asynccontextmanager
async def silent_port() -> AsyncIterator[int]:
    """A port of 127.0.0.1 that takes connections and all that is sent, and never answers."""
    writers: list[asyncio.StreamWriter] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while await reader.read(1 << 16):
            pass

    server = await asyncio.start_server(listen, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.sleep(0)


@dataclass
class Forwarding:
    """A port of 127.0.0.1 behind which another service stands; `accepted` counts connections, and
    what the service says is passed on as `says` makes it."""

    port: int = 0
    accepted: int = 0
    says: Callable[[bytes], bytes] = bytes
    clients: set[asyncio.StreamWriter] = field(default_factory=set)
    _passing: asyncio.Event = field(default_factory=asyncio.Event)
    _break: Break | None = None

    def __post_init__(self) -> None:
        self._passing.set()

    @asynccontextmanager
    async def silence(self) -> AsyncIterator[None]:
        """Within it nothing is passed on, in either direction; afterwards what was held back is."""
        self._passing.clear()
        try:
            yield
        finally:
            self._passing.set()

    @asynccontextmanager
    async def breaking(self, how: Break) -> AsyncIterator[None]:
        """Within it the service hears what is sent, and instead of its answer the connection is
        `closed` or `reset`; so is a new one."""
        self._break = how
        try:
            yield
        finally:
            self._break = None

    async def cut(self, how: Break) -> None:
        """Every connection that there is, whether it is used or not."""
        for client in list(self.clients):
            _cut(client, how)
        await asyncio.sleep(0)

    async def copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        """Until the reader's side closes, or the connection is to break; then the writer's does."""
        try:
            while data := await reader.read(1 << 16):
                await self._passing.wait()
                if answers and self._break:
                    break
                writer.write(self.says(data) if answers else data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            _cut(writer, self._break if answers and self._break else "closed")

    @property
    def server(self) -> str:
        return f"{HOST}:{self.port}"

    async def connections(self) -> int:
        """As `SinkCase.connections`."""
        return self.accepted


def _cut(writer: asyncio.StreamWriter, how: Break) -> None:
    """Of a connection that is `reset` the other side hears by an error (RST)."""
    if how == "reset" and not writer.is_closing():
        at_once = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        writer.transport.abort()
    writer.close()


@asynccontextmanager
async def forwarded_to(target: tuple[str, int] | str) -> AsyncIterator[Forwarding]:
    """To a host and a port, or to the path of a unix socket."""
    forwarding = Forwarding()
    tasks: set[asyncio.Task[None] | None] = set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        forwarding.accepted += 1
        forwarding.clients.add(writer)
        tasks.add(asyncio.current_task())
        try:
            if isinstance(target, str):
                there = await asyncio.open_unix_connection(target)
            else:
                there = await asyncio.open_connection(*target)
            async with asyncio.TaskGroup() as group:
                group.create_task(forwarding.copy(reader, there[1], answers=False), name="there")
                group.create_task(forwarding.copy(there[0], writer, answers=True), name="back")
        except asyncio.CancelledError:
            writer.transport.abort()  # asyncio's streams would call it an error
        finally:
            forwarding.clients.discard(writer)
            tasks.discard(asyncio.current_task())

    server = await asyncio.start_server(forward, HOST, 0)
    forwarding.port = server.sockets[0].getsockname()[1]
    try:
        yield forwarding
    finally:
        server.close()
        running = [task for task in tasks if task]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


class Connects:
    """How many connections Python's sockets have begun, while it counts."""

    def __init__(self) -> None:
        self.count = 0
        self._counting = False
        sys.addaudithook(self._heard)  # there is no way to take one back

    @contextmanager
    def counting(self) -> Iterator[None]:
        self.count, self._counting = 0, True
        try:
            yield
        finally:
            self._counting = False

    def _heard(self, event: str, _: tuple[object, ...]) -> None:
        if self._counting and event == "socket.connect":
            self.count += 1


CONNECTS = Connects()


def open_sockets() -> set[tuple[int, int]]:
    """The sockets that this process has open."""
    found = set()
    for name in os.listdir("/dev/fd"):  # noqa: PTH208  Path would make an object of each
        try:
            known = Path(f"/dev/fd/{name}").stat()
        except OSError:  # that of the listing itself
            continue
        if stat.S_ISSOCK(known.st_mode):
            found.add((known.st_dev, known.st_ino))
    return found
