"""One look for all who ask for the same thing in the same round of the event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedLook(Generic[T]):
    """A look begins after everybody who shares it has asked: nobody is shown what was before."""

    def __init__(self, look: Callable[[str], Awaitable[T]]) -> None:
        self._look = look
        self._asked: dict[str, asyncio.Task[T]] = {}
        self._running: set[asyncio.Task[T]] = set()

    def ask(self, name: str) -> "asyncio.Task[T]":
        """To be waited for with `answer`, and only so: others wait for it, too."""
        task = self._asked.get(name)
        if task is None:
            task = asyncio.create_task(self._begin(name), name="shared look")
            self._asked[name] = task
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return task

    async def _begin(self, name: str) -> T:
        del self._asked[name]
        return await self._look(name)


async def answer(asked: "asyncio.Task[T]") -> T:
    """What the look has brought or raised."""
    return asked.result() if asked.done() else await asyncio.shield(asked)
