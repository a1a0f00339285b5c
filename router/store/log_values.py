"""Rows of the log as the values that the ports speak of."""

from collections.abc import Iterable
from typing import Any

import msgspec

from event_router.consumers.log_rows import place_text, read_ordered_place, read_place
from event_router.router.store.log_ports import (
    AttemptPosition,
    DeadPosition,
    DeliveryRef,
    EventPosition,
    LoggedAttempt,
    LoggedDead,
    LoggedDelivery,
    LoggedEvent,
    Unsettled,
)
from event_router.schemas.attempt import AttemptHead, Dead, DeadHead
from event_router.schemas.delivery import DeliveryHead

_dead_head = msgspec.json.Decoder(DeadHead).decode
_metadata = msgspec.json.Decoder(dict[str, str]).decode


def event_position(event: LoggedEvent) -> EventPosition:
    return event.at, place_text(event.origin)


def attempt_position(attempt: LoggedAttempt) -> AttemptPosition:
    return attempt.started, attempt.id


def dead_position(dead: LoggedDead) -> DeadPosition:
    return dead.at, dead.place, dead.destination


def event_of(row: Any, destinations: Iterable[str]) -> LoggedEvent:
    return LoggedEvent(
        tenant=row.tenant,
        id=row.id,
        origin=read_place(row.origin),
        topic=row.topic,
        source=row.source,
        time=row.time,
        at=row.at,
        content_type=row.content_type,
        metadata=_metadata(row.metadata) if row.metadata else {},
        retry=row.retry,
        data=bytes(row.data),
        destinations=tuple(destinations),
        updates=row.updates,
    )


def attempt_of(row: Any, event: LoggedEvent | None) -> LoggedAttempt:
    return LoggedAttempt(
        id=row.id,
        tenant=row.tenant,
        event_id=row.event,
        origin=read_place(row.origin),
        destination=row.destination,
        round=row.round,
        attempt=row.attempt,
        manual=row.manual,
        topic=row.topic,
        destination_type=row.destination_type,
        outcome=row.outcome,
        code=row.code,
        status=row.status,
        body=row.body,
        started=row.started,
        latency=row.latency,
        event=event,
    )


def head_of(row: Any) -> DeliveryHead:
    """The head of a delivery, from its row joined with its event's."""
    return DeliveryHead(
        tenant=row.tenant,
        event=row.event,
        destination=row.destination,
        origin=read_place(row.origin),
        topic=row.topic,
        time=row.time,
        source=row.source,
        began=row.began,
        round=row.round,
        attempt=row.attempt,
        manual=row.manual,
        retry=row.retry,
        content_type=row.content_type,
        metadata=_metadata(row.metadata) if row.metadata else {},
    )


def delivery_of(row: Any) -> LoggedDelivery:
    return LoggedDelivery(head_of(row), bytes(row.data), row.state)


def unsettled_of(row: Any, last_attempt: AttemptHead | None) -> Unsettled:
    return Unsettled(
        ref=DeliveryRef(*(getattr(row, name) for name in DeliveryRef._fields)),
        head=head_of(row),
        data=bytes(row.data),
        state=row.state,
        delivery_place=read_ordered_place(row.delivery_place),
        attempt_place=read_ordered_place(row.attempt_place),
        last_attempt=last_attempt,
    )


def last_attempt_of(row: Any, delivery: Any) -> AttemptHead:
    """The attempt of `row`, made for the delivery of a row of `deliveries`."""
    return AttemptHead(
        id=row.id,
        delivery=msgspec.structs.replace(head_of(delivery), attempt=row.attempt),
        destination_type=row.destination_type,
        outcome=row.outcome,
        code=row.code,
        started=row.started,
        latency=row.latency,
        status=row.status,
        body=row.body,
        retry_after=row.retry_after,
    )


def dead_of(row: Any) -> Dead:
    key = None if row.key is None else bytes(row.key)
    value = None if row.value is None else bytes(row.value)
    return Dead(_dead_head(bytes(row.head)), key, value)
