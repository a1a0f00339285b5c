"""Nothing hangs on Redis: all of the schedule is lost at random moments of a storm of retries, and
everything is settled in the end by itself, without attempts that nobody needed.

    python -m tests.test_storms 5000    that many more storms; the seed of a bad one is printed
"""

import asyncio
import random
import sys
from collections import Counter
from dataclasses import dataclass

import pytest

from event_router.router.schedule.layout import Bounds
from event_router.schemas.attempt import Attempt
from event_router.schemas.wire import read_outcome
from tests.crash import Fuse, Moment
from tests.loop import ROOM, World, destination, unavailable
from tests.virtual_time import run_virtually

DESTINATIONS = ("flaky", "slow", "broken")
SMALL = Bounds(total=3_000, destination=1_500)


@dataclass(frozen=True)
class Storm:
    """What happens, all of it decided by the seed."""

    seed: int
    crashes: int = 0
    bounds: Bounds = ROOM

    async def run(self) -> World:
        """The world after everything was settled."""
        dice = random.Random(self.seed)
        world = _world(dice, self.bounds)
        raging = asyncio.create_task(self._rage(world, dice), name="storm")
        for _ in range(self.crashes):
            if not await world.lives_through(_fuse(dice, dice.randrange(1, 400))):
                break
        await raging
        await world.run_until_settled(_fuse(dice, 0))
        return world

    async def _rage(self, world: World, dice: random.Random) -> None:
        for number in range(dice.randrange(1, 8)):
            await world.publish(f"e{number}")
            await asyncio.sleep(dice.choice((0, 0, 0.3, 2)))
            if dice.random() < 0.5:
                world.schedule.clear()
        for _ in range(dice.randrange(4)):
            await asyncio.sleep(dice.uniform(0, 20))
            world.schedule.clear()


def _world(dice: random.Random, bounds: Bounds) -> World:
    world = World(bounds=bounds)
    world.directory.put(*(destination(name) for name in DESTINATIONS))
    world.dice = dice
    world.away = dice.choice((0, 0.02, 0.1))
    world.receiver.answers = {
        "flaky": [unavailable("503")] * dice.randrange(20),
        "broken": [unavailable("500")] * 1000,
    }
    world.receiver.delay = lambda: dice.choice((0, 0.02, 0.5, 3, 25))
    return world


def _fuse(dice: random.Random, at: int) -> Fuse:
    longest = dice.choice((0.001, 0.05, 0.3))
    moment: Moment = "before" if dice.random() < 0.5 else "after"
    return Fuse(at, moment, latency=lambda: dice.uniform(0, longest))


def check(storm: Storm) -> None:
    """Every delivery was made or is dead, and nothing was done more often than crashes explain."""
    world = run_virtually(storm.run())
    events = {record.header("ce_id") for record in world.broker.records(world.topics.events)}
    owed = {(to, event.decode()) for to in DESTINATIONS for event in events if event}
    received = world.receiver.received
    dead = Counter((to, event) for to, event, _ in world.dead())
    assert received.keys() | dead.keys() == owed, f"{storm}: {received}, {dead}"
    assert {reason for _, _, reason in world.dead()} <= {"retries_exhausted"}
    for done in (received, dead, _attempts(world)):
        repeated = {key: n for key, n in done.items() if n > 1 + storm.crashes}
        assert not repeated, f"{storm}: {repeated}"


def _attempts(world: World) -> Counter[tuple[str, str, int]]:
    """How often each attempt of a delivery was made."""
    outcomes = map(read_outcome, world.broker.records(world.topics.attempts))
    heads = [outcome.head.delivery for outcome in outcomes if isinstance(outcome, Attempt)]
    return Counter((head.destination, head.event, head.attempt) for head in heads)


@pytest.mark.parametrize("seeds", [range(at, at + 10) for at in range(0, 40, 10)])
def test_losing_the_schedule_delays_and_neither_loses_nor_repeats(seeds: range) -> None:
    for seed in seeds:
        check(Storm(seed))


@pytest.mark.parametrize("seeds", [range(at, at + 10) for at in range(0, 20, 10)])
def test_with_crashes_too_nothing_is_lost(seeds: range) -> None:
    for seed in seeds:
        check(Storm(seed, crashes=2))


@pytest.mark.parametrize("seeds", [range(at, at + 10) for at in range(0, 20, 10)])
def test_what_the_schedule_has_no_room_for_waits_in_the_log(seeds: range) -> None:
    for seed in seeds:
        check(Storm(seed, bounds=SMALL))


async def _lose_a_lease(at: float) -> World:
    world = World()
    world.directory.put(destination("slow"))
    world.receiver.delay = lambda: 25
    await world.publish("e1")
    running = asyncio.create_task(world.run_until_settled(), name="loop")
    await asyncio.sleep(at)
    world.schedule.clear()
    await running
    return world


@pytest.mark.parametrize("at", [3, 6.5, 8, 9, 10, 11, 20])
def test_an_attempt_that_lost_its_lease_is_not_parked_again(at: float) -> None:
    """Its worker puts it back when it renews the lease: sweep waits for that."""
    world = run_virtually(_lose_a_lease(at))
    assert world.receiver.received == {("slow", "e1"): 1}


if __name__ == "__main__":
    for number in range(int(sys.argv[1])):
        check(Storm(number, crashes=number % 3, bounds=SMALL if number % 4 == 3 else ROOM))
