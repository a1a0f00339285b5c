"""Nobody harmed: what the others notice while some destinations, or a tenant, behave badly.

    python -m benchmarks.isolation --write                        # all, into docs/performance.md
    python -m benchmarks.isolation --scenario a4 --pairs 1 --seconds 15

Runs with and without the bad thing take turns on one system; a ratio is of two neighbours. Exits
with 1 when an aim was missed.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.bed import Bed, laid
from benchmarks.crowd import Extra, Half, Ran, run
from benchmarks.document import write_between_markers

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
RATIO = 1.2
DURING = 2_000.0
BASE = Half(10)
WARM_UP = Half(20)
"""For pools, plans, caches, and what Java compiles of Kafka."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something bad, and the slots that the worker has."""

    name: str
    title: str
    bad: Half
    slots: int = 500


def _holes(number: int) -> Half:
    """Spread over tenants; for longer than a time-out."""
    step = 100 // number
    return Half(35, {step * one + one % step: "hole" for one in range(number)})


SCENARIOS = (
    Scenario("a1", "one black hole", _holes(1)),
    Scenario("a4", "four black holes", _holes(4)),
    Scenario("a20", "twenty black holes", _holes(20)),
    Scenario("b", "one answers in 2 s", Half(12, {0: "slow"})),
    Scenario("c", "one gets 50,000 at once", Half(10, extra=Extra(50_000, 0, range(1)))),
    Scenario("d", "a tenant at 100 x the others", Half(10, extra=Extra(55_440, 5_544, range(10)))),
    Scenario("e", "four black holes, 20 slots", _holes(4), slots=20),
)


@dataclass(slots=True)
class Pairs:
    """Of one scenario: runs with the bad thing, and each one's neighbour without."""

    scenario: Scenario
    bad: list[Ran] = field(default_factory=list)
    base: list[Ran] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        return [bad.p99 / base.p99 for bad, base in zip(self.bad, self.base, strict=True)]

    @property
    def missing(self) -> int:
        return sum(one.missing for one in (*self.bad, *self.base))

    def median(self, figure: Callable[[Ran], float], *, bad: bool = True) -> float:
        return statistics.median(map(figure, self.bad if bad else self.base))

    @property
    def during(self) -> float | None:
        return self.median(lambda one: one.during or 0.0) if self.scenario.bad.extra else None

    def missed(self, bound: int) -> list[str]:
        """The aims that weren't met; `bound` is the schedule's, in bytes."""
        during = self.during
        fullest = max(one.schedule_bytes for one in (*self.bad, *self.base))
        aims = {
            f"p99 within {RATIO} x": statistics.median(self.ratios) <= RATIO,
            f"p99 at most {DURING / 1000:g} s while it lasts": (during or 0.0) <= DURING,
            "every delivery made": self.missing == 0,
            "schedule under its bound": fullest <= bound,
        }
        return [aim for aim, met in aims.items() if not met]


def neighbours(scenarios: Sequence[Scenario], turn: int) -> Iterator[Sequence[Scenario | None]]:
    """Runs in turn, None being without anything bad: two scenarios share the one between them."""
    for first in range(0, len(scenarios), 2):
        two = scenarios[first : first + 2]
        order = (two[0], None, *two[1:])
        yield order if turn % 2 == 0 else order[::-1]


async def run_all(scenarios: Sequence[Scenario], pairs: int) -> tuple[list[Pairs], int]:
    """On a system for each number of slots; and the schedule's bound, in bytes."""
    results = {one.name: Pairs(one) for one in scenarios}
    bound = 0
    for slots in sorted({one.slots for one in scenarios}, reverse=True):
        chosen = [one for one in scenarios if one.slots == slots]
        async with laid("real", "sqlite", DELIVERY_SLOTS=str(slots)) as bed:
            bound = bed.system.settings.redis_max_bytes
            await run(bed, WARM_UP)
            for turn in range(pairs):
                for order in neighbours(chosen, turn):
                    await _take_turns(bed, order, results, f"{turn + 1}/{pairs}")
    return list(results.values()), bound


async def _take_turns(
    bed: Bed, order: Sequence[Scenario | None], results: dict[str, Pairs], turn: str
) -> None:
    base: Ran | None = None
    for scenario in order:
        ran = await run(bed, scenario.bad if scenario else BASE)
        _tell(scenario.name if scenario else "none bad", turn, ran)
        if scenario:
            results[scenario.name].bad.append(ran)
        else:
            base = ran
    assert base is not None
    for scenario in order:
        if scenario:
            results[scenario.name].base.append(base)


def _tell(name: str, turn: str, ran: Ran) -> None:
    during = "" if ran.during is None else f", while it lasted {ran.during:.0f}"
    sys.stderr.write(
        f"{time.strftime('%H:%M:%S')} {turn} {name:>8}: p50 {ran.p50:.1f} p99 {ran.p99:.1f}{during}"
        f" ms, missing {ran.missing}, twice {ran.duplicates}, slots {ran.slots}, held"
        f" {ran.held}, schedule {ran.schedule_bytes / 1e6:.1f} MB, cores {ran.ours:.2f}"
        f" + {ran.services:.2f}, idle {ran.idle:.0%}\n"
    )


HEADERS = (
    "what is bad", "p50 ms without → with", "p99 ms without → with", "ratio (least–most)",
    "p99 ms while it lasts", "missing", "dup.", "slots", "schedule MB", "idle", "aims",
)  # fmt: skip


def row(pairs: Pairs, bound: int) -> list[str]:
    def change(figure: Callable[[Ran], float]) -> str:
        return f"{pairs.median(figure, bad=False):.1f} → {pairs.median(figure):.1f}"

    ratios, bad, during = pairs.ratios, pairs.bad, pairs.during
    missed = pairs.missed(bound)
    return [
        pairs.scenario.title,
        change(lambda one: one.p50),
        change(lambda one: one.p99),
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})",
        "" if during is None else f"{during:.0f}",
        str(pairs.missing),
        str(sum(one.duplicates for one in bad)),
        str(max(one.slots for one in bad)),
        f"{max(one.schedule_bytes for one in bad) / 1e6:.1f}",
        f"{pairs.median(lambda one: one.idle):.0%}",
        "missed: " + ", ".join(missed) if missed else "met",
    ]


def show(rows: Sequence[Sequence[str]]) -> None:
    table = Table(*HEADERS, title="The others")
    for one in rows:
        table.add_row(*one)
    Console(width=200).print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.isolation", description=__doc__.split("\n")[0]
    )
    names = [one.name for one in SCENARIOS]
    parser.add_argument("--scenario", choices=names, action="append", help="all, if not given")
    parser.add_argument("--pairs", type=int, default=5, help="of each scenario; medians (5)")
    parser.add_argument("--seconds", type=float, help="of each run that is counted")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    return parser.parse_args()


def _chosen(given: argparse.Namespace) -> list[Scenario]:
    chosen = [one for one in SCENARIOS if not given.scenario or one.name in given.scenario]
    if given.seconds is None:
        return chosen
    return [replace(one, bad=replace(one.bad, seconds=given.seconds)) for one in chosen]


def main() -> None:
    given = _arguments()
    scenarios = _chosen(given)
    results, bound = asyncio.run(run_all(scenarios, given.pairs))
    rows = [row(one, bound) for one in results]
    show(rows)
    if given.write:
        lines = [HEADERS, ["---"] * len(HEADERS), *rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        write_between_markers(DOCUMENT, "isolation", table)
    if any(one.missed(bound) for one in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
