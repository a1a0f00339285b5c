"""What an attempt gives operators to know, and when it takes its destination out of service. Pure.

Failures are those in a row of one destination of one tenant. Being rejected says nothing of the
destination, and isn't one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from uuid import UUID, uuid5

from event_router.schemas.attempt import AttemptHead

CONSECUTIVE_FAILURE = "alert.destination.consecutive_failure"
DISABLED = "alert.destination.disabled"
EXHAUSTED = "alert.attempt.exhausted_retries"
SUCCEEDED = "attempt.success"
FAILED = "attempt.failed"
SUBSCRIPTION = "tenant.subscription.updated"

ALERTS = (CONSECUTIVE_FAILURE, DISABLED, EXHAUSTED)
TOPICS = (*ALERTS, SUCCEEDED, FAILED, SUBSCRIPTION)
ALL = "*"

PERCENTS = (100, 90, 70, 50)
GONE = 410

DisabledFor = Literal["gone", "consecutive_failure"]

_EXHAUSTED = {"retries_exhausted", "too_old"}
_IDS = UUID("5a1c7c55-7d0b-5f4e-9b0e-6a3d0f9f7c11")


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """`topics` are those that somebody wants; ALL is all of them.

    `alert_after` failures are 100 % of what is alerted about, unless `disable_after` says how
    many disable a destination; 0 = never. `window` (s): a destination's exhausted retries are
    alerted about once in it; 0 = each time.
    """

    topics: frozenset[str] = frozenset()
    alert_after: int = 100
    disable_after: int = 0
    window: float = 3600.0

    @property
    def most_failures(self) -> int:
        return self.disable_after or self.alert_after

    def wants(self, topic: str) -> bool:
        return topic in self.topics or ALL in self.topics


class Alert(NamedTuple):
    """Something to tell. The same thing told again has the same `id`. `at` in ms."""

    id: str
    topic: str
    at: int
    attempt: AttemptHead
    details: dict[str, Any]


def alerts_after(
    policy: AlertPolicy, attempt: AttemptHead, failures: int, gave_up: str | None
) -> Iterator[Alert]:
    """What is wanted of what `attempt` means: the destination has failed `failures` times in a
    row now, and `gave_up` is why the delivery is dead, if it is."""
    topic = SUCCEEDED if attempt.outcome == "delivered" else FAILED
    if policy.wants(topic):
        yield _alert(topic, attempt)
    if attempt.outcome != "failed":
        return
    percent = percent_reached(failures, policy.most_failures)
    if percent and policy.wants(CONSECUTIVE_FAILURE):
        count = {"current": failures, "max": policy.most_failures, "threshold": percent}
        yield _alert(CONSECUTIVE_FAILURE, attempt, consecutive_failures=count)
    if gave_up in _EXHAUSTED and policy.wants(EXHAUSTED):
        yield _alert(EXHAUSTED, attempt)


def percent_reached(failures: int, most: int) -> int | None:
    """The greatest of PERCENTS that this very failure reaches."""
    return next((p for p in PERCENTS if most and failures == math.ceil(most * p / 100)), None)


def disabled_for(policy: AlertPolicy, attempt: AttemptHead, failures: int) -> DisabledFor | None:
    """Why the attempt takes its destination out of service, if it does."""
    if attempt.status == GONE:
        return "gone"
    if attempt.outcome == "failed" and 0 < policy.disable_after <= failures:
        return "consecutive_failure"
    return None


def disabled_alert(attempt: AttemptHead, reason: DisabledFor, disabled_at: int) -> Alert:
    """`attempt` disabled its destination; `disabled_at` in ms."""
    key = attempt.delivery.key
    alert_id = str(uuid5(_IDS, f"{key.tenant}/{key.destination}/{disabled_at}"))
    return Alert(alert_id, DISABLED, disabled_at, attempt, {"reason": reason})


def _alert(topic: str, attempt: AttemptHead, **details: Any) -> Alert:
    ended = attempt.started + round(attempt.latency)
    return Alert(str(uuid5(_IDS, f"{attempt.id}/{topic}")), topic, ended, attempt, details)
