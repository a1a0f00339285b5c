"""Who may start an attempt now: slots, a share of them per destination, circuits. Pure.

One bad destination harms nobody: it has at most its share of the slots. While attempts that run
for longer than a second (`mark_slow`) hold half of all slots, their destinations get no more.
"""

from dataclasses import dataclass, field

from event_router.consumers.circuit import after_failure
from event_router.consumers.ports import Backoff
from event_router.schemas.delivery import DestinationKey

SHARE = 8


@dataclass(slots=True)
class Room:
    """Slots of one worker. Times are in ms since the epoch."""

    slots: int
    running: dict[DestinationKey, int] = field(default_factory=dict)
    slow: dict[DestinationKey, int] = field(default_factory=dict)
    backoffs: dict[DestinationKey, Backoff] = field(default_factory=dict)
    taken: int = 0
    slow_taken: int = 0

    @property
    def cap(self) -> int:
        """Most slots of one destination."""
        return max(self.slots // SHARE, 1)

    def free(self, key: DestinationKey, now: int) -> int:
        """How many attempts this destination may start now."""
        running = self.running.get(key, 0)
        free = min(self.slots - self.taken, self.cap - running)
        backoff = self.backoffs.get(key)
        if backoff is not None and backoff.open_until:
            free = min(free, 0 if now < backoff.open_until else 1 - running)
        if self.slow.get(key) and self.slow_taken * 2 >= self.slots:
            free = 0
        return max(free, 0)

    def is_shut(self, key: DestinationKey, now: int) -> bool:
        """Whether its circuit is open: there will be no room for a while."""
        backoff = self.backoffs.get(key)
        return backoff is not None and backoff.open_until > now

    def take(self, key: DestinationKey) -> None:
        self.running[key] = self.running.get(key, 0) + 1
        self.taken += 1

    def mark_slow(self, key: DestinationKey) -> None:
        """One of its attempts has run for long."""
        self.slow[key] = self.slow.get(key, 0) + 1
        self.slow_taken += 1

    def give(self, key: DestinationKey, *, slow: bool) -> None:
        """An attempt has ended, which `mark_slow` was called for or not."""
        _count_down(self.running, key)
        self.taken -= 1
        if slow:
            _count_down(self.slow, key)
            self.slow_taken -= 1

    def succeeded(self, key: DestinationKey, now: int) -> None:
        """Closes its circuit once that has had its time. A success before is that of an attempt
        which began before it opened, and it takes no `Retry-After` back."""
        backoff = self.backoffs.get(key)
        if backoff is not None and backoff.open_until <= now:
            del self.backoffs[key]

    def failed(self, key: DestinationKey, now: int, retry_after: int | None) -> int:
        """Until when (ms) its circuit is open; 0 when it isn't."""
        backoff = after_failure(self.backoffs.get(key), now, retry_after)
        self.backoffs[key] = backoff
        return backoff.open_until if backoff.open_until > now else 0


def _count_down(counts: dict[DestinationKey, int], key: DestinationKey) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]
