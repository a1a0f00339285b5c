"""A role that has work and gets nowhere is started again.

Records wait, no dependency is down, and none was finished for a while: something of ours hangs.
Halfway to `stall_timeout` the role says that it isn't ready, at its end it exits.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Literal

from event_router.consumers.health import Health
from event_router.schemas.errors import EventRouterError

log = logging.getLogger(__name__)

STALL = "stall"
ASKING = 5.0
"""Seconds to wait for the lag; who can't be asked tells nothing."""

Verdict = Literal["fine", "stalling", "stalled"]


class Stalled(EventRouterError):
    """The role made no progress although it had work to do, and must exit."""


def verdict(idle: float, limit: float) -> Verdict:
    """`idle`: seconds with work and without progress."""
    if idle < limit / 2:
        return "fine"
    return "stalling" if idle < limit else "stalled"


async def watch(lag: Callable[[], Awaitable[int]], health: Health, limit: float) -> None:
    """Looks ten times in `limit` seconds. Raises Stalled; never returns."""
    while True:
        await asyncio.sleep(limit / 10)
        waiting = await _waiting(lag)
        idle = health.stalled_for(waiting)
        found = verdict(idle, limit)
        if found == "fine":
            health.mended(STALL)
            continue
        detail = f"{waiting} records wait and none was finished for {idle:.0f} s"
        health.fault(STALL, detail)
        if found == "stalled":
            raise Stalled(f"{detail}, though no dependency is down")


async def _waiting(lag: Callable[[], Awaitable[int]]) -> int:
    """The lag; 1 while it can't be had in time: with a broker that is down the health knows, and
    without one that is down it is a stall as well."""
    try:
        async with asyncio.timeout(ASKING):
            return await lag()
    except (TimeoutError, EventRouterError) as error:
        log.warning("watchdog.lag_unknown", extra={"error": repr(error)})
        return 1
