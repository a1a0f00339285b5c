"""The time of day, as everything that isn't told another clock reads it."""

import time


def now_ms() -> int:
    """In ms since the epoch."""
    return time.time_ns() // 1_000_000
