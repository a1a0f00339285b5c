"""Jobs over ports in memory, with real files."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from event_router.consumers.health import Health
from event_router.consumers.memory import MemoryBroker
from event_router.consumers.ports import Producer
from event_router.router.batch.ports import Ports
from event_router.router.batch.uploads import Binding, Uploads
from event_router.router.batch.worker import Worker
from event_router.router.duplicates.memory import MemoryDuplicates
from event_router.router.store.job_ports import Job, JobOptions, Jobs, NewJob
from event_router.router.store.memory_jobs import MemoryJobs
from event_router.router.store.memory_registry import MemoryRegistry
from event_router.router.versions import MemoryVersions
from event_router.schemas.decode import decode_event
from event_router.schemas.event import Event
from event_router.schemas.ids import new_id
from event_router.schemas.record import Record

ORG, TENANT, TOPIC = "org", "acme", "orders"
BINDING = Binding(ORG, TENANT, TOPIC)
KAFKA = "events"
START = 1_800_000_000_000


@dataclass
class Clock:
    now: int = START

    def __call__(self) -> int:
        return self.now


class MemoryEventsTopic:
    """The topic in a broker in memory."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def ends(self) -> dict[int, int]:
        return {number: end for (_, number), end in (await self._broker.ends(KAFKA)).items()}

    async def tail(self, begins: Mapping[int, int]) -> AsyncIterator[list[Record]]:
        for partition, begin in begins.items():
            yield self._broker.logs[KAFKA, partition][begin:]


@dataclass
class BatchWorld:
    """What jobs stand on. Workers come and go."""

    folder: Path
    limit: int = 10_000
    clock: Callable[[], int] = field(default_factory=Clock)
    jobs: Jobs = field(default_factory=MemoryJobs)

    def __post_init__(self) -> None:
        self.broker = MemoryBroker(self.clock)
        self.uploads = Uploads(self.folder, 1 << 30)
        self.duplicates = MemoryDuplicates(3600)
        self.registry = MemoryRegistry(MemoryVersions(), self.clock)
        self.health = Health()

    def ports(self, producer: Producer | None = None) -> Ports:
        return Ports(
            uploads=self.uploads,
            producer=producer or self.broker,
            duplicates=self.duplicates,
            schemas=self.registry.schemas,
            events=MemoryEventsTopic(self.broker),
            topic=KAFKA,
            limit=self.limit,
            clock=self.clock,
        )

    def pass_time(self, milliseconds: int) -> None:
        assert isinstance(self.clock, Clock)
        self.clock.now += milliseconds

    def worker(self, producer: Producer | None = None, **more: Any) -> Worker:
        return Worker(self.jobs, self.ports(producer), self.health, poll=0.01, **more)

    async def upload(self, content: bytes | str, name: str = "rows.csv") -> str:
        async def body() -> AsyncIterator[bytes]:
            yield content.encode() if isinstance(content, str) else content

        return await self.uploads.put(BINDING, name, body())

    async def job(self, *stored: str, **options: Any) -> str:
        """The job's uuid."""
        new = NewJob(
            uuid=new_id(),
            org=ORG,
            tenant=TENANT,
            topic=TOPIC,
            files=stored,
            options=JobOptions(**options),
            created_at=self.clock(),
        )
        return (await self.jobs.add(new)).uuid

    async def found(self, uuid: str) -> Job:
        job = await self.jobs.job(uuid)
        assert job is not None
        return job

    def events(self) -> list[Event]:
        return [decode_event(record) for record in self.broker.records(KAFKA)]
