"""Each stage of the pipeline alone, over ports in memory: µs of CPU a record.

python -m benchmarks.stages [--write]
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.document import write_between_markers
from event_router.consumers.delivery_worker import DeliveryWorker, WorkerLimits
from event_router.consumers.health import Health
from event_router.consumers.log_writer import LogWriter
from event_router.consumers.open_sinks import OpenSinks
from event_router.router.clock import now_ms
from event_router.router.decisions.delays import FixedDelays
from event_router.router.decisions.retry import RetryPolicy
from event_router.router.hops.route import Route
from event_router.router.hops.settle import Settle
from event_router.router.store.log import SqlLog
from event_router.router.store.migrate import migrate
from event_router.schemas.decode import decode_event
from event_router.schemas.delivery import Delivery
from event_router.schemas.errors import Answer
from event_router.schemas.record import Record
from tests.loop import World, destination

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
RECORDS = 20_000
BATCH = 500
SIZE = 500
ROUNDS = 3


class Taken:
    """A sink that takes everything at once."""

    async def deliver(self, _delivery: Delivery) -> Answer:
        return Answer("200", 200)

    async def aclose(self) -> None:
        """Nothing is held open."""


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    cpu: float


async def stages() -> list[Stage]:
    """Of each stage the best of ROUNDS rounds: what disturbs only adds."""
    rounds = [await _round() for _ in range(ROUNDS)]
    names = rounds[0]
    return [Stage(name, min(one[name] for one in rounds)) for name in names]


async def _round() -> dict[str, float]:
    """A pass of the same events through all stages, each fed by the one before."""
    world = World(now_ms)
    world.directory.put(
        *(destination(f"d{number}", topics=(f"t{number}",)) for number in range(100))
    )
    payload = b'{"pad":"' + b"x" * (SIZE - 10) + b'"}'
    for number in range(100):
        ids = [f"{number}-{event}" for event in range(RECORDS // 100)]
        await world.publish(*ids, topic=f"t{number}", data=payload)
    topics, broker = world.topics, world.broker
    found: dict[str, float] = {}

    events = broker.records(topics.events)
    found["decode an event (CloudEvents, binary)"] = await _timed(events, _decode)
    route = Route(topics, world.directory, world.duplicates, broker, Health(), now_ms)
    found["route"] = await _timed(events, route)
    deliveries = broker.records(topics.deliveries)
    found["deliver, to a sink that takes all at once"] = await _deliver(world, deliveries)
    attempts = broker.records(topics.attempts)
    settle = Settle(
        topics, world.directory, world.schedule, broker, world.disabled,
        world.alerted, RetryPolicy(FixedDelays((1.0,)), 1, 3600), world.alert_policy,
        Health(), now_ms,
    )  # fmt: skip
    found["settle"] = await _timed(attempts, settle)
    found["log, to SQLite (three records a delivery)"] = await _log(
        world, [one for three in zip(events, deliveries, attempts, strict=True) for one in three]
    )
    return found


async def _decode(records: list[Record]) -> None:
    for record in records:
        decode_event(record)


async def _timed(records: list[Record], hop: Callable[[list[Record]], Awaitable[None]]) -> float:
    began = time.process_time()
    for start in range(0, len(records), BATCH):
        await hop(records[start : start + BATCH])
    return (time.process_time() - began) / RECORDS * 1e6


async def _deliver(world: World, records: list[Record]) -> float:
    sink = Taken()
    left = len(records)
    stop = asyncio.Event()

    def done(finished: Sequence[Record]) -> None:
        nonlocal left
        left -= len(finished)
        if not left:
            stop.set()

    worker = DeliveryWorker(
        topics=world.topics,
        directory=world.directory,
        schedule=world.schedule,
        producer=world.broker,
        sinks=OpenSinks(lambda _: sink),
        done=done,
        health=Health(),
        clock=now_ms,
        limits=WorkerLimits(slots=4000),
    )
    worker.assigned(range(world.topics.partitions))
    began = time.process_time()
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run(stop, drain=1.0))
        await asyncio.sleep(0)
        for start in range(0, len(records), BATCH):
            await worker.take(records[start : start + BATCH])
            while worker.running:  # noqa: ASYNC110  as long as there is anything to run
                await asyncio.sleep(0)
    return (time.process_time() - began) / RECORDS * 1e6


async def _log(world: World, records: list[Record]) -> float:
    with TemporaryDirectory(prefix="event-router-bench-") as folder:
        url = f"sqlite:///{folder}/log.sqlite"
        migrate(url, "log")
        store = SqlLog(url)
        writer = LogWriter(world.topics, store, Health())
        cpu = await _timed(records, writer.write)
        await store.aclose()
    return cpu


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.stages", description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    given = parser.parse_args()
    found = uvloop.run(stages())
    table = Table("stage", "µs of CPU a delivery", title=f"{SIZE} B, batches of {BATCH}")
    for stage in found:
        table.add_row(stage.name, f"{stage.cpu:.1f}")
    Console().print(table)
    if given.write:
        rows = [f"| {stage.name} | {stage.cpu:.1f} |" for stage in found]
        head = ["| stage | µs of CPU a delivery |", "|---|---|"]
        write_between_markers(DOCUMENT, "stages", "\n".join(head + rows))


if __name__ == "__main__":
    main()
