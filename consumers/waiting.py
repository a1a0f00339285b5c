"""Waiting for one thing or another."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def when(event: asyncio.Event, act: Callable[[], None]) -> None:
    """Returns once it has happened, and `act` was called."""
    await event.wait()
    act()


async def unless(
    stop: asyncio.Event, work: Callable[[], Coroutine[Any, Any, T]], name: str
) -> T | None:
    """What `work` returns or raises; None when `stop` is set first. Nothing of it runs on return,
    nor after a cancellation. `name` is its task's."""
    working = asyncio.create_task(work(), name=name)
    stopping = asyncio.create_task(stop.wait(), name=f"{name}, unless stopped")
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.wait({working, stopping})
