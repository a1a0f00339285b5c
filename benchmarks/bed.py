"""What is measured: the system over services of its own, and the CPU that each process takes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from benchmarks.processes import cpu_seconds
from event_router.router.redis_pipe import RedisPipe
from event_router.router.store.ports import DestinationFields
from event_router.router.store.registry import SqlRegistry
from event_router.router.store.secrets import Secrets
from event_router.router.versions import RedisVersions
from event_router.schemas.delivery import DestinationKey
from tests import services
from tests.system import KEY, SECRET, TANSU, System, environment, running

Kind = Literal["real", "embedded"]
Database = Literal["sqlite", "postgres"]


@dataclass(frozen=True, slots=True)
class Bed:
    """A running system, and the processes of its services by name."""

    system: System
    services: dict[str, int]

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far, by role and by service."""
        roles = {name: process.pid for name, process in self.system.roles.items()}
        return {name: cpu_seconds(pid) for name, pid in (roles | self.services).items()}

    async def make_destinations(self, count: int, port: int) -> None:
        """`count` webhooks of the tenant `bench`, each with a path of its own."""
        await self.make_webhooks(
            {
                DestinationKey("bench", f"d{number}"): f"http://127.0.0.1:{port}/d{number}"
                for number in range(count)
            }
        )

    async def make_webhooks(self, urls: Mapping[DestinationKey, str]) -> None:
        """With their tenants, which may be there already."""
        async with self.registry() as registry:
            for tenant in {key.tenant for key in urls}:
                await registry.upsert_tenant(tenant, None)
            for key, url in urls.items():
                await registry.create(
                    key,
                    DestinationFields(
                        type="webhook",
                        topics=("*",),
                        config={"url": url},
                        credentials={"secret": SECRET},
                    ),
                )

    @asynccontextmanager
    async def registry(self) -> AsyncIterator[SqlRegistry]:
        settings = self.system.settings
        redis = RedisPipe(settings.redis)
        versions = RedisVersions(redis, self.system.topics.prefix)
        registry = SqlRegistry(settings.registry_url, Secrets((KEY,)), versions)
        try:
            yield registry
        finally:
            await registry.aclose()
            await redis.aclose()


@asynccontextmanager
async def laid(kind: Kind, database: Database, **settings: str) -> AsyncIterator[Bed]:
    """Everything is started and ready; all of it is gone afterwards. `settings` are variables
    without their `ROUTER_`."""
    kafka = services.own_kafka(services.AS_DEPLOYED) if kind == "real" else services.tansu()
    redis = services.own_redis() if kind == "real" else services.valkey()
    started: dict[str, services.Service] = {kafka.own.name: kafka, redis.own.name: redis}
    with TemporaryDirectory(prefix="event-router-bench-") as name:
        env = environment(
            kafka.bootstrap, redis.url, Path(name), KAFKA_SESSION_TIMEOUT="10", **settings
        )
        if kind == "embedded":
            env |= TANSU
        if database == "postgres":
            postgres = services.own_postgres()
            started["postgres"] = postgres
            env["ROUTER_DATABASE"] = postgres.create_database()
            env["ROUTER_LOG_DATABASE"] = postgres.create_database()
        try:
            async with running(env, Path(name)) as system:
                yield Bed(system, {name: one.own.pid for name, one in started.items()})
        finally:
            for one in started.values():
                one.stop()
