"""The hop `route`: each event becomes one delivery for every destination it matches.

decode → drop duplicates → match → send → done. Whoever calls marks the records done, after.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from event_router.consumers.health import Health
from event_router.consumers.patience import persist
from event_router.consumers.ports import Directory, Duplicates, Producer, TenantView
from event_router.router.decisions.matching import match
from event_router.router.decisions.sighting import Verdict, judge, sighting_of
from event_router.schemas.attempt import Routed, RoutedAs
from event_router.schemas.decode import decode_event
from event_router.schemas.delivery import DestinationKey, delivery_of
from event_router.schemas.destination import Destination
from event_router.schemas.errors import TooLarge, Undecodable
from event_router.schemas.event import Event
from event_router.schemas.record import Message, Record
from event_router.schemas.topics import Topics
from event_router.schemas.wire import dead_message, dead_of, delivery_message, routed_message

log = logging.getLogger(__name__)

_LONGEST_TURN = 0.02  # seconds
_TELL_AGAIN = 60_000  # ms
_MOST_TOLD = 100  # destinations within that time


@dataclass(slots=True)
class RouteCounts:
    """What this process has routed since it started. `filters_too_costly` deliveries are owed
    because the filter couldn't be decided; of the `noted`, `dead` says only where they lie."""

    events: int = 0
    deliveries: int = 0
    no_match: int = 0
    duplicate: int = 0
    id_conflict: int = 0
    undecodable: int = 0
    without_deduplication: int = 0
    filters_too_costly: int = 0
    noted: int = 0


@dataclass(slots=True)
class Route:
    """Routes batches of the topic `events`. `clock` gives ms since the epoch.

    Without Redis it goes on after `patience` seconds, without deduplication, and counts that.
    """

    topics: Topics
    directory: Directory
    duplicates: Duplicates
    producer: Producer
    health: Health
    clock: Callable[[], int]
    patience: float = 3.0
    counts: RouteCounts = field(default_factory=RouteCounts)
    _told: dict[DestinationKey, int] = field(default_factory=dict)

    async def __call__(self, records: Sequence[Record]) -> None:
        """On return every record's effects are acknowledged by Kafka."""
        out: list[tuple[Record, Message]] = []
        events = self._decode(records, out)
        verdicts = await self._judge(events)
        tenants = {event.tenant for _, event in events}
        views = await persist("database", lambda: self.directory.views(tenants), self.health)
        turn = time.monotonic()
        for (record, event), verdict in zip(events, verdicts, strict=True):
            out += (
                (record, message)
                for message in self._outcome(record, event, verdict, views[event.tenant])
            )
            if time.monotonic() - turn > _LONGEST_TURN:
                await asyncio.sleep(0)  # the group's heartbeats don't wait for costly filters
                turn = time.monotonic()
        await self._send(out)

    def _decode(
        self, records: Sequence[Record], out: list[tuple[Record, Message]]
    ) -> list[tuple[Record, Event]]:
        events = []
        for record in records:
            try:
                events.append((record, decode_event(record)))
            except Undecodable as problem:
                self.counts.undecodable += 1
                log.warning(
                    "event.undecodable",
                    extra={
                        "reason": problem.reason,
                        "partition": record.partition,
                        "offset": record.offset,
                    },
                )
                out.append((record, self._dead(record, problem.reason, problem.detail)))
        return events

    async def _judge(self, events: Sequence[tuple[Record, Event]]) -> list[Verdict]:
        """One verdict an event, in order. Ids that nobody chose cost no call."""
        verdicts: list[Verdict] = ["new"] * len(events)
        chosen = [index for index, (_, event) in enumerate(events) if event.deduplicate]
        if not chosen:
            return verdicts
        seen = [sighting_of(events[index][1]) for index in chosen]
        try:
            async with asyncio.timeout(self.patience):
                before = await persist("redis", lambda: self.duplicates.claim(seen), self.health)
        except TimeoutError:
            self.counts.without_deduplication += len(chosen)
            log.warning("events.not_deduplicated", extra={"events": len(chosen)})
            return verdicts
        for index, sighting, earlier in zip(chosen, seen, before, strict=True):
            verdicts[index] = judge(sighting, earlier)
        return verdicts

    def _outcome(
        self, record: Record, event: Event, verdict: Verdict, view: TenantView
    ) -> list[Message]:
        self.counts.events += 1
        now = self.clock()
        if verdict == "duplicate":
            self.counts.duplicate += 1
            return [self._routed(event, "duplicate", now)]
        if verdict == "id_conflict":
            self.counts.id_conflict += 1
            detail = f"the id {event.id} was used with other content"
            return [
                self._routed(event, "id_conflict", now),
                self._dead(record, "id_conflict", detail),
            ]
        deliveries = [
            delivery_message(delivery_of(event, destination.id, now), self.topics)
            for destination in match(event, view, self._too_costly)
        ]
        self.counts.deliveries += len(deliveries)
        if not deliveries:
            self.counts.no_match += 1
            return [self._routed(event, "no_match", now)]
        return deliveries

    def _too_costly(self, destination: Destination) -> None:
        """Counted each time, and said once in a while of each destination."""
        self.counts.filters_too_costly += 1
        now = self.clock()
        self._told = {key: at for key, at in self._told.items() if now - at < _TELL_AGAIN}
        if destination.key not in self._told and len(self._told) < _MOST_TOLD:
            self._told[destination.key] = now
            named = {"tenant": destination.tenant, "destination": destination.id}
            log.warning("filter.too_costly", extra=named)

    async def _send(self, out: Sequence[tuple[Record, Message]]) -> None:
        if large := await self._too_large(out):
            detail = "larger than the broker takes"
            dead = [(one, self._dead(one, "message_too_large", detail)) for one in large]
            large = await self._too_large(dead)
        if large:  # its producer compressed it: that it was there, and where, is all that fits
            await self.producer.send([self._noted(record) for record in large])

    async def _too_large(self, out: Sequence[tuple[Record, Message]]) -> list[Record]:
        """The records of which a message couldn't be sent; the others are sent on return."""
        sent = await self.producer.send([message for _, message in out])
        large = {
            (record.partition, record.offset): record
            for (record, _), result in zip(out, sent, strict=True)
            if isinstance(result, TooLarge)
        }
        return list(large.values())

    def _noted(self, record: Record) -> Message:
        """A dead record without the content, which Kafka keeps as long as it is told to."""
        self.counts.noted += 1
        place = {"partition": record.partition, "offset": record.offset}
        log.error("event.larger_than_dead_takes", extra=place)
        size = len(record.value or b"")
        detail = f"{size} bytes, more than dead takes: the content is in {record.topic} only"
        bare = msgspec.structs.replace(record, key=None, value=None, headers=())
        return self._dead(bare, "message_too_large", detail)

    def _routed(self, event: Event, outcome: RoutedAs, now: int) -> Message:
        return routed_message(
            Routed(event.tenant, event.id, event.origin, outcome, now), self.topics
        )

    def _dead(self, record: Record, reason: str, detail: str) -> Message:
        return dead_message(dead_of(record, reason, detail, self.clock()), self.topics)
