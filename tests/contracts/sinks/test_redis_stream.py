"""Streams, on Redis and on Valkey."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from event_router.consumers.addresses import Address, Resolver
from event_router.consumers.ports import BatchSink, Sink
from event_router.consumers.sinks.kinds import SinkResources, load_sinks
from event_router.consumers.sinks.redis_stream import ALWAYS_TAKEN
from event_router.consumers.testing import (
    Arrived,
    BatchContract,
    NetworkContract,
    SinkCase,
    Trouble,
    a_delivery,
    a_destination,
    forwarded_to,
    local_resources,
    refusing_port,
    silent_port,
)
from event_router.router.child import free_port
from event_router.schemas.errors import Answer, TooLarge, Unavailable
from tests import services
from tests.contracts.sinks.tls_contract import Secured, TlsContract
from tests.server_certificates import NAME, Certified, certified

HERE = "127.0.0.1"
USER, PASSWORD = "someone", "a-long-password"
LONGEST = "proto-max-bulk-len"


def arrived_as(fields: Any) -> Arrived:
    texts = {name.decode(): value.decode() for name, value in fields.items() if name != b"data"}
    return Arrived(fields[b"data"], texts["event-id"], texts["topic"], texts["content-type"], texts)


@asynccontextmanager
async def stream_on(url: str, server: str) -> AsyncIterator[SinkCase]:
    """`server` is where the sink finds what the test finds at `url`."""
    config = {"server": server, "stream": services.unique("stream")}
    credentials = {"username": USER, "password": PASSWORD}
    client = Redis.from_url(url)

    async def arrived() -> list[Arrived]:
        entries: Any = await client.xrange(config["stream"])
        return [arrived_as(fields) for _, fields in entries]

    @asynccontextmanager
    async def full() -> AsyncIterator[None]:
        await client.config_set("maxmemory", "1")
        try:
            yield
        finally:
            await client.config_set("maxmemory", "0")

    async with AsyncExitStack() as stack:
        stack.push_async_callback(client.aclose)
        before = await client.config_get(LONGEST)
        stack.push_async_callback(client.config_set, LONGEST, str(before[LONGEST]))
        await client.config_set(LONGEST, ALWAYS_TAKEN)
        await client.acl_setuser(
            USER,
            enabled=True,
            passwords=[f"+{PASSWORD}"],
            keys=["*"],
            commands=["+xadd", "+select"],
        )
        await client.set("no-stream", "x")
        silent = await stack.enter_async_context(silent_port())
        refusing = stack.enter_context(refusing_port())
        troubles = {
            "wrong_credentials": Trouble(credentials={**credentials, "password": "a-wrong-guess"}),
            "missing_target": Trouble({**config, "stream": "no-stream"}),
            "refused_connection": Trouble({**config, "server": f"127.0.0.1:{refusing}"}),
            "time_out": Trouble({**config, "server": f"127.0.0.1:{silent}"}, seconds=0.3),
            "throttling": Trouble(arranged=full),
            "too_large": Trouble(delivery=a_delivery(data=b"x" * (ALWAYS_TAKEN + 1))),
        }
        yield SinkCase(config, arrived, troubles, credentials)


class RedisContract(BatchContract):
    type = "redis_stream"


class TestRedis(NetworkContract, RedisContract):
    @pytest.fixture
    async def case(self, redis_url: str) -> AsyncIterator[SinkCase]:
        async with stream_on(redis_url, urlsplit(redis_url).netloc) as case:
            yield case

    async def test_the_largest_that_is_taken_arrives_and_larger_ones_are_refused(
        self, case: SinkCase, open_sink: Callable[..., BatchSink]
    ) -> None:
        """However large: of one that the server doesn't read to its end, the refusal may come
        when nobody listens any more."""
        sink = open_sink()
        sizes = [ALWAYS_TAKEN, 2 << 20, 16 << 20]
        results = await sink.deliver_many(
            [a_delivery(f"evt_{size}", b"x" * size) for size in (1, *sizes, 2)]
        )
        assert [type(one) for one in results] == [Answer, Answer, TooLarge, TooLarge, Answer]
        arrived = sorted(len(one.data) for one in await case.arrived())
        assert arrived == [1, 2, ALWAYS_TAKEN]

    async def test_of_a_batch_those_that_find_no_room_are_tried_again(
        self, case: SinkCase, open_sink: Callable[..., BatchSink], redis_url: str
    ) -> None:
        sink, client = open_sink(), Redis.from_url(redis_url)
        await sink.deliver(a_delivery("evt_first"))
        used = (await client.info("memory"))["used_memory"]
        await client.config_set("maxmemory", used + (4 << 20))
        large = [a_delivery(f"evt_{number}", b"x" * (1 << 20)) for number in range(12)]
        results = await sink.deliver_many(large)
        await client.config_set("maxmemory", 0)
        await client.aclose()
        assert {result.code for result in results} == {"OK", "throttled"}
        taken = [f"evt_{n}" for n, result in enumerate(results) if isinstance(result, Answer)]
        assert [one.event for one in await case.arrived()] == ["evt_first", *taken]


class TestValkey(RedisContract):
    without: ClassVar = {
        "too_large": "the proxy before its unix socket may lose the last word of who hangs up"
    }

    @pytest.fixture
    async def case(self, valkey_url: str) -> AsyncIterator[SinkCase]:
        path = urlsplit(valkey_url).path
        async with forwarded_to(path) as proxy, stream_on(valkey_url, proxy.server) as case:
            possible = {name: how for name, how in case.troubles.items() if name != "too_large"}
            yield replace(case, troubles=possible)


def with_tls(port: int, tls: Certified) -> list[str]:
    """A server's options: TLS on that port, where it looks at a certificate if there is one."""
    files = ["--tls-cert-file", tls.certificate, "--tls-key-file", tls.key]
    asking = ["--tls-ca-cert-file", tls.ca, "--tls-auth-clients", "optional"]
    return ["--tls-port", str(port), *map(str, [*files, *asking])]


@pytest.fixture(scope="module")
def tls_redis() -> Iterator[tuple[services.Redis, int, Certified]]:
    port, tls = free_port(), certified(services.workspace())
    server = services.own_redis(*with_tls(port, tls))
    yield server, port, tls
    server.kill()


class TestRedisTls(TlsContract):
    @pytest.fixture
    async def secured(
        self, tls_redis: tuple[services.Redis, int, Certified]
    ) -> AsyncIterator[Secured]:
        server, port, tls = tls_redis
        async with stream_on(server.url, f"{NAME}:{port}") as case:

            async def arrived() -> int:
                return len(await case.arrived())

            config = {**case.config, "tls": True}
            yield Secured("redis_stream", config, case.credentials, tls.authority, arrived)


HALF = 8192
SLOTS = {"a": 15495, "b": 3300}
"""The keys' slots: of the second node, and of the first."""


@dataclass
class Cluster:
    """Two nodes, each with half of the slots."""

    nodes: tuple[services.Redis, services.Redis]
    clients: tuple[Redis, Redis]

    async def call(self, node: int, *words: object) -> Any:
        client: Any = self.clients[node]
        return await client.execute_command(*words)

    async def told(self, node: int, section: str) -> str:
        return str(await self.call(node, "CLUSTER", section), "ascii")

    def port(self, node: int) -> int:
        return urlsplit(self.nodes[node].url).port or 0


def a_node(*options: str) -> services.Redis:
    return services.own_redis(
        "--cluster-enabled", "yes", "--cluster-port", str(free_port()), *options
    )


async def clustered(first: services.Redis, second: services.Redis, port: int = 0) -> Cluster:
    """`port` is where the first finds the second, by default where all do."""
    clients = Redis.from_url(first.url), Redis.from_url(second.url)
    made = Cluster((first, second), clients)
    for node in range(2):
        start = HALF * node
        await made.call(node, "CLUSTER", "ADDSLOTSRANGE", start, start + HALF - 1)
    (bus,) = (await clients[1].config_get("cluster-port")).values()
    await made.call(0, "CLUSTER", "MEET", HERE, port or made.port(1), bus)
    async with asyncio.timeout(30):
        for node in range(2):
            while "cluster_state:ok" not in await made.told(node, "INFO"):
                await asyncio.sleep(0.05)
    return made


async def ended(cluster: Cluster) -> None:
    for client in cluster.clients:
        await client.aclose()
    for process in cluster.nodes:
        process.kill()


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made = await clustered(a_node(), a_node())
    yield made
    await ended(made)


class TestRedisClusterTls(TlsContract):
    """The node that is entered names the one that has the stream, by its host name: only then is
    there a certificate for it."""

    @pytest.fixture
    async def secured(self) -> AsyncIterator[Secured]:
        tls, ports = certified(services.workspace()), (free_port(), free_port())
        named = ["--tls-cluster", "yes", "--cluster-announce-hostname", NAME]
        named += ["--cluster-preferred-endpoint-type", "hostname"]
        first, second = (a_node(*with_tls(port, tls), *named) for port in ports)
        made = await clustered(first, second, ports[1])
        for client in made.clients:
            await client.acl_setuser(
                USER, enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], commands=["+xadd"]
            )

        async def arrived() -> int:
            return int(await made.clients[1].xlen("a"))

        yield Secured(
            "redis_stream",
            {"server": f"{NAME}:{ports[0]}", "stream": "a", "tls": True},
            {"username": USER, "password": PASSWORD},
            tls.authority,
            arrived,
        )
        await ended(made)


def stream_of(cluster: Cluster, stream: str, resources: SinkResources, host: str = HERE) -> Sink:
    config = {"server": f"{host}:{cluster.port(0)}", "stream": stream}
    return load_sinks().open(a_destination("redis_stream", config, {}), resources)


async def test_a_stream_is_found_on_whichever_node_of_a_cluster_and_asked_for_once(
    cluster: Cluster,
) -> None:
    async with local_resources() as resources:
        for stream in SLOTS:
            sink = stream_of(cluster, stream, resources)
            await sink.deliver(a_delivery())
            await asyncio.gather(*(sink.deliver(a_delivery()) for _ in range(20)))
            await sink.aclose()
    assert await cluster.clients[1].xlen("a") == 21
    assert await cluster.clients[0].xlen("b") == 21
    moved = (await cluster.clients[0].info("errorstats"))["errorstat_MOVED"]["count"]
    assert moved == 1


async def test_a_stream_that_moves_to_another_node_is_followed(cluster: Cluster) -> None:
    async with local_resources() as resources:
        sink = stream_of(cluster, "a", resources)
        await sink.deliver(a_delivery("evt_1"))
        await cluster.clients[1].delete("a")
        first = await cluster.told(0, "MYID")
        for node in range(2):
            await cluster.call(node, "CLUSTER", "SETSLOT", SLOTS["a"], "NODE", first)
        assert (await sink.deliver(a_delivery("evt_2"))).code == "OK"
        await sink.aclose()
    assert await cluster.clients[0].xlen("a") == 1


async def test_a_node_that_dies_is_left_and_found_again(cluster: Cluster) -> None:
    async with local_resources(timeout=5.0) as resources:
        sink = stream_of(cluster, "a", resources)
        await sink.deliver(a_delivery("evt_1"))
        cluster.nodes[1].kill()
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                await sink.deliver(a_delivery("evt_2"))
            assert caught.value.code in {"connection_refused", "connection_reset"}
        cluster.nodes[1].start()
        async with asyncio.timeout(20):
            while await code_of(sink) != "OK":
                await asyncio.sleep(0.1)
        await sink.aclose()


async def test_a_node_that_a_cluster_names_is_vetted(cluster: Cluster) -> None:
    async with local_resources() as ours:
        resources = replace(ours, resolver=Unsuspecting())
        sink = stream_of(cluster, "a", resources, "redis.example.org")
        with pytest.raises(Unavailable) as caught:
            await sink.deliver(a_delivery())
        await sink.aclose()
    assert caught.value.code == "forbidden_address"


async def test_a_slot_on_its_way_is_waited_for(cluster: Cluster) -> None:
    second = await cluster.told(1, "MYID")
    await cluster.call(0, "CLUSTER", "SETSLOT", SLOTS["b"], "MIGRATING", second)
    async with local_resources() as resources:
        sink = stream_of(cluster, "b", resources)
        assert await code_of(sink) == "service_unavailable"
        await sink.aclose()


class Unsuspecting(Resolver):
    """Takes a name for one of the internet's, and an address as what it is."""

    async def addresses(self, host: str) -> Sequence[Address]:
        if host == "redis.example.org":
            return [ip_address(HERE)]
        return await super().addresses(host)


async def code_of(sink: Sink) -> str:
    try:
        return (await sink.deliver(a_delivery())).code
    except Unavailable as trouble:
        return trouble.code
