"""Puts the demo together, and takes it apart in order: publishers first, the receiver last."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.live import Live

from event_router.consumers.health import Health
from event_router.router.adapters import find_topics, open_producer, open_schedule
from event_router.router.child import free_port
from event_router.router.demo.publisher import TENANT, Publisher
from event_router.router.demo.receiver import FLAKY, Receiver
from event_router.router.demo.view import View
from event_router.router.readiness import readiness
from event_router.router.redis_pipe import RedisPipe
from event_router.router.schedule.redis import RedisSchedule
from event_router.router.serve import serve
from event_router.router.settings import Settings
from event_router.router.store.log import SqlLog
from event_router.schemas.errors import EventRouterError, Unavailable

HOST = "127.0.0.1"
LOOK_EVERY = 1.0
PLAIN_EVERY = 5
ALREADY_THERE = (400, 409)


class DemoFailed(EventRouterError):
    """The demo's tenant can't be set up over the API."""


@dataclass(slots=True)
class Demo:
    """The demo over a running router. `receive` runs for as long as deliveries may come."""

    settings: Settings
    roles: Mapping[str, str]
    http: httpx.AsyncClient
    publisher: Publisher
    log: SqlLog
    schedule: RedisSchedule
    view: View

    async def run(self, console: Console) -> None:
        """Publishes and shows until it is cancelled."""
        show = self._live if console.is_terminal else self._plain
        async with asyncio.TaskGroup() as group:
            group.create_task(self.publisher.run(), name="demo publisher")
            group.create_task(show(console), name="demo view")

    async def _live(self, console: Console) -> None:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                if await self._look():
                    live.update(self.view.table(), refresh=True)
                await asyncio.sleep(LOOK_EVERY)

    async def _plain(self, console: Console) -> None:
        while True:
            if await self._look():
                console.print(self.view.line(), highlight=False, soft_wrap=True)
            await asyncio.sleep(PLAIN_EVERY)

    async def _look(self) -> bool:
        """False while the log or Redis doesn't answer: the last look stays."""
        try:
            counts, parked = await self.log.counts(), await self.schedule.stats()
        except Unavailable:
            return False
        looks = await asyncio.gather(*(readiness(url, 0.5) for url in self.roles.values()))
        self.view.add(counts, parked, dict(zip(self.roles, looks, strict=True)))
        return True


@asynccontextmanager
async def open_demo(settings: Settings, api: str, roles: Mapping[str, str]) -> AsyncIterator[Demo]:
    """The demo's tenant and destinations exist, made over the API."""
    headers = {
        "Authorization": f"Bearer {settings.api_key.get_secret_value()}",
        "Content-Type": "application/json",
    }
    async with AsyncExitStack() as closing:
        http = await closing.enter_async_context(
            httpx.AsyncClient(base_url=api, headers=headers, timeout=15.0)
        )
        topics = await find_topics(settings)
        producer = open_producer(settings, topics, Health())
        closing.push_async_callback(producer.aclose)
        log = SqlLog(settings.log_url)
        closing.push_async_callback(log.aclose)
        redis = RedisPipe(settings.redis)
        closing.push_async_callback(redis.aclose)
        await _set_up(http, receiver_port(settings.data_dir))
        yield Demo(
            settings,
            roles,
            http,
            Publisher(http, producer, topics),
            log,
            open_schedule(settings, topics, redis),
            View(),
        )


@asynccontextmanager
async def receiving(data_dir: Path) -> AsyncIterator[None]:
    """The receiver listens; to be left when nothing is delivered any more."""
    stop = asyncio.Event()
    work = serve(Receiver(), HOST, receiver_port(data_dir), stop, drain=1.0)
    server = asyncio.create_task(work, name="demo receiver")
    try:
        yield
    finally:
        stop.set()
        await server


def receiver_port(data_dir: Path) -> int:
    """The same in every run, since what is parked will be delivered there."""
    file = data_dir / "demo_port"
    if not file.exists():
        file.write_text(str(free_port(HOST)))
    return int(file.read_text())


async def _set_up(http: httpx.AsyncClient, port: int) -> None:
    await _ask(http, "PUT", f"/api/v1/tenants/{TENANT}", {})
    receiver = f"http://{HOST}:{port}"
    for destination in (
        {"id": "healthy", "topics": "*", "config": {"url": f"{receiver}/healthy"}},
        {"id": "fails-at-first", "topics": ["order.paid"], "config": {"url": receiver + FLAKY}},
        {
            "id": "large-orders",
            "topics": ["order.created", "order.paid"],
            "filter": {"data": {"amount": {"$gte": 500}}},
            "config": {"url": f"{receiver}/large-orders"},
        },
    ):
        body = {"type": "webhook", **destination}
        await _ask(http, "POST", f"/api/v1/tenants/{TENANT}/destinations", body, ALREADY_THERE)


async def _ask(
    http: httpx.AsyncClient, method: str, path: str, body: Any, fine: tuple[int, ...] = ()
) -> None:
    answer = await http.request(method, path, json=body)
    if not answer.is_success and answer.status_code not in fine:
        raise DemoFailed(f"{method} {path} answered {answer.status_code}: {answer.text}")
