"""What follows an attempt: nothing, a later one, or giving up. Pure.

Every answer but 2xx is tried again, until the limit of attempts or of age is reached. What no
retry can mend (`rejected`), an event that isn't eligible and a manual retry get one attempt.
"""

from dataclasses import dataclass
from zlib import crc32

from event_router.router.decisions.delays import Delays, FixedDelays
from event_router.router.settings import Settings
from event_router.schemas.attempt import AttemptHead
from event_router.schemas.delivery import DeliveryHead
from event_router.schemas.destination import Destination

LONGEST_RETRY_AFTER = 3600.0
EXPONENTIAL_LIMIT = 10


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`limit` counts retries: a delivery has at most `limit` + 1 attempts. Age in seconds."""

    delays: Delays
    limit: int
    max_age: float


@dataclass(frozen=True, slots=True)
class Done:
    """It was delivered."""


@dataclass(frozen=True, slots=True)
class Retry:
    """It is to be tried again `at` (ms since the epoch)."""

    at: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It is dead, and why."""

    reason: str


def decide(
    policy: RetryPolicy, attempt: AttemptHead, now: int, dice: float
) -> Done | Retry | GiveUp:
    """What follows `attempt`. `now` in ms; `dice` in [0, 1), see `dice_of`."""
    delivery = attempt.delivery
    if attempt.outcome == "delivered":
        return Done()
    if attempt.outcome == "rejected":
        return GiveUp(attempt.code)
    if delivery.manual:
        return GiveUp("manual_retry_failed")
    if not delivery.retry:
        return GiveUp("not_eligible_for_retry")
    if delivery.attempt > policy.limit:
        return GiveUp("retries_exhausted")
    delay = policy.delays.delay(delivery.attempt, dice)
    if attempt.retry_after is not None:
        delay = max(delay, min(attempt.retry_after / 1000, LONGEST_RETRY_AFTER))
    at = now + round(delay * 1000)
    if at - delivery.began > policy.max_age * 1000:
        return GiveUp("too_old")
    return Retry(at)


def dice_of(head: DeliveryHead) -> float:
    """Dice that fall the same way whenever this attempt is decided, in [0, 1)."""
    origin = head.origin
    text = f"{origin.partition}:{origin.offset}:{head.destination}:{head.round}:{head.attempt}"
    return crc32(text.encode()) / 2**32


def policy_from(settings: Settings) -> RetryPolicy:
    """The global policy. Without a limit there are as many retries as the list has delays, or
    EXPONENTIAL_LIMIT."""
    delays = settings.retry_schedule
    limit = len(delays.seconds) if isinstance(delays, FixedDelays) else EXPONENTIAL_LIMIT
    if settings.retry_limit is not None:
        limit = settings.retry_limit
    return RetryPolicy(delays, limit, settings.retry_max_age)


def policy_for(destination: Destination | None, default: RetryPolicy) -> RetryPolicy:
    """The default with what the destination sets of its own."""
    own = destination.retry if destination else None
    if own is None:
        return default
    delays = FixedDelays(own.schedule) if own.schedule else default.delays
    limit = default.limit if own.schedule is None else len(own.schedule)
    return RetryPolicy(delays, limit if own.limit is None else own.limit, default.max_age)
