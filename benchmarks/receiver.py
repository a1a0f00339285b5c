"""A receiver that costs little: answers every POST at once, and keeps when each event came.

    python -m benchmarks.receiver PORT EXPECTED

Each body holds `"sent":<ns>` and `"n":<number>`. Prints one JSON line once EXPECTED (number,
destination) pairs have come, or on SIGTERM.
"""

import asyncio
import json
import re
import signal
import sys
import time
from collections.abc import Callable
from typing import cast

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
BODY = re.compile(rb'"sent":(\d+),"n":(\d+)')


class Arrivals:
    """What came: the first arrival of each pair, and how many came again."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.seen: dict[tuple[bytes, int], float] = {}
        self.duplicates = 0
        self.first = 0.0
        self.last = 0.0
        self.all_here = asyncio.Event()

    def add(self, destination: bytes, body: bytes) -> None:
        found = BODY.search(body)
        if found is None:
            return
        now = time.time()
        pair = (destination, int(found[2]))
        if pair in self.seen:
            self.duplicates += 1
            return
        self.first = self.first or now
        self.last = now
        self.seen[pair] = now * 1000 - int(found[1]) / 1e6
        if len(self.seen) == self.expected:
            self.all_here.set()

    def report(self) -> dict[str, float]:
        latencies = sorted(self.seen.values())
        return {
            "received": len(latencies),
            "duplicates": self.duplicates,
            "first": self.first,
            "last": self.last,
            "p50": at(latencies, 0.50),
            "p99": at(latencies, 0.99),
        }


def at(ordered: list[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


class Connection(asyncio.Protocol):
    """Reads just enough of HTTP/1.1 to find where a request ends. `take` is called with itself,
    the path and the body of each; somebody has to answer."""

    def __init__(self, take: Callable[["Connection", bytes, bytes], None]) -> None:
        self.take = take
        self.buffer = b""

    def answer(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(ANSWER)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            head = self.buffer[:end]
            length = _LENGTH.search(head)
            size = end + (int(length[1]) if length else 0)
            if len(self.buffer) < size:
                return
            body, self.buffer = self.buffer[end:size], self.buffer[size:]
            self.take(self, head.split(b" ", 2)[1], body)


async def receive(port: int, expected: int) -> None:
    arrivals = Arrivals(expected)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, arrivals.all_here.set)

    def take(connection: Connection, path: bytes, body: bytes) -> None:
        arrivals.add(path, body)
        connection.answer()

    server = await loop.create_server(
        lambda: Connection(take), "127.0.0.1", port, backlog=1024, reuse_address=True
    )
    await arrivals.all_here.wait()
    await asyncio.sleep(0.5)  # late duplicates
    sys.stdout.write(json.dumps(arrivals.report()) + "\n")
    sys.stdout.flush()
    server.close()


if __name__ == "__main__":
    uvloop.run(receive(int(sys.argv[1]), int(sys.argv[2])))
