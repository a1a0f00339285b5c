"""A log in memory, for tests. It stores bytes, as a database would."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from event_router.consumers.log_rows import (
    SETTLED,
    AttemptRow,
    DeadRow,
    DeliveryRow,
    EventRow,
    LogRows,
    RoutingRow,
    dead_order,
    merged,
    place_text,
    routing_order,
)
from event_router.router.store import memory_metrics
from event_router.router.store.log_ports import (
    AttemptFilter,
    AttemptPosition,
    Counts,
    DeadFilter,
    DeadKey,
    DeadPosition,
    DeliveryRef,
    EventFilter,
    EventPosition,
    LoggedAttempt,
    LoggedDead,
    LoggedDelivery,
    LoggedEvent,
    TimeRange,
    Unsettled,
)
from event_router.router.store.log_values import (
    attempt_of,
    attempt_position,
    dead_of,
    dead_position,
    delivery_of,
    event_of,
    event_position,
    last_attempt_of,
    unsettled_of,
)
from event_router.router.store.metrics import AttemptGroup, EventGroup, MetricsQuery
from event_router.router.store.paging import Page, Paging, page, seek
from event_router.schemas.attempt import Dead
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.record import Place

R = TypeVar("R", bound=tuple[Any, ...])
Key = tuple[Any, ...]


class _Table(Generic[R]):
    """Rows as bytes by key; `merge` says what becomes of two with the same one."""

    def __init__(self, row: type[R], width: int, merge: Callable[[R, R], R]) -> None:
        self._read = msgspec.msgpack.Decoder(row).decode
        self._width = width
        self._merge = merge
        self.stored: dict[Key, bytes] = {}

    def write(self, rows: Iterable[R]) -> None:
        for row in rows:
            key = row[: self._width]
            kept = self.get(key)
            after = row if kept is None else self._merge(kept, row)
            self.stored[key] = msgspec.msgpack.encode(after)

    def get(self, key: Key) -> R | None:
        stored = self.stored.get(key)
        return None if stored is None else self._read(stored)

    def rows(self) -> list[R]:
        return [self._read(stored) for stored in self.stored.values()]

    def forget(self, tenant: str, most: int) -> list[Key]:
        """Removes up to `most` rows of the tenant, by key; their keys."""
        its = sorted(
            key for key, stored in self.stored.items() if self._read(stored).tenant == tenant
        )
        for key in its[:most]:
            del self.stored[key]
        return its[:most]


class _Joined(NamedTuple):
    """A delivery's row and its event's, as a query that joins them answers."""

    delivery: DeliveryRow
    of: EventRow

    def __getattr__(self, name: str) -> Any:
        return getattr(self.delivery if name in DeliveryRow._fields else self.of, name)


class MemoryLog:
    """A Log whose content ends with the process."""

    def __init__(self) -> None:
        self._events = _Table(EventRow, 1, lambda kept, _: kept)
        self._routings = _Table(RoutingRow, 1, lambda *both: min(both, key=routing_order))
        self._deliveries = _Table(DeliveryRow, 3, merged)
        self._attempts = _Table(AttemptRow, 1, lambda kept, _: kept)
        self._replays: dict[tuple[str, str], int] = {}
        self._claims: dict[tuple[str, str], tuple[int, int]] = {}
        self._dead = _Table(DeadRow, 2, lambda *both: min(both, key=dead_order))

    async def write(self, rows: LogRows) -> None:
        self._events.write(rows.events)
        self._routings.write(rows.routings)
        self._deliveries.write(rows.deliveries)
        self._attempts.write(rows.attempts)
        self._dead.write(rows.dead)

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of each table, sorted."""
        kept: dict[str, _Table[Any]] = {
            "events": self._events,
            "routings": self._routings,
            "deliveries": self._deliveries,
            "attempts": self._attempts,
            "dead": self._dead,
        }
        return {name: sorted(map(tuple, table.rows()), key=repr) for name, table in kept.items()}

    async def events(self, wanted: EventFilter, paging: Paging) -> Page[LoggedEvent]:
        sought = seek(paging, EventPosition)
        found = [
            event
            for event in self._shown()
            if _one_of(event.id, wanted.ids)
            and _one_of(event.tenant, wanted.tenants)
            and _one_of(event.topic, wanted.topics)
            and (not wanted.destinations or set(wanted.destinations) & set(event.destinations))
            and _within(event.at, wanted.time)
        ]
        return page(sought.of(found, event_position), sought, event_position)

    async def event(self, event: str, tenant: str | None = None) -> LoggedEvent | None:
        found = [
            row
            for row in self._events.rows()
            if row.id == event and tenant in {None, row.tenant} and not self._hidden(row)
        ]
        newest = max(found, key=lambda row: (row.received, row.origin), default=None)
        return None if newest is None else self._event(newest)

    async def updates_of(self, event: str, tenant: str, most: int) -> list[LoggedEvent]:
        found = [one for one in self._shown() if (one.updates, one.tenant) == (event, tenant)]
        return sorted(found, key=event_position)[-most:]

    async def tenants_with(self, event: str) -> list[str]:
        rows = self._events.rows()
        return sorted({row.tenant for row in rows if row.id == event and not self._hidden(row)})

    async def attempts(
        self, wanted: AttemptFilter, paging: Paging, *, with_events: bool = False
    ) -> Page[LoggedAttempt]:
        sought = seek(paging, AttemptPosition)
        success = None if wanted.status is None else wanted.status == "success"
        found = [
            self._attempt(row, with_event=with_events)
            for row in self._attempts.rows()
            if _one_of(row.tenant, wanted.tenants)
            and _one_of(row.event, wanted.events)
            and _one_of(row.destination, wanted.destinations)
            and _one_of(row.destination_type, wanted.destination_types)
            and _one_of(row.topic, wanted.topics)
            and success in {None, row.outcome == "delivered"}
            and _within(row.started, wanted.time)
        ]
        return page(sought.of(found, attempt_position), sought, attempt_position)

    async def attempt(
        self, attempt: str, tenant: str | None = None, *, with_event: bool = False
    ) -> LoggedAttempt | None:
        row = self._attempts.get((attempt,))
        if row is None or tenant not in {None, row.tenant}:
            return None
        return self._attempt(row, with_event=with_event)

    async def last_delivery(self, event: LoggedEvent, destination: str) -> LoggedDelivery | None:
        origin = place_text(event.origin)
        rounds = [
            row
            for row in self._deliveries.rows()
            if row.origin == origin and row.destination == destination
        ]
        of = self._events.get((origin,))
        if not rounds or of is None:
            return None
        return delivery_of(_Joined(max(rounds, key=lambda row: row.round), of))

    async def dead(self, wanted: DeadFilter, paging: Paging) -> Page[LoggedDead]:
        sought = seek(paging, DeadPosition)
        found = [
            LoggedDead(*row[:7], self._replays.get(DeadKey(*row[:2])))
            for row in self._dead.rows()
            if _one_of(row.tenant, wanted.tenants)
            and _one_of(row.event, wanted.events)
            and _one_of(row.destination, wanted.destinations)
            and _one_of(row.reason, wanted.reasons)
            and _one_of(row.place, wanted.places)
            and wanted.replayed in (None, row[:2] in self._replays)
            and _within(row.at, wanted.time)
        ]
        return page(sought.of(found, dead_position), sought, dead_position)

    async def dead_record(self, place: str, destination: str) -> Dead | None:
        row = self._dead.get((place, destination))
        return None if row is None else dead_of(row)

    async def event_metrics(self, asked: MetricsQuery) -> list[EventGroup]:
        return memory_metrics.count_events(asked, self._shown())

    async def attempt_metrics(self, asked: MetricsQuery) -> list[AttemptGroup]:
        return memory_metrics.count_attempts(asked, self._attempts.rows())

    async def last_round(self, origin: Place, destination: str) -> int | None:
        its = (place_text(origin), destination)
        return max((row.round for row in self._deliveries.rows() if row[:2] == its), default=None)

    async def claim_replays(
        self, rounds: Mapping[DeadKey, int], now: int, until: int
    ) -> dict[DeadKey, int]:
        mine = {}
        for key, round_ in rounds.items():
            first, taken_until = self._claims.get(key, (round_, now))
            if taken_until <= now:
                self._claims[key] = (first, until)
                mine[key] = first
        return mine

    async def release_replays(self, keys: list[DeadKey]) -> None:
        for key in keys:
            self._claims[key] = (self._claims[key][0], 0)

    async def mark_replayed(self, keys: list[DeadKey], at: int) -> None:
        for key in keys:
            self._replays.setdefault(key, at)
            self._claims[key] = (0, 1 << 60)

    async def counts(self) -> Counts:
        rows = self._deliveries.rows()
        is_open = _open_among(rows)
        states = [row.state for row in rows if row.progress >= SETTLED or is_open(row)]
        retrying = states.count("failed") + states.count("rejected")
        return Counts(
            states.count("queued"), retrying, states.count("dead"), states.count("delivered")
        )

    async def unsettled(
        self,
        before: int,
        limit: int,
        after: DeliveryRef | None = None,
        *,
        only: DestinationKey | None = None,
        without: Collection[DestinationKey] = (),
    ) -> list[Unsettled]:
        rows = self._deliveries.rows()
        is_open = _open_among(rows)
        found = sorted(
            (ref, row)
            for row in rows
            if is_open(row) and row.next_at < before and row[:1] in self._events.stored
            if only in (None, (row.tenant, row.destination))
            and (row.tenant, row.destination) not in without
            for ref in [DeliveryRef(row.next_at, *row[:3])]
            if after is None or ref > after
        )
        last = self._last_attempts()
        return [self._unsettled(row, last) for _, row in found[:limit]]

    async def still_unsettled(self, seen: list[Unsettled]) -> list[Unsettled]:
        now = [self._deliveries.get(one.ref[1:]) for one in seen]
        is_open = _open_among(self._deliveries.rows())
        last = self._last_attempts()
        return [
            one
            for one, row in zip(seen, now, strict=True)
            if row is not None and is_open(row) and self._unsettled(row, last) == one
        ]

    async def prune(self, before: int, most: int) -> int:
        rows = self._deliveries.rows()
        unsettled = {row.origin for row in filter(_open_among(rows), rows)}
        old = [
            (row.at, row.origin)
            for row in self._events.rows()
            if row.at < before and row.received < before and row.origin not in unsettled
        ]
        origins = {origin for _, origin in sorted(old)[:most]}
        self._forget(origins)
        for dead in self._dead.rows():
            if dead.at < before:
                del self._dead.stored[dead[:2]]
                self._replays.pop(dead[:2], None)
                self._claims.pop(dead[:2], None)
        return len(origins)

    async def purge(self, tenant: str, most: int) -> int:
        origins = sorted(row.origin for row in self._events.rows() if row.tenant == tenant)[:most]
        if origins:
            self._forget(set(origins))
            return len(origins)
        tables: tuple[_Table[Any], ...] = (
            self._routings,
            self._attempts,
            self._deliveries,
            self._dead,
        )
        gone = [key for table in tables for key in table.forget(tenant, most)]
        for key in gone:
            self._replays.pop(key, None)
            self._claims.pop(key, None)
        return len(gone)

    async def aclose(self) -> None:
        """Nothing to close."""

    def _forget(self, origins: set[str]) -> None:
        for row in self._attempts.rows():
            if row.origin in origins:
                del self._attempts.stored[row[:1]]
        for table in (self._events, self._routings, self._deliveries):
            for key in [key for key in table.stored if key[0] in origins]:
                del table.stored[key]

    def _shown(self) -> list[LoggedEvent]:
        return [self._event(row) for row in self._events.rows() if not self._hidden(row)]

    def _hidden(self, row: EventRow) -> bool:
        routing = self._routings.get(row[:1])
        return routing is not None and routing.outcome in {"duplicate", "id_conflict"}

    def _event(self, row: EventRow) -> LoggedEvent:
        matched = {one.destination for one in self._deliveries.rows() if one.origin == row.origin}
        return event_of(row, sorted(matched))

    def _attempt(self, row: AttemptRow, *, with_event: bool) -> LoggedAttempt:
        event = self._events.get((row.origin,)) if with_event else None
        return attempt_of(row, None if event is None else self._event(event))

    def _last_attempts(self) -> dict[Key, AttemptRow]:
        """By round."""
        rows = self._attempts.rows()
        rows.sort(key=lambda one: (-one.attempt, -one.started, one.id), reverse=True)
        return {(one.origin, one.destination, one.round): one for one in rows}

    def _unsettled(self, row: DeliveryRow, last: dict[Key, AttemptRow]) -> Unsettled:
        of = self._events.get(row[:1])
        assert of is not None  # noqa: S101  callers have looked
        joined = _Joined(row, of)
        newest = last.get(row[:3])
        return unsettled_of(joined, last_attempt_of(newest, joined) if newest else None)


def _open_among(rows: Iterable[DeliveryRow]) -> Callable[[DeliveryRow], bool]:
    """Whether a row is unsettled, and no later round of it was delivered."""
    delivered: dict[Key, int] = {}
    for row in rows:
        if row.state == "delivered":
            delivered[row[:2]] = max(delivered.get(row[:2], 0), row.round)
    return lambda row: row.progress < SETTLED and delivered.get(row[:2], -1) <= row.round


def _one_of(value: str | None, wanted: tuple[str, ...]) -> bool:
    return not wanted or value in wanted


def _within(at: int, time: TimeRange) -> bool:
    return (
        (time.gte is None or at >= time.gte)
        and (time.gt is None or at > time.gt)
        and (time.lte is None or at <= time.lte)
        and (time.lt is None or at < time.lt)
    )
