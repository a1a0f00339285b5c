"""Rate limits as a receiver sees them, while workers come, go and are killed."""

import time
from pathlib import Path

from tests import services
from tests.consumers.test_rates import most_over_the_limit
from tests.receivers import Reader, Writer, read_request, scripted
from tests.system import SECRET, System
from tests.test_loop_live import TENANT, Stack, binary, loop

RATE = 30.0
EVENTS = 300


class Clocked:
    """Answers 200, and keeps when (ms) each event came."""

    def __init__(self) -> None:
        self.at: list[int] = []
        self.events: set[str] = set()

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        while True:
            request = await read_request(reader)
            self.at.append(time.monotonic_ns() // 1_000_000)
            self.events.add(request.header("webhook-id"))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()


async def test_the_limit_holds_across_a_rebalance_and_a_kill(
    kafka: services.Kafka, redis_url: str, tmp_path: Path
) -> None:
    clocked = Clocked()
    stack: Stack = (kafka.bootstrap, redis_url, {})
    async with (
        scripted(clocked) as server,
        loop(stack, services.unique(), tmp_path) as made,
    ):
        await made.ask("PUT", f"/tenants/{TENANT}", 201)
        await made.make_destination(
            "d", config={"url": server.url}, credentials={"secret": SECRET}, rate_limit=RATE
        )
        first = made.system
        await made.write(*(binary(first.topics.events, f"e{n}") for n in range(EVENTS)))
        await made.until(lambda: len(clocked.events) > EVENTS / 6)
        second = System(first.env, tmp_path / "second", first.settings)
        second.folder.mkdir()
        second.start("deliver")
        try:
            await second.ready()
            await made.until(lambda: len(clocked.events) > EVENTS / 2)
            first.kill("deliver")
            await made.until(lambda: len(clocked.events) == EVENTS)
        finally:
            second.stop()
    assert most_over_the_limit(clocked.at, RATE) <= RATE
    assert len(clocked.at) <= EVENTS + RATE
