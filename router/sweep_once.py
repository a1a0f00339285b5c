"""`router sweep`: one pass, now."""

import asyncio
from contextlib import AsyncExitStack

from event_router.consumers.health import Health
from event_router.router.adapters import find_topics
from event_router.router.clock import now_ms
from event_router.router.hops.orphans import SweepCounts
from event_router.router.hops.sweep import Sweep
from event_router.router.roles.connected import connect
from event_router.router.roles.role import Role
from event_router.router.roles.sweep import open_sweep
from event_router.router.settings import read_settings
from event_router.router.store.log import SqlLog
from event_router.schemas.errors import Unavailable

_WAITED = "it may still be another one's turn, or deliver, stream or log are behind: see `lag`"


async def sweep_once(seconds: float) -> SweepCounts:
    """What was found and parked; raises Unavailable when it took longer than `seconds`."""
    settings = read_settings()
    topics = await find_topics(settings)
    async with AsyncExitStack() as closing:
        role = Role("sweep", settings, topics, Health(), asyncio.Event(), asyncio.Event(), closing)
        log = SqlLog(settings.log_url)
        closing.push_async_callback(log.aclose)
        sweep = open_sweep(role, connect(role), log)
        trouble: Unavailable | None = None
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                keeping = group.create_task(sweep.orphans.keep_turn(), name="sweep: turn")
                await _pass(sweep)
                keeping.cancel()
        except* TimeoutError:
            trouble = Unavailable("sweep", f"not done within {seconds:g} s: {_WAITED}")
        except* Unavailable as troubles:
            trouble = Unavailable("sweep", "; ".join(map(str, troubles.exceptions)))
        if trouble:
            raise trouble
    return sweep.counts


async def _pass(sweep: Sweep) -> None:
    while not await sweep.orphans.is_mine():  # noqa: ASYNC110  Redis tells nobody
        await asyncio.sleep(1)
    await sweep(now_ms(), hurry=True)
    await sweep.orphans.end_turn()  # what had no room is left to the role `log`
