"""A run: publish, break things, let it calm down, and look whether anything is missing."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.conservation.bed import Bed, Database, laid
from tests.conservation.events import destinations
from tests.conservation.fault import Fault
from tests.conservation.ledger import Ledger, Pair
from tests.conservation.logged import Logged, read_dead, read_log
from tests.conservation.producers import Producers, client
from tests.conservation.verdict import (
    MOST_REPEATED,
    Repeats,
    Struck,
    problems,
    reasons,
    repeats,
)

WARM = 3.0
CALM = 90.0  # seconds in which all roles are ready again
DRAIN = 300.0
AGREE = 90.0
FRESH = 20.0
LANES = 2
LOOK = 0.5
STOOD_STILL = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`seconds` is how long faults strike; at `rate` events/s."""

    seed: int
    seconds: float
    faults: Sequence[Fault]
    rate: float
    database: Database


@dataclass(slots=True)
class Now:
    """Where a run is."""

    ledger: Ledger
    phase: str = "starting"
    faults: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class Result:
    """What came of a run; `problems` is empty when everything was conserved. Times in seconds."""

    plan: Plan
    ledger: Ledger
    struck: list[Struck]
    logged: Logged
    repeats: Repeats
    problems: list[str]
    exits: int
    drained: float
    fresh: float
    took: float

    @property
    def dead(self) -> dict[str, int]:
        return dict(reasons(self.logged))


async def run(plan: Plan, now: Now, folder: Path) -> Result:
    """The whole run; what goes wrong in it is in the result."""
    second_broker = any("second-broker" in one.touches for one in plan.faults)
    laying = laid(now.ledger, folder, plan.database, second_broker=second_broker)
    async with laying as bed, client(bed.api) as http:
        producers = Producers(now.ledger, bed.kafka.bootstrap, bed.topics.events, http)
        try:
            return await _Storm(plan, now, bed, producers).run()
        finally:
            await producers.aclose()


def begin(plan: Plan) -> Now:
    return Now(Ledger(plan.seed, destinations()))


class _Storm:
    def __init__(self, plan: Plan, now: Now, bed: Bed, producers: Producers) -> None:
        self.plan = plan
        self.now = now
        self.bed = bed
        self.producers = producers
        self.struck: list[Struck] = []
        self.problems: list[str] = []

    async def run(self) -> Result:
        watching = asyncio.create_task(self._watch_the_machine(), name="watch the machine")
        try:
            return await self._phases()
        finally:
            watching.cancel()

    async def _watch_the_machine(self) -> None:
        """When we get no turn ourselves for long, sessions of others time out as well: that is no
        fault of this harness, but it explains as much as a kill."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(LOOK)
            if (now := time.monotonic()) - began > LOOK + STOOD_STILL:
                self.struck.append(Struck("(the machine stood still)", True, began, now))

    async def _phases(self) -> Result:
        async with self.producers.running(self.plan.rate):
            self.now.phase = "warming up"
            await asyncio.sleep(WARM)
            self.now.phase = "faults"
            await self._rage()
            self.now.phase = "the last events"
            await asyncio.sleep(WARM)
        calmed = time.monotonic()
        self.now.phase = "calming down"
        late = await self.bed.roles.ready(CALM)
        self.problems += [f"{name} isn't ready after all: {why}" for name, why in late.items()]
        self.now.phase = "draining"
        await self._reached_all(calmed + DRAIN)
        drained = time.monotonic() - calmed
        self.now.phase = "a fresh event"
        fresh = await self._fresh()
        self.now.phase = "comparing with the log"
        logged = await self._agreed()
        return self._result(logged, drained, fresh)

    async def _rage(self) -> None:
        """Faults in lanes: alone where the others rest, else mixed."""
        dice = random.Random(self.plan.seed)
        until = time.monotonic() + self.plan.seconds
        deck = _Deck(self.plan.faults, random.Random(dice.random()))
        async with asyncio.TaskGroup() as group:
            for number in range(LANES):
                lane = random.Random(dice.random())
                group.create_task(self._lane(deck, lane, until), name=f"faults {number}")

    async def _lane(self, deck: "_Deck", dice: random.Random, until: float) -> None:
        while (rest := dice.uniform(0.5, 8)) < until - time.monotonic():
            await asyncio.sleep(rest)
            fault = deck.draw()
            if fault is None:
                continue
            try:
                await self._strike(fault, dice)
            finally:
                deck.give_back(fault)

    async def _strike(self, fault: Fault, dice: random.Random) -> None:
        began, trouble = time.monotonic(), ""
        self.now.faults.append(fault.name)
        try:
            await fault.strike(self.bed, dice)
        except TimeoutError as error:
            trouble = f"{fault.name}: didn't end in time ({error!r})"
        finally:
            self.now.faults.remove(fault.name)
            ended = time.monotonic()
            self.struck.append(Struck(fault.name, fault.kills, began, ended, trouble))

    async def _fresh(self) -> float:
        """Seconds until events that are published now have reached everyone; a problem when they
        don't."""
        ledger, began = self.now.ledger, time.monotonic()
        events = [ledger.issue() for _ in range(10)]
        await asyncio.gather(*(self.producers.publish(event) for event in events))
        while self._owed_to_well() and time.monotonic() < began + FRESH:
            await asyncio.sleep(0.02)
        if late := self._owed_to_well():
            self.problems.append(f"fresh events didn't come within {FRESH:.0f} s: {late}")
        return time.monotonic() - began

    def _owed_to_well(self) -> list[Pair]:
        ledger = self.now.ledger
        found = ledger.events_of(ledger.outstanding)
        return [pair for pair, _, to in found if to.kind == "well"]

    async def _reached_all(self, until: float) -> None:
        """Nothing that is owed is outstanding; or it is late."""
        ledger, looked = self.now.ledger, 0.0
        while ledger.outstanding and time.monotonic() < until:
            await asyncio.sleep(0.05)
            if time.monotonic() - looked > 1:
                dead = await asyncio.to_thread(read_dead, self.bed.settings.log_url)
                ledger.outstanding -= dead
                looked = time.monotonic()

    async def _agreed(self) -> Logged:
        """What the log says, once there is nothing to complain of, or after AGREE seconds."""
        until = time.monotonic() + AGREE
        while True:
            logged = await asyncio.to_thread(read_log, self.bed.settings.log_url)
            if not problems(self.now.ledger, logged) or time.monotonic() > until:
                return logged
            await asyncio.sleep(2)

    def _result(self, logged: Logged, drained: float, fresh: float) -> Result:
        ledger = self.now.ledger
        again = repeats(ledger, logged, self.struck)
        exits = self.bed.roles.exits
        found = [*self.problems, *problems(ledger, logged)]
        found += [one.trouble for one in self.struck if one.trouble]
        found += [f"{one.role} ended by itself (code {one.code})" for one in exits if not one.asked]
        if len(again.other) > MOST_REPEATED * ledger.deliveries:
            found.append(f"{len(again.other)} duplicates that no kill explains")
        took = time.monotonic() - self.now.began
        return Result(
            self.plan, ledger, self.struck, logged, again, found, len(exits), drained, fresh, took
        )


class _Deck:
    """Every fault once in random order, then all of them again: none is left out by chance."""

    def __init__(self, faults: Sequence[Fault], dice: random.Random) -> None:
        self._faults = list(faults)
        self._dice = dice
        self._cards: list[Fault] = []
        self._busy: set[str] = set()

    def draw(self) -> Fault | None:
        """The next one that touches nothing that another one touches now."""
        if not self._cards:
            self._cards = self._dice.sample(self._faults, len(self._faults))
        for card in self._cards:
            if self._busy.isdisjoint(card.touches):
                self._cards.remove(card)
                self._busy |= card.touches
                return card
        return None

    def give_back(self, fault: Fault) -> None:
        self._busy -= fault.touches
