"""Each destination's failures in a row, as the schedule keeps them."""

from collections.abc import Collection
from dataclasses import dataclass, field

from event_router.consumers.circuit import after_failure
from event_router.consumers.health import Health
from event_router.consumers.patience import persist
from event_router.consumers.ports import Backoff, Schedule
from event_router.schemas.attempt import Attempt
from event_router.schemas.delivery import DestinationKey


@dataclass(slots=True)
class Failures:
    """All attempts of a destination lie in one partition, so they are counted here: read once
    from the schedule, written when they change.

    An attempt that is read again after a crash may be counted twice, never left out.
    """

    schedule: Schedule
    health: Health
    known: dict[DestinationKey, Backoff | None] = field(default_factory=dict)
    stored: dict[DestinationKey, Backoff | None] = field(default_factory=dict)

    async def learn(self, keys: Collection[DestinationKey]) -> None:
        """On return all of them can be counted. What another batch has counted meanwhile stays."""
        while unknown := set(keys) - self.known.keys():
            read = await persist("redis", lambda: self.schedule.backoff(unknown), self.health)
            for key in unknown - self.known.keys():
                self.known[key] = self.stored[key] = read.get(key)

    def count(self, attempt: Attempt) -> int:
        """The destination's failures in a row after `attempt`."""
        key = attempt.head.delivery.key
        after = self.known[key] = _after(self.known[key], attempt)
        return after.failures if after else 0

    def reset(self, key: DestinationKey) -> None:
        """From now on it is counted anew."""
        self.known[key] = None

    async def keep(self, keys: Collection[DestinationKey]) -> None:
        """On return what has changed of them is in the schedule."""
        changed = {
            key: self.known[key]
            for key in self.known.keys() & set(keys)
            if self.known[key] != self.stored.get(key)
        }
        if changed:
            await persist("redis", lambda: self.schedule.set_backoff(changed), self.health)
            self.stored.update(changed)

    def forget(self, keys: Collection[DestinationKey] | None = None) -> None:
        """They, or all, are read again when they are needed."""
        for key in list(self.known) if keys is None else keys:
            self.known.pop(key, None)
            self.stored.pop(key, None)


def _after(before: Backoff | None, attempt: Attempt) -> Backoff | None:
    """Being rejected says nothing of the destination."""
    head = attempt.head
    if head.outcome == "delivered":
        return None
    if head.outcome == "rejected":
        return before
    return after_failure(before, head.started + round(head.latency), head.retry_after)
