"""The connection to Redis: replies go to whom they belong, and trouble is Unavailable."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from event_router.router.child import free_port
from event_router.router.redis_pipe import (
    ErrorReply,
    RedisPipe,
    UnfitRedis,
    check_redis,
    request,
)
from event_router.schemas.errors import InvalidValue, Unavailable
from tests import services

Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(answer: Answering) -> AsyncIterator[str]:
    """The URL of a server that answers each connection with `answer`."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def opened(url: str, timeout: float = 10) -> AsyncIterator[RedisPipe]:
    pipe = RedisPipe(url, timeout=timeout)
    try:
        yield pipe
    finally:
        await pipe.aclose()


@pytest.fixture
async def pipe(redis_url: str) -> AsyncIterator[RedisPipe]:
    async with opened(redis_url) as pipe:
        yield pipe


async def test_concurrent_calls_get_their_own_answers(pipe: RedisPipe) -> None:
    asked = [f"{n}" * (n * 100 + 1) for n in range(200)]
    answers = await asyncio.gather(*(pipe.call("ECHO", each) for each in asked))
    assert [answer.decode() for answer in answers] == asked


async def test_a_request_is_answered_command_by_command(pipe: RedisPipe) -> None:
    sent = request(("SET", "k", 7), ("GET", "k"), ("LPUSH", "k", b"\x00"), ("GET", "none"))
    ok, seven, refused, none = await pipe.send(sent)
    assert (ok, seven, none) == (b"OK", b"7", None)
    assert isinstance(refused, ErrorReply)
    assert str(refused).startswith("WRONGTYPE")


async def test_a_refused_command_is_unavailable_and_says_why(pipe: RedisPipe) -> None:
    with pytest.raises(Unavailable, match="unknown command 'NONSENSE'"):
        await pipe.call("NONSENSE")
    assert await pipe.call("PING") == b"PONG"


async def test_a_cancelled_call_leaves_the_others_their_answers(pipe: RedisPipe) -> None:
    await pipe.call("PING")
    cancelled = asyncio.create_task(pipe.call("ECHO", "cancelled"))
    other = asyncio.create_task(pipe.call("ECHO", "other"))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert await other == b"other"
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_a_refused_connection_is_unavailable() -> None:
    async with opened(f"redis://127.0.0.1:{free_port()}") as pipe:
        with pytest.raises(Unavailable, match="can't connect"):
            await pipe.call("PING")


async def test_a_url_that_is_not_redis_is_named_without_its_password() -> None:
    with pytest.raises(InvalidValue, match="redis: 'host' is not a redis://") as refused:
        RedisPipe("http://user:secret@host")
    assert "secret" not in str(refused.value)


async def test_a_server_that_is_back_is_used_again(faulty_redis: services.Redis) -> None:
    async with opened(faulty_redis.url) as pipe:
        assert await pipe.call("PING") == b"PONG"
        await asyncio.to_thread(faulty_redis.kill)
        with pytest.raises(Unavailable):
            await pipe.call("PING")
        await asyncio.to_thread(faulty_redis.start)
        assert await pipe.call("PING") == b"PONG"


async def test_a_call_on_its_way_when_the_server_goes_is_unavailable(
    faulty_redis: services.Redis,
) -> None:
    async with opened(faulty_redis.url) as pipe:
        await pipe.call("PING")
        blocked = asyncio.create_task(pipe.call("BLPOP", "nothing", 0))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(faulty_redis.kill)
        with pytest.raises(Unavailable, match="connection was lost"):
            await blocked


async def test_a_server_that_hangs_is_unavailable_in_time(faulty_redis: services.Redis) -> None:
    async with opened(faulty_redis.url, timeout=0.2) as pipe:
        await pipe.call("PING")
        faulty_redis.pause()
        with pytest.raises(Unavailable, match="no answer within"):
            await pipe.call("PING")
        faulty_redis.resume()
        assert await pipe.call("PING") == b"PONG"


async def test_a_server_that_has_become_a_replica_is_connected_to_anew() -> None:
    refusal = b"-READONLY You can't write against a read only replica.\r\n"
    answers = [[b"+OK\r\n", refusal], [b"+OK\r\n", b"+OK\r\n"]]

    async def fail_over(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for each in answers.pop(0):
            await reader.read(1 << 16)
            writer.write(each)
        await reader.read()

    async with serving(fail_over) as url, opened(url) as pipe:
        with pytest.raises(Unavailable, match="READONLY"):
            await pipe.call("SET", "k", 1)
        assert await pipe.call("SET", "k", 1) == b"OK"


async def test_what_does_not_speak_redis_is_unavailable() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(answer) as url, opened(url) as pipe:
        with pytest.raises(Unavailable):
            await pipe.call("PING")


async def test_a_password_is_needed_where_one_is_set(faulty_redis: services.Redis) -> None:
    async with opened(faulty_redis.url) as pipe:
        await pipe.call("CONFIG", "SET", "requirepass", "right")
    where = urlsplit(faulty_redis.url).netloc
    async with opened(f"redis://:right@{where}/3") as pipe:
        assert b" db=3 " in await pipe.call("CLIENT", "INFO")
    async with opened(f"redis://:wrong@{where}") as pipe:
        with pytest.raises(Unavailable, match="WRONGPASS"):
            await pipe.call("PING")


async def test_a_unix_socket_is_spoken_to(valkey_url: str) -> None:
    assert valkey_url.startswith("unix://")
    async with opened(valkey_url) as pipe:
        assert await pipe.call("PING") == b"PONG"


async def test_tls_is_spoken_and_the_certificate_is_checked(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    for name, ca in (("ours", authority), ("other", stranger)):
        ca.cert_pem.write_to_path(tmp_path / f"{name}.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    port = free_port()
    server = await asyncio.to_thread(
        services.own_redis,
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(tmp_path / "server.pem")),
        *("--tls-key-file", str(tmp_path / "server.pem")),
        *("--tls-ca-cert-file", str(tmp_path / "ours.pem")),
    )
    try:
        async with opened(f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path}/ours.pem") as pipe:
            assert await pipe.call("PING") == b"PONG"
        async with opened(f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path}/other.pem") as pipe:
            with pytest.raises(Unavailable, match="certificate verify failed"):
                await pipe.call("PING")
        async with opened(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none") as pipe:
            assert await pipe.call("PING") == b"PONG"
    finally:
        await asyncio.to_thread(server.kill)


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru", "volatile-ttl"])
async def test_a_redis_that_keeps_what_waits_is_fit(pipe: RedisPipe, policy: str) -> None:
    await pipe.call("CONFIG", "SET", "maxmemory-policy", policy)
    await check_redis(pipe)


async def test_a_valkey_is_fit(valkey_url: str) -> None:
    async with opened(valkey_url) as pipe:
        await check_redis(pipe)


async def test_a_redis_that_may_evict_what_waits_is_unfit(pipe: RedisPipe) -> None:
    await pipe.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(UnfitRedis, match=r"allkeys-lru may evict.*noeviction"):
        await check_redis(pipe)


async def test_a_redis_that_is_too_old_is_unfit() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"SELECT")
        writer.write(b"+OK\r\n")
        await reader.readuntil(b"INFO")
        info = b"# Server\r\nredis_version:6.2.14\r\nmaxmemory_policy:noeviction\r\n"
        writer.write(b"$%d\r\n%s\r\n" % (len(info), info))
        await writer.drain()

    async with serving(answer) as url, opened(url) as pipe:
        with pytest.raises(UnfitRedis, match=r"6\.2\.14: 7\.0 or newer"):
            await check_redis(pipe)
