"""Fixtures: the services start when a test first asks for one, and once a session."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tests import services

# A busy machine makes an example slow, not wrong.
hypothesis_settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("busy")

S = TypeVar("S", bound=services.Service)


def _running(find: Callable[[], S]) -> Iterator[S]:
    try:
        service = find()
    except services.Missing as missing:
        pytest.fail(str(missing), pytrace=False)
    yield service
    if service.process is not None:
        service.process.kill()


@pytest.fixture(scope="session")
def kafka() -> Iterator[services.Kafka]:
    """Apache Kafka: `.bootstrap`, `.make_topics({name: partitions})`.

    Tests that stop it use `faulty_kafka`."""
    yield from _running(services.kafka)


@pytest.fixture(scope="session")
def faulty_kafka(request: pytest.FixtureRequest) -> Iterator[services.Kafka]:
    """An Apache Kafka that may be stopped, killed, paused and started: ours, never a given one.

    A test starts it again before it ends."""
    shared: services.Kafka = request.getfixturevalue("kafka")
    if shared.ours:
        yield shared
    else:
        yield from _running(services.own_kafka)


@pytest.fixture(scope="session")
def tansu() -> Iterator[services.Tansu]:
    """The embedded broker: `.bootstrap`, `.make_topics({name: partitions})`."""
    yield from _running(services.tansu)


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[services.RabbitMq]:
    """RabbitMQ: `.server`, `.url`."""
    yield from _running(services.rabbitmq)


@pytest.fixture(scope="session")
def own_rabbitmq(request: pytest.FixtureRequest) -> Iterator[services.RabbitMq]:
    """A RabbitMQ of ours, never a given one: it speaks TLS as well."""
    shared: services.RabbitMq = request.getfixturevalue("rabbitmq")
    if shared.ours:
        yield shared
    else:
        yield from _running(services.own_rabbitmq)


@pytest.fixture(scope="session")
def nats_server() -> Iterator[services.Nats]:
    """NATS with JetStream: `.server`."""
    yield from _running(services.nats)


@pytest.fixture(scope="session")
def pubsub() -> Iterator[services.Pubsub]:
    """Google's in-memory Pub/Sub, as an emulator and behind TLS."""
    yield from _running(services.pubsub)


@pytest.fixture(scope="session")
def service_bus() -> Iterator[services.ServiceBus]:
    """A peer that speaks as Azure Service Bus does, as its emulator and behind TLS."""
    yield from _running(services.service_bus)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[services.Redis]:
    """Redis, as it was left: `redis_url` is what most tests want."""
    yield from _running(services.redis)


@pytest.fixture
def redis_url(redis_server: services.Redis) -> str:
    """The URL of an empty Redis."""
    redis_server.flush()
    return redis_server.url


@pytest.fixture
def faulty_redis() -> Iterator[services.Redis]:
    """A Redis of the test's own, which may be stopped, killed, paused and started."""
    yield from _running(services.own_redis)


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[services.Redis]:
    """The embedded Valkey."""
    yield from _running(services.valkey)


@pytest.fixture
def valkey_url(valkey_server: services.Redis) -> str:
    """The URL (a unix socket) of an empty Valkey."""
    valkey_server.flush()
    return valkey_server.url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[services.Postgres]:
    """PostgreSQL: `.create_database()` for scopes wider than a test."""
    yield from _running(services.postgres)


@pytest.fixture
def postgres_url(postgres_server: services.Postgres) -> Iterator[str]:
    """The SQLAlchemy URL of a fresh database."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def namespace() -> str:
    """A name that no other test has, for ROUTER_NAMESPACE, topics and groups."""
    return services.unique()
