"""A destination's circuit: open after failures in a row over a minimum time. Pure.

While it is open nothing is sent; when its time is up one probe is, whose success closes it.
"""

from event_router.consumers.ports import MAX_DOOR, Backoff

FAILURES = 5
MINIMUM_MS = 5_000
LONGEST_OPEN_MS = round(MAX_DOOR * 1000)


def after_failure(before: Backoff | None, now: int, retry_after: int | None) -> Backoff:
    """The state after one more failure at `now` (ms). A `retry_after` (ms) opens at once."""
    since = before.since if before else now
    failures = before.failures + 1 if before else 1
    until = before.open_until if before else 0
    if failures >= FAILURES and now - since >= MINIMUM_MS and now >= until:
        until = now + _open_for(now - since)
    if retry_after is not None and retry_after > 0:
        until = max(until, now + min(retry_after, LONGEST_OPEN_MS))
    return Backoff(failures, since, until)


def _open_for(failing: int) -> int:
    """A fifth of the time it has been failing: a second at first, back soon after short trouble."""
    return min(failing // 5, LONGEST_OPEN_MS)
