"""A role stops in time, whatever it waits for."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import pytest

from event_router.consumers.health import Health
from event_router.consumers.newer_records import NewerRecords
from event_router.router.clock import now_ms
from event_router.router.roles import deliver
from event_router.router.roles.role import Role
from event_router.router.settings import Settings
from event_router.schemas.errors import Unavailable
from event_router.schemas.record import Record
from tests.consumers.test_delivery_worker import delivery, records, unfinished, worker_of
from tests.loop import World, destination
from tests.waiting import until


class Read:
    """A subscription that brings one list."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._lists = [records]
        self._stopped = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """It has no group to leave."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sequence[Record]:
        if not self._lists:
            await self._stopped.wait()
            raise StopAsyncIteration
        return self._lists.pop()

    def stop(self) -> None:
        self._stopped.set()


async def test_deliver_stops_in_time_while_the_registry_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(now_ms)
    world.directory.put(destination("d"))

    async def away(_: Collection[str]) -> Any:
        raise Unavailable("database", "nobody answers")

    monkeypatch.setattr(world.directory, "views", away)
    stop, health = asyncio.Event(), Health()
    settings = Settings.model_validate({"data_dir": tmp_path, "drain_timeout": 0.1})
    role = Role("deliver", settings, world.topics, health, stop, asyncio.Event(), AsyncExitStack())
    worker = worker_of(world)
    worker.admission.health = health
    subscription: Any = Read(await records(world, delivery()))
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(deliver._work(role, worker, NewerRecords(health), subscription))
        await until(lambda: "database" in health.troubles)
        stop.set()
    assert unfinished(world) == 1, "it will be read again"
