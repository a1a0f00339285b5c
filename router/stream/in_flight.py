"""Tasks that run to the end unless they are told to stop, and then within a deadline."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class InFlight:
    """What runs now. A task's own failure is its owner's to see: they are expected not to raise."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def drain(self, seconds: float) -> int:
        """Waits for all, cancels what still runs after `seconds`; how many that were.

        None runs on return.
        """
        if not self._tasks:
            return 0
        _, late = await asyncio.wait(set(self._tasks), timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        return len(late)
