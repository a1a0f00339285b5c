"""Recovery: a destination was away, and comes back to all that was kept for it.

    python -m benchmarks.recovery --write                    # all, into docs/performance.md
    python -m benchmarks.recovery --count 50000 --megabytes 1024
    python -m benchmarks.recovery --count 500000 --megabytes 64

Meanwhile others get their deliveries at a steady rate. `--megabytes` bounds the schedule; what has
no room in it waits in the log, until sweep brings it in.
"""

import argparse
import asyncio
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.bed import Bed, laid
from benchmarks.children import report, start, started
from benchmarks.crowd import Watch, watching
from benchmarks.crowd_producer import Load
from benchmarks.document import write_between_markers
from benchmarks.receiver import at
from benchmarks.recovery_progress import Progress, told
from benchmarks.recovery_receiver import Recovered
from event_router.router.child import free_port
from event_router.schemas.delivery import DestinationKey
from tests.system import ROLES

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
AWAY = DestinationKey("bench", "away")
LIVE = [DestinationKey("bench", f"live{number}") for number in range(10)]
LIVE_RATE = 100.0
ALONE = 20.0
"""Seconds for which it is seen how fast the others are, before."""
LATER = 75.0
"""Seconds that it stays away when not all of it is parked: younger rows are none of sweep's."""
PUBLISHING = 240.0
KEEPING = 240.0
PATIENCE = 480.0
"""Seconds for each step, after which it says what is missing and ends."""


@dataclass(frozen=True, slots=True)
class Case:
    """How many events wait, and the bound of the schedule in MB."""

    count: int
    megabytes: int

    @property
    def name(self) -> str:
        return f"{self.count:,}, {self.megabytes:,} MB"


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds and ms. `parked` when it came back; `misplaced`: how far from its place in the order
    of publishing one came (median), as a share of all; `schedule` is the most bytes seen."""

    case: Case
    parked: int
    begins: float
    takes: float
    misplaced: float
    duplicates: int
    before: float
    during: float
    schedule: int
    cores: float

    @property
    def rate(self) -> float:
        return self.case.count / self.takes


async def measure(case: Case) -> Result:
    settings = {"REDIS_MAX_BYTES": str(case.megabytes << 20)}
    port = free_port()
    async with (
        laid("real", "sqlite", **settings) as bed,
        told(bed) as progress,
        started("benchmarks.recovery_receiver", port, case.count) as receiver,
    ):
        urls = {key: f"http://127.0.0.1:{port}/live/{key.destination}" for key in LIVE}
        await bed.make_webhooks({**urls, AWAY: f"http://127.0.0.1:{port}/away/d"})
        progress.phase = "the others alone"
        alone = await _alone(bed)
        progress.phase = "publishing for the one that is away"
        await _produce(Load(*_events(bed), time.time() + 1, 0, case.count, [AWAY]))
        await progress.until_unsettled(case.count, KEEPING)
        if (await progress.look()).parked < case.count:
            await asyncio.sleep(LATER)
        progress.phase = "it is back"
        async with started("benchmarks.crowd_producer", _text(_steady(bed, PATIENCE))):
            await asyncio.sleep(5)
            return await _come_back(case, bed, progress, receiver, alone)


async def _come_back(
    case: Case,
    bed: Bed,
    progress: Progress,
    receiver: asyncio.subprocess.Process,
    alone: tuple[float, float],
) -> Result:
    async with watching(bed) as watch:
        parked = (await progress.look()).parked
        receiver.send_signal(signal.SIGUSR1)
        said = msgspec.json.decode(await report(receiver, PATIENCE), type=Recovered)
    missing = case.count - len(said.order)
    if missing:
        sys.exit(f"{missing:,} had not come after {PATIENCE:g} s: {await progress.look()}")
    return _result(case, said, watch, parked, alone)


def _events(bed: Bed) -> tuple[str, str]:
    return bed.system.settings.kafka, bed.system.topics.events


def _steady(bed: Bed, seconds: float) -> Load:
    """What the others get; numbers are above those of the one that is away."""
    count = round(seconds * LIVE_RATE)
    return Load(*_events(bed), time.time() + 1, LIVE_RATE, count, LIVE, first=1 << 30)


def _text(load: Load) -> str:
    return msgspec.json.encode(load).decode()


async def _produce(load: Load) -> None:
    await report(await start("benchmarks.crowd_producer", _text(load)), PUBLISHING)


async def _publish(bed: Bed, load: Load) -> None:
    await _produce(load)
    await bed.system.quiet(PUBLISHING)


async def _alone(bed: Bed) -> tuple[float, float]:
    """From when (ms) to when the others had all to themselves."""
    await _publish(bed, msgspec.structs.replace(_steady(bed, 3), first=3 << 30))  # pools, caches
    began = time.time() * 1000
    await _publish(bed, msgspec.structs.replace(_steady(bed, ALONE), first=2 << 30))
    return began, time.time() * 1000


def _result(
    case: Case, said: Recovered, watch: Watch, parked: int, alone: tuple[float, float]
) -> Result:
    times = list(zip(said.sent, said.took, strict=True))
    before = sorted(took for sent, took in times if alone[0] <= sent <= alone[1])
    during = sorted(took for sent, took in times if said.back * 1000 <= sent <= said.last * 1000)
    misplaced = sorted(abs(place - number) for place, number in enumerate(said.order))
    return Result(
        case,
        parked,
        said.first - said.back,
        said.last - said.back,
        at([float(one) for one in misplaced], 0.50) / case.count,
        said.duplicates,
        at(before, 0.99),
        at(during, 0.99),
        watch.schedule_bytes,
        watch.cores(ROLES),
    )


HEADERS = (
    "waiting, bound of the schedule", "of them parked", "s to the first", "s to the last",
    "a second", "out of place (median)", "dup.", "the others' p99 ms before → meanwhile",
    "schedule MB", "cores",
)  # fmt: skip


def row(result: Result) -> list[str]:
    return [
        result.case.name,
        f"{result.parked:,}",
        f"{result.begins:.1f}",
        f"{result.takes:.0f}",
        f"{result.rate:,.0f}",
        f"{result.misplaced:.1%}",
        str(result.duplicates),
        f"{result.before:.0f} → {result.during:.0f}",
        f"{result.schedule / (1 << 20):.1f}",
        f"{result.cores:.2f}",
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.recovery", description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, help="events that wait; without it, all cases")
    parser.add_argument("--megabytes", type=int, default=64, help="bound of the schedule (64)")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    return parser.parse_args()


ALL = (Case(50_000, 1024), Case(500_000, 64))


def main() -> None:
    given = _arguments()
    cases = ALL if given.count is None else (Case(given.count, given.megabytes),)
    table = Table(*HEADERS)
    rows = []
    for case in cases:
        sys.stderr.write(f"{case.name} …\n")
        rows.append(row(asyncio.run(measure(case))))
        table.add_row(*rows[-1])
        sys.stderr.write(f"{', '.join(rows[-1])}\n")
    Console(width=200).print(table)
    if given.write:
        lines = [HEADERS, ["---"] * len(HEADERS), *rows]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        write_between_markers(DOCUMENT, "recovery", text)


if __name__ == "__main__":
    main()
