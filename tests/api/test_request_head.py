"""A request's line and headers over a real connection: bounded, and refused in JSON."""

import asyncio
import json
from typing import Any

import pytest

from event_router.router.request_head import MOST_HEADERS, MOST_URL
from tests.api.test_serve import served
from tests.api.world import KEY, World

HOST = b"host: x\r\nauthorization: Bearer " + KEY.encode() + b"\r\n"
LARGE = b"a" * 100_000


def get(url: bytes = b"/api/v1/topics", headers: bytes = b"") -> bytes:
    return b"GET " + url + b" HTTP/1.1\r\n" + HOST + headers + b"\r\n"


async def answered(port: int, *pieces: bytes) -> tuple[int, Any]:
    """Status and body of the first answer; each piece is sent a moment after the one before,
    until there is an answer."""
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = tasks.create_task(_answer(reader))
        for piece in pieces:
            if not answer.done():
                writer.write(piece)
                await asyncio.sleep(0.01)
        await answer
        writer.close()
    return answer.result()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, Any]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert b"content-type: application/json" in head
    return int(head.split()[1]), json.loads(await reader.readexactly(length))


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        (get(headers=b"x: " + LARGE + b"\r\n"), 431, "the headers are larger than 32768 bytes"),
        (get(headers=b"x: y\r\n" * 20_000), 431, "the headers are larger than 32768 bytes"),
        (get(b"/api/v1/tenants/" + LARGE), 414, "the URL is longer than 32768 bytes"),
        (get(b"/api/v1/events?id=" + LARGE), 414, "the URL is longer than 32768 bytes"),
        (b"\x16\x03\x01 hello\r\n\r\n", 400, "this is not HTTP"),
    ],
)
async def test_what_is_too_long_or_not_http_is_refused_in_json(
    world: World, request_: bytes, status: int, message: str
) -> None:
    async with served(world.app) as port:
        assert await answered(port, request_) == (status, {"status": status, "message": message})


@pytest.mark.parametrize(("start", "status"), [(b"GET / HTTP/1.1\r\nx: ", 431), (b"GET /", 414)])
async def test_a_head_that_does_not_end_is_not_taken_in_for_ever(
    world: World, start: bytes, status: int
) -> None:
    async with served(world.app) as port:
        assert (await answered(port, start, *[b"a" * 16_384] * 20))[0] == status


async def test_what_is_just_within_the_limits_is_answered(world: World) -> None:
    url = b"/api/v1/topics?x="
    url += b"a" * (MOST_URL - len(url))
    headers = b"x: " + b"a" * (MOST_HEADERS - 200) + b"\r\n"
    async with served(world.app) as port:
        assert await answered(port, get(url, headers)) == (200, [])
        whole = get(url, headers)
        pieces = [whole[at : at + 8192] for at in range(0, len(whole), 8192)]
        assert await answered(port, *pieces) == (200, [])


async def test_a_large_body_does_not_count_for_the_head_that_follows(world: World) -> None:
    body = b" " * 200_000
    first = b"PUT /api/v1/tenants/acme HTTP/1.1\r\n" + HOST
    first += b"content-length: %d\r\n\r\n" % len(body)
    async with served(world.app) as port:
        status, _ = await answered(port, first[:60], first[60:] + body + b"GET /api", b"/v1")
    assert status == 422


async def _drip(port: int, *pieces: bytes, seconds: float = 10.0) -> bytes:
    """What is answered until the server closes, while the last piece is sent again and again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def write() -> None:
        writer.writelines(pieces[:-1])
        while pieces:
            await asyncio.sleep(0.02)
            writer.write(pieces[-1])

    writing = asyncio.create_task(write())
    try:
        async with asyncio.timeout(seconds):
            return await reader.read()
    except ConnectionError:  # it is closed while we write
        return b""
    finally:
        writing.cancel()
        await asyncio.wait([writing])
        writer.close()


POST = b"PUT /api/v1/tenants/acme HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "answers"),
    [
        ((), []),
        ((b"\r\n",), []),
        ((b"GET / HTTP/1.1\r\n", b"x: y\r\n"), [408]),
        ((get(), b"\r\n"), [200]),
        ((get(), b"GET /a", b"b"), [200, 408]),
        ((POST, b"x"), [401]),
    ],
    ids=["nothing", "blank lines", "headers", "blank lines after", "a second head", "a body"],
)
async def test_nobody_drips_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...], answers: list[int]
) -> None:
    monkeypatch.setattr("event_router.router.request_head.HEAD_SECONDS", 0.3)
    async with served(world.app) as port:
        said = await _drip(port, *pieces)
    if said or not answers:
        assert [int(one[:3]) for one in said.split(b"HTTP/1.1 ")[1:]] == answers


async def test_a_connection_that_asks_now_and_then_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("event_router.router.request_head.HEAD_SECONDS", 0.3)
    async with served(world.app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(4):
            writer.write(get())
            assert await _answer(reader) == (200, [])
            await asyncio.sleep(0.2)
        writer.close()
