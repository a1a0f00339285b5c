"""Stream apps for tests: in this process, or one a process (tests/faust/worker.py)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from event_router.consumers.gap import Gap
from event_router.consumers.handover import Handover
from event_router.consumers.health import Health
from event_router.consumers.newer_records import Hop
from event_router.router.settings import Settings
from event_router.router.stream.app import run_stream, stream_app
from event_router.schemas.record import Record
from tests.waiting import until

DRAIN = 0.5
OnGap = Callable[[Gap], Awaitable[None]]


def settings(bootstrap: str, folder: Path, **more: Any) -> Settings:
    return Settings.model_validate(
        {
            "kafka": bootstrap,
            "kafka_session_timeout": 1.0,
            "drain_timeout": DRAIN,
            "data_dir": folder,
            **more,
        }
    )


@dataclass
class Hops:
    """What was handed on, in the order in which it was done. `hold` says which ids hang."""

    hold: Callable[[bytes], bool] = lambda _: False
    begun: list[bytes] = field(default_factory=list)
    done: list[bytes] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, records: Sequence[Record]) -> None:
        ids = [record.value or b"" for record in records]
        self.begun += ids
        self.batches.append(len(ids))
        if any(map(self.hold, ids)):
            await self.go.wait()
        self.done += ids

    async def finished(self, count: int, timeout: float = 20.0) -> None:
        await until(lambda: len(set(self.done)) >= count, timeout)


@dataclass
class Running:
    app: Any
    health: Health
    stop: asyncio.Event
    task: "asyncio.Task[None]"

    async def end(self) -> None:
        self.stop.set()
        await self.task


async def start(
    settings: Settings,
    group: str,
    hops: Mapping[str, Hop],
    gap: OnGap | None = None,
    handover: Handover | None = None,
) -> Running:
    """A stream app on this loop, reading."""
    health = Health()
    stop = asyncio.Event()
    app = stream_app(settings, group, hops, health, gap, handover)
    task = asyncio.create_task(run_stream(app, stop), name=f"stream {group}")
    running = Running(app, health, stop, task)
    await until(lambda: health.started or task.done())
    if task.done():
        task.result()
    return running


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    group: str,
    hops: Mapping[str, Hop],
    gap: OnGap | None = None,
    handover: Handover | None = None,
) -> AsyncIterator[Running]:
    started = await start(settings, group, hops, gap, handover)
    try:
        yield started
    finally:
        await started.end()


async def send(bootstrap: str, topic: str, ids: Sequence[bytes], partitions: int = 1) -> None:
    """Acknowledged, round robin over the partitions."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        sent = [
            await producer.send(topic, one, partition=number % partitions)
            for number, one in enumerate(ids)
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def committed(bootstrap: str, group: str, topic: str, partition: int = 0) -> int | None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        offset: int | None = await consumer.committed(TopicPartition(topic, partition))
        return offset
    finally:
        await consumer.stop()


def numbered(start: int, end: int) -> list[bytes]:
    return [str(number).encode() for number in range(start, end)]
