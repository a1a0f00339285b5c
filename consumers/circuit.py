"""A destination's circuit: open after failures in a row over a minimum time. Pure.

While it is open nothing is sent; when its time is up probes are, and one success closes it.

One probe at a time would do for a destination that is away. But some refuse what comes first and
take what comes again: there, single probes are all first attempts of what has gathered meanwhile,
and the retries behind them never have their turn. So there are as many probes as make up for the
time that it was open, at PROBE_RATE. Who has taken nothing for longer than PATIENCE is asked less
and less: the retries behind those probes have had their turn.
"""

from event_router.consumers.ports import MAX_DOOR, Backoff

FAILURES = 5
MINIMUM_MS = 5_000
LONGEST_OPEN_MS = 10_000
PATIENCE_MS = 600_000
LONGEST_RETRY_AFTER_MS = round(MAX_DOOR * 1000)
PROBE_RATE = 10
"""Probes for each second that it was open."""
_CREDIBLE_MS = 2 * LONGEST_RETRY_AFTER_MS
"""Nothing is open for longer, even if clocks differ by a minute: one was set back."""


def is_open(backoff: Backoff, now: int) -> bool:
    """At `now` (ms)."""
    return now < backoff.open_until <= now + _CREDIBLE_MS


def after_failure(before: Backoff | None, now: int, retry_after: int | None) -> Backoff:
    """The state after one more failure at `now` (ms). A `retry_after` (ms) opens at once."""
    since = min(before.since, now) if before else now
    failures = before.failures + 1 if before else 1
    until = before.open_until if before and before.open_until <= now + _CREDIBLE_MS else 0
    if failures >= FAILURES and now - since >= MINIMUM_MS and now >= until:
        until = now + _open_for(now - since)
    if retry_after is not None and retry_after > 0:
        until = max(until, now + min(retry_after, LONGEST_RETRY_AFTER_MS))
    return Backoff(failures, since, until)


def probes(backoff: Backoff) -> int:
    """How many may fail, once the time is up, until it is open again. One after a Retry-After."""
    if backoff.failures < FAILURES:
        return 1
    failing = max(backoff.open_until - backoff.since, 1)
    made_up_for = _open_for(failing) * PROBE_RATE // 1000
    return max(made_up_for * min(PATIENCE_MS, failing) // failing, 1)


def _open_for(failing: int) -> int:
    """A fifth of the time it has been failing: a second at first, back soon after short trouble.
    After an hour of it a minute."""
    longest = LONGEST_OPEN_MS * max(failing, PATIENCE_MS) // PATIENCE_MS
    return min(failing // 5, longest, LONGEST_RETRY_AFTER_MS)
