"""The app behind a real server: limits, time-outs, and stopping without cutting anybody off."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from event_router.router.api.bodies import BoundedBodies
from event_router.router.child import CannotStart
from event_router.router.serve import serve
from tests.api.world import KEY, World, publish_body

HEADERS = {"authorization": f"Bearer {KEY}"}


@contextlib.asynccontextmanager
async def served(app: Any, stop: asyncio.Event | None = None) -> AsyncIterator[int]:
    """The port where the app is; stopped at the end."""
    stop = stop or asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(app, "127.0.0.1", 0, stop, listening=port.set_result))
        try:
            yield await port
        finally:
            stop.set()


async def test_a_real_server_answers(world: World) -> None:
    async with served(world.app) as port, httpx.AsyncClient(headers=HEADERS) as client:
        url = f"http://127.0.0.1:{port}/api/v1"
        assert (await client.put(f"{url}/tenants/acme")).status_code == 201
        answer = await client.post(f"{url}/publish", json=publish_body())
        assert answer.status_code == 202
        assert "server" not in answer.headers
        assert answer.headers["date"]


async def test_a_body_said_to_be_too_large_is_not_even_sent(world: World) -> None:
    head = (
        f"POST /api/v1/publish HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
        "content-length: 10000000\r\nexpect: 100-continue\r\n\r\n"
    )
    async with served(world.app) as port:
        answer = await _exchange(port, head.encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"status":413' in answer


async def test_a_body_without_a_length_is_cut_off_too(world: World) -> None:
    head = (
        f"POST /api/v1/publish HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
        "transfer-encoding: chunked\r\n\r\n"
    )
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    async with served(world.app) as port:
        answer = await _exchange(port, head.encode() + chunk * 12)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_does_not_come_is_408() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nobody should get here")

    bounded = BoundedBodies(app, limit=100, except_path="", seconds=0.05)
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab"
    async with served(bounded) as port:
        answer = await _exchange(port, head)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer


async def test_stopping_answers_what_is_in_flight_and_closes_the_door(world: World) -> None:
    stop, arrived = asyncio.Event(), asyncio.Event()
    send = world.producer.send

    async def slow(*args: Any) -> Any:
        arrived.set()
        await stop.wait()
        return await send(*args)

    world.publish.producer = _Sends(slow)
    async with served(world.app, stop) as port, httpx.AsyncClient(headers=HEADERS) as client:
        url = f"http://127.0.0.1:{port}/api/v1/publish"
        async with asyncio.TaskGroup() as tasks:
            request = tasks.create_task(client.post(url, json=publish_body()))
            await arrived.wait()
            stop.set()
        assert request.result().status_code == 202
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)


class _Sends:
    def __init__(self, send: Any) -> None:
        self.send = send

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=f"127.0.0.1:{port}: .*in use"):
            await serve(None, "127.0.0.1", port, asyncio.Event())


async def test_a_role_tells_how_it_is(world: World) -> None:
    async with served(world.services.health) as port, httpx.AsyncClient() as client:
        base = f"http://127.0.0.1:{port}"
        assert (await client.get(f"{base}/livez")).json() == {"alive": True}
        assert (await client.get(f"{base}/readyz")).json()["ready"]
        assert "router_publish_accepted_total" in (await client.get(f"{base}/metrics")).text
        assert (await client.get(f"{base}/other")).status_code == 404
        assert (await client.post(f"{base}/livez")).status_code == 405


async def _exchange(port: int, request: bytes) -> bytes:
    """All that the server says until it closes, or says nothing more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        answer = await reader.readuntil(b"}")
    finally:
        writer.close()
    return answer


async def test_a_request_that_hangs_holds_a_stop_up_for_no_longer_than_the_drain() -> None:
    arrived, stop = asyncio.Event(), asyncio.Event()

    async def hangs(scope: Any, receive: Any, send: Any) -> None:
        arrived.set()
        await asyncio.Event().wait()

    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve(hangs, "127.0.0.1", 0, stop, drain=1.0, listening=listening.set_result)
    )
    _, writer = await asyncio.open_connection("127.0.0.1", await listening)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await arrived.wait()
    stop.set()
    async with asyncio.timeout(4.0):
        await serving
    writer.close()
