"""The whole pipeline: events into Kafka or the API on one side, HTTP requests out on the other.

    python -m benchmarks.pipeline closed --events 50000
    python -m benchmarks.pipeline open --rate 400 --seconds 30
    python -m benchmarks.pipeline open --rate 400 --http   # published over HTTP
    python -m benchmarks.pipeline idle --seconds 30
    python -m benchmarks.pipeline all --write      # every case, into docs/performance.md

Producer and receiver are processes of their own, and their CPU is not counted as ours.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from benchmarks.bed import Bed, Database, Kind, laid
from benchmarks.children import report, start
from benchmarks.document import write_between_markers
from event_router.router.child import free_port
from tests.system import API_KEY, ROLES

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
SETTLE = 3.0
WARM_UP = 5_000
"""Events, at 500 a second: pools, plans, caches, and what Java compiles of Kafka."""
CONNECTIONS = 64  # of the producer over HTTP

Shape = Literal["closed", "open", "idle"]


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement. `rate` in events a second; closed runs publish as fast as they can."""

    shape: Shape
    kafka: Kind = "real"
    database: Database = "sqlite"
    events: int = 50_000
    size: int = 500
    fanout: int = 1
    rate: float = 0.0
    seconds: float = 30.0
    http: bool = False

    @property
    def name(self) -> str:
        services = f"{'Apache Kafka' if self.kafka == 'real' else 'embedded'}, {self.database}"
        if self.shape == "idle":
            return f"idle ({services})"
        load = f"{self.events:,} events" if self.shape == "closed" else f"{self.rate:g}/s"
        published = " over HTTP" if self.http else ""
        return f"{load}{published}, fan-out {self.fanout}, {self.size} B ({services})"


@dataclass(frozen=True, slots=True)
class Result:
    """CPU in seconds per 1,000 deliveries; of an idle run, in percent of a core."""

    case: Case
    publish_rate: float
    delivery_rate: float
    p50: float
    p99: float
    lost: int
    duplicates: int
    cpu: dict[str, float]

    @property
    def ours(self) -> float:
        return sum(self.cpu[role] for role in ROLES)

    @property
    def services(self) -> float:
        return sum(self.cpu.values()) - self.ours


async def measure(case: Case) -> Result:
    async with laid(case.kafka, case.database) as bed:
        return await (_idle(case, bed) if case.shape == "idle" else _loaded(case, bed))


async def _idle(case: Case, bed: Bed) -> Result:
    await bed.make_destinations(1, free_port())
    await asyncio.sleep(SETTLE)
    before, began = bed.cpu(), time.monotonic()
    await asyncio.sleep(case.seconds)
    passed = time.monotonic() - began
    cpu = {name: (after - before[name]) / passed * 100 for name, after in bed.cpu().items()}
    return Result(case, 0, 0, 0, 0, 0, 0, cpu)


async def _loaded(case: Case, bed: Bed) -> Result:
    port = free_port()
    await bed.make_destinations(case.fanout, port)
    await _run(replace(case, events=WARM_UP, rate=500), bed, port)
    await asyncio.sleep(1.0)
    before = bed.cpu()
    produced, received = await _run(case, bed, port)
    await bed.system.quiet()  # the log's writes count as well
    after = bed.cpu()
    deliveries = case.events * case.fanout
    took = received["last"] - produced["began"]
    return Result(
        case,
        case.events / (produced["ended"] - produced["began"]),
        received["received"] / took,
        received["p50"],
        received["p99"],
        deliveries - int(received["received"]),
        int(received["duplicates"]),
        {name: (after[name] - before[name]) / deliveries * 1000 for name in after},
    )


async def _run(case: Case, bed: Bed, port: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the producer and the receiver report."""
    expected = case.events * case.fanout
    receiver = await start("benchmarks.receiver", port, expected)
    producer = await start(*(_to_http if case.http else _to_kafka)(case, bed))
    produced = json.loads(await report(producer, 600))
    return produced, json.loads(await report(receiver, 120))


def _to_kafka(case: Case, bed: Bed) -> tuple[Any, ...]:
    settings, topic = bed.system.settings, bed.system.topics.events
    idempotent = str(settings.kafka_idempotent).lower()
    load = (case.events, case.size, case.rate)
    return "benchmarks.producer", settings.kafka, topic, *load, idempotent


def _to_http(case: Case, bed: Bed) -> tuple[Any, ...]:
    load = (case.events, case.size, case.rate)
    port = bed.system.settings.api_port
    return "benchmarks.http_producer", "127.0.0.1", port, API_KEY, *load, CONNECTIONS


def median(results: list[Result]) -> Result:
    """Of several runs of a case: each figure's median, and every loss and duplicate."""

    def middle(name: str) -> float:
        return float(statistics.median(getattr(one, name) for one in results))

    first = results[0]
    return Result(
        first.case,
        middle("publish_rate"),
        middle("delivery_rate"),
        middle("p50"),
        middle("p99"),
        sum(one.lost for one in results),
        sum(one.duplicates for one in results),
        {name: statistics.median(one.cpu[name] for one in results) for name in first.cpu},
    )


HEADERS = (
    "case", "published/s", "delivered/s", "p50 ms", "p99 ms", "lost", "dup.",
    *ROLES, "all roles", "services",
)  # fmt: skip


def row(result: Result) -> list[str]:
    idle = result.case.shape == "idle"
    unit = "{:.2f} %" if idle else "{:.3f}"
    figures = [unit.format(result.cpu[role]) for role in ROLES]
    figures += [unit.format(result.ours), unit.format(result.services)]
    if idle:
        return [result.case.name, "", "", "", "", "", "", *figures]
    return [
        result.case.name,
        f"{result.publish_rate:,.0f}",
        f"{result.delivery_rate:,.0f}",
        f"{result.p50:.1f}",
        f"{result.p99:.1f}",
        str(result.lost),
        str(result.duplicates),
        *figures,
    ]


def show(results: list[Result]) -> None:
    table = Table(*HEADERS, title="CPU: seconds per 1,000 deliveries; idle: percent of a core")
    for result in results:
        table.add_row(*row(result))
    Console(width=200).print(table)


ALL = (
    Case("closed"),
    Case("closed", database="postgres"),
    Case("closed", fanout=10, events=10_000),
    Case("open", rate=400, seconds=30, events=12_000),
    Case("open", rate=1000, seconds=20, events=20_000),
    Case("closed", http=True, events=30_000),
    Case("open", rate=400, seconds=30, events=12_000, http=True),
    Case("idle", seconds=30),
    Case("closed", kafka="embedded"),
    Case("open", kafka="embedded", rate=400, seconds=30, events=12_000),
)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.pipeline", description=__doc__.split("\n")[0])
    parser.add_argument("shape", choices=("closed", "open", "idle", "all"))
    parser.add_argument("--kafka", choices=("real", "embedded"), default="real")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--events", type=int, default=50_000, help="of a closed run (50000)")
    parser.add_argument("--size", type=int, default=500, help="bytes of a payload (500)")
    parser.add_argument("--fanout", type=int, default=1, help="destinations of each event (1)")
    parser.add_argument("--rate", type=float, default=400, help="events/s of an open run (400)")
    parser.add_argument("--seconds", type=float, default=30, help="of an open or idle run (30)")
    parser.add_argument("--http", action="store_true", help="publish over HTTP, not to Kafka")
    parser.add_argument("--runs", type=int, default=1, help="runs of each case; medians (1)")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    return parser.parse_args()


def _cases(given: argparse.Namespace) -> tuple[Case, ...]:
    if given.shape == "all":
        return ALL
    rate = given.rate if given.shape == "open" else 0.0
    events = int(rate * given.seconds) if given.shape == "open" else given.events
    return (
        Case(
            given.shape, given.kafka, given.database, events, given.size, given.fanout, rate,
            given.seconds, given.http,
        ),
    )  # fmt: skip


def main() -> None:
    given = _arguments()
    results = []
    for case in _cases(given):
        sys.stderr.write(f"{case.name} …\n")
        results.append(median([asyncio.run(measure(case)) for _ in range(given.runs)]))
        show(results[-1:])
    show(results)
    if given.write:
        lines = [HEADERS, ["---"] * len(HEADERS), *map(row, results)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        write_between_markers(DOCUMENT, "pipeline", table)


if __name__ == "__main__":
    main()
