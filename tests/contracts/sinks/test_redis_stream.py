"""Streams, on Redis and on Valkey."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
import trustme
from redis.asyncio import Redis

from event_router.consumers.ports import Sink
from event_router.consumers.sinks.kinds import load_sinks
from event_router.consumers.testing import (
    Arrived,
    BatchContract,
    SinkCase,
    Trouble,
    a_delivery,
    a_destination,
    forwarded_to,
    local_resources,
    refusing_port,
    silent_port,
)
from event_router.schemas.errors import Unavailable
from tests import services

USER, PASSWORD = "someone", "a-long-password"


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
        }
        yield SinkCase(config, arrived, troubles, credentials)


class RedisContract(BatchContract):
    type = "redis_stream"
    without: ClassVar = {"too_large": "a field takes 512 MB, more than an event may have"}


class TestRedis(RedisContract):
    @pytest.fixture
    async def case(self, redis_url: str) -> AsyncIterator[SinkCase]:
        async with stream_on(redis_url, urlsplit(redis_url).netloc) as case:
            yield case


class TestValkey(RedisContract):
    @pytest.fixture
    async def case(self, valkey_url: str) -> AsyncIterator[SinkCase]:
        path = urlsplit(valkey_url).path
        async with forwarded_to(path) as proxy, stream_on(valkey_url, proxy.server) as case:
            yield case


@pytest.fixture
async def tls_redis() -> AsyncIterator[tuple[int, trustme.CA]]:
    """A Redis that speaks TLS only, as localhost; its port and its authority."""
    authority, folder = trustme.CA(), services.workspace()
    certificate = authority.issue_cert("localhost")
    key, chain = folder / "redis.key", folder / "redis.pem"
    certificate.private_key_pem.write_to_path(key)
    certificate.cert_chain_pems[0].write_to_path(chain)
    with refusing_port() as port:
        pass
    options = ["--tls-port", str(port), "--tls-cert-file", str(chain), "--tls-key-file", str(key)]
    server = services.own_redis(*options, "--tls-auth-clients", "no")
    yield port, authority
    assert server.process
    server.process.kill()


@pytest.mark.parametrize(
    ("host", "trusted", "code"),
    [
        ("localhost", True, "OK"),
        ("localhost", False, "tls_error"),
        ("127.0.0.1", True, "tls_error"),
    ],
)
async def test_the_certificate_is_for_the_name_though_the_address_was_vetted(
    tls_redis: tuple[int, trustme.CA],
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    trusted: bool,
    code: str,
) -> None:
    port, authority = tls_redis
    with authority.cert_pem.tempfile() as path:
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", path)
        config = {"server": f"{host}:{port}", "stream": "s", "tls": True}
        async with local_resources() as resources:
            sink = load_sinks().open(a_destination("redis_stream", config, {}), resources)
            assert await code_of(sink) == code
            await sink.aclose()


async def code_of(sink: Sink) -> str:
    try:
        return (await sink.deliver(a_delivery())).code
    except Unavailable as trouble:
        return trouble.code
