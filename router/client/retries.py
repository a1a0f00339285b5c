"""When to try again, and after how long. Pure: dice and the time of day are arguments."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import random
from typing import TypeVar

from event_router.client.errors import NoAnswer
from event_router.client.exchange import Answer, Call, Pause, Request, error_of

T = TypeVar("T")

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may be answered otherwise."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How often to try, and how long to wait in between, in seconds.

    A wait is drawn evenly from 0 to `first`, 2 `first`, 4 `first`, … up to `longest` ("full
    jitter"): clients that failed together don't come back together. A `Retry-After` is waited for
    first. No more than `patience` is waited in all: what takes longer is raised instead.
    """

    tries: int = 6
    first: float = 0.5
    longest: float = 30.0
    patience: float = 120.0

    def waits(self, dice: Callable[[], float] = random) -> Iterator[float]:
        """The wait after each try but the last."""
        for nth in range(self.tries - 1):
            yield dice() * min(self.longest, self.first * 2 ** min(nth, 60))


NO_RETRIES = Retries(tries=1)


def retried(request: Request, retries: Retries) -> Call[Answer]:
    """Sends the request until it is answered with anything but trouble, or retries are spent.

    Raises APIError for a status of 300 or more (redirections aren't followed), and NoAnswer.
    """
    left = retries.patience
    waits = retries.waits()
    while True:
        trouble, named = None, 0.0
        try:
            answer: Answer = yield request
        except NoAnswer as error:
            trouble = error
        else:
            if answer.status < 300:
                return answer
            named = retry_after(answer, datetime.now(UTC)) or 0.0
        wait = next(waits, None)
        final = trouble or error_of(answer)
        if wait is None or named + wait > left or not (trouble or answer.status in _AGAIN):
            raise final
        left -= named + wait
        yield Pause(named + wait)


def retry_after(answer: Answer, now: datetime) -> float | None:
    """The seconds that the answer asks to wait, from either form of the header (RFC 9110,
    §10.2.3); None without one that can be read."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())
