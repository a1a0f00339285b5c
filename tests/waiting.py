"""Waiting for what comes about by itself."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Raises TimeoutError when it hasn't come true by then."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
