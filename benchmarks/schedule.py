"""CPU of the schedule in µs an entry, client + server: python -m benchmarks.schedule [URL]

Without a URL it starts the embedded Valkey. Entries of about 700 bytes, a hundred a call.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from event_router.consumers.ports import Claim, Claimed, Held, Parked, Settled
from event_router.router.redis_pipe import RedisPipe
from event_router.router.schedule.layout import Bounds
from event_router.router.schedule.redis import RedisSchedule
from event_router.schemas.delivery import Delivery, DeliveryHead, DestinationKey
from event_router.schemas.record import Place
from event_router.schemas.topics import Topics
from tests import services

TOPICS = Topics(namespace="bench")
CALLS = 100
A_CALL = 100
LEASE = 300.0


def delivery(number: int, destination: DestinationKey) -> Delivery:
    head = DeliveryHead(
        tenant=destination.tenant,
        event=f"3f2b8c1e-0000-4000-8000-{number:012d}",
        destination=destination.destination,
        origin=Place("events", number % 16, number, 1_790_000_000_000),
        topic="orders",
        time="2026-11-21T12:00:00Z",
        source="shop",
        began=1_790_000_000_000,
    )
    return Delivery(head, b"x" * 350)


@dataclass
class Meter:
    """Counts CPU of this process and of the server around calls."""

    pipe: RedisPipe
    rows: list[tuple[str, float, float]] = field(default_factory=list)

    async def measure(self, name: str, units: int, work: Callable[[], Awaitable[None]]) -> None:
        server, client = await self._server(), time.process_time()
        await work()
        client, server = time.process_time() - client, await self._server() - server
        self.rows.append((name, client / units * 1e6, server / units * 1e6))

    async def _server(self) -> float:
        info = (await self.pipe.call("INFO", "cpu")).decode()
        facts = dict(line.split(":") for line in info.splitlines() if ":" in line)
        return float(facts["used_cpu_user"]) + float(facts["used_cpu_sys"])


class Load:
    """Ten thousand deliveries spread over so many destinations, a hundred a call."""

    def __init__(self, schedule: RedisSchedule, destinations: int) -> None:
        self.schedule = schedule
        self.keys = [DestinationKey("tenant", f"destination-{n}") for n in range(destinations)]
        self.claimed: list[list[Claimed]] = []
        self.batches = [
            [delivery(n, self.keys[n % destinations]) for n in range(first, first + A_CALL)]
            for first in range(0, CALLS * A_CALL, A_CALL)
        ]

    async def park(self) -> None:
        for batch in self.batches:
            await self.schedule.park([Parked(one, 0) for one in batch])

    async def claim(self) -> None:
        share = A_CALL // len(self.keys)
        for _ in self.batches:
            claims = [Claim(key, share, 1 << 20) for key in self.keys]
            self.claimed.append(await self.schedule.claim(claims, LEASE))

    async def renew(self) -> None:
        for number, batch in enumerate(self.claimed):
            held = [Held(one.delivery, one.lease) for one in batch]
            leases = await self.schedule.hold(held, LEASE)
            self.claimed[number] = [
                Claimed(lease, one.delivery)
                for one, lease in zip(batch, leases, strict=True)
                if lease
            ]

    async def finish(self) -> None:
        for batch in self.claimed:
            await self.schedule.finish([one.lease for one in batch])

    async def remove(self) -> None:
        for batch in self.batches:
            await self.schedule.remove([Settled(one.head) for one in batch])

    async def backoff(self) -> None:
        for batch in self.batches:
            await self.schedule.backoff({one.head.key for one in batch})


async def run(load: Load, meter: Meter) -> None:
    """All operations, each on an entry as the one before left it."""
    units, name = CALLS * A_CALL, f"{len(load.keys):3d} destinations"
    await meter.measure(f"{name}: backoff, nothing kept", units, load.backoff)
    await meter.measure(f"{name}: remove, nothing parked", units, load.remove)
    await meter.measure(f"{name}: park", units, load.park)
    await meter.measure(f"{name}: claim", units, load.claim)
    await meter.measure(f"{name}: renew", units, load.renew)
    await meter.measure(f"{name}: finish", units, load.finish)
    await load.park()
    await meter.measure(f"{name}: remove, all parked", units, load.remove)


async def main(url: str) -> None:
    pipe = RedisPipe(url)
    schedule, meter = RedisSchedule(pipe, TOPICS, Bounds(1 << 30, 1 << 30)), Meter(pipe)

    async def idle() -> None:
        for _ in range(1000):
            await schedule.due(range(TOPICS.shards), {})

    await run(Load(schedule, 1), Meter(pipe))  # warms up
    await meter.measure("idle poll of 64 shards, µs a poll", 1000, idle)
    for destinations in (1, 100):
        await run(Load(schedule, destinations), meter)
    show(meter.rows)
    await pipe.aclose()


def show(rows: Sequence[tuple[str, float, float]]) -> None:
    print(f"{'µs of CPU an entry':45s} client  server")
    for name, client, server in rows:
        print(f"{name:45s} {client:6.1f}  {server:6.1f}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else services.valkey().url))
