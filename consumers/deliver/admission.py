"""Who may be attempted now: as the registry, failures so far and the room say."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from event_router.consumers.health import Health
from event_router.consumers.patience import persist
from event_router.consumers.ports import Directory, Schedule, TenantView
from event_router.consumers.room import Room
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Unavailable


@dataclass(slots=True)
class Admission:
    """While `parking`, nothing is attempted but what leads nowhere. `now` is in ms."""

    directory: Directory
    schedule: Schedule
    room: Room
    health: Health
    parking: bool = False
    _learned: set[DestinationKey] = field(default_factory=set)

    async def views(self, tenants: Collection[str]) -> Mapping[str, TenantView]:
        return await persist("database", lambda: self.directory.views(tenants), self.health)

    async def learn(self, keys: set[DestinationKey]) -> None:
        """Reads once what the schedule knows of each destination's failures. Without Redis the
        worker finds out by itself."""
        unknown = keys - self._learned
        if not unknown:
            return
        try:
            known = await self.schedule.backoff(unknown)
        except Unavailable as trouble:
            self.health.down("redis", str(trouble))
            return
        self.room.backoffs.update(known)
        self._learned |= unknown

    def forget(self) -> None:
        """Other workers may have had the destinations since: what they learnt is read anew."""
        self._learned.clear()

    def may_start(self, key: DestinationKey, destination: Destination | None, now: int) -> bool:
        """What leads to a deleted destination (None) is always attempted: that is a report."""
        if destination is None:
            return True
        if self.parking or destination.is_paused:
            return False
        self.room.rates.limit(key, destination.rate_limit, now)
        return key not in self.room.rates.behind and self.room.free(key, now) > 0

    def may_wait(self, key: DestinationKey, destination: Destination | None, now: int) -> bool:
        """Whether there will be room in a moment."""
        if self.parking or destination is None or destination.is_paused:
            return False
        return not (self.room.is_shut(key, now) or self.room.rates.is_limited(key))
