"""A receiver for a crowd, of which some behave badly. The path says who it is: /MANNER/….

    python -m benchmarks.crowd_receiver PORT EXPECTED BAD_FROM

`well` and `busy` answer at once; from BAD_FROM (seconds since the epoch) on `slow` takes two
seconds, and `hole` answers nothing, until SIGUSR1: then it answers what it kept, and all that
comes. What was answered has arrived. Prints one JSON line, an `Arrived`, once EXPECTED (number,
destination) pairs have, or on SIGTERM.
"""

import asyncio
import signal
import sys
import time

import msgspec
import uvloop

from benchmarks.receiver import BODY, Connection

SLOW = 2.0


class Arrived(msgspec.Struct):
    """When each event to a `well` was sent, and how long it took to arrive (ms); how many pairs
    arrived in all."""

    sent: list[int]
    took: list[float]
    pairs: int
    duplicates: int = 0


class Crowd:
    """All destinations: what has arrived, and what waits for an answer."""

    def __init__(self, expected: int, bad_from: float) -> None:
        self.expected = expected
        self.bad_from = bad_from
        self.times: dict[tuple[bytes, int], tuple[int, float]] = {}
        self.duplicates = 0
        self.hung: list[tuple[Connection, bytes, bytes]] = []
        self.all_here = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def take(self, connection: Connection, path: bytes, body: bytes) -> None:
        manner = manner_of(path) if time.time() >= self.bad_from else "well"
        if manner == "hole":
            self.hung.append((connection, path, body))
        elif manner == "slow":
            self._loop.call_later(SLOW, self._answer, connection, path, body)
        else:
            self._answer(connection, path, body)

    def wake(self) -> None:
        """Nobody behaves badly any more."""
        self.bad_from = float("inf")
        hung, self.hung = self.hung, []
        for connection, path, body in hung:
            self._answer(connection, path, body)

    def _answer(self, connection: Connection, path: bytes, body: bytes) -> None:
        """What has hung up meanwhile gets no answer, and hasn't arrived."""
        found = BODY.search(body)
        if found is None or connection.transport.is_closing():
            return
        pair = (path, int(found[2]))
        if pair in self.times:
            self.duplicates += 1
        else:
            sent = int(found[1])
            self.times[pair] = (sent // 1_000_000, time.time() * 1000 - sent / 1e6)
        connection.answer()
        if len(self.times) == self.expected:
            self.all_here.set()

    def arrived(self) -> Arrived:
        result = Arrived([], [], len(self.times), self.duplicates)
        for (path, _), (sent, took) in self.times.items():
            if manner_of(path) == "well":
                result.sent.append(sent)
                result.took.append(round(took, 2))
        return result


def manner_of(path: bytes) -> str:
    return path.split(b"/", 2)[1].decode()


async def receive(port: int, expected: int, bad_from: float) -> None:
    crowd = Crowd(expected, bad_from)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, crowd.wake)
    loop.add_signal_handler(signal.SIGTERM, crowd.all_here.set)
    server = await loop.create_server(
        lambda: Connection(crowd.take), "127.0.0.1", port, backlog=1024, reuse_address=True
    )
    await crowd.all_here.wait()
    await asyncio.sleep(0.5)  # late duplicates
    sys.stdout.buffer.write(msgspec.json.encode(crowd.arrived()) + b"\n")
    sys.stdout.flush()
    server.close()


if __name__ == "__main__":
    uvloop.run(receive(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
