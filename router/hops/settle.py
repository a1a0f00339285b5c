"""The hop `settle`: what follows each attempt is decided and made durable.

decode → decide → send the dead and the alerts, park the retries, remove the settled, disable
destinations, keep their failures → done.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import msgspec

from event_router.consumers.burial import bury
from event_router.consumers.health import Health
from event_router.consumers.patience import persist
from event_router.consumers.ports import (
    Directory,
    Duplicates,
    Parked,
    Producer,
    Schedule,
    Settled,
    Sighting,
    TenantView,
)
from event_router.router.decisions.alerts import (
    DISABLED,
    EXHAUSTED,
    Alert,
    AlertPolicy,
    DisabledFor,
    alerts_after,
    disabled_alert,
    disabled_for,
)
from event_router.router.decisions.retry import (
    GiveUp,
    Retry,
    RetryPolicy,
    decide,
    dice_of,
    policy_for,
)
from event_router.router.hops.failures import Failures
from event_router.router.hops.operator_events import OPERATOR, alert_message
from event_router.schemas.attempt import TOO_LARGE, Attempt, AttemptHead, Dead, DeadHead, note_of
from event_router.schemas.delivery import Delivery, DestinationKey
from event_router.schemas.errors import Undecodable, UnknownVersion
from event_router.schemas.record import Record, place_of
from event_router.schemas.topics import Topics
from event_router.schemas.wire import dead_of, delivery_message, read_outcome

log = logging.getLogger(__name__)


class Disabler(Protocol):
    """Takes a destination out of service."""

    async def disable_unless_changed_since(self, key: DestinationKey, at: int, reason: str) -> bool:
        """Disabled, unless it was written after `at` (ms): then an older attempt says nothing
        of it as it is now. True when it was disabled by this call."""
        ...


@dataclass(slots=True)
class SettleCounts:
    """What this process has settled since it started. `schedule_full` retries had no room in the
    schedule, and wait in the log."""

    delivered: int = 0
    retried: int = 0
    dead: int = 0
    undecodable: int = 0
    schedule_full: int = 0


@dataclass(slots=True)
class _Effects:
    """What a batch of attempts leads to."""

    dead: list[Dead] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    disabling: list[tuple[AttemptHead, DisabledFor]] = field(default_factory=list)


@dataclass(slots=True)
class Settle:
    """Settles batches of the topic `attempts`. `clock` gives ms since the epoch; `alerted` is
    where it is remembered for a while which alert was raised, by which attempt."""

    topics: Topics
    directory: Directory
    schedule: Schedule
    producer: Producer
    disabler: Disabler
    alerted: Duplicates
    policy: RetryPolicy
    alert_policy: AlertPolicy
    health: Health
    clock: Callable[[], int]
    counts: SettleCounts = field(default_factory=SettleCounts)
    failures: Failures = field(init=False)

    def __post_init__(self) -> None:
        self.failures = Failures(self.schedule, self.health)

    async def __call__(self, records: Sequence[Record]) -> None:
        """On return every attempt's consequence is durable. Raises UnknownVersion before anything
        is done."""
        effects = _Effects()
        attempts = self._decode(records, effects)
        views = await self._views(attempts)
        keys = {attempt.head.delivery.key for _, attempt in attempts}
        await self.failures.learn(keys)
        try:
            for record, attempt in attempts:
                self._decide(record, attempt, views, effects)
            await self._take_effect(effects)
        except BaseException:
            self.failures.forget(keys)  # the batch comes again, and is counted again
            raise
        await self.failures.keep(keys)

    def forget(self) -> None:
        """Partitions came: what is known of destinations' failures may be out of date."""
        self.failures.forget()

    def _decode(self, records: Sequence[Record], effects: _Effects) -> list[tuple[Record, Attempt]]:
        attempts = []
        for record in records:
            try:
                outcome = read_outcome(record)
            except UnknownVersion:
                raise
            except Undecodable as problem:
                self.counts.undecodable += 1
                dead = dead_of(record, problem.reason, problem.detail, self.clock())
                effects.dead.append(dead)
            else:
                if isinstance(outcome, Attempt):
                    attempts.append((record, outcome))
        return attempts

    async def _views(self, attempts: Sequence[tuple[Record, Attempt]]) -> dict[str, TenantView]:
        """Of tenants with a failed attempt: a destination may have a retry policy of its own."""
        failed = {one.head.delivery.tenant for _, one in attempts if one.head.outcome == "failed"}
        if not failed:
            return {}
        return dict(await persist("database", lambda: self.directory.views(failed), self.health))

    def _decide(
        self,
        record: Record,
        attempt: Attempt,
        views: dict[str, TenantView],
        effects: _Effects,
    ) -> None:
        head = attempt.head
        delivery = head.delivery
        view = views.get(delivery.tenant)
        destination = view.destinations.get(delivery.destination) if view else None
        policy = policy_for(destination, self.policy)
        decision = decide(policy, head, self.clock(), dice_of(delivery))
        match decision:
            case Retry(at):
                later = msgspec.structs.replace(delivery, attempt=delivery.attempt + 1)
                effects.parked.append(Parked(Delivery(later, attempt.data), at))
            case GiveUp(reason):
                effects.dead.append(self._dead(record, attempt, reason))
                effects.settled.append(Settled(delivery, delivery.attempt))
            case _:
                self.counts.delivered += 1
                effects.settled.append(Settled(delivery))
        failures = self.failures.count(attempt)
        if delivery.tenant != OPERATOR:  # or every trouble of its destination would make more
            gave_up = decision.reason if isinstance(decision, GiveUp) else None
            self._alert(head, failures, gave_up, effects)

    def _alert(
        self, head: AttemptHead, failures: int, gave_up: str | None, effects: _Effects
    ) -> None:
        effects.alerts += alerts_after(self.alert_policy, head, failures, gave_up)
        reason = disabled_for(self.alert_policy, head, failures)
        if reason:
            effects.disabling.append((head, reason))
            self.failures.reset(head.delivery.key)

    async def _take_effect(self, effects: _Effects) -> None:
        await bury(effects.dead, self.producer, self.topics)
        if alerts := await self._not_yet_raised(effects.alerts):
            await self.producer.send([alert_message(alert, self.topics) for alert in alerts])
        if effects.parked:
            await self._park(effects.parked)
        if effects.settled:
            await persist("redis", lambda: self.schedule.remove(effects.settled), self.health)
        for head, reason in effects.disabling:
            await self._disable(head, reason)

    async def _park(self, parked: Sequence[Parked]) -> None:
        """What is refused for want of room is owed all the same: the log knows, and sweep parks
        it when there is room."""
        results = await persist("redis", lambda: self.schedule.park(parked), self.health)
        refused = results.count("refused")
        self.counts.retried += len(parked) - refused
        self.counts.schedule_full += refused
        if refused:
            log.warning("schedule.full", extra={"retries": refused})

    async def _disable(self, head: AttemptHead, reason: DisabledFor) -> None:
        key = head.delivery.key
        disable = partial(self.disabler.disable_unless_changed_since, key, head.started, reason)
        disabled = await persist("database", disable, self.health)
        if disabled:
            log.warning(
                "destination.disabled",
                extra={"tenant": key.tenant, "destination": key.destination, "reason": reason},
            )
        if self.alert_policy.wants(DISABLED):
            await self._tell_disabled(head, reason, by_this_call=disabled)

    async def _tell_disabled(
        self, head: AttemptHead, reason: DisabledFor, *, by_this_call: bool
    ) -> None:
        """If not by this call it may have been by this very batch, before a crash: that it was
        disabled since the attempt began is enough. The alert has the same id each time."""
        key = head.delivery.key
        look = partial(self.directory.views, (key.tenant,))
        view = (await persist("database", look, self.health))[key.tenant]
        destination = view.destinations.get(key.destination)
        disabled_at = destination.disabled_at if destination else None
        if disabled_at is None or not (by_this_call or disabled_at >= head.started):
            return
        alert = disabled_alert(head, reason, disabled_at)
        if await self._is_first(alert, f"{key.destination}/{disabled_at}"):
            await self.producer.send([alert_message(alert, self.topics)])

    async def _not_yet_raised(self, alerts: Sequence[Alert]) -> list[Alert]:
        """A destination's exhausted retries are told once in the window."""
        if not self.alert_policy.window:
            return list(alerts)
        return [
            alert
            for alert in alerts
            if alert.topic != EXHAUSTED
            or await self._is_first(alert, alert.attempt.delivery.destination)
        ]

    async def _is_first(self, alert: Alert, of: str) -> bool:
        """No other attempt of the tenant has raised this alert `of` something in the window. An
        attempt that is read again is the same."""
        head = alert.attempt
        mine = head.id.encode()
        tenant = head.delivery.tenant
        sighting = Sighting(OPERATOR, f"{alert.topic}/{tenant}", of, mine)
        claim = partial(self.alerted.claim, (sighting,))
        (first,) = await persist("redis", claim, self.health)
        return first in (None, mine)

    def _dead(self, record: Record, attempt: Attempt, reason: str) -> Dead:
        """The delivery as it lay in `deliveries`, so that replaying it is sending it again; but
        for one that was too large for `attempts`, and so came without the payload."""
        self.counts.dead += 1
        head = attempt.head
        original = delivery_message(Delivery(head.delivery, attempt.data), self.topics)
        log.warning(
            "delivery.dead",
            extra={
                "tenant": head.delivery.tenant,
                "event_id": head.delivery.event,
                "destination": head.delivery.destination,
                "attempt": head.delivery.attempt,
                "reason": reason,
                "code": head.code,
            },
        )
        dead_head = DeadHead(
            reason=reason,
            detail=f"attempt {head.delivery.attempt} ended with {head.code}",
            place=place_of(record),
            headers=list(original.headers),
            at=self.clock(),
            delivery=head.delivery,
        )
        dead = Dead(dead_head, original.key, original.value)
        return note_of(dead) if head.code == TOO_LARGE and not attempt.data else dead
