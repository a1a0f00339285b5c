"""How far a recovery has come: said on stderr every few seconds, and when it takes too long."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from benchmarks.bed import Bed
from event_router.router.adapters import open_schedule
from event_router.router.readiness import readiness
from event_router.router.redis_pipe import RedisPipe
from event_router.router.store.log import SqlLog
from event_router.schemas.errors import Unavailable

EVERY = 10.0


class Standing(NamedTuple):
    """Deliveries by what the log says of them, how many are parked, and the roles' lags."""

    unsettled: int
    delivered: int
    dead: int
    parked: int
    lags: dict[str, int | None]

    def __str__(self) -> str:
        lags = ", ".join(f"{role} {lag}" for role, lag in self.lags.items() if lag)
        return (
            f"{self.unsettled:,} unsettled ({self.parked:,} parked), {self.delivered:,} delivered, "
            f"{self.dead:,} dead" + (f", behind: {lags}" if lags else "")
        )


class Progress:
    """Looks at a bed. `phase` is what is said with it."""

    def __init__(self, bed: Bed) -> None:
        settings = bed.system.settings
        self._bed = bed
        self._log = SqlLog(settings.log_url)
        self._redis = RedisPipe(settings.redis)
        self._schedule = open_schedule(settings, bed.system.topics, self._redis)
        self._began = time.monotonic()
        self.phase = "starts"

    async def look(self) -> Standing:
        counts = await self._log.counts()
        stats = await self._schedule.stats()
        looks = {name: await readiness(url) for name, url in self._bed.system.health.items()}
        lags = {name: look.lag if look else None for name, look in looks.items()}
        unsettled = counts.waiting + counts.retrying
        return Standing(unsettled, counts.delivered, counts.dead, stats.entries, lags)

    async def until_unsettled(self, count: int, seconds: float) -> None:
        """That many are, in the schedule or in the log alone, and all is read. Ends the program
        when it takes longer."""
        until = time.monotonic() + seconds
        while True:
            standing = await self.look()
            if standing.unsettled >= count and not any(standing.lags.values()):
                return
            if time.monotonic() > until:
                sys.exit(f"{self.phase}: not done after {seconds:g} s: {standing}")
            await asyncio.sleep(1)

    async def keep_saying(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            with contextlib.suppress(Unavailable):
                seconds = time.monotonic() - self._began
                sys.stderr.write(f"  {seconds:4.0f} s, {self.phase}: {await self.look()}\n")

    async def aclose(self) -> None:
        await self._log.aclose()
        await self._redis.aclose()


@asynccontextmanager
async def told(bed: Bed) -> AsyncIterator[Progress]:
    progress = Progress(bed)
    saying = asyncio.create_task(progress.keep_saying(), name="say how far it is")
    try:
        yield progress
    finally:
        saying.cancel()
        await asyncio.wait([saying])
        await progress.aclose()
