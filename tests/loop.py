"""The whole loop in one process: the real hops, worker and sweep over ports in memory.

What a process holds in its memory is a `Life`; what outlives it is the `World`. Time is virtual.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from event_router.consumers.delivery_worker import DeliveryWorker, WorkerLimits
from event_router.consumers.health import Health
from event_router.consumers.log_writer import LogWriter
from event_router.consumers.memory import MemoryBroker
from event_router.consumers.open_sinks import OpenSinks
from event_router.consumers.ports import Sink, TenantView
from event_router.router.decisions.alerts import AlertPolicy
from event_router.router.decisions.delays import FixedDelays
from event_router.router.decisions.retry import RetryPolicy
from event_router.router.duplicates.memory import MemoryDuplicates
from event_router.router.hops.operator_events import OPERATOR
from event_router.router.hops.orphans import SweepPace
from event_router.router.hops.route import Route
from event_router.router.hops.settle import Settle
from event_router.router.hops.sweep import Sweep
from event_router.router.hops.sweeper import Sweeper, SweeperPace
from event_router.router.schedule.layout import Bounds
from event_router.router.schedule.memory import MemorySchedule
from event_router.router.store.memory_log import MemoryLog
from event_router.schemas.cloudevents import NewEvent, event_message
from event_router.schemas.delivery import Delivery, DestinationKey
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Answer, Unavailable
from event_router.schemas.record import Record
from event_router.schemas.topics import Topics
from event_router.schemas.wire import read_dead
from tests.crash import Crash, Fuse
from tests.virtual_time import virtual_clock, virtual_monotonic

POLICY = RetryPolicy(FixedDelays((1.0,)), limit=3, max_age=3600)
ROOM = Bounds.of(1 << 24)
SWEEP = SweepPace(
    page=3,
    refill_page=3,
    look=5,
    refill_look=5,
    park=2,
    park_first=1,
    slow_look=4,
    stuck_look=3,
    stuck_keys=2,
)


def destination(name: str, **changes: object) -> Destination:
    plain = Destination(
        tenant="acme",
        id=name,
        type="memory",
        topics=("*",),
        config={},
        credentials={},
        version="1",
        created_at=0,
        updated_at=0,
    )
    return msgspec.structs.replace(plain, **changes)


@dataclass
class StaticDirectory:
    """Destinations by tenant, as the test set them."""

    destinations: dict[DestinationKey, Destination] = field(default_factory=dict)

    def put(self, *destinations: Destination) -> None:
        self.destinations.update({one.key: one for one in destinations})

    async def views(self, tenants: Collection[str]) -> Mapping[str, TenantView]:
        return {
            tenant: TenantView(
                tenant,
                {one.id: one for one in self.destinations.values() if one.tenant == tenant},
            )
            for tenant in tenants
        }


@dataclass
class Receiver:
    """Every destination's other end: `answers` holds, by destination, what comes before 200s."""

    answers: dict[str, list[Exception]] = field(default_factory=dict)
    received: Counter[tuple[str, str]] = field(default_factory=Counter)
    bodies: set[tuple[str, bytes]] = field(default_factory=set)
    delay: Callable[[], float] = float

    async def deliver(self, delivery: Delivery) -> Answer:
        await asyncio.sleep(self.delay())
        waiting = self.answers.get(delivery.head.destination)
        if waiting:
            raise waiting.pop(0)
        self.received[delivery.head.destination, delivery.head.event] += 1
        self.bodies.add((delivery.head.destination, delivery.data))
        return Answer("200", 200)

    async def aclose(self) -> None:
        """Nothing is held open."""


@dataclass
class Disabled:
    """What settle took out of service."""

    directory: StaticDirectory
    keys: list[DestinationKey] = field(default_factory=list)

    async def disable_unless_changed_since(self, key: DestinationKey, at: int, reason: str) -> bool:
        known = self.directory.destinations[key]
        if known.disabled_at is not None or known.updated_at >= at:
            return False
        self.keys.append(key)
        self.directory.put(msgspec.structs.replace(known, disabled_at=at))
        return True


class World:
    """Kafka, Redis, the registry, the log and the receivers."""

    def __init__(self, clock: Callable[[], int] = virtual_clock, bounds: Bounds = ROOM) -> None:
        self.topics = Topics(partitions=4, shards=8)
        self.broker = MemoryBroker(clock, self.topics.partitions)
        self.schedule = MemorySchedule(self.topics, bounds, clock=clock)
        self.log = MemoryLog()
        self.duplicates = MemoryDuplicates(window=3600)
        self.directory = StaticDirectory()
        self.receiver = Receiver()
        self.disabled = Disabled(self.directory)
        self.dice = random.Random(0)
        self.away = 0.0
        self.alerted = MemoryDuplicates(window=3600)
        self.alert_policy = AlertPolicy()

    async def publish(
        self, *ids: str, topic: str = "order.created", data: bytes = b'{"n": 1}'
    ) -> None:
        events = [
            NewEvent("acme", event_id, "test", topic, "2026-01-01T00:00:00Z", data)
            for event_id in ids
        ]
        await self.broker.send([event_message(event, self.topics.events) for event in events])

    def wants_alerts(self, policy: AlertPolicy) -> None:
        """From now on there is a destination for operators."""
        self.alert_policy = policy
        self.directory.put(destination("operator-events", tenant=OPERATOR))

    def told(self) -> list[dict[str, Any]]:
        """What operators received."""
        return [json.loads(body) for to, body in self.receiver.bodies if to == "operator-events"]

    def dead(self) -> list[tuple[str, str, str]]:
        """(destination, event, reason) of each delivery in `dead`."""
        heads = [read_dead(record).head for record in self.broker.records(self.topics.dead)]
        return [
            (head.delivery.destination, head.delivery.event, head.reason)
            for head in heads
            if head.delivery
        ]

    async def settled(self) -> bool:
        """Nothing is unfinished, nothing waits in the schedule, and the log says so, too."""
        topics, unfinished = self.topics, self.broker.unfinished
        reading = [("log", topic) for topic in topics.all]
        reading += [
            ("stream", topics.events),
            ("deliver", topics.deliveries),
            ("stream", topics.attempts),
        ]
        if any(unfinished(topics.group(role), topic) for role, topic in reading):
            return False
        if (await self.schedule.stats()).entries:
            return False
        return not await self.log.unsettled(virtual_clock() + 1, 1)

    def life(self, pace: SweepPace = SWEEP) -> "Life":
        return Life(self, Fuse(0, "before"), pace)

    async def run_until_settled(self, fuse: Fuse | None = None, lives: int = 1) -> None:
        """Runs the loop, in a new life after a crash."""
        fuse = fuse or Fuse(0, "before")
        for _ in range(lives):
            if await self.lives_through(fuse):
                return
        raise AssertionError(f"still not settled after {lives} lives")

    async def lives_through(self, fuse: Fuse) -> bool:
        crashed = False
        async with asyncio.timeout(3600):
            try:
                await Life(self, fuse).run()
            except* Crash:
                crashed = True
        return not crashed


class Life:
    """One process with all hops, from its start until all is settled or the fuse burns."""

    def __init__(self, world: World, fuse: Fuse, pace: SweepPace = SWEEP) -> None:
        self.world = world
        self.dice = world.dice
        broker = fuse.wrap(world.broker)
        schedule = fuse.wrap(world.schedule)
        directory = fuse.wrap(world.directory)
        log = fuse.wrap(world.log)
        health = Health()
        self.route = Route(
            world.topics, directory, fuse.wrap(world.duplicates), broker, health, virtual_clock
        )
        self.settle = Settle(
            world.topics,
            directory,
            schedule,
            broker,
            fuse.wrap(world.disabled),
            fuse.wrap(world.alerted),
            POLICY,
            world.alert_policy,
            health,
            virtual_clock,
        )
        receiver: Sink = fuse.wrap(world.receiver)
        self.worker = DeliveryWorker(
            topics=world.topics,
            directory=directory,
            schedule=schedule,
            producer=broker,
            sinks=OpenSinks(lambda _: receiver),
            done=self.delivered,
            health=health,
            clock=virtual_clock,
            monotonic=virtual_monotonic,
            limits=WorkerLimits(slots=16, poll_every=0.5),
        )
        self.writer = LogWriter(world.topics, log, health)
        sweep = Sweep(world.topics, log, schedule, broker, directory, POLICY, pace)
        self.sweeper = Sweeper(sweep, virtual_clock, SweeperPace(every=5, grace=10, hurry=30))
        self.taken: set[tuple[int, int]] = set()
        self.stop = asyncio.Event()

    async def run(self) -> None:
        self.worker.assigned(range(self.world.topics.partitions))
        topics = self.world.topics
        async with asyncio.TaskGroup() as group:
            group.create_task(self.worker.run(self.stop, drain=1.0), name="worker")
            reading = [
                group.create_task(work, name=name)
                for name, work in (
                    ("route", self._hop("stream", topics.events, self.route)),
                    ("settle", self._hop("stream", topics.attempts, self.settle)),
                    *(
                        (f"log {topic}", self._hop("log", topic, self.writer.write))
                        for topic in topics.all
                    ),
                    ("take", self._take()),
                    ("sweep", self.sweeper.run()),
                )
            ]
            while not await self.world.settled():
                await asyncio.sleep(0.5)
            for task in reading:
                task.cancel()
            self.stop.set()

    async def _take(self) -> None:
        broker, topics = self.world.broker, self.world.topics
        while True:
            deliveries = [
                record
                for record in broker.unfinished(topics.group("deliver"), topics.deliveries)
                if (record.partition, record.offset) not in self.taken
            ]
            self.taken.update((record.partition, record.offset) for record in deliveries)
            if deliveries:
                await self.worker.take(deliveries)
            await self._between_polls()

    async def _hop(
        self,
        role: str,
        topic: str,
        hop: Callable[[Sequence[Record]], Awaitable[None]],
    ) -> None:
        broker, group = self.world.broker, self.world.topics.group(role)
        while True:
            records = broker.unfinished(group, topic)
            if records:
                await hop(records)
                broker.finish(group, records)
            await self._between_polls()

    async def _between_polls(self) -> None:
        """Now and then a hop is away for long: the others go on."""
        away = self.dice.random() < self.world.away
        await asyncio.sleep(self.dice.uniform(5, 40) if away else self.dice.uniform(0.02, 0.6))

    def delivered(self, records: Sequence[Record]) -> None:
        self.world.broker.finish(self.world.topics.group("deliver"), records)


def unavailable(code: str = "500", *, retry_after: float | None = None) -> Unavailable:
    status = int(code) if code.isdigit() else None
    return Unavailable(code, retry_after=retry_after, answer=Answer(code, status))
