"""What the log keeps: rows of five tables, made of the records of four topics.

Records arrive in any order and more than once, so every row is made of one record alone, and rows
of the same key are merged by a rule that doesn't ask which came first: an event, an attempt stays
as it is; of two routings or dead records the earlier one stays; a delivery's row is `merged`.
"""

from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from event_router.schemas.attempt import Attempt, AttemptHead, Dead, Routed
from event_router.schemas.delivery import DeliveryHead
from event_router.schemas.event import Event
from event_router.schemas.record import Place

State = Literal["queued", "failed", "rejected", "dead", "delivered"]

# How far a delivery's round has come: a final rank, then the attempt, then what is known of it.
SETTLED = 1 << 40
_DEAD = 1 << 40
_DELIVERED = 2 << 40
_ATTEMPT_BITS = 8
_FAILED = 1
_REJECTED = 2

_json = msgspec.json.Encoder().encode


class EventRow(NamedTuple):
    """One event. Its key is its origin, which decides tenant and id. `at` is its own time,
    `received` that of its record, both in ms."""

    origin: str
    tenant: str
    id: str
    topic: str
    source: str
    time: str
    at: int
    received: int
    content_type: str
    metadata: str | None
    destination: str | None
    retry: bool
    partition_key: str | None
    deduplicate: bool
    updates: str | None
    data: bytes


class RoutingRow(NamedTuple):
    """Why an event has no delivery."""

    origin: str
    tenant: str
    event: str
    outcome: str
    at: int


class DeliveryRow(NamedTuple):
    """One round of a delivery, as far as it has come.

    `next_at` (ms): before it nothing is to be done; when it was settled, once it is. The places
    are those of the last records in `deliveries` and `attempts`, '' without one.
    """

    origin: str
    destination: str
    round: int
    tenant: str
    event: str
    state: State
    progress: int
    attempt: int
    manual: bool
    retry: bool
    began: int
    next_at: int
    delivery_place: str
    attempt_place: str


class AttemptRow(NamedTuple):
    """One attempt; `started` in ms since the epoch, `latency` and `retry_after` in ms."""

    id: str
    event: str
    tenant: str
    origin: str
    destination: str
    round: int
    attempt: int
    manual: bool
    topic: str
    destination_type: str
    outcome: str
    code: str
    status: int | None
    body: str
    started: int
    latency: float
    retry_after: int | None


class DeadRow(NamedTuple):
    """One record or delivery that was given up; `head` is the header as it was written."""

    place: str
    destination: str
    tenant: str | None
    event: str | None
    round: int | None
    reason: str
    at: int
    head: bytes
    key: bytes | None
    value: bytes | None


class LogRows(msgspec.Struct, frozen=True):
    """A batch. No two deliveries, routings or dead rows in it have the same key."""

    events: list[EventRow]
    routings: list[RoutingRow]
    deliveries: list[DeliveryRow]
    attempts: list[AttemptRow]
    dead: list[DeadRow]


def place_text(place: Place) -> str:
    """A place as one word; `read_place` reads it.

    As text, the places of a partition are in the order of their offsets (below 10^13).
    """
    return f"{place.topic}:{place.partition:03d}:{place.offset:013d}:{place.timestamp}"


def read_place(text: str) -> Place:
    topic, partition, offset, timestamp = text.rsplit(":", 3)
    return Place(topic, int(partition), int(offset), int(timestamp))


def ordered_place(partition: int, offset: int, timestamp: int) -> str:
    """A place within a known topic. As text, later ones are greater: by time first, because a
    recreated topic counts its offsets from 0 again."""
    return f"{timestamp:014d}:{partition:05d}:{offset:019d}"


def read_ordered_place(text: str) -> tuple[int, int, int] | None:
    """Partition, offset and timestamp; None for ''."""
    if not text:
        return None
    timestamp, partition, offset = text.split(":")
    return int(partition), int(offset), int(timestamp)


def event_row(event: Event) -> EventRow:
    origin = event.origin
    return EventRow(
        place_text(origin),
        event.tenant,
        event.id,
        event.topic,
        event.source,
        event.time,
        round(datetime.fromisoformat(event.time).timestamp() * 1000),
        origin.timestamp,
        event.content_type,
        _json(event.metadata).decode() if event.metadata else None,
        event.destination,
        event.retry,
        event.partition_key,
        event.deduplicate,
        event.updates,
        event.data,
    )


def routing_row(routed: Routed) -> RoutingRow:
    origin = place_text(routed.origin)
    return RoutingRow(origin, routed.tenant, routed.event, routed.outcome, routed.at)


def attempt_row(attempt: Attempt) -> AttemptRow:
    head = attempt.head
    delivery = head.delivery
    return AttemptRow(
        head.id,
        delivery.event,
        delivery.tenant,
        place_text(delivery.origin),
        delivery.destination,
        delivery.round,
        delivery.attempt,
        delivery.manual,
        delivery.topic,
        head.destination_type,
        head.outcome,
        head.code,
        head.status,
        head.body,
        head.started,
        head.latency,
        head.retry_after,
    )


def dead_row(dead: Dead, raw_head: bytes) -> DeadRow:
    head = dead.head
    delivery = head.delivery
    return DeadRow(
        place_text(head.place),
        delivery.destination if delivery else "",
        delivery.tenant if delivery else None,
        delivery.event if delivery else None,
        delivery.round if delivery else None,
        head.reason,
        head.at,
        raw_head,
        dead.key,
        dead.value,
    )


def queued(head: DeliveryHead, place: str, at: int) -> DeliveryRow:
    """Its record lies in `deliveries` at `place`, written `at`."""
    return _delivery_row(head, "queued", head.attempt << _ATTEMPT_BITS, at, place, "")


def attempted(head: AttemptHead, place: str) -> DeliveryRow:
    """Its attempt lies in `attempts` at `place`. Settled only when it was delivered: what else
    gives it up says so in `dead`."""
    ended = head.started + round(head.latency)
    progress = head.delivery.attempt << _ATTEMPT_BITS
    if head.outcome == "delivered":
        return _delivery_row(head.delivery, "delivered", _DELIVERED + progress, ended, "", place)
    if head.outcome == "rejected":
        return _delivery_row(head.delivery, "rejected", progress + _REJECTED, ended, "", place)
    next_at = ended + (head.retry_after or 0)
    return _delivery_row(head.delivery, "failed", progress + _FAILED, next_at, "", place)


def given_up(head: DeliveryHead, at: int) -> DeliveryRow:
    progress = _DEAD + (head.attempt << _ATTEMPT_BITS)
    return _delivery_row(head, "dead", progress, at, "", "")


def merged(one: DeliveryRow, other: DeliveryRow) -> DeliveryRow:
    """The furthest state, the last places, the first beginning; the same for (other, one).

    The SQL of the log says the same: `ON CONFLICT` in `router/store/log_statements.py`.
    """
    far = max(one, other, key=lambda row: (row.progress, row.next_at))
    return far._replace(
        began=min(one.began, other.began),
        delivery_place=max(one.delivery_place, other.delivery_place),
        attempt_place=max(one.attempt_place, other.attempt_place),
    )


def routing_order(row: RoutingRow) -> tuple[int, str]:
    """Of two with the same key the lesser one stays."""
    return row.at, row.outcome


def dead_order(row: DeadRow) -> tuple[int, bytes]:
    """Of two with the same key the lesser one stays."""
    return row.at, row.head


def _delivery_row(
    head: DeliveryHead,
    state: State,
    progress: int,
    next_at: int,
    delivery_place: str,
    attempt_place: str,
) -> DeliveryRow:
    return DeliveryRow(
        place_text(head.origin),
        head.destination,
        head.round,
        head.tenant,
        head.event,
        state,
        progress,
        head.attempt,
        head.manual,
        head.retry,
        head.began,
        next_at,
        delivery_place,
        attempt_place,
    )
