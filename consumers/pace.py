"""How long to wait before the next fetch: at steady rates the cost is wake-ups, not records.

A fetch that is sent a few milliseconds after the last answer brings all that came meanwhile; one
that is sent at once brings a single record, and holds up the rest until that was taken.
"""

FULL = 500  # records in one fetch, from which on waiting gains nothing
WORTH = 2.0  # records that the whole pause must bring to be worth it
SHORTEST = 0.0005  # seconds: a shorter pause isn't worth its timer
MEMORY = 0.2  # seconds over which the rate is smoothed


class Pace:
    """The pause before a fetch. None when idle or when fetches are full; otherwise it grows with
    the rate of records, up to `longest` seconds. Times are monotonic, in seconds.
    """

    __slots__ = ("_last", "_longest", "_rate", "_records")

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._last = float("-inf")
        self._rate = 0.0
        self._records = 0

    def polled(self, now: float, records: int) -> None:
        """A fetch brought something."""
        elapsed = max(now - self._last, 1e-6)
        weight = elapsed / (elapsed + MEMORY) if elapsed < float("inf") else 1.0
        self._rate += weight * (records / elapsed - self._rate)
        self._last = now
        self._records = records

    def pause(self, now: float) -> float:
        """Seconds until the next fetch should be sent."""
        if self._records >= FULL:
            return 0.0
        pause = self._longest * min(1.0, self._rate * self._longest / WORTH)
        left = self._last + pause - now
        return left if left >= SHORTEST else 0.0
