"""Lines that repeat are written once in a while, with how many were left out."""

import logging
import time
from collections.abc import Callable


class OncePer(logging.Filter):
    """Lets one line per logger and message template through in `seconds`; warnings and worse.

    For libraries that repeat the same trouble dozens of times a second while a server is away.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._clock = clock
        self._last: dict[tuple[str, object], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        key = (record.name, record.msg)
        now = self._clock()
        since, left_out = self._last.get(key, (now - self._seconds, 0))
        if now - since < self._seconds:
            self._last[key] = (since, left_out + 1)
            return False
        self._last[key] = (now, 0)
        if left_out:
            record.msg = f"{record.msg} ({left_out} more like it before)"
        return True


def limit(package: str, seconds: float) -> None:
    """Limits every logger of `package` that exists by now; once, however often it is called."""
    for name in list(logging.root.manager.loggerDict):
        if name == package or name.startswith(f"{package}."):
            logger = logging.getLogger(name)
            if not any(isinstance(known, OncePer) for known in logger.filters):
                logger.addFilter(OncePer(seconds))
