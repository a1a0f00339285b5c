"""Rate limits with whole workers, in simulated time: what arrives at the receiver, and when."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from event_router.consumers.delivery_worker import DeliveryWorker, WorkerLimits
from event_router.consumers.health import Health
from event_router.consumers.open_sinks import OpenSinks
from event_router.consumers.ports import Sink
from event_router.schemas.delivery import Delivery, DeliveryHead
from event_router.schemas.errors import Answer
from event_router.schemas.record import Place, place_of
from event_router.schemas.wire import delivery_message
from tests.consumers.test_rates import most_over_the_limit
from tests.loop import World, destination
from tests.virtual_time import run_virtually, virtual_clock, virtual_monotonic

LIMITED, FREE = "limited", "free"


@dataclass
class Arrivals:
    """When (ms) what came, by destination."""

    at: dict[str, list[int]] = field(default_factory=lambda: {LIMITED: [], FREE: []})
    offsets: list[int] = field(default_factory=list)

    async def deliver(self, delivery: Delivery) -> Answer:
        self.at[delivery.head.destination].append(virtual_clock())
        if delivery.head.destination == LIMITED:
            self.offsets.append(delivery.head.origin.offset)
        await asyncio.sleep(0.01)
        return Answer("200", 200)

    async def aclose(self) -> None:
        """Nothing is held open."""


class Member:
    """A worker in the group. `sure` is what its last heartbeat says."""

    def __init__(self, world: World, arrivals: Sink) -> None:
        self.sure = True
        self.worker = DeliveryWorker(
            topics=world.topics,
            directory=world.directory,
            schedule=world.schedule,
            producer=world.broker,
            sinks=OpenSinks(lambda _: arrivals),
            done=lambda records: world.broker.finish("deliver", records),
            health=Health(),
            clock=virtual_clock,
            monotonic=virtual_monotonic,
            is_member=lambda: self.sure,
            limits=WorkerLimits(slots=200),
        )

    def assigned(self, world: World) -> None:
        self.sure = True
        self.worker.assigned(range(world.topics.partitions))

    async def release(self, world: World) -> None:
        await self.worker.release(range(world.topics.partitions), 1.0)
        self.worker.assigned(())


@asynccontextmanager
async def members(world: World, arrivals: Arrivals) -> AsyncIterator[tuple[Member, Member]]:
    two = Member(world, arrivals), Member(world, arrivals)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for one in two:
            group.create_task(one.worker.run(stop, drain=1.0))
        await asyncio.sleep(0)
        yield two
        stop.set()


def delivery(number: int, to: str) -> Delivery:
    origin = Place("events", 0, number, 1)
    began = virtual_clock()
    return Delivery(
        DeliveryHead("acme", f"e{number}", to, origin, "t", "2026-01-01T00:00:00Z", "test", began),
        b"{}",
    )


def a_world(rate: float | None) -> World:
    world = World()
    world.directory.put(destination(LIMITED, rate_limit=rate), destination(FREE))
    return world


async def publish(world: World, worker: DeliveryWorker, *deliveries: Delivery) -> None:
    sent = await world.broker.send([delivery_message(one, world.topics) for one in deliveries])
    records = world.broker.records(world.topics.deliveries)
    await worker.take([record for record in records if place_of(record) in sent])


async def a_burst(rate: float, count: int, seconds: float) -> tuple[Arrivals, DeliveryWorker]:
    world, arrivals = a_world(rate), Arrivals()
    async with members(world, arrivals) as (one, _):
        one.assigned(world)
        await asyncio.sleep(5)
        for number in range(count):
            await publish(world, one.worker, delivery(number, LIMITED), delivery(number, FREE))
            await asyncio.sleep(0.001)
        await asyncio.sleep(seconds)
    return arrivals, one.worker


@pytest.mark.parametrize("rate", [0.5, 1.0, 7.0, 40.0, 400.0])
def test_a_burst_is_spread_over_the_time_that_the_limit_takes(rate: float) -> None:
    arrivals, worker = run_virtually(a_burst(rate, 300, seconds=60))
    arrived = arrivals.at[LIMITED]
    assert most_over_the_limit(arrived, rate) <= max(1.0, rate / 4) + 0.1
    assert len(arrived) >= min(300, 0.95 * rate * 60 - 1)
    assert len(arrivals.at[FREE]) == 300
    assert max(arrivals.at[FREE]) - min(arrivals.at[FREE]) < 1_000, "the other one waits for nobody"
    assert worker.counts.claimed <= worker.counts.held, "nothing goes to and fro"


def test_those_that_came_first_go_first() -> None:
    arrivals, _ = run_virtually(a_burst(40.0, 300, seconds=60))
    assert arrivals.offsets == sorted(arrivals.offsets)


async def _overload(rate: float) -> Arrivals:
    world, arrivals = a_world(rate), Arrivals()
    async with members(world, arrivals) as (one, _):
        one.assigned(world)
        for number in range(600):
            await publish(world, one.worker, delivery(number, LIMITED))
            await asyncio.sleep(0.05)
    return arrivals


def test_under_twice_the_limit_the_oldest_still_come_first() -> None:
    arrivals = run_virtually(_overload(10.0))
    assert len(arrivals.offsets) >= 290
    assert arrivals.offsets == sorted(arrivals.offsets)


async def _moving(rate: float, seed: int) -> Arrivals:
    """The destination moves to and fro: told to let go, or found dead while it lives on."""
    dice = random.Random(seed)
    world, arrivals = a_world(rate), Arrivals()
    async with members(world, arrivals) as (one, other):
        one.assigned(world)
        for number in range(500):
            await publish(world, one.worker, delivery(number, LIMITED))
        for _ in range(8):
            await asyncio.sleep(dice.uniform(0.1, 4))
            if dice.random() < 0.5:
                await one.release(world)
                other.assigned(world)
            else:
                one.sure = False
                await asyncio.sleep(dice.uniform(0, 0.5))
                other.assigned(world)
                await asyncio.sleep(dice.uniform(0, 3))
                await one.release(world)
            one, other = other, one
        await asyncio.sleep(500 / rate)
    return arrivals


@pytest.mark.parametrize("rate", [5.0, 30.0, 300.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_limit_holds_while_a_destination_moves_between_workers(rate: float, seed: int) -> None:
    arrivals = run_virtually(_moving(rate, seed))
    assert sorted(arrivals.offsets) == list(range(500))
    assert most_over_the_limit(arrivals.at[LIMITED], rate) <= max(1.0, rate / 4) + 0.1


async def _changing() -> Arrivals:
    world, arrivals = a_world(None), Arrivals()
    async with members(world, arrivals) as (one, _):
        one.assigned(world)
        await publish(world, one.worker, *(delivery(number, LIMITED) for number in range(50)))
        await asyncio.sleep(1)
        world.directory.put(destination(LIMITED, rate_limit=5.0))
        await publish(world, one.worker, *(delivery(number, LIMITED) for number in range(50, 100)))
        await asyncio.sleep(4)
        world.directory.put(destination(LIMITED))
        await asyncio.sleep(1)
    return arrivals


def test_a_limit_holds_from_when_it_is_set_until_it_is_taken_away() -> None:
    arrivals = run_virtually(_changing())
    begin = arrivals.at[LIMITED][0]
    slow = [at for at in arrivals.at[LIMITED] if begin + 1_000 <= at < begin + 5_000]
    assert 19 <= len(slow) <= 22
    assert len(arrivals.at[LIMITED]) == 100
