"""Serving an ASGI app over HTTP within a role's own event loop, until it is told to stop."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn

from event_router.router.child import CannotStart
from event_router.router.request_head import BoundedHead

_TICK = 1.0
_KEEP_ALIVE = 65  # longer than the 60 s of usual load balancers: it is they who close
_BACKLOG = 2048


def _nobody(_port: int) -> None:
    """Whoever gave the port knows it."""


async def serve(
    app: Any,
    host: str,
    port: int,
    stop: asyncio.Event,
    *,
    drain: float = 5.0,
    listening: Callable[[int], None] = _nobody,
) -> None:
    """Returns once `stop` was set, the listener is closed, and requests in flight were answered,
    or `drain` seconds are over. `listening` is told the port. Raises CannotStart.

    Signals and logging are the role's own.
    """
    listener = _listener(host, port)
    listening(listener.getsockname()[1])
    config = uvicorn.Config(
        app,
        http=BoundedHead,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(drain)),
    )
    server = _Server(config, stop)
    try:
        await server.serve([listener])
    finally:  # after a cancellation too
        for opened in server.servers:
            opened.close()
        listener.close()


class _Server(uvicorn.Server):
    """uvicorn looks ten times a second whether it is to stop; this one is woken."""

    def __init__(self, config: uvicorn.Config, stop: asyncio.Event) -> None:
        super().__init__(config)
        self._stop = stop
        self.servers: list[asyncio.base_events.Server] = []

    async def main_loop(self) -> None:
        while not self._stop.is_set():
            await self.on_tick(0)
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await self._stop.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise CannotStart(f"can't listen on {host}:{port}: {error}") from error
    listener.setblocking(False)
    return listener
