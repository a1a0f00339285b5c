"""Set-ups that are broken, and what `router doctor` says of each."""

import asyncio
import base64
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import redis.asyncio

from event_router.consumers.kafka import KafkaConfig
from event_router.consumers.kafka.admin import Admin, NewTopicSpec
from event_router.router.checks.databases import examine_database, examine_secrets, judge_revision
from event_router.router.checks.finding import Finding
from event_router.router.checks.host import (
    examine_data_dir,
    examine_jwt_secret,
    examine_key,
    examine_port,
)
from event_router.router.checks.kafka import examine_kafka
from event_router.router.checks.redis import examine_redis, shown_url
from event_router.router.checks.sinks import examine_sinks, judge_sinks
from event_router.router.child import free_port
from event_router.router.store.database import Database
from event_router.router.store.migrate import migrate
from event_router.router.store.ports import DestinationFields
from event_router.router.store.registry import SqlRegistry
from event_router.router.store.secrets import Secrets
from event_router.router.store.tables import destinations
from event_router.router.versions import MemoryVersions
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.topics import Topics
from tests import services

NEEDED = 100_000


def key_named(name: str) -> str:
    return f"{name}:{base64.b64encode(os.urandom(32)).decode()}"


@contextlib.asynccontextmanager
async def answering(answer: Callable[[bytes], bytes], *, close: bool = False) -> AsyncIterator[int]:
    """The port of a server that gives each request its answer, and then may close."""
    connections: list[asyncio.Transport] = []

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            connections.append(transport)

        def data_received(self, data: bytes) -> None:
            connections[-1].write(answer(data))
            if close:
                connections[-1].close()

    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for connection in connections:
            connection.abort()
        await asyncio.sleep(0)


def the_problem(findings: list[Finding]) -> Finding:
    """The only thing that is not ok."""
    (found,) = [finding for finding in findings if finding.verdict != "ok"]
    assert found.advice
    return found


# Kafka


def limits(topics: Topics) -> dict[str, int]:
    return dict.fromkeys(topics.all, NEEDED)


async def make(
    bootstrap: str, topics: Topics, partitions: int = 4, **changed: dict[str, str] | int
) -> None:
    """The topics as `router init` makes them, but for what is `changed` of one, by its name:
    its configuration, or its number of partitions."""
    specs = []
    for topic in topics.all:
        change = changed.get(topic.removeprefix(topics.prefix), {})
        config = {"max.message.bytes": str(NEEDED)}
        if topic == topics.dead:
            config["retention.ms"] = "-1"
        if isinstance(change, dict):
            specs.append(NewTopicSpec(topic, partitions, config | change))
        else:
            specs.append(NewTopicSpec(topic, change, config))
    async with Admin(KafkaConfig(bootstrap=bootstrap)) as admin:
        await admin.create(specs)


async def findings_of(bootstrap: str, topics: Topics) -> list[Finding]:
    return await examine_kafka(KafkaConfig(bootstrap=bootstrap), topics, limits(topics))


async def test_topics_as_init_makes_them_are_in_order(
    kafka: services.Kafka, namespace: str
) -> None:
    topics = Topics(namespace)
    await make(kafka.bootstrap, topics)
    findings = await findings_of(kafka.bootstrap, topics)
    assert [(finding.subject, finding.verdict) for finding in findings] == [
        ("kafka", "ok"),
        ("topics", "ok"),
    ]


async def test_a_kafka_that_is_not_there_is_named() -> None:
    address = f"127.0.0.1:{free_port()}"
    found = the_problem(await findings_of(address, Topics()))
    assert found.detail == f"nothing listens at {address}"
    assert "ROUTER_KAFKA" in found.advice


async def test_an_address_without_a_port_is_no_kafka() -> None:
    found = the_problem(await findings_of("kafka.example", Topics()))
    assert found.detail == "nothing listens at kafka.example"


async def test_a_refused_password_names_the_settings_to_check(
    faulty_kafka: services.Kafka,
) -> None:
    config = KafkaConfig(
        bootstrap=faulty_kafka.sasl_bootstrap,
        security="sasl_plaintext",
        username=services.SASL_USER,
        password="wrong",
    )
    found = the_problem(await examine_kafka(config, Topics(), limits(Topics())))
    assert "doesn't let us in as sasl_plaintext with PLAIN as user 'router'" in found.detail
    assert "ROUTER_KAFKA_PASSWORD" in found.advice
    assert "wrong" not in found.detail


async def test_speaking_tls_to_a_kafka_without_names_the_security(kafka: services.Kafka) -> None:
    config = KafkaConfig(bootstrap=kafka.bootstrap, security="ssl")
    found = the_problem(await examine_kafka(config, Topics(), limits(Topics())))
    assert found.detail.endswith("listens, but doesn't let us in as ssl")
    assert "ROUTER_KAFKA_SECURITY" in found.advice


async def test_missing_topics_are_named(kafka: services.Kafka, namespace: str) -> None:
    topics = Topics(namespace)
    await kafka.make_topics({topics.events: 1, topics.dead: 1})
    found = the_problem(await findings_of(kafka.bootstrap, topics))
    assert found.detail == f"missing: {topics.deliveries}, {topics.attempts}"
    assert "router init" in found.advice


async def test_unequal_partitions_of_deliveries_and_attempts_are_found(
    kafka: services.Kafka, namespace: str
) -> None:
    topics = Topics(namespace)
    await make(kafka.bootstrap, topics, attempts=3)
    found = the_problem(await findings_of(kafka.bootstrap, topics))
    assert "deliveries has 4 partitions" in found.detail
    assert "attempts has 3" in found.detail


async def test_more_partitions_than_shards_are_found(kafka: services.Kafka, namespace: str) -> None:
    topics = Topics(namespace, shards=2)
    await make(kafka.bootstrap, topics)
    found = the_problem(await findings_of(kafka.bootstrap, topics))
    assert found.detail.endswith("has 4 partitions, the schedule 2 shards")


async def test_a_topic_that_takes_too_little_is_found(
    kafka: services.Kafka, namespace: str
) -> None:
    topics = Topics(namespace)
    await make(kafka.bootstrap, topics, deliveries={"max.message.bytes": "9000"})
    found = the_problem(await findings_of(kafka.bootstrap, topics))
    assert (
        found.detail == f"{topics.deliveries} takes messages of 9000 bytes, and {NEEDED} may come"
    )
    assert "ROUTER_MAX_EVENT_BYTES" in found.advice


async def test_a_compacted_topic_is_found(kafka: services.Kafka, namespace: str) -> None:
    topics = Topics(namespace)
    await make(kafka.bootstrap, topics, attempts={"cleanup.policy": "compact"})
    found = the_problem(await findings_of(kafka.bootstrap, topics))
    assert found.detail.startswith(f"{topics.attempts} has cleanup.policy=compact")


async def test_dead_letters_that_are_forgotten_are_a_warning(
    kafka: services.Kafka, namespace: str
) -> None:
    topics = Topics(namespace)
    await make(kafka.bootstrap, topics, dead={"retention.ms": "7200000"})
    found = the_problem(await findings_of(kafka.bootstrap, topics))
    assert (found.verdict, found.detail) == ("warning", f"{topics.dead} forgets after 2 hours")


# Redis


async def test_an_empty_redis_is_in_order(redis_url: str) -> None:
    (found,) = await examine_redis(redis_url)
    assert found.verdict == "ok"


async def test_a_redis_that_is_not_there_is_named() -> None:
    url = f"redis://:hidden@127.0.0.1:{free_port()}/0"
    found = the_problem(await examine_redis(url))
    assert found.detail.startswith(shown_url(url))
    assert "hidden" not in found.detail
    assert "ROUTER_REDIS" in found.advice


async def test_a_redis_that_may_evict_deliveries_is_found(
    faulty_redis: services.Redis,
) -> None:
    async with redis.asyncio.from_url(faulty_redis.url) as client:
        await client.config_set("maxmemory-policy", "allkeys-lru")
    found = the_problem(await examine_redis(faulty_redis.url))
    assert "maxmemory-policy allkeys-lru" in found.detail


async def test_a_full_redis_is_found(faulty_redis: services.Redis) -> None:
    async with redis.asyncio.from_url(faulty_redis.url) as client:
        await client.config_set("maxmemory", str((await client.info())["used_memory"]))
    found = the_problem(await examine_redis(faulty_redis.url))
    assert found.detail.startswith("full: ")
    assert "maxmemory" in found.advice


async def test_a_redis_with_another_clock_is_a_warning(redis_url: str) -> None:
    found = the_problem(await examine_redis(redis_url, lambda: time.time() + 30))
    assert (found.verdict, found.detail) == ("warning", "its clock is 30 s behind this machine's")
    found = the_problem(await examine_redis(redis_url, lambda: time.time() - 30))
    assert found.detail == "its clock is 30 s ahead of this machine's"


async def test_a_redis_that_is_too_old_is_found() -> None:
    info = b"redis_version:6.2.14\r\nmaxmemory_policy:noeviction"

    def old(request: bytes) -> bytes:
        return b"$%d\r\n%s\r\n" % (len(info), info) if b"INFO" in request else b"+OK\r\n"

    async with answering(old) as port:
        found = the_problem(await examine_redis(f"redis://127.0.0.1:{port}/0"))
    assert "6.2.14: 7.0 or newer" in found.detail


# Databases


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/data/registry.sqlite"


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(request.param)
    return url


async def test_a_migrated_database_is_in_order(database_url: str) -> None:
    migrate(database_url, "registry")
    assert (await examine_database(database_url, "registry")).verdict == "ok"


async def test_a_database_without_tables_wants_init(database_url: str) -> None:
    found = await examine_database(database_url, "registry")
    assert (found.verdict, found.detail) == ("problem", "has no tables yet")
    assert "router init" in found.advice


async def test_one_database_may_have_the_tables_of_only_one(database_url: str) -> None:
    migrate(database_url, "registry")
    found = await examine_database(database_url, "log")
    assert (found.subject, found.detail) == ("log database", "has no tables yet")


def test_looking_for_a_sqlite_file_does_not_make_it(sqlite_url: str, tmp_path: Path) -> None:
    asyncio.run(examine_database(sqlite_url, "registry"))
    asyncio.run(examine_secrets(sqlite_url, [key_named("k1")]))
    assert list(tmp_path.iterdir()) == []


async def test_a_database_that_is_not_there_names_its_variable() -> None:
    url = f"postgresql://router:hidden@127.0.0.1:{free_port()}/router"
    found = await examine_database(url, "log")
    assert found.verdict == "problem"
    assert "ROUTER_LOG_DATABASE" in found.advice
    assert "hidden" not in found.detail


async def test_a_database_of_an_unknown_kind_is_found() -> None:
    found = await examine_database("mysql://127.0.0.1/router", "registry")
    assert (found.verdict, found.advice) == ("problem", "correct ROUTER_DATABASE")


def test_a_database_of_another_version_is_found() -> None:
    found = judge_revision("registry database", "registry_0009", "registry_0001")
    assert found.detail == "its tables are of version registry_0009, this router's of registry_0001"
    assert "newer router" in found.advice


# Secrets


async def test_no_key_for_secrets_is_found(sqlite_url: str) -> None:
    found = await examine_secrets(sqlite_url, [])
    assert found.verdict == "problem"
    assert "ROUTER_SECRETS_KEYS" in found.advice


async def test_a_key_that_is_none_is_found_and_not_shown(sqlite_url: str) -> None:
    found = await examine_secrets(sqlite_url, ["k1:dG9vIHNob3J0"])
    assert found.verdict == "problem"
    assert "dG9vIHNob3J0" not in found.detail


async def test_credentials_that_no_key_opens_are_found(database_url: str) -> None:
    migrate(database_url, "registry")
    lost, kept = key_named("k1"), key_named("k2")
    await _insert(database_url, Secrets([lost]))
    assert (await examine_secrets(database_url, [kept, lost])).verdict == "ok"
    found = await examine_secrets(database_url, [kept])
    assert found.detail == (
        "1 of 1 destinations can't be read, and what is for them waits: "
        "t/d: the key 'k1' isn't in ROUTER_SECRETS_KEYS: add it at the end"
    )


async def _insert(url: str, secrets: Secrets) -> None:
    """A destination whose credentials are sealed with `secrets`."""
    sealed = secrets.seal(DestinationKey("t", "d"), {"secret": "s"})
    row = {"tenant": "t", "id": "d", "type": "webhook", "topics": "[]", "config": "{}"}
    database = Database(url)
    await database.write(
        lambda connection: connection.execute(
            destinations.insert(),
            {**row, "sealed": sealed, "version": "v", "created_at": 0, "updated_at": 0},
        )
    )
    await database.aclose()


# This machine


async def test_a_free_port_is_in_order() -> None:
    assert (await examine_port("127.0.0.1", free_port())).verdict == "ok"


async def test_a_port_that_another_program_has_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        # It accepts and never answers, as other programs do.
        found = await examine_port("127.0.0.1", port)
    assert found.detail == f"another program listens on 127.0.0.1:{port}"
    assert "ROUTER_API_PORT" in found.advice


async def test_an_api_that_runs_already_is_in_order() -> None:
    def api(_request: bytes) -> bytes:
        body = b'{"ready":true,"lag":0,"troubles":{}}'
        return b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    async with answering(api, close=True) as port:
        found = await examine_port("127.0.0.1", port)
    assert (found.verdict, found.detail) == ("ok", f"runs at 127.0.0.1:{port}")


async def test_a_host_that_is_not_ours_is_found() -> None:
    found = await examine_port("192.0.2.1", free_port())
    assert found.verdict == "problem"
    assert "ROUTER_API_HOST" in found.advice


def test_an_api_without_a_key_is_found_and_a_short_one_is_a_warning() -> None:
    assert examine_key("").verdict == "problem"
    assert examine_key("secret").verdict == "warning"
    assert examine_key("0123456789abcdef").verdict == "ok"


def test_a_missing_or_short_secret_of_tokens_is_a_warning() -> None:
    assert examine_jwt_secret("").verdict == "warning"
    assert examine_jwt_secret("x" * 31).detail == "the secret has only 31 bytes"
    assert examine_jwt_secret("x" * 32).verdict == "ok"


def test_destinations_without_a_sink_are_a_problem() -> None:
    fine = judge_sinks(["kafka", "webhook"], ["aws_s3"], {"webhook": 3})
    assert (fine.verdict, fine.detail) == (
        "ok",
        "kafka, webhook are installed; without a sink: aws_s3",
    )
    lacking = judge_sinks(["kafka"], ["aws_s3"], {"kafka": 1, "aws_s3": 2})
    assert lacking.verdict == "problem"
    assert lacking.detail.endswith("sink_not_installed: destinations 2 of aws_s3")


async def test_destinations_are_counted_by_type(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/registry.sqlite"
    assert (await examine_sinks(url)).verdict == "ok"
    assert not Path(f"{tmp_path}/registry.sqlite").exists()  # noqa: ASYNC240  it is on this machine
    migrate(url, "registry")
    registry = SqlRegistry(
        url, Secrets([f"k1:{base64.b64encode(bytes(32)).decode()}"]), MemoryVersions()
    )
    await registry.upsert_tenant("acme", None)
    fields = DestinationFields(type="of_a_plugin", topics=("*",), config={}, credentials={})
    await registry.create(DestinationKey("acme", "d"), fields)
    await registry.aclose()
    assert "1 of of_a_plugin" in (await examine_sinks(url)).detail


def test_a_data_directory_that_can_be_made_is_in_order_and_not_made(tmp_path: Path) -> None:
    assert examine_data_dir(tmp_path / "a" / "b").verdict == "ok"
    assert list(tmp_path.iterdir()) == []


def test_a_data_directory_below_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = examine_data_dir(tmp_path / "file" / "data")
    assert found.verdict == "problem"
    assert "ROUTER_DATA_DIR" in found.advice
