"""The hop `settle`: what follows each attempt is decided and made durable.

decode → decide → send the dead, park the retries, remove the settled, keep the backoff → done.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import msgspec

from event_router.consumers.circuit import after_failure
from event_router.consumers.health import Health
from event_router.consumers.patience import persist
from event_router.consumers.ports import (
    Backoff,
    Directory,
    Parked,
    Producer,
    Schedule,
    Settled,
    TenantView,
)
from event_router.router.retry import GiveUp, Retry, RetryPolicy, decide, dice_of, policy_for
from event_router.schemas.attempt import Attempt, Dead, DeadHead
from event_router.schemas.delivery import Delivery, DestinationKey
from event_router.schemas.errors import Undecodable
from event_router.schemas.record import Message, Record, place_of
from event_router.schemas.topics import Topics
from event_router.schemas.wire import dead_message, dead_of, delivery_message, read_outcome

log = logging.getLogger(__name__)

GONE = 410


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

    dead: list[Message] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    gone: list[tuple[DestinationKey, int]] = field(default_factory=list)


@dataclass(slots=True)
class Settle:
    """Settles batches of the topic `attempts`. `clock` gives ms since the epoch.

    All attempts of a destination lie in one partition, so its failures in a row are counted here:
    read once from the schedule, written when they change.
    """

    topics: Topics
    directory: Directory
    schedule: Schedule
    producer: Producer
    disabler: Disabler
    policy: RetryPolicy
    health: Health
    clock: Callable[[], int]
    counts: SettleCounts = field(default_factory=SettleCounts)
    backoffs: dict[DestinationKey, Backoff | None] = field(default_factory=dict)

    async def __call__(self, records: Sequence[Record]) -> None:
        """On return every attempt's consequence is durable."""
        effects = _Effects()
        attempts = self._decode(records, effects)
        views = await self._views(attempts)
        for record, attempt in attempts:
            self._decide(record, attempt, views, effects)
        await self._take_effect(effects)
        await self._keep_backoff([attempt for _, attempt in attempts])

    def forget(self) -> None:
        """Partitions came or went: what is known of destinations may be out of date."""
        self.backoffs.clear()

    def _decode(self, records: Sequence[Record], effects: _Effects) -> list[tuple[Record, Attempt]]:
        attempts = []
        for record in records:
            try:
                outcome = read_outcome(record)
            except Undecodable as problem:
                self.counts.undecodable += 1
                dead = dead_of(record, problem.reason, problem.detail, self.clock())
                effects.dead.append(dead_message(dead, self.topics))
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
        match decide(policy, head, self.clock(), dice_of(delivery)):
            case Retry(at):
                later = msgspec.structs.replace(delivery, attempt=delivery.attempt + 1)
                effects.parked.append(Parked(Delivery(later, attempt.data), at))
            case GiveUp(reason):
                effects.dead.append(self._dead(record, attempt, reason))
                effects.settled.append(Settled(delivery, delivery.attempt))
            case _:
                self.counts.delivered += 1
                effects.settled.append(Settled(delivery))
        if head.status == GONE:
            effects.gone.append((delivery.key, head.started))

    async def _take_effect(self, effects: _Effects) -> None:
        if effects.dead:
            await self.producer.send(effects.dead)
        if effects.parked:
            await self._park(effects.parked)
        if effects.settled:
            await persist("redis", lambda: self.schedule.remove(effects.settled), self.health)
        for key, at in effects.gone:
            await persist("database", partial(self._disable, key, at), self.health)

    async def _park(self, parked: Sequence[Parked]) -> None:
        """What is refused for want of room is owed all the same: the log knows, and sweep parks
        it when there is room."""
        results = await persist("redis", lambda: self.schedule.park(parked), self.health)
        refused = results.count("refused")
        self.counts.retried += len(parked) - refused
        self.counts.schedule_full += refused
        if refused:
            log.warning("schedule.full", extra={"retries": refused})

    async def _disable(self, key: DestinationKey, at: int) -> None:
        if await self.disabler.disable_unless_changed_since(key, at, "gone"):
            log.warning(
                "destination.disabled",
                extra={"tenant": key.tenant, "destination": key.destination, "reason": "gone"},
            )

    async def _keep_backoff(self, attempts: Sequence[Attempt]) -> None:
        unknown = {one.head.delivery.key for one in attempts} - self.backoffs.keys()
        if unknown:
            known = await persist("redis", lambda: self.schedule.backoff(unknown), self.health)
            self.backoffs.update({key: known.get(key) for key in unknown})
        changed: dict[DestinationKey, Backoff | None] = {}
        for attempt in attempts:
            key = attempt.head.delivery.key
            before = self.backoffs[key]
            after = _backoff(before, attempt)
            if after != before:
                self.backoffs[key] = changed[key] = after
        if changed:
            await persist("redis", lambda: self.schedule.set_backoff(changed), self.health)

    def _dead(self, record: Record, attempt: Attempt, reason: str) -> Message:
        """The delivery as it lay in `deliveries`, so that replaying it is sending it again."""
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
        dead = DeadHead(
            reason=reason,
            detail=f"attempt {head.delivery.attempt} ended with {head.code}",
            place=place_of(record),
            headers=list(original.headers),
            at=self.clock(),
            delivery=head.delivery,
        )
        return dead_message(Dead(dead, original.key, original.value), self.topics)


def _backoff(before: Backoff | None, attempt: Attempt) -> Backoff | None:
    """Failures in a row after `attempt`. Being rejected says nothing of the destination."""
    head = attempt.head
    if head.outcome == "delivered":
        return None
    if head.outcome == "rejected":
        return before
    return after_failure(before, head.started + round(head.latency), head.retry_after)
