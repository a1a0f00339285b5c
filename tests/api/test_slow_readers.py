"""Whoever doesn't read what was answered holds neither memory nor tasks for ever."""

import asyncio
import gc
import socket
import time
import weakref
from typing import Any

import pytest

from tests.api.test_serve import served

PIECE = 8 << 20
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Large:
    """Answers with `pieces` of eight megabytes; `left` is set once it is no longer at it."""

    def __init__(self, pieces: int, *, closes: bool = False) -> None:
        self.pieces = pieces
        self.closes = closes
        self.left = asyncio.Event()
        self.connections: list[weakref.ref[Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.connections.append(weakref.ref(send.__self__.transport))
        headers = [(b"content-length", str(self.pieces * PIECE).encode())]
        headers += [(b"connection", b"close")] if self.closes else []
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for number in range(self.pieces):
                more = number + 1 < self.pieces
                body = {"type": "http.response.body", "body": bytes(PIECE), "more_body": more}
                await send(body)
        finally:
            self.left.set()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("event_router.router.request_head.HEAD_SECONDS", 0.3)


def _asked(port: int, requests: bytes = GET, window: int = 4096) -> socket.socket:
    """A connection on which nothing is read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    client.connect(("127.0.0.1", port))
    client.sendall(requests)
    client.settimeout(10)
    return client


async def _nothing_is_kept(app: Large) -> None:
    async with asyncio.timeout(20):
        await app.left.wait()
        while any(one() is not None for one in app.connections):
            await asyncio.sleep(0.05)
            gc.collect()


@pytest.mark.parametrize(
    ("pieces", "closes"),
    [(30, False), (30, True), (1, False), (1, True)],
    ids=["waits to write", "waits to write and close", "has written", "has written and closed"],
)
async def test_an_answer_that_nobody_reads_is_dropped(pieces: int, closes: bool) -> None:
    app = Large(pieces, closes=closes)
    async with served(app) as port:
        with _asked(port):
            await _nothing_is_kept(app)


async def test_nobody_hoards_answers_by_asking_again_and_again() -> None:
    app = Large(4)
    async with served(app) as port:
        with _asked(port, GET * 500):
            await _nothing_is_kept(app)
    assert len(app.connections) < 20, "the others weren't begun"


async def test_who_reads_slowly_but_reads_gets_all() -> None:
    app = Large(1)
    async with served(app) as port:
        with _asked(port, window=1 << 18) as client:
            taken = await asyncio.to_thread(_read_slowly, client, PIECE)
    assert taken >= PIECE


def _read_slowly(client: socket.socket, wanted: int) -> int:
    """Some megabytes a second, for longer than anybody may be silent."""
    taken = 0
    while taken < wanted and (piece := client.recv(65536)):
        taken += len(piece)
        time.sleep(len(piece) / (8 << 20))
    return taken
