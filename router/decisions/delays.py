"""How long to wait before each retry: a list, or doubling with full jitter. Pure."""

import math
from dataclasses import dataclass

from event_router.schemas.errors import InvalidValue

LONGEST_DELAY = 30 * 86400.0
EXPONENTIAL = "exponential"

_EXPECTED = (
    "seconds before each retry, comma-separated, or exponential:FIRST:LONGEST; "
    f"each from 0 to {LONGEST_DELAY:.0f}"
)


@dataclass(frozen=True, slots=True)
class FixedDelays:
    """Seconds before each retry; the last one repeats. At least one."""

    seconds: tuple[float, ...]

    def delay(self, attempt: int, dice: float) -> float:  # noqa: ARG002  fixed: no dice
        return self.seconds[min(attempt, len(self.seconds)) - 1]

    def __str__(self) -> str:
        return ",".join(f"{one:g}" for one in self.seconds)


@dataclass(frozen=True, slots=True)
class ExponentialDelays:
    """Full jitter: anything from 0 to the doubled delay, at most `longest` seconds."""

    first: float
    longest: float

    def delay(self, attempt: int, dice: float) -> float:
        return min(self.first * 2.0 ** min(attempt - 1, 60), self.longest) * dice

    def __str__(self) -> str:
        return f"{EXPONENTIAL}:{self.first:g}:{self.longest:g}"


Delays = FixedDelays | ExponentialDelays


def read_delays(text: str) -> Delays:
    """`5,30,120` or `exponential:5:3600`; InvalidValue for anything else."""
    kind, colon, rest = text.strip().partition(":")
    try:
        if kind == EXPONENTIAL and colon:
            first, longest = (_seconds(part) for part in rest.split(":"))
            if 0 < first <= longest:
                return ExponentialDelays(first, longest)
        else:
            return FixedDelays(tuple(_seconds(part) for part in text.split(",")))
    except ValueError:
        pass
    raise InvalidValue("retry_schedule", text, _EXPECTED)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (math.isfinite(seconds) and 0 <= seconds <= LONGEST_DELAY):
        raise ValueError(text)
    return seconds
