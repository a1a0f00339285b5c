"""Deliveries without room, on their way into the schedule."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from event_router.consumers.deliver.keeping import Keeping
from event_router.consumers.deliver.waiting_line import Waiting


@dataclass(slots=True)
class Parking:
    """What found no room is parked while others are read and attempted already: a burst at one
    destination holds up nobody for as long as Redis takes to write it down. `most` may be on their
    way before `few` waits."""

    keeping: Keeping
    most: int
    _waiting: list[Waiting] = field(default_factory=list)
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _parked: asyncio.Event = field(default_factory=asyncio.Event)
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    def add(self, waiting: Sequence[Waiting]) -> None:
        if waiting:
            self._waiting += waiting
            self._wanted.set()

    async def few(self) -> None:
        while len(self._waiting) > self.most:
            self._parked.clear()
            await self._parked.wait()

    async def run(self) -> None:
        """Until it is cancelled; what has begun goes on."""
        while True:
            await self._wanted.wait()
            await asyncio.shield(self.flush())

    async def flush(self) -> None:
        """On return all that was added before is parked, and its offsets are done."""
        async with self._one:
            self._wanted.clear()
            waiting, self._waiting = self._waiting, []
            await self.keeping.park(waiting)
            self._parked.set()
