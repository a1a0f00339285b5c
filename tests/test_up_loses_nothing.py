"""`router up` on its embedded services: Ctrl-C in the middle of everything, and the next run.

The embedded broker forgets when it stops, so what is in a topic by then is gone.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from event_router.router.child import free_port

EVENTS = 300
PUBLISHERS = 30
KEY = "the-key-of-this-test"


class Destination(ThreadingHTTPServer):
    """Keeps the ids of what it takes; while `broken` it answers 503."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.taken: set[str] = set()
        self.refused = 0
        self.broken = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Answer(BaseHTTPRequestHandler):
    server: Destination
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        broken = self.server.broken
        if broken:
            self.server.refused += 1
        else:
            self.server.taken.add(self.headers["webhook-id"])
        self.send_response(503 if broken else 204)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name in the base
        """What counts is in `taken`."""


@contextmanager
def destination() -> Iterator[Destination]:
    with Destination() as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@dataclass
class Running:
    """A router that runs, and a client of its API."""

    client: httpx.AsyncClient
    process: asyncio.subprocess.Process


class Router:
    """`router up` as a person runs it, in its own data directory, on its own port."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.output = directory / "output"
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ROUTER_")},
            "ROUTER_DATA_DIR": str(directory / "data"),
            "ROUTER_API_PORT": str(self.port),
            "ROUTER_API_KEY": KEY,
            "ROUTER_ALLOW_NETWORKS": "127.0.0.0/8",
            "ROUTER_RETRY_SCHEDULE": "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1",
        }

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Running]:
        """At the end it is stopped, and its exit code is checked."""
        with self.output.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "event_router.router.cli", "up",
                env=self.environ, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            async with asyncio.timeout(60):
                while "Ctrl-C stops everything" not in self.said():
                    assert process.returncode is None, self.said()
                    await asyncio.sleep(0.05)
            url, headers = (
                f"http://127.0.0.1:{self.port}/api/v1",
                {"authorization": f"Bearer {KEY}"},
            )
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
                yield Running(client, process)
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
            assert await process.wait() == 0, self.said()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def said(self) -> str:
        return self.output.read_text()


async def _call(client: httpx.AsyncClient, method: str, path: str, body: object) -> httpx.Response:
    answer = await client.request(method, path, json=body)
    assert answer.is_success, answer.text
    return answer


async def _publish_until_stopped(running: Running, accepted: set[str]) -> None:
    """Publishes one event after the other, until nobody answers any more."""
    event = {"tenant_id": "t", "topic": "a", "data": {"payload": "of no interest"}}
    with contextlib.suppress(httpx.TransportError):
        while (answer := await running.client.post("/publish", json=event)).status_code == 202:
            accepted.add(answer.json()["id"])


async def _publish_and_stop(running: Running) -> set[str]:
    """The ids of the events that were accepted before, during and after Ctrl-C."""
    accepted: set[str] = set()
    async with asyncio.TaskGroup() as group:
        for _ in range(PUBLISHERS):
            group.create_task(_publish_until_stopped(running, accepted))
        while len(accepted) < EVENTS:
            await asyncio.sleep(0.001)
        running.process.send_signal(signal.SIGINT)
    return accepted


async def _until_taken(server: Destination, ids: set[str]) -> None:
    async with asyncio.timeout(60):
        while not ids <= server.taken:
            await asyncio.sleep(0.05)


@pytest.mark.timeout(180)
async def test_ctrl_c_in_the_middle_of_everything_loses_nothing(tmp_path: Path) -> None:
    router = Router(tmp_path)
    with destination() as healthy, destination() as failing:
        failing.broken = True
        async with router.up() as running:
            await _call(running.client, "PUT", "/tenants/t", {})
            for server in (healthy, failing):
                body = {"type": "webhook", "topics": "*", "config": {"url": server.url}}
                await _call(running.client, "POST", "/tenants/t/destinations", body)
            ids = await _publish_and_stop(running)
            began = time.monotonic()
            await running.process.wait()
            assert time.monotonic() - began < 12
        assert len(ids) >= EVENTS
        assert "unread" not in router.said()
        assert failing.taken == set()
        failing.broken = False
        async with router.up():
            await _until_taken(failing, ids)
            await _until_taken(healthy, ids)
