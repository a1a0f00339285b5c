"""The retry burst: a destination refuses everything for ten seconds while events go on coming.

6,000 events at 300/s to one destination, with the retry schedule `2,2,3,3,5,5,5,5`.
"""

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path

from tests.conservation.bed import Bed, Database, laid
from tests.conservation.events import Destination, Issued, Key, issue
from tests.conservation.ledger import Ledger
from tests.conservation.producers import Producers, client
from tests.conservation.receivers import failing
from tests.receivers import Writer

EVENTS = 6_000
RATE = 300.0
REFUSING = 10.0
SCHEDULE = "2,2,3,3,5,5,5,5"
PATIENCE = 60.0
RECOVERED = 10.0  # seconds
TO = Key("ada", "all")
PROCESSES = ("stream", "deliver", "log", "api")


@dataclass(frozen=True, slots=True)
class Burst:
    """What came of it; times in seconds, of the last delivery: `caught_up` of what had been
    published before the destination recovered, `complete` of all, both since then; `behind`
    since the last event was published."""

    events: int
    refused: int
    lost: int
    duplicates: int
    caught_up: float
    complete: float
    behind: float
    problems: list[str]


def _of_one_tenant(seed: int, number: int) -> Issued:
    return replace(issue(seed, number), tenant=TO.tenant, via="kafka", retry=True)


async def retry_burst(seed: int, folder: Path, database: Database) -> Burst:
    ledger = Ledger(seed, [Destination(TO)], make=_of_one_tenant)
    settings = {"RETRY_SCHEDULE": SCHEDULE, "KAFKA_SESSION_TIMEOUT": "10"}
    laying = laid(ledger, folder, database, PROCESSES, more=settings)
    async with laying as bed, client(bed.api) as http:
        producers = Producers(ledger, bed.kafka.bootstrap, bed.topics.events, http)
        try:
            return await _measured(ledger, bed, producers)
        finally:
            await producers.aclose()


async def _measured(ledger: Ledger, bed: Bed, producers: Producers) -> Burst:
    refused = 0

    async def refusing(writer: Writer) -> bool:
        nonlocal refused
        refused += 1
        return await failing(writer)

    receiver = bed.receivers[TO]
    receiver.mood = refusing
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(_publish(ledger, producers, began), name="publish")
        await asyncio.sleep(REFUSING)
        receiver.mood = receiver.calm
        recovered, before = time.monotonic(), len(ledger.issued)
    published = time.monotonic()
    while ledger.outstanding and time.monotonic() < published + PATIENCE:
        await asyncio.sleep(0.1)
    await asyncio.sleep(2)  # for duplicates that are late
    times = {pair.number: taken[0].at for pair, taken in ledger.taken.items()}
    early = [at for number, at in times.items() if number < before]
    duplicates = sum(len(taken) - 1 for taken in ledger.taken.values())
    lost = len(ledger.owed - ledger.taken.keys())
    problems = [*ledger.wrong, *(f"refused: {answer}" for answer in ledger.refused)]
    problems += [f"{lost} lost"] * bool(lost) + [f"{duplicates} duplicates"] * bool(duplicates)
    problems += [f"{len(ledger.owed)} were accepted"] * (len(ledger.owed) != EVENTS)
    last = max(times.values())
    late = max(max(early) - recovered, last - published)
    problems += [f"delivered {late:.1f} s after it could be"] * (late > RECOVERED)
    return Burst(
        EVENTS, refused, lost, duplicates,
        max(early) - recovered, last - recovered, last - published, problems,
    )  # fmt: skip


async def _publish(ledger: Ledger, producers: Producers, began: float) -> None:
    """On a fixed timetable, whatever was late before."""
    async with asyncio.TaskGroup() as group:
        while len(ledger.issued) < EVENTS:
            due = min(int((time.monotonic() - began) * RATE) + 1, EVENTS)
            for _ in range(due - len(ledger.issued)):
                group.create_task(producers.publish(ledger.issue()), name="publish one")
            await asyncio.sleep(0.01)
