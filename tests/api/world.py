"""The API over ports in memory, which tests can break."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from event_router.consumers.health import Health
from event_router.consumers.memory import MemoryBroker
from event_router.consumers.ports import Sighting, TenantView
from event_router.consumers.sinks.kinds import load_sinks
from event_router.router.api.app import create_app
from event_router.router.api.known_schemas import KnownSchemas
from event_router.router.api.services import Services
from event_router.router.batch.uploads import Uploads
from event_router.router.directory import CachedDirectory
from event_router.router.duplicates.memory import MemoryDuplicates
from event_router.router.hops.operator_events import alert_policy
from event_router.router.hops.publish import Publish
from event_router.router.metrics import RoleCollector, registry_of
from event_router.router.role_health import RoleHealth
from event_router.router.schedule.layout import Bounds
from event_router.router.schedule.memory import MemorySchedule
from event_router.router.settings import Settings
from event_router.router.store.memory_jobs import MemoryJobs
from event_router.router.store.memory_log import MemoryLog
from event_router.router.store.memory_registry import MemoryRegistry
from event_router.router.subscriptions import Subscriptions
from event_router.router.versions import MemoryVersions
from event_router.schemas.errors import TooLarge, Unavailable
from event_router.schemas.record import Message, Place
from event_router.schemas.topics import Topics

KEY = "the-key"
START = 1_800_000_000_000


@dataclass
class Clock:
    now: int = START

    def __call__(self) -> int:
        return self.now


class Producer:
    """A broker that can be down: then nobody knows what became of a message. Or `silent`: then it
    isn't even told."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.down = False
        self.silent = False
        self.deadlines: list[float | None] = []

    async def send(
        self, messages: Sequence[Message], deadline: float | None = None
    ) -> list[Place | TooLarge]:
        self.deadlines.append(deadline)
        if self.down:
            raise Unavailable("kafka", "no acknowledgement")
        if self.silent:
            await asyncio.Event().wait()
        return await self.broker.send(messages, deadline)

    async def aclose(self) -> None:
        await self.broker.aclose()


class Duplicates(MemoryDuplicates):
    """One that can be down, that counts its calls, and in which others may be quicker."""

    def __init__(self) -> None:
        super().__init__(3600)
        self.down = False
        self.calls: list[str] = []
        self.before_claim: Callable[[Sighting], bytes | None] = lambda _: None

    async def claim(self, sightings: Sequence[Sighting]) -> list[bytes | None]:
        self._called("claim")
        for sighting in sightings:
            other = self.before_claim(sighting)
            if other is not None:
                await super().claim([sighting._replace(value=other)])
        return await super().claim(sightings)

    async def look(self, sightings: Sequence[Sighting]) -> list[bytes | None]:
        self._called("look")
        return await super().look(sightings)

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.down:
            raise Unavailable("redis", "connection refused")


@dataclass
class NoDirectory:
    """One that fails, or hangs."""

    trouble: Callable[[], Awaitable[None]]

    async def views(self, tenants: Collection[str]) -> Mapping[str, TenantView]:
        await self.trouble()
        return {}


def a_settings(**more: Any) -> Settings:
    return Settings.model_validate({"api_key": SecretStr(KEY), **more})


@dataclass
class World:
    """Everything that the API stands on, and a client of it."""

    settings: Settings = field(default_factory=a_settings)
    clock: Clock = field(default_factory=Clock)
    folder: Path = Path("/nonexistent/uploads")

    def __post_init__(self) -> None:
        self.topics = Topics()
        self.broker = MemoryBroker(self.clock)
        self.producer = Producer(self.broker)
        self.duplicates = Duplicates()
        self.versions = MemoryVersions()
        self.registry = MemoryRegistry(self.versions, self.clock)
        self.directory = CachedDirectory(self.registry, self.versions)
        self.log = MemoryLog()
        self.jobs = MemoryJobs()
        self.schedule = MemorySchedule(self.topics, Bounds(1 << 20, 1 << 20), clock=self.clock)
        self.publish = Publish(self.topics, self.producer, self.duplicates, self.directory)
        self.health = Health(started=True)
        metrics = registry_of(RoleCollector({"publish": self.publish.counts}, dict))
        subscriptions = Subscriptions(
            alert_policy(self.settings),
            self.topics,
            self.registry,
            self.versions,
            self.producer,
            self.clock,
        )
        self.services = Services(
            settings=self.settings,
            topics=self.topics,
            registry=self.registry,
            jobs=self.jobs,
            uploads=Uploads(self.folder, 1 << 30),
            known_schemas=KnownSchemas(self.registry),
            log=self.log,
            producer=self.producer,
            schedule=self.schedule,
            publish=self.publish,
            subscriptions=subscriptions,
            sinks=load_sinks(),
            health=RoleHealth(self.health, metrics),
            clock=self.clock,
        )
        self.app = create_app(self.services)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False),
            base_url="http://router/api/v1/",
            headers={"authorization": f"Bearer {KEY}"},
        )

    async def tenant(self, tenant: str = "acme") -> None:
        assert (await self.client.put(f"tenants/{tenant}")).status_code == 201

    async def destination(self, tenant: str = "acme", **more: Any) -> dict[str, Any]:
        answer = await self.client.post(
            f"tenants/{tenant}/destinations", json=destination_body(**more)
        )
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def published(self) -> list[Mapping[str, bytes | None]]:
        """The headers of what lies in `events`."""
        return [dict(record.headers) for record in self.broker.records(self.topics.events)]


def destination_body(**more: Any) -> dict[str, Any]:
    return {
        "type": "webhook",
        "topics": "*",
        "config": {"url": "https://example.com/hook"},
        **more,
    }


def publish_body(**more: Any) -> dict[str, Any]:
    return {"tenant_id": "acme", "topic": "user.created", "data": {"a": 1}, **more}
