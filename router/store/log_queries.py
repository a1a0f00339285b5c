"""Reading the log. Each function is one transaction's work, on a connection it is given."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    and_,
    delete,
    func,
    literal,
    select,
    tuple_,
)

from event_router.consumers.log_rows import SETTLED, ordered_place, place_text
from event_router.router.store.log_ports import (
    AttemptFilter,
    Counts,
    DeadFilter,
    DeliveryRef,
    EventFilter,
    LoggedAttempt,
    LoggedDead,
    LoggedDelivery,
    LoggedEvent,
    TimeRange,
    Unsettled,
)
from event_router.router.store.log_statements import lock_counts
from event_router.router.store.log_values import (
    attempt_of,
    dead_of,
    delivery_of,
    event_of,
    last_attempt_of,
    unsettled_of,
)
from event_router.router.store.ordering import in_order
from event_router.router.store.paging import Seek
from event_router.router.store.tables import (
    attempts,
    dead,
    deliveries,
    delivery_counts,
    events,
    replay_claims,
    replays,
    routings,
)
from event_router.schemas.delivery import DestinationKey

Condition = ColumnElement[bool]

_later = deliveries.alias("later")
_HIDDEN = ("duplicate", "id_conflict")


def list_events(wanted: EventFilter, sought: Seek, connection: Connection) -> list[LoggedEvent]:
    query = select(events).where(
        shown(),
        *_one_of(events.c.id, wanted.ids),
        *_one_of(events.c.tenant, wanted.tenants),
        *_one_of(events.c.topic, wanted.topics),
        *_within(events.c.at, wanted.time),
    )
    if wanted.destinations:
        to_them = deliveries.c.destination.in_(wanted.destinations)
        query = query.where(select(deliveries.c.origin).where(_of_event(), to_them).exists())
    ordered = in_order(query, sought, events.c.at, events.c.origin)
    return _with_destinations(connection, ordered)


def find_event(id_: str, tenant: str | None, connection: Connection) -> LoggedEvent | None:
    query = select(events).where(events.c.id == id_, shown())
    if tenant is not None:
        query = query.where(events.c.tenant == tenant)
    newest = query.order_by(events.c.received.desc(), events.c.origin.desc()).limit(1)
    found = _with_destinations(connection, newest)
    return found[0] if found else None


def list_updates(id_: str, tenant: str, most: int, connection: Connection) -> list[LoggedEvent]:
    query = select(events).where(events.c.updates == id_, events.c.tenant == tenant, shown())
    newest = query.order_by(events.c.at.desc(), events.c.origin.desc()).limit(most)
    return _with_destinations(connection, newest)[::-1]


def tenants_with(event: str, connection: Connection) -> list[str]:
    theirs = select(events.c.tenant).where(events.c.id == event, shown())
    return list(connection.scalars(theirs.distinct().order_by(events.c.tenant)))


def list_attempts(
    wanted: AttemptFilter, sought: Seek, with_events: bool, connection: Connection
) -> list[LoggedAttempt]:
    query = select(attempts).where(
        *_one_of(attempts.c.tenant, wanted.tenants),
        *_one_of(attempts.c.destination, wanted.destinations),
        *_one_of(attempts.c.destination_type, wanted.destination_types),
        *_one_of(attempts.c.topic, wanted.topics),
        *_within(attempts.c.started, wanted.time),
    )
    if wanted.events:
        theirs = select(events.c.origin).where(events.c.id.in_(wanted.events))
        query = query.where(attempts.c.origin.in_(theirs))
    if wanted.status is not None:
        delivered = attempts.c.outcome == "delivered"
        query = query.where(delivered if wanted.status == "success" else ~delivered)
    return _attempts(
        connection, in_order(query, sought, attempts.c.started, attempts.c.id), with_events
    )


def find_attempt(
    id_: str, tenant: str | None, with_event: bool, connection: Connection
) -> LoggedAttempt | None:
    query = select(attempts).where(attempts.c.id == id_)
    if tenant is not None:
        query = query.where(attempts.c.tenant == tenant)
    found = _attempts(connection, query, with_event)
    return found[0] if found else None


def last_delivery(origin: str, destination: str, connection: Connection) -> LoggedDelivery | None:
    rounds = (
        select(deliveries, *_EVENT_PARTS)
        .where(_of_event(), deliveries.c.origin == origin)
        .where(deliveries.c.destination == destination)
        .order_by(deliveries.c.round.desc())
        .limit(1)
    )
    row = connection.execute(rounds).one_or_none()
    return None if row is None else delivery_of(row)


def list_dead(wanted: DeadFilter, sought: Seek, connection: Connection) -> list[LoggedDead]:
    query = select(*_DEAD_PARTS).outerjoin_from(dead, replays, _of_dead(replays))
    query = query.where(
        *_one_of(dead.c.place, wanted.places),
        *_one_of(dead.c.tenant, wanted.tenants),
        *_one_of(dead.c.event, wanted.events),
        *_one_of(dead.c.destination, wanted.destinations),
        *_one_of(dead.c.reason, wanted.reasons),
        *_within(dead.c.at, wanted.time),
    )
    if wanted.replayed is not None:
        replayed = replays.c.at.is_not(None)
        query = query.where(replayed if wanted.replayed else ~replayed)
    ordered = in_order(query, sought, dead.c.at, dead.c.place, dead.c.destination)
    return [LoggedDead(*row) for row in connection.execute(ordered)]


def find_dead(place: str, destination: str, connection: Connection) -> Any:
    its_key = (dead.c.place == place, dead.c.destination == destination)
    row = connection.execute(select(dead).where(*its_key)).one_or_none()
    return None if row is None else dead_of(row)


def last_round(origin: str, destination: str, connection: Connection) -> int | None:
    its = (deliveries.c.origin == origin, deliveries.c.destination == destination)
    newest: int | None = connection.scalar(select(func.max(deliveries.c.round)).where(*its))
    return newest


def count(connection: Connection) -> Counts:
    counted: dict[str, int] = {
        row.state: row.n for row in connection.execute(select(delivery_counts))
    }
    superseded = (
        select(deliveries.c.state, func.count())
        .where(_UNSETTLED, _superseded())
        .where(deliveries.c.origin.in_(select(_later.c.origin).where(*_SUPERSEDING)))
        .group_by(deliveries.c.state)
    )
    for state, n in connection.execute(superseded):
        counted[state] -= n
    retrying = counted["failed"] + counted["rejected"]
    return Counts(counted["queued"], retrying, counted["dead"], counted["delivered"])


def list_unsettled(
    before: int,
    limit: int,
    after: DeliveryRef | None,
    only: DestinationKey | None,
    without: Collection[DestinationKey],
    connection: Connection,
) -> list[Unsettled]:
    position = [deliveries.c[name] for name in DeliveryRef._fields]
    wanted = (
        select(*position)
        .where(_open(), _has_event(), deliveries.c.next_at < before)
        .order_by(*position)
        .limit(limit)
    )
    if after is not None:
        wanted = wanted.where(
            tuple_(*position) > tuple_(*after), deliveries.c.next_at >= after.next_at
        )
    if only is not None:
        wanted = wanted.where(_is_to(only))
    if without:
        theirs = tuple_(deliveries.c.destination, deliveries.c.tenant)
        wanted = wanted.where(theirs.not_in([(key.destination, key.tenant) for key in without]))
    page = wanted.subquery("page")
    query = select(deliveries, *_EVENT_PARTS).where(
        _of_event(), *(deliveries.c[name] == page.c[name] for name in _ROUND)
    )
    return _unsettled(connection, query.order_by(*(page.c[name] for name in DeliveryRef._fields)))


def still_unsettled(seen: Sequence[Unsettled], connection: Connection) -> list[Unsettled]:
    """The delivery's row tells of its attempts, too: each one moves its place."""
    if not seen:
        return []
    refs = [one.ref[1:] for one in seen]
    # The origins as well: SQLite looks up no index for tuples.
    query = select(*_STANDING).where(
        _open(),
        _has_event(),
        deliveries.c.origin.in_({origin for origin, _, _ in refs}),
        tuple_(*(deliveries.c[name] for name in _ROUND)).in_(refs),
    )
    now = {DeliveryRef(*row[:4]): tuple(row[4:]) for row in connection.execute(query)}
    return [one for one in seen if now.get(one.ref) == _standing(one)]


def _standing(one: Unsettled) -> tuple[object, ...]:
    places = (one.delivery_place, one.attempt_place)
    return (
        one.state,
        one.head.attempt,
        *(ordered_place(*place) if place else "" for place in places),
    )


def prune(before: int, most: int, connection: Connection) -> int:
    # Both bounds: `at` has the index, and is what the producer says; `received` is what counts.
    old = (
        select(events.c.origin)
        .where(events.c.at < before, events.c.received < before)
        .where(~select(deliveries.c.origin).where(_of_event(), _open()).exists())
        .order_by(events.c.at)
        .limit(most)
    )
    lock_counts(connection)
    origins = connection.scalars(old).all()
    for table in (events, routings, deliveries, attempts):
        connection.execute(delete(table).where(table.c.origin.in_(origins)))
    connection.execute(delete(dead).where(dead.c.at < before))
    for table in (replays, replay_claims):
        connection.execute(
            delete(table).where(~select(dead.c.place).where(_of_dead(table)).exists())
        )
    return len(origins)


_EVENT_PARTS = (
    events.c.topic,
    events.c.source,
    events.c.time,
    events.c.content_type,
    events.c.metadata,
    events.c.data,
)
_ROUND = ("origin", "destination", "round")
_STANDING = [
    deliveries.c[name]
    for name in (*DeliveryRef._fields, "state", "attempt", "delivery_place", "attempt_place")
]
_DEAD_PARTS = (
    dead.c.place,
    dead.c.destination,
    dead.c.tenant,
    dead.c.event,
    dead.c.round,
    dead.c.reason,
    dead.c.at,
    replays.c.at.label("replayed_at"),
)
# As the partial indexes say it: a bound value would keep SQLite from using them.
_UNSETTLED = deliveries.c.progress < literal(SETTLED, literal_execute=True)
_SUPERSEDING = (
    _later.c.round > literal(0, literal_execute=True),
    _later.c.state == literal("delivered", literal_execute=True),
)


def _of_event() -> Condition:
    return deliveries.c.origin == events.c.origin


def _has_event() -> Condition:
    return select(events.c.origin).where(_of_event()).exists()


def _is_to(key: DestinationKey) -> Condition:
    return and_(
        deliveries.c.destination == key.destination,
        deliveries.c.tenant == key.tenant,
    )


def _of_dead(table: Table) -> Condition:
    return and_(table.c.place == dead.c.place, table.c.destination == dead.c.destination)


def _superseded() -> Condition:
    """A later round was delivered, and that has settled this one too."""
    same = [_later.c[name] == deliveries.c[name] for name in ("origin", "destination")]
    later = select(_later.c.origin).where(*same, _later.c.round > deliveries.c.round, *_SUPERSEDING)
    return later.exists()


def _open() -> Condition:
    return and_(_UNSETTLED, ~_superseded())


def shown() -> Condition:
    """Not those that were dropped as duplicates, or given up for their id."""
    hidden = select(routings.c.origin).where(
        routings.c.origin == events.c.origin, routings.c.outcome.in_(_HIDDEN)
    )
    return ~hidden.exists()


def _one_of(column: ColumnElement[Any], values: Collection[str]) -> Iterable[Condition]:
    return (column.in_(values),) if values else ()


def _within(column: ColumnElement[Any], time: TimeRange) -> Iterable[Condition]:
    bounds = (
        (time.gte, column.__ge__),
        (time.gt, column.__gt__),
        (time.lte, column.__le__),
        (time.lt, column.__lt__),
    )
    return [compare(bound) for bound, compare in bounds if bound is not None]


def _with_destinations(connection: Connection, query: Select[Any]) -> list[LoggedEvent]:
    rows = list(connection.execute(query))
    matched: dict[str, list[str]] = {row.origin: [] for row in rows}
    if rows:
        theirs = (
            select(deliveries.c.origin, deliveries.c.destination)
            .where(deliveries.c.origin.in_(list(matched)))
            .distinct()
            .order_by(deliveries.c.destination)
        )
        for origin, destination in connection.execute(theirs):
            matched[origin].append(destination)
    return [event_of(row, matched[row.origin]) for row in rows]


def _attempts(connection: Connection, query: Select[Any], with_events: bool) -> list[LoggedAttempt]:
    rows = list(connection.execute(query))
    found: dict[str, LoggedEvent] = {}
    if with_events and rows:
        theirs = select(events).where(events.c.origin.in_({row.origin for row in rows}))
        for event in _with_destinations(connection, theirs):
            found[place_text(event.origin)] = event
    return [attempt_of(row, found.get(row.origin)) for row in rows]


def _unsettled(connection: Connection, query: Select[Any]) -> list[Unsettled]:
    rows = list(connection.execute(query))
    last = _last_attempts(rows, connection)
    return [
        unsettled_of(row, last_attempt_of(last[key], row) if key in last else None)
        for row in rows
        for key in [_round_of(row)]
    ]


def _last_attempts(rows: Iterable[Row[Any]], connection: Connection) -> dict[Any, Row[Any]]:
    """By round; in one query for all of them."""
    rounds = [_round_of(row) for row in rows if row.attempt_place]
    if not rounds:
        return {}
    of = [attempts.c[name] for name in _ROUND]
    newest_first = (attempts.c.attempt.desc(), attempts.c.started.desc(), attempts.c.id)
    rank = func.row_number().over(partition_by=of, order_by=newest_first).label("rank")
    theirs = select(attempts, rank).where(
        attempts.c.origin.in_({origin for origin, _, _ in rounds}), tuple_(*of).in_(rounds)
    )
    ranked = theirs.subquery()
    found = connection.execute(select(ranked).where(ranked.c.rank == 1))
    return {_round_of(row): row for row in found}


def _round_of(row: Row[Any]) -> tuple[str, str, int]:
    return row.origin, row.destination, row.round
