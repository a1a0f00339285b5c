"""What every role has in common: settings, health, a way to stop, a watchdog, a health server."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import uvloop
from prometheus_client import CollectorRegistry

from event_router.consumers.health import Health
from event_router.consumers.patience import persist
from event_router.consumers.waiting import unless
from event_router.router.adapters import find_topics
from event_router.router.garbage import spare_what_stays
from event_router.router.log_lines import log_to_stderr
from event_router.router.metrics import RoleCollector, registry_of
from event_router.router.role_health import RoleHealth
from event_router.router.serve import serve
from event_router.router.settings import Settings, read_settings
from event_router.router.watchdog import watch
from event_router.schemas.errors import EventRouterError
from event_router.schemas.topics import Topics

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

log = logging.getLogger(__name__)

SETTLED = 10.0  # seconds after which a role has made what it keeps


async def _nothing() -> int:
    return 0


@dataclass(slots=True)
class Role:
    """One role while it runs. `closing` closes, in reverse, what was opened; `park` is set when
    the role is told (SIGUSR1) to attempt nothing new. `lag` is None until it is known; `waiting`
    is the same as the brokers tell it, and raises Unavailable when they don't."""

    name: str
    settings: Settings
    topics: Topics
    health: Health
    stop: asyncio.Event
    park: asyncio.Event
    closing: AsyncExitStack
    counts: "dict[str, DataclassInstance]" = field(default_factory=dict)
    lag: Callable[[], int | None] = lambda: None
    waiting: Callable[[], Awaitable[int]] = _nothing
    gauges: Callable[[], Mapping[str, float]] = dict


Body = Callable[[Role], Awaitable[None]]
"""Runs until `role.stop` is set, and returns in order."""


def run_role(name: str, body: Body) -> int:
    """The exit code of the process: 0 when it was told to stop and did, 1 else."""
    log_to_stderr(name)
    settings = read_settings()
    failures: list[EventRouterError] = []
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_live(name, settings, body))
    except* EventRouterError as group:
        failures = _leaves(group)
    for error in failures:
        log.error("role.failed", extra={"detail": str(error)})
    return 1 if failures else 0


async def _live(name: str, settings: Settings, body: Body) -> None:
    stop, park, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, park.set)
    role = Role(name, settings, Topics(settings.namespace), Health(), stop, park, AsyncExitStack())
    spare_what_stays()
    loop.call_later(SETTLED, spare_what_stays)
    async with asyncio.TaskGroup() as group:
        if name != "api":  # which answers the same on its own port
            group.create_task(_serve_health(role, closed), name="health server")
        async with role.closing:
            await _found_topics(role)
            if not stop.is_set():
                await _watched(role, body)
        closed.set()


async def _serve_health(role: Role, closed: asyncio.Event) -> None:
    """Until the role has closed everything: who stops it looks here how far it is."""
    settings = role.settings
    app = RoleHealth(role.health, role_metrics(role), lambda: role.lag())
    await serve(app, settings.health_host, settings.health_port, closed, drain=1.0)


def role_metrics(role: Role) -> CollectorRegistry:
    """What `/metrics` shows: the role's counts and gauges as they are when it is asked."""
    return registry_of(RoleCollector(role.counts, lambda: _gauges(role)))


def _gauges(role: Role) -> Mapping[str, float]:
    lag = role.lag()
    said = {"ready": float(role.health.ready), "warnings": float(len(role.health.warnings))}
    return {**role.gauges(), **said} | ({} if lag is None else {"lag_records": float(lag)})


async def _found_topics(role: Role) -> None:
    """Waits until Kafka has the topics, or the role is to stop."""
    find = partial(persist, "kafka", lambda: find_topics(role.settings), role.health)
    found = await unless(role.stop, find, "find topics")
    if found is not None:
        role.topics = found


async def _watched(role: Role, body: Body) -> None:
    """The body, until it returns; a stall, or a mistake, ends it with an exception."""
    async with asyncio.TaskGroup() as group:
        dog = group.create_task(
            watch(lambda: role.waiting(), role.health, role.settings.stall_timeout),
            name="watchdog",
        )
        log.info("role.started")
        await body(role)
        dog.cancel()
    log.info("role.stopped")


def _leaves(group: BaseExceptionGroup[EventRouterError]) -> list[EventRouterError]:
    found: list[EventRouterError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
