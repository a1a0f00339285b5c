"""What a person sees: a line while it runs, tables afterwards, and what goes into the documents."""

import asyncio
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from benchmarks.document import write_between_markers
from tests.conservation.faults import FAULTS
from tests.conservation.retry_burst import Burst
from tests.conservation.storm import Now, Result
from tests.conservation.verdict import lost

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "reliability.md"
SHOWN = 30
EVERY = 15.0  # seconds between lines where there is no terminal


@asynccontextmanager
async def shown(now: Now) -> AsyncIterator[None]:
    """Meanwhile a line says how far it is."""
    console = Console(stderr=True)
    task = asyncio.create_task(_live(now, console) if console.is_terminal else _lines(now))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _live(now: Now, console: Console) -> None:
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(Text(_line(now), no_wrap=True, overflow="ellipsis"), refresh=True)
            await asyncio.sleep(0.25)


async def _lines(now: Now) -> None:
    while True:
        sys.stderr.write(f"{_line(now)}\n")
        await asyncio.sleep(EVERY)


def _line(now: Now) -> str:
    ledger = now.ledger
    passed = time.monotonic() - now.began
    counts = (
        f"{len(ledger.issued):,} issued · {len(ledger.owed):,} owed · "
        f"{ledger.deliveries:,} delivered · {len(ledger.outstanding):,} outstanding"
    )
    return f"{passed:4.0f} s · {now.phase} · {counts} · {', '.join(now.faults) or '–'}"


def totals(result: Result) -> list[tuple[str, str]]:
    """Name and figure."""
    ledger, again = result.ledger, result.repeats
    share = len(again.other) / max(ledger.deliveries, 1)
    dead = ", ".join(f"{count:,} {reason}" for reason, count in sorted(result.dead.items()))
    return [
        ("events issued", f"{len(ledger.issued):,}"),
        ("events acknowledged", f"{len(ledger.accepted):,}"),
        ("deliveries owed", f"{len(ledger.owed):,}"),
        ("delivered", f"{len(ledger.taken):,}"),
        ("dead, rightly", dead or "none"),
        ("lost", f"{lost(ledger, result.logged):,}"),
        ("problems, losses among them", f"{len(result.problems):,}"),
        ("delivered again, around a kill", f"{again.around_kills.total():,}"),
        ("published again after Redis forgot the id", f"{again.published:,}"),
        ("delivered again, otherwise", f"{len(again.other):,} ({share:.2%})"),
        ("faults; processes started again", f"{len(result.struck):,}; {result.exits:,}"),
        ("drained, after the last event", f"{result.drained:.0f} s"),
        ("a fresh event reached everyone in", f"{result.fresh * 1000:.0f} ms"),
    ]


def by_fault(result: Result) -> list[tuple[str, str, str, str]]:
    """Name, how often, seconds in all, deliveries repeated around it."""
    times: dict[str, list[float]] = defaultdict(list)
    for one in result.struck:
        times[one.name].append(one.ended - one.began)
    again = result.repeats.around_kills
    return [
        (name, f"{len(took)}", f"{sum(took):.0f}", f"{again[name]}")
        for name, took in sorted(times.items())
    ]


def _about(name: str) -> str:
    return FAULTS[name].about if name in FAULTS else "not our doing"


def show(result: Result) -> None:
    console = Console()
    faults = Table("fault", "times", "seconds", "repeated")
    for row in by_fault(result):
        faults.add_row(*row)
    figures = Table("", "", show_header=False)
    for name, figure in totals(result):
        figures.add_row(name, figure)
    console.print(faults, figures)
    for line in result.repeats.other[:10]:
        console.print(f"again: {line}", highlight=False, markup=False)
    for line in result.problems[:SHOWN]:
        console.print(f"PROBLEM {line}", highlight=False, style="red", markup=False)
    if more := result.problems[SHOWN:]:
        console.print(f"… and {len(more):,} more problems")
    if not result.problems:
        console.print("nothing was lost")


def write(result: Result, command: str) -> None:
    """The tables into docs/reliability.md."""
    plan = result.plan
    how = (
        f"{plan.database}, {plan.rate:g} events/s; {result.took / 60:.0f} minutes in all; "
        f"commit {_commit()}"
    )
    lines = [
        f"`{command}` ({how}):",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {figure} |" for name, figure in totals(result)),
        "",
        "| fault | | times | seconds in all | deliveries repeated |",
        "|---|---|---|---|---|",
        *(f"| {name} | {_about(name)} | {' | '.join(rest)} |" for name, *rest in by_fault(result)),
    ]
    write_between_markers(DOCUMENT, f"conservation {plan.database}", "\n".join(lines))


def _commit() -> str:
    """What was run."""
    describe = ["git", "describe", "--always", "--dirty=, changed"]
    told = subprocess.run(describe, cwd=DOCUMENT.parent, stdout=subprocess.PIPE, check=False)
    return told.stdout.decode().strip() or "unknown"


def show_burst(result: Burst) -> None:
    console = Console()
    figures = Table("", "", show_header=False)
    for name, figure in burst_figures(result):
        figures.add_row(name, figure)
    console.print(figures)
    for line in result.problems:
        console.print(f"PROBLEM {line}", highlight=False, style="red", markup=False)


def burst_figures(result: Burst) -> list[tuple[str, str]]:
    """Name and figure."""
    return [
        ("events", f"{result.events:,}"),
        ("refused attempts", f"{result.refused:,}"),
        ("lost", f"{result.lost:,}"),
        ("duplicates", f"{result.duplicates:,}"),
        ("what was refused was delivered, after recovery", f"{result.caught_up:.1f} s"),
        ("everything was delivered, after recovery", f"{result.complete:.1f} s"),
        ("everything was delivered, after the last event", f"{result.behind:.1f} s"),
    ]


def write_burst(result: Burst) -> None:
    lines = ["| | |", "|---|---|", *(f"| {' | '.join(row)} |" for row in burst_figures(result))]
    write_between_markers(DOCUMENT, "retry burst", "\n".join(lines))
