"""What the faults are thrown at: services of our own, the router's processes, and receivers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from event_router.router.commands.init import initialise
from event_router.router.redis_pipe import RedisPipe
from event_router.router.settings import Settings, read_settings
from event_router.router.store.ports import DestinationFields
from event_router.router.store.registry import SqlRegistry
from event_router.router.store.secrets import Secrets
from event_router.router.versions import RedisVersions
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.destination import RetryOverride
from event_router.schemas.topics import Topics
from tests import services
from tests.conservation.events import TENANTS, Destination, Key
from tests.conservation.ledger import Ledger
from tests.conservation.receivers import Receiver, listening
from tests.conservation.roles import Roles, faked_clocks
from tests.system import KEY, SECRET, environment

Database = Literal["postgres", "sqlite"]
S = TypeVar("S", bound=services.Service)

PROCESSES = ("stream", "deliver", "deliver-2", "log", "api")
READY = 90.0
# Longer than faults last in a row, so that nothing but `broken` exhausts its retries.
SCHEDULE = ",".join(map(str, [1, 1, 2, 2, 3, 3, *[5] * 60]))
BROKEN = RetryOverride(schedule=(1.0, 2.0))
FAKETIME = tuple(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@dataclass(frozen=True, slots=True)
class Bed:
    """Everything that a fault may touch. `postgres` is None where SQLite is used. `second` is a
    broker that has every other partition, and nothing but that."""

    folder: Path
    settings: Settings
    kafka: services.Kafka
    second: services.Kafka | None
    redis: services.Redis
    postgres: services.Postgres | None
    roles: Roles
    receivers: dict[Key, Receiver]

    @property
    def topics(self) -> Topics:
        return Topics(self.settings.namespace, self.settings.partitions)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.settings.api_port}"

    @property
    def database(self) -> Database:
        return "sqlite" if self.postgres is None else "postgres"

    @property
    def healthy(self) -> list[Receiver]:
        """Those whose mood faults may change."""
        return [one for one in self.receivers.values() if one.destination.kind == "well"]


@asynccontextmanager
async def laid(
    ledger: Ledger,
    folder: Path,
    database: Database,
    processes: Sequence[str] = PROCESSES,
    *,
    second_broker: bool = False,
    more: Mapping[str, str] | None = None,
) -> AsyncIterator[Bed]:
    """Everything is started and ready; all of it is gone afterwards. `more` are settings, without
    their `ROUTER_`."""
    async with AsyncExitStack() as stack:
        kafka = await _own(stack, services.own_kafka)
        second = await _second(stack, kafka) if second_broker else None
        redis = await _own(stack, services.own_redis)
        postgres = await _own(stack, _durable_postgres) if database == "postgres" else None
        brokers = ",".join(one.bootstrap for one in (kafka, second) if one)
        env = _environment(brokers, redis, postgres, folder, more or {})
        settings = read_settings(env)
        if second:
            await _make_topics(settings)
        async for _ in initialise(settings):
            pass
        receivers = await stack.enter_async_context(listening(ledger))
        await _make_destinations(settings, ledger.destinations, receivers)
        roles = Roles(folder, env, settings.api_port)
        stack.push_async_callback(roles.stop)
        for name in processes:
            await roles.start(name)
        late = await roles.ready(READY)
        assert not late, late
        yield Bed(folder, settings, kafka, second, redis, postgres, roles, receivers)


async def _own(stack: AsyncExitStack, start: Callable[[], S]) -> S:
    """A service that runs for as long as the stack."""
    service = await asyncio.to_thread(start)
    stack.callback(service.kill)
    return service


async def _second(stack: AsyncExitStack, kafka: services.Kafka) -> services.Kafka:
    """Started once the first one has the groups, so that it is their coordinator."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id="any")
    await consumer.start()
    try:
        await consumer.committed(TopicPartition("any", 0))
    finally:
        await consumer.stop()
    return await _own(stack, partial(services.another_broker, kafka))


def _durable_postgres() -> services.Postgres:
    """A transaction that was answered outlives a SIGKILL of the server, as by default."""
    return services.own_postgres("synchronous_commit=on")


def _environment(
    brokers: str,
    redis: services.Redis,
    postgres: services.Postgres | None,
    folder: Path,
    more: Mapping[str, str],
) -> dict[str, str]:
    given = {
        "RETRY_SCHEDULE": SCHEDULE,
        "DELIVERY_TIMEOUT": "5",
        "KAFKA_SESSION_TIMEOUT": "10",
        **more,
    }
    if postgres is not None:
        given["DATABASE"] = postgres.create_database()
        given["LOG_DATABASE"] = postgres.create_database()
    env = environment(brokers, redis.url, folder, **given)
    return env | (faked_clocks(FAKETIME[0]) if FAKETIME else {})


async def _make_topics(settings: Settings) -> None:
    """Unreplicated, so that every other partition has no leader while the second broker is away;
    `router init` then leaves them as they are."""
    assignments = {number: [1 + number % 2] for number in range(settings.partitions)}
    topics = Topics(settings.namespace, settings.partitions).all
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        made = await admin.create_topics(
            [NewTopic(name, -1, -1, replica_assignments=assignments) for name in topics]
        )
    finally:
        await admin.close()
    assert not any(error[1] for error in made.topic_errors), made


async def _make_destinations(
    settings: Settings, destinations: list[Destination], receivers: dict[Key, Receiver]
) -> None:
    redis = RedisPipe(settings.redis)
    versions = RedisVersions(redis, Topics(settings.namespace).prefix)
    registry = SqlRegistry(settings.registry_url, Secrets((KEY,)), versions)
    for tenant in TENANTS:
        await registry.upsert_tenant(tenant, None)
    for one in destinations:
        await registry.create(DestinationKey(*one.key), _fields(one, receivers.get(one.key)))
    await registry.aclose()
    await redis.aclose()


def _fields(destination: Destination, receiver: Receiver | None) -> DestinationFields:
    least = destination.at_least
    return DestinationFields(
        type="webhook" if receiver else "carrier_pigeon",
        topics=destination.topics,
        config={"url": receiver.url} if receiver else {},
        credentials={"secret": SECRET},
        filter={"data": {"n": {"$gte": least}}} if least else None,
        retry=BROKEN if destination.kind == "broken" else None,
    )
