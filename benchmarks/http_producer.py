"""Publishes events over HTTP, as fast as it can or at a rate.

    python -m benchmarks.http_producer HOST PORT KEY COUNT SIZE RATE CONNECTIONS

Each connection waits for its answer. RATE 0 means as fast as the answers come. An event's time is
when it was due, so that one that waits for a connection isn't flattered. Prints one JSON line, as
`benchmarks.producer` does.
"""

import asyncio
import json
import sys
import time

import uvloop

from benchmarks.producer import numbers, payload

TENANT = b"bench"
Due = tuple[int, int]
"""An event's number, and when it was due, in ns."""


class Client:
    """Publishes over connections that are kept alive."""

    def __init__(self, host: str, port: int, key: str, size: int) -> None:
        self._address = (host, port)
        self._size = size
        self._head = (
            f"POST /api/v1/publish HTTP/1.1\r\nhost: {host}:{port}\r\n"
            f"authorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: "
        ).encode()

    async def publish(self, due: "asyncio.Queue[Due | None]") -> None:
        """All events up to None, one after the other. RuntimeError when one isn't accepted."""
        reader, writer = await asyncio.open_connection(*self._address)
        while (event := await due.get()) is not None:
            writer.write(self._request(*event))
            status = await _answered(reader)
            if status != b"202":
                raise RuntimeError(f"publish answered {status.decode()}")
        writer.close()

    def _request(self, number: int, sent: int) -> bytes:
        data = payload(number, self._size, sent)
        body = b'{"tenant_id":"%s","topic":"order.created","data":%s}' % (TENANT, data)
        return b"%s%d\r\n\r\n%s" % (self._head, len(body), body)


async def _answered(reader: asyncio.StreamReader) -> bytes:
    """The status; the body was read."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length))
    return head.split(b" ", 2)[1]


async def produce(client: Client, count: int, rate: float, connections: int) -> None:
    due: asyncio.Queue[Due | None] = asyncio.Queue()
    began, cpu = time.time(), time.process_time()
    async with asyncio.TaskGroup() as publishing:
        for number in range(connections):
            publishing.create_task(client.publish(due), name=f"connection {number}")
        async for some in numbers(count, rate):
            sent = time.time_ns()
            for number in some:
                due.put_nowait((number, sent))
        for _ in range(connections):
            due.put_nowait(None)
    report = {"began": began, "ended": time.time(), "cpu": time.process_time() - cpu}
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    _, host, port, key, count, size, rate, connections = sys.argv
    client = Client(host, int(port), key, int(size))
    uvloop.run(produce(client, int(count), float(rate), int(connections)))
