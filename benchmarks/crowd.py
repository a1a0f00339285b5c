"""A crowd of destinations on a running system, some of which behave badly for a while."""

import asyncio
import math
import os
import signal
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from urllib.request import urlopen

import msgspec

from benchmarks.bed import Bed
from benchmarks.children import report, start
from benchmarks.crowd_producer import Load
from benchmarks.crowd_receiver import Arrived
from benchmarks.processes import idle_seconds
from benchmarks.receiver import at
from event_router.router.adapters import open_schedule
from event_router.router.child import free_port
from event_router.router.redis_pipe import RedisPipe
from event_router.schemas.delivery import DestinationKey
from tests.system import ROLES

TENANTS = 10
DESTINATIONS = 100
RATE = 560.0
STARTING = 1.5
"""Seconds for producers and the receiver to start."""
LEAD = 2.0
"""Seconds in which all behave well, not counted."""
RECOVERING = 5.0
"""Seconds after the end of what came on top, in neither window."""
PATIENCE = 60.0
"""Seconds for what is left once all behave well again."""
SAMPLED = 0.5

_runs = count()


@dataclass(frozen=True, slots=True)
class Extra:
    """Events on top: `number` of them, at `rate` a second (0: as fast as can be), to `targets`."""

    number: int
    rate: float
    targets: range

    @property
    def seconds(self) -> float:
        """How long it takes; what comes as fast as can be, about."""
        return self.number / (self.rate or 10_000)


@dataclass(frozen=True, slots=True)
class Half:
    """The crowd for `seconds`, with what comes on top and its aftermath longer. `manners` are of
    those that behave badly: see `crowd_receiver`."""

    seconds: float
    manners: Mapping[int, str] = field(default_factory=dict)
    extra: Extra | None = None

    @property
    def lasts(self) -> float:
        return self.seconds + (self.extra.seconds + RECOVERING if self.extra else 0.0)

    @property
    def events(self) -> int:
        return round(RATE * (LEAD + self.lasts))


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of the others. Times in ms; cores are those that were busy on average, `idle` is
    of all of the machine's. `missing` are deliveries to anybody that weren't made. `during` is
    while something came on top (p99), and is None otherwise; `held` were parked for want of room.
    """

    p50: float
    p99: float
    during: float | None
    missing: int
    duplicates: int
    ours: float
    services: float
    idle: float
    schedule_bytes: int
    slots: int
    held: int


async def run(bed: Bed, half: Half) -> Ran:
    """With destinations of its own, which are gone on return, and so is all that was for them."""
    port, this = free_port(), next(_runs)
    keys = [
        DestinationKey(f"t{number * TENANTS // DESTINATIONS}", f"r{this}-d{number}")
        for number in range(DESTINATIONS)
    ]
    manners = [_manner(half, number) for number in range(DESTINATIONS)]
    names = zip(keys, manners, strict=True)
    await bed.make_webhooks(
        {key: f"http://127.0.0.1:{port}/{manner}/{key.destination}" for key, manner in names}
    )
    begin = time.time() + STARTING
    loads = _loads(bed, half, keys, begin)
    expected = sum(load.count for load in loads)
    receiver = await start("benchmarks.crowd_receiver", port, expected, begin + LEAD)
    producers = [
        await start("benchmarks.crowd_producer", msgspec.json.encode(load).decode())
        for load in loads
    ]
    await asyncio.sleep(begin + LEAD - time.time())
    async with watching(bed) as watch:
        said = [await report(producer, 300) for producer in producers]
    receiver.send_signal(signal.SIGUSR1)
    arrived = msgspec.json.decode(await report(receiver, PATIENCE), type=Arrived)
    async with bed.registry() as registry:
        for key in keys:
            await registry.delete(key)
    intake = msgspec.json.decode(said[-1], type=dict[str, float])["ended"] if half.extra else None
    missing = expected - arrived.pairs
    return _ran(arrived, watch, begin + LEAD, intake, missing)


def _manner(half: Half, number: int) -> str:
    busy = half.extra is not None and number in half.extra.targets
    return "busy" if busy else half.manners.get(number, "well")


def _loads(bed: Bed, half: Half, keys: list[DestinationKey], begin: float) -> list[Load]:
    kafka, topic = bed.system.settings.kafka, bed.system.topics.events
    loads = [Load(kafka, topic, begin, RATE, half.events, keys)]
    if half.extra:
        targets = [keys[number] for number in half.extra.targets]
        extra = half.extra
        loads.append(
            Load(kafka, topic, begin + LEAD, extra.rate, extra.number, targets, half.events)
        )
    return loads


def _ran(
    arrived: Arrived, watch: "Watch", bad_from: float, intake: float | None, missing: int
) -> Ran:
    """`intake` is when all was published that came on top; so late that nothing is left to look at
    afterwards, the others count as never served."""
    counted_from = bad_from if intake is None else intake + RECOVERING
    times = list(zip(arrived.sent, arrived.took, strict=True))
    counted = sorted(took for sent, took in times if sent >= counted_from * 1000)
    during = sorted(took for sent, took in times if bad_from <= sent / 1000 < counted_from)
    return Ran(
        p50=at(counted, 0.50) if counted else math.inf,
        p99=at(counted, 0.99) if counted else math.inf,
        during=None if intake is None else at(during, 0.99),
        missing=missing,
        duplicates=arrived.duplicates,
        ours=watch.cores(ROLES),
        services=watch.cores(watch.cpu.keys() - set(ROLES)),
        idle=watch.idle,
        schedule_bytes=watch.schedule_bytes,
        slots=watch.slots,
        held=watch.held,
    )


class Watch:
    """What is looked at while others work."""

    def __init__(self, bed: Bed) -> None:
        settings = bed.system.settings
        self._bed = bed
        self._redis = RedisPipe(settings.redis)
        self._schedule = open_schedule(settings, bed.system.topics, self._redis)
        self._began = time.monotonic()
        self._cpu = bed.cpu()
        self._idle = idle_seconds()
        self.cpu: dict[str, float] = {}
        self.idle = 0.0
        self.schedule_bytes = 0
        self.slots = 0
        self.held = 0
        self._held_before: int | None = None

    def cores(self, names: Collection[str]) -> float:
        """How many of them those processes kept busy."""
        return sum(self.cpu[name] for name in names)

    async def look(self) -> None:
        stats = await self._schedule.stats()
        self.schedule_bytes = max(self.schedule_bytes, stats.bytes)
        said = await asyncio.to_thread(_metrics, self._bed.system.health["deliver"])
        self.slots = max(self.slots, said["router_deliver_running"])
        if self._held_before is None:
            self._held_before = said["router_deliver_held_total"]
        self.held = said["router_deliver_held_total"] - self._held_before

    async def end(self) -> None:
        took = time.monotonic() - self._began
        self.idle = (idle_seconds() - self._idle) / took / (os.cpu_count() or 1)
        self.cpu = {
            name: (after - self._cpu[name]) / took for name, after in self._bed.cpu().items()
        }
        await self._redis.aclose()


@asynccontextmanager
async def watching(bed: Bed) -> AsyncIterator[Watch]:
    """Looks every now and then; its figures are complete afterwards."""
    watch = Watch(bed)
    looking = asyncio.create_task(_look(watch), name="look at what is measured")
    try:
        yield watch
    finally:
        looking.cancel()
        await asyncio.wait([looking])
        await watch.end()


async def _look(watch: Watch) -> None:
    while True:
        await watch.look()
        await asyncio.sleep(SAMPLED)


def _metrics(url: str) -> dict[str, int]:
    with urlopen(f"{url}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("router_"))
    return {name: round(float(value)) for name, value in pairs}
