"""Sweep beside a backlog: deliver is away, its records wait in Kafka, and nothing is to be parked.

    python -m benchmarks.sweep --count 200000 --away 300

The role `log` sweeps by itself all the while, slowly; then `router sweep` goes over it all twice.
Deliver comes back afterwards: each event must arrive once.
"""

import argparse
import asyncio
import json
import sys
import time
from dataclasses import dataclass

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.bed import Bed, laid
from benchmarks.children import report, start, started
from benchmarks.crowd_producer import Load
from benchmarks.recovery_progress import told
from event_router.router.child import free_port
from event_router.schemas.delivery import DestinationKey

TO = DestinationKey("bench", "d")
PATIENCE = 300.0
NOTHING = "0 missing, 0 parked, 0 had no room\n"


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds; `cores` of the role `log` while it swept by itself."""

    waiting: int
    cores: float
    passes: list[float]
    said: str
    parked: int
    received: int
    duplicates: int
    takes: float


async def measure(count: int, away: float) -> Result:
    port = free_port()
    async with (
        laid("real", "sqlite") as bed,
        told(bed) as progress,
        started("benchmarks.receiver", port, count) as receiver,
    ):
        await bed.make_webhooks({TO: f"http://127.0.0.1:{port}/d"})
        bed.system.kill("deliver")
        del bed.system.health["deliver"]
        progress.phase = "publishing while deliver is away"
        settings, topics = bed.system.settings, bed.system.topics
        load = Load(settings.kafka, topics.events, time.time() + 1, 0, count, [TO])
        producer = await start("benchmarks.crowd_producer", msgspec.json.encode(load).decode())
        await report(producer, PATIENCE)
        await progress.until_unsettled(count, PATIENCE)
        progress.phase = "sweeping by itself"
        cores = await _busy(bed, away)
        progress.phase = "sweeping by hand"
        passes = [await _sweep(bed) for _ in range(2)]
        parked = (await progress.look()).parked
        progress.phase = "deliver is back"
        began = time.time()
        bed.system.start("deliver")
        arrived = json.loads(await report(receiver, PATIENCE))
        return Result(
            count,
            cores,
            [seconds for seconds, _ in passes],
            "".join({said for _, said in passes}),
            parked,
            arrived["received"],
            arrived["duplicates"],
            arrived["last"] - began,
        )


async def _busy(bed: Bed, seconds: float) -> float:
    before = bed.cpu()["log"]
    await asyncio.sleep(seconds)
    return (bed.cpu()["log"] - before) / seconds


async def _sweep(bed: Bed) -> tuple[float, str]:
    """How long `router sweep` takes, and what it says."""
    began = time.monotonic()
    said = await bed.system.command("sweep", "--wait", str(PATIENCE))
    return time.monotonic() - began, said


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.sweep", description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200_000, help="records that wait (200,000)")
    parser.add_argument("--away", type=float, default=60, help="seconds it sweeps by itself (60)")
    given = parser.parse_args()
    result = asyncio.run(measure(given.count, given.away))
    table = Table("of it", "seen")
    table.add_row("records that waited in Kafka", f"{result.waiting:,}")
    table.add_row("cores of the role log, sweeping by itself", f"{result.cores:.3f}")
    table.add_row("s of `router sweep`", ", ".join(f"{one:.1f}" for one in result.passes))
    table.add_row("it said", result.said.strip())
    table.add_row("parked", str(result.parked))
    table.add_row("received once deliver was back", f"{result.received:,}")
    table.add_row("of them twice", str(result.duplicates))
    table.add_row("s until all were there", f"{result.takes:.0f}")
    Console(width=120).print(table)
    if result.said != NOTHING or result.parked or result.received != result.waiting:
        sys.exit("sweep touched what waits in Kafka, or something is missing")


if __name__ == "__main__":
    main()
