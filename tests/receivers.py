"""Receivers for tests: one that answers and remembers, and ones that a test scripts."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Script = Callable[[Reader, Writer], Awaitable[None]]


@dataclass
class Request:
    """A request as it came, header names in lower case."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        """The header of that name, of which there must be one."""
        (value,) = [value for key, value in self.headers if key == name]
        return value


@dataclass
class Scripted:
    """A server; `connections` counts how many were made to it."""

    port: int = 0
    connections: int = 0
    requests: list[Request] = field(default_factory=list)
    tls: bool = False

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/"


async def read_request(reader: Reader) -> Request:
    """The next request. Raises IncompleteReadError when the client has closed."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *rest = head[:-4].split("\r\n")
    headers = [(name.lower(), value.strip()) for name, _, value in (h.partition(":") for h in rest)]
    request = Request(line, headers, b"")
    request.body = await reader.readexactly(int(request.header("content-length")))
    return request


@asynccontextmanager
async def scripted(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """A server that runs `script` on each connection; a mistake in the script fails the test."""
    server = Scripted(tls=tls is not None)
    mistakes: list[Exception] = []
    running: dict[asyncio.Task[None] | None, Writer] = {}

    async def serve(reader: Reader, writer: Writer) -> None:
        server.connections += 1
        running[asyncio.current_task()] = writer
        try:
            await script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            pass  # by _end; asyncio's streams would call it an error
        except Exception as error:
            mistakes.append(error)
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        try:
            yield server
        finally:
            await _end(running)
    assert not mistakes


async def _end(running: "dict[asyncio.Task[None] | None, Writer]") -> None:
    """Closes what a client left open, so that nothing of a test outlives it."""
    for _ in range(5):  # what was accepted just now gets its task within a few turns of the loop
        await asyncio.sleep(0.001)
    tasks = [task for task in running if task is not None]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for writer in running.values():
        writer.transport.abort()
    await asyncio.sleep(0)


def answering(*answers: bytes) -> Script:
    """Each request gets the next of `answers`, the last one again and again."""
    waiting = list(answers)

    async def script(reader: Reader, writer: Writer) -> None:
        while True:
            await read_request(reader)
            writer.write(waiting.pop(0) if len(waiting) > 1 else waiting[0])
            await writer.drain()

    return script


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def receiver(
    answer: bytes = OK, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Scripted]:
    """Answers every request alike and remembers it."""
    requests: list[Request] = []

    async def script(reader: Reader, writer: Writer) -> None:
        while True:
            requests.append(await read_request(reader))
            writer.write(answer)
            await writer.drain()

    async with scripted(script, tls) as server:
        server.requests = requests
        yield server
