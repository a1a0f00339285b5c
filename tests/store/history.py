"""Records of the four topics, as the hops would have written them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from event_router.consumers.health import Health
from event_router.consumers.log_writer import LogWriter
from event_router.consumers.ports import LogStore
from event_router.schemas.attempt import (
    Attempt,
    AttemptHead,
    Dead,
    DeadHead,
    Outcome,
    Routed,
    RoutedAs,
)
from event_router.schemas.cloudevents import NewEvent, event_message
from event_router.schemas.decode import decode_event, rfc3339
from event_router.schemas.delivery import Delivery, DeliveryHead, delivery_of
from event_router.schemas.event import Event
from event_router.schemas.record import Message, Place, Record, place_of
from event_router.schemas.topics import Topics
from event_router.schemas.wire import (
    attempt_message,
    dead_message,
    delivery_message,
    routed_message,
)

TOPICS = Topics()
START = 1_790_000_000_000


async def write(store: LogStore, records: Sequence[Record]) -> LogWriter:
    writer = LogWriter(TOPICS, store, Health())
    await writer.write(records)
    return writer


@dataclass
class History:
    """Writes records one after the other, a ms apart, each topic one partition or more."""

    records: list[Record] = field(default_factory=list)
    now: int = START
    _offsets: dict[str, "itertools.count[int]"] = field(default_factory=dict)

    def event(
        self,
        id_: str = "e1",
        tenant: str = "acme",
        topic: str = "order.created",
        data: bytes = b'{"n":  1}',
        **more: object,
    ) -> Event:
        new = NewEvent(tenant, id_, "shop", topic, rfc3339(self.now), data)
        message = event_message(msgspec.structs.replace(new, **more), TOPICS.events)
        return decode_event(self._append(message))

    def delivery(
        self, event: Event, destination: str = "d1", round_: int = 0, **more: object
    ) -> Delivery:
        first = delivery_of(event, destination, self.now)
        head = msgspec.structs.replace(first.head, round=round_, **more)
        return self.deliver(Delivery(head, event.data))

    def deliver(self, delivery: Delivery) -> Delivery:
        self._append(delivery_message(delivery, TOPICS))
        return delivery

    def attempt(
        self,
        delivery: Delivery,
        outcome: Outcome = "delivered",
        id_: str | None = None,
        **more: object,
    ) -> AttemptHead:
        head = AttemptHead(
            id=id_ or f"a{len(self.records)}",
            delivery=delivery.head,
            destination_type="webhook",
            outcome=outcome,
            code="200" if outcome == "delivered" else "500",
            started=self.now,
            latency=12.5,
            status=200 if outcome == "delivered" else 500,
            body="answer",
        )
        head = msgspec.structs.replace(head, **more)
        data = b"" if outcome == "delivered" else delivery.data
        self._append(attempt_message(Attempt(head, data), TOPICS))
        return head

    def routed(self, event: Event, outcome: RoutedAs) -> None:
        routed = Routed(event.tenant, event.id, event.origin, outcome, self.now)
        self._append(routed_message(routed, TOPICS))

    def dead(self, delivery: Delivery, reason: str = "retries_exhausted") -> Place:
        place = place_of(self.records[-1])
        original = delivery_message(delivery, TOPICS)
        head = DeadHead(reason, "why", place, list(original.headers), self.now, delivery.head)
        self._append(dead_message(Dead(head, original.key, original.value), TOPICS))
        return place

    def dead_record(self, reason: str = "invalid_json") -> Place:
        place = Place(TOPICS.events, 3, 99, self.now)
        headers: list[tuple[str, bytes | None]] = [
            ("content-type", b"text/plain"),
            ("odd", b"\xff\x00"),
        ]
        head = DeadHead(reason, "not JSON", place, headers, self.now)
        self._append(dead_message(Dead(head, None, b"\x00\xff"), TOPICS))
        return place

    def _append(self, message: Message) -> Record:
        partition = message.partition or 0
        offsets = self._offsets.setdefault(f"{message.topic}/{partition}", itertools.count())
        record = Record(
            message.topic,
            partition,
            next(offsets),
            self.now,
            message.key,
            message.value,
            message.headers,
        )
        self.records.append(record)
        self.now += 1
        return record


def next_attempt(delivery: Delivery) -> Delivery:
    head: DeliveryHead = msgspec.structs.replace(delivery.head, attempt=delivery.head.attempt + 1)
    return Delivery(head, delivery.data)
