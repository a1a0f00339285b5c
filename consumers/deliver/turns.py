"""Those in line get their turn as slots are given back."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from event_router.consumers.deliver.admission import Admission
from event_router.consumers.deliver.attempts import Attempts
from event_router.consumers.deliver.waiting_line import WaitingLine
from event_router.consumers.ports import TenantView
from event_router.consumers.room import Room
from event_router.schemas.delivery import DestinationKey


@dataclass(slots=True)
class Turns:
    """`freed` says that a slot was given back. While too many attempts wait to be reported,
    `few_unreported` doesn't return."""

    line: WaitingLine
    room: Room
    admission: Admission
    attempts: Attempts
    few_unreported: Callable[[], Awaitable[None]]
    clock: Callable[[], int]
    _freed: asyncio.Event = field(default_factory=asyncio.Event)

    def freed(self) -> None:
        if len(self.line):
            self._freed.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._freed.wait()
            self._freed.clear()
            await self.few_unreported()
            startable = [key for key in self.line if self.room.free(key, self.clock())]
            if startable:
                views = await self.admission.views({key.tenant for key in startable})
                for key in startable:
                    self._start(key, views)

    def _start(self, key: DestinationKey, views: Mapping[str, TenantView]) -> None:
        destination = views[key.tenant].destinations.get(key.destination)
        now = self.clock()
        if key not in self.line or not self.admission.may_start(key, destination, now):
            return
        for waiting in self.line.take(key, self.room.free(key, now)):
            self.attempts.start(
                waiting.delivery, destination, record=waiting.record, lease=waiting.lease
            )
