"""The sinks that are open: one a destination, replaced when the destination was written."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from event_router.consumers.batches import Batches
from event_router.consumers.ports import BatchSink, Sink
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.destination import Destination

log = logging.getLogger(__name__)

IDLE_SECONDS = 300.0
CLOSING = 5.0
"""Seconds for a sink to close."""


@dataclass(slots=True)
class _Open:
    sink: Sink
    version: str
    used_at: float
    users: int = 0


@dataclass(slots=True)
class OpenSinks:
    """`open_sink` makes a sink; it may raise Rejected, when the type isn't installed."""

    open_sink: Callable[[Destination], Sink]
    clock: Callable[[], float] = time.monotonic
    current: dict[DestinationKey, _Open] = field(default_factory=dict)
    retired: list[_Open] = field(default_factory=list)

    @asynccontextmanager
    async def lend(self, destination: Destination) -> AsyncIterator[Sink]:
        """The sink for this very version of the destination, so a rotated secret holds at once."""
        opened = self.current.get(destination.key)
        if opened is None or opened.version != destination.version:
            if opened is not None:
                self.retired.append(opened)
            sink = self.open_sink(destination)
            batched = Batches(sink) if isinstance(sink, BatchSink) else sink
            opened = _Open(batched, destination.version, self.clock())
            self.current[destination.key] = opened
        opened.users += 1
        opened.used_at = self.clock()
        try:
            yield opened.sink
        finally:
            opened.users -= 1

    async def close_idle(self) -> None:
        """Closes what was replaced, and what nobody used for long, once nobody uses it."""
        now = self.clock()
        for key, opened in list(self.current.items()):
            if now - opened.used_at > IDLE_SECONDS and not opened.users:
                self.retired.append(self.current.pop(key))
        unused = [opened for opened in self.retired if not opened.users]
        self.retired = [opened for opened in self.retired if opened.users]
        await _close(unused)

    async def aclose(self) -> None:
        opened = [*self.current.values(), *self.retired]
        self.current.clear()
        self.retired.clear()
        await _close(opened)


async def _close(unused: Sequence[_Open]) -> None:
    """Together. One that doesn't close in time, or raises, is let fall: it may be anybody's."""
    closing = (asyncio.wait_for(one.sink.aclose(), CLOSING) for one in unused)
    for result in await asyncio.gather(*closing, return_exceptions=True):
        if result is not None:
            log.warning("sink.not_closed", extra={"error": repr(result)})
