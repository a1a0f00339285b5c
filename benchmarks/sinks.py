"""How fast each type of destination takes deliveries.

python -m benchmarks.sinks [--write] [TYPE …]

Three ways, which alternate; of each the best of ROUNDS counts, for what disturbs only adds:

- waiting: each delivery waits for the one before.
- alone: as many at once as the worker's default lets one destination have; each has a call of its
  own. It is what the worker would do if there were no batches.
- gathered: the same number at once; those that come together share a call. It is what it does.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.document import write_between_markers
from benchmarks.sink_beds import BEDS
from event_router.consumers.batches import Batches
from event_router.consumers.deliver.limits import WorkerLimits
from event_router.consumers.ports import BatchSink, Sink
from event_router.consumers.room import SHARE
from event_router.consumers.sinks.kinds import load_sinks
from event_router.consumers.testing import a_delivery, a_destination, local_resources
from event_router.schemas.delivery import Delivery

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
AT_ONCE = WorkerLimits().slots // SHARE
SECONDS = 1.5
ROUNDS = 3
DATA = b'{"text": "%s"}' % (b"x" * 488)
HEADS = (
    "type",
    "waiting, /s",
    "alone, /s",
    "gathered, /s",
    "times alone",
    "times waiting",
    "CPU-ms per 1,000, alone",
    "gathered",
)

Deliver = Callable[[Delivery], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Rate:
    """Deliveries a second, and ms of CPU for 1,000, of this process alone."""

    rate: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Way:
    deliver: Deliver
    at_once: int


def ways(sink: Sink) -> list[Way]:
    """The last one only for a sink that takes several in one call."""
    gathered = [Way(Batches(sink).deliver, AT_ONCE)] if isinstance(sink, BatchSink) else []
    return [Way(sink.deliver, 1), Way(sink.deliver, AT_ONCE), *gathered]


async def measured(way: Way) -> Rate:
    numbers = count()
    began, cpu = time.perf_counter(), time.process_time()

    async def line() -> None:
        while time.perf_counter() - began < SECONDS:
            await way.deliver(a_delivery(f"evt_{began}_{next(numbers)}", DATA))

    await asyncio.gather(*(line() for _ in range(way.at_once)))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    delivered = next(numbers)
    return Rate(delivered / seconds, cpu / delivered * 1e6)


async def measure(name: str) -> list[Rate]:
    """Of each way; the first round warms up."""
    async with BEDS[name]() as bed, local_resources() as resources:
        destination = a_destination(name, bed.config, bed.credentials)
        sink = load_sinks().open(destination, replace(resources, files=bed.files))
        rounds = [[await measured(way) for way in ways(sink)] for _ in range(1 + ROUNDS)]
        await sink.aclose()
    return [best(rates) for rates in zip(*rounds[1:], strict=True)]


def best(rates: Iterable[Rate]) -> Rate:
    rates = list(rates)
    return Rate(max(one.rate for one in rates), min(one.cpu for one in rates))


def line(name: str, waiting: Rate, alone: Rate, gathered: Rate | None = None) -> tuple[str, ...]:
    first = (f"`{name}`", f"{waiting.rate:,.0f}", f"{alone.rate:,.0f}")
    if gathered is None:
        return (*first, "", "", "", f"{alone.cpu:,.0f}", "")
    return (
        *first,
        f"{gathered.rate:,.0f}",
        f"{gathered.rate / alone.rate:.1f}",
        f"{gathered.rate / waiting.rate:.1f}",
        f"{alone.cpu:,.0f}",
        f"{gathered.cpu:,.0f}",
    )


def measured_lines(names: Sequence[str]) -> list[tuple[str, ...]]:
    lines = []
    for number, name in enumerate(names, 1):
        print(f"{number} of {len(names)}: {name} …", file=sys.stderr, flush=True)
        lines.append(line(name, *uvloop.run(measure(name))))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("types", nargs="*", choices=[*BEDS, []], help="all of them by default")
    parser.add_argument("--write", action="store_true", help=f"their rows of {DOCUMENT.name}")
    options = parser.parse_args()
    lines = measured_lines(options.types or list(BEDS))
    table = Table(*HEADS, box=None)
    for row in lines:
        table.add_row(*row)
    Console(width=110).print(table)
    if options.write:
        write(lines)


def write(lines: Sequence[tuple[str, ...]]) -> None:
    """Rows of other types stay."""
    rows = {row[0]: f"| {' | '.join(row)} |" for row in lines}
    text = DOCUMENT.read_text().partition("<!-- sinks begin -->")[2].partition("<!-- sinks end")[0]
    before = {row.split(" ")[1]: row for row in text.splitlines() if row.startswith("| `")}
    all_rows = [row for _, row in sorted({**before, **rows}.items())]
    heads = [f"| {' | '.join(row)} |" for row in (HEADS, ("---",) * len(HEADS))]
    write_between_markers(DOCUMENT, "sinks", "\n".join([*heads, *all_rows]))


if __name__ == "__main__":
    main()
