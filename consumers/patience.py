"""Trouble with a dependency of ours is waited out in place: nothing is skipped."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from event_router.consumers.health import Health
from event_router.schemas.errors import Unavailable

T = TypeVar("T")

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0


async def persist(dependency: str, call: Callable[[], Awaitable[T]], health: Health) -> T:
    """What `call` returns, once it doesn't raise Unavailable; meanwhile the role isn't ready.

    Returns never while the dependency is down: cancel it, or put a time-out around it.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            result = await call()
        except Unavailable as trouble:
            health.down(dependency, str(trouble))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        else:
            health.up(dependency)
            return result
