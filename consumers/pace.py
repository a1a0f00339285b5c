"""How long to wait between polls: at steady rates the cost is wake-ups, not records."""

FULL = 500  # records in one poll, from which on waiting gains nothing
SELDOM = 20.0  # polls a second that cost nothing worth saving
OFTEN = 200.0  # polls a second from which on the whole pause is taken
MEMORY = 0.2  # weight of the newest interval
IDLE = 0.25  # seconds: longer silences count as this much


class Pace:
    """Merges small polls into larger ones. None when idle or when polls are full; otherwise the
    pause grows with the rate of polls, up to `longest` seconds. Times are monotonic, in seconds.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._interval = IDLE
        self._last = float("-inf")
        self._full = False

    def polled(self, now: float, records: int) -> None:
        """A poll brought something."""
        interval = min(IDLE, now - self._last)
        self._interval += MEMORY * (interval - self._interval)
        self._last = now
        self._full = records >= FULL

    def pause(self, now: float) -> float:
        """Seconds until the next poll should begin."""
        if self._full:
            return 0.0
        share = (1.0 / self._interval - SELDOM) / (OFTEN - SELDOM)
        pause = self._longest * min(1.0, max(0.0, share))
        return max(0.0, self._last + pause - now)
