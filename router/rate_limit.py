"""How often each may do something: a token bucket for each, kept as one time. Pure.

The time is the one at which the bucket is full again ("generic cell rate algorithm"). A bucket
holds the tokens of one second, at least one, so that a quiet one may come all at once.
"""

from collections import OrderedDict

MOST = 50_000
_ROUNDING = 1e-6  # of times since 1970 as floats, in seconds


class RateLimit:
    """`rate` a second for each name. Of more names than `most`, those that have been quiet the
    longest are forgotten; their buckets are full, unless all of them came within a second."""

    def __init__(self, rate: float, most: int = MOST) -> None:
        self._each = 1.0 / rate  # seconds that a token takes to come
        self._whole = max(1.0, self._each)  # seconds that an empty bucket takes to be full
        self._most = most
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, name: str, now: float) -> float:
        """Takes a token at `now` (seconds) and returns 0; without one, the seconds until there is.

        A clock that was set back makes nobody wait for longer than one token takes.
        """
        full_at = min(max(self._full_at.get(name, now), now), now + self._whole)
        wait = full_at + self._each - now - self._whole
        if wait > _ROUNDING:
            self._keep(name, full_at)
            return wait
        self._keep(name, full_at + self._each)
        return 0.0

    def _keep(self, name: str, full_at: float) -> None:
        self._full_at[name] = full_at
        self._full_at.move_to_end(name)
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)
