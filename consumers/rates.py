"""How often a destination may be attempted, where it has a limit: token buckets. Pure.

At the receiver there are never more attempts than the limit and one bucket: in any T seconds at
most `rate * T + max(rate, 1)`. What is used here is a quarter of that bucket, at least one token,
since attempts that begin evenly don't all take the same time to arrive.

That holds when destinations move to another worker, too. The new one begins with empty buckets, and
the old one has stopped before: when it is told to let go, and when its group may have given it up
without telling (`is_ours`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from event_router.schemas.delivery import DestinationKey

BUCKET_SECONDS = 0.25
NO_LIMIT = 1 << 30
_ROUNDING = 1e-9


@dataclass(slots=True)
class TokenBucket:
    """`rate` tokens a second; `level` of them at `at` (ms)."""

    rate: float
    level: float
    at: int

    @property
    def size(self) -> float:
        return max(1.0, self.rate * BUCKET_SECONDS)

    def tokens(self, now: int) -> int:
        """Whole ones. A clock that was set back neither gives nor takes any."""
        gained = max(now - self.at, 0) * self.rate / 1000
        self.level, self.at = min(self.level + gained, self.size), now
        return max(int(self.level + _ROUNDING), 0)

    def take(self, now: int) -> None:
        self.tokens(now)
        self.level -= 1

    def wait(self, now: int) -> float:
        """Seconds until it is half full, and has one: sooner it isn't worth looking."""
        self.tokens(now)
        return max(max(1.0, self.size / 2) - self.level - _ROUNDING, 0) / self.rate


@dataclass(slots=True)
class Rates:
    """The buckets of one worker. `is_ours` says whether nobody else can have its destinations.

    A destination is `behind` while deliveries wait for it in the schedule: what comes then goes
    there too, or those that came first would get what tokens are left.
    """

    is_ours: Callable[[], bool] = lambda: True
    behind: set[DestinationKey] = field(default_factory=set)
    _buckets: dict[DestinationKey, TokenBucket] = field(default_factory=dict)
    _since: int | None = 0

    def begin(self, now: int) -> None:
        """All buckets are empty at `now`: others may have had the destinations until then."""
        self._since = now
        self._buckets.clear()
        self.behind.clear()

    def stop(self) -> None:
        """Nothing more with a limit is attempted until `begin`."""
        self._since = None

    def limit(self, key: DestinationKey, rate: float | None, now: int) -> None:
        """As the registry has it now; None: there is no limit."""
        bucket = self._buckets.get(key)
        if rate is None:
            if bucket is not None:
                del self._buckets[key]
                self.behind.discard(key)
        elif bucket is not None:
            bucket.tokens(now)
            bucket.rate = rate
        else:
            since = now if self._since is None else self._since
            self._buckets[key] = TokenBucket(rate, 0.0, since)

    def is_limited(self, key: DestinationKey) -> bool:
        return key in self._buckets

    def free(self, key: DestinationKey, now: int) -> int:
        bucket = self._buckets.get(key)
        if bucket is None:
            return NO_LIMIT
        return bucket.tokens(now) if self._since is not None and self.is_ours() else 0

    def take(self, key: DestinationKey, now: int) -> None:
        bucket = self._buckets.get(key)
        if bucket is not None:
            bucket.take(now)

    def wait(self, key: DestinationKey, now: int) -> float:
        """Seconds until looking for its due deliveries is worth it."""
        bucket = self._buckets.get(key)
        return bucket.wait(now) if bucket else 0.0

    def fall_behind(self, key: DestinationKey) -> None:
        """Some of its deliveries wait in the schedule. Of no interest without a limit."""
        if key in self._buckets:
            self.behind.add(key)

    def catch_up(self, key: DestinationKey) -> None:
        """The schedule has no more of its deliveries that are due."""
        self.behind.discard(key)
