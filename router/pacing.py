"""How long to wait before the next fetch, so that records arrive together.

At steady rates a record costs what it wakes up, not what it does (docs/design.md). A fetch that is
sent a few milliseconds after the last answer brings all that came meanwhile; one that is sent at
once brings a single record. When nothing waits the fetch is sent at once and Kafka answers it with
the first record, so a lone event is never delayed.
"""

LONGEST_PAUSE = 0.006
FULL_RATE = 250.0
"""Records a second from which the pause is as long as it gets."""

PLENTY = 100
"""A fetch that brought so many is as good as batches get: no pause."""

_MEMORY = 0.2


class Pace:
    """The pause of one consumer. Times are in seconds on one monotonic clock."""

    __slots__ = ("_at", "_last", "_rate")

    def __init__(self, now: float) -> None:
        self._at = now
        self._rate = 0.0
        self._last = 0

    def fetched(self, now: float, records: int) -> None:
        """A fetch brought so many records."""
        elapsed = max(now - self._at, 1e-6)
        weight = elapsed / (elapsed + _MEMORY)
        self._rate += weight * (records / elapsed - self._rate)
        self._at = now
        self._last = records

    @property
    def pause(self) -> float:
        """Seconds from the last answer to the next fetch: 0 when idle, growing with the rate up to
        LONGEST_PAUSE, 0 again when there is plenty."""
        if self._last >= PLENTY:
            return 0.0
        return LONGEST_PAUSE * min(1.0, self._rate / FULL_RATE)
