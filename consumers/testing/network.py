"""Ports that misbehave, and the connections that this process makes."""

import asyncio
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"


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
    """A port of 127.0.0.1 behind which another service stands; `accepted` counts connections."""

    port: int = 0
    accepted: int = 0
    _passing: asyncio.Event = field(default_factory=asyncio.Event)

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

    async def copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the reader's side closes; then the writer's does."""
        try:
            while data := await reader.read(1 << 16):
                await self._passing.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    @property
    def server(self) -> str:
        return f"{HOST}:{self.port}"

    async def connections(self) -> int:
        """As `SinkCase.connections`."""
        return self.accepted


@asynccontextmanager
async def forwarded_to(target: tuple[str, int] | str) -> AsyncIterator[Forwarding]:
    """To a host and a port, or to the path of a unix socket."""
    forwarding = Forwarding()
    tasks: set[asyncio.Task[None] | None] = set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        forwarding.accepted += 1
        tasks.add(asyncio.current_task())
        try:
            if isinstance(target, str):
                there = await asyncio.open_unix_connection(target)
            else:
                there = await asyncio.open_connection(*target)
            async with asyncio.TaskGroup() as group:
                group.create_task(forwarding.copy(reader, there[1]), name="there")
                group.create_task(forwarding.copy(there[0], writer), name="back")
        except asyncio.CancelledError:
            writer.transport.abort()  # asyncio's streams would call it an error
        finally:
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
