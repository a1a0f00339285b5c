"""A receiver of which one destination is away for a while. The path says who it is.

    python -m benchmarks.recovery_receiver PORT EXPECTED

`/away/…` answers 503 until SIGUSR1, `/live/…` always takes what comes. Prints one JSON line, a
`Recovered`, once EXPECTED events have come to `/away/…` after that, or on SIGTERM.
"""

import asyncio
import signal
import sys
import time

import msgspec
import uvloop

from benchmarks.receiver import BODY, Connection

REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


class Recovered(msgspec.Struct):
    """Of the destination that was away: the numbers of its events as they came, the moments (s
    since the epoch) from which and up to which they did, and what was refused before. Of the others
    when each event was sent, and how long it took to arrive (ms)."""

    order: list[int]
    back: float
    first: float
    last: float
    sent: list[int]
    took: list[float]
    refused: int = 0
    duplicates: int = 0


class Destinations:
    """The one that is away, and the others."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.back = 0.0
        self.refused = 0
        self.duplicates = 0
        self.first = self.last = 0.0
        self.order: dict[int, None] = {}
        self.live: dict[tuple[bytes, int], tuple[int, float]] = {}
        self.all_here = asyncio.Event()

    def come_back(self) -> None:
        self.back = time.time()

    def take(self, connection: Connection, path: bytes, body: bytes) -> None:
        found = BODY.search(body)
        if found is None:
            return
        sent, number = int(found[1]), int(found[2])
        if path.startswith(b"/live/"):
            took = time.time() * 1000 - sent / 1e6
            self.live.setdefault((path, number), (sent // 1_000_000, took))
        elif not self.back:
            self.refused += 1
            connection.transport.write(REFUSAL)
            return
        else:
            self._arrived(number)
        connection.answer()

    def _arrived(self, number: int) -> None:
        if number in self.order:
            self.duplicates += 1
            return
        self.order[number] = None
        self.last = time.time()
        self.first = self.first or self.last
        if len(self.order) == self.expected:
            self.all_here.set()

    def recovered(self) -> Recovered:
        return Recovered(
            list(self.order),
            self.back,
            self.first,
            self.last,
            [sent for sent, _ in self.live.values()],
            [round(took, 2) for _, took in self.live.values()],
            self.refused,
            self.duplicates,
        )


async def receive(port: int, expected: int) -> None:
    destinations = Destinations(expected)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, destinations.come_back)
    loop.add_signal_handler(signal.SIGTERM, destinations.all_here.set)
    server = await loop.create_server(
        lambda: Connection(destinations.take), "127.0.0.1", port, backlog=1024, reuse_address=True
    )
    await destinations.all_here.wait()
    await asyncio.sleep(2.0)  # late duplicates
    sys.stdout.buffer.write(msgspec.json.encode(destinations.recovered()) + b"\n")
    sys.stdout.flush()
    server.close()


if __name__ == "__main__":
    uvloop.run(receive(int(sys.argv[1]), int(sys.argv[2])))
