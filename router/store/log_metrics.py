"""The log in numbers. Each function is one transaction's work, on a connection it is given."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Subquery,
    Text,
    case,
    cast,
    func,
    literal,
    select,
)

from event_router.router.store.log_queries import shown
from event_router.router.store.metrics import AttemptGroup, Buckets, EventGroup, MetricsQuery
from event_router.router.store.tables import attempts, deliveries, events

Column = ColumnElement[Any]

_delivered = attempts.c.outcome == "delivered"
_ATTEMPT_DIMENSIONS: dict[str, Column] = {
    "tenant_id": attempts.c.tenant,
    "destination_id": attempts.c.destination,
    "destination_type": attempts.c.destination_type,
    "topic": attempts.c.topic,
    "status": case((_delivered, "success"), else_="failed"),
    "code": attempts.c.code,
    "manual": case((attempts.c.manual, "true"), else_="false"),
    "attempt_number": cast(attempts.c.attempt, Text),
}


def count_events(asked: MetricsQuery, connection: Connection) -> list[EventGroup]:
    """An event counts once for each of its destinations, when these are told apart or chosen."""
    matched = select(deliveries.c.origin, deliveries.c.destination).distinct().subquery()
    dimensions: dict[str, Column] = {
        "tenant_id": events.c.tenant,
        "topic": events.c.topic,
        "destination_id": matched.c.destination,
    }
    keys = _keys(events.c.at, asked, dimensions)
    query = select(*keys, func.count()).where(shown(), *_wanted(events.c.at, asked, dimensions))
    if "destination_id" in {*asked.dimensions, *asked.filters}:
        query = query.join_from(events, matched, matched.c.origin == events.c.origin)
    else:
        query = query.select_from(events)
    rows = connection.execute(_grouped(query, keys, asked))
    return [EventGroup(*_split(row, asked), row[-1]) for row in rows]


def count_attempts(asked: MetricsQuery, connection: Connection) -> list[AttemptGroup]:
    keys = _keys(attempts.c.started, asked, _ATTEMPT_DIMENSIONS)
    chosen = _chosen(asked, keys)
    names = [chosen.c[f"key{index}"] for index in range(len(keys))]
    totals = [
        func.count(),
        _count(chosen.c.delivered == 1),
        _count((chosen.c.attempt == 1) & ~chosen.c.manual),
        _count((chosen.c.attempt > 1) & ~chosen.c.manual),
        _count(chosen.c.manual),
        func.avg(chosen.c.attempt),
        func.avg(chosen.c.latency),
    ]
    if asked.percentiles:
        totals += [_percentile(chosen, percent) for percent in (50, 95, 99)]
    rows = connection.execute(_grouped(select(*names, *totals), names, asked))
    return [_attempt_group(row, asked) for row in rows]


def _chosen(asked: MetricsQuery, keys: Sequence[Column]) -> Subquery:
    """The attempts that are counted, with their group's keys, and their place in the group."""
    columns: list[Column] = [key.label(f"key{index}") for index, key in enumerate(keys)]
    columns += [attempts.c.attempt, attempts.c.manual, attempts.c.latency]
    columns.append(case((_delivered, 1), else_=0).label("delivered"))
    if asked.percentiles:
        place = func.row_number().over(partition_by=list(keys), order_by=attempts.c.latency)
        columns += [place.label("place"), func.count().over(partition_by=list(keys)).label("all")]
    wanted = _wanted(attempts.c.started, asked, _ATTEMPT_DIMENSIONS)
    return select(*columns).where(*wanted).subquery()


def _percentile(chosen: Subquery, percent: int) -> Column:
    """The smallest latency that so many percent of the group don't exceed."""
    enough = chosen.c.place * 100 >= chosen.c["all"] * percent
    return func.min(case((enough, chosen.c.latency)))


def _count(condition: Column) -> Column:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _keys(at: Column, asked: MetricsQuery, dimensions: dict[str, Column]) -> list[Column]:
    """Literals stand in the text: a bound one would not be the same expression when grouping."""
    bucket = [] if asked.buckets is None else [_bucket(at, asked.buckets)]
    return [*bucket, *(dimensions[name] for name in asked.dimensions)]


def _bucket(at: Column, buckets: Buckets) -> Column:
    if not buckets.width:
        pairs = zip(buckets.edges, buckets.edges[1:], strict=False)
        return case(*((at < _whole(end), _whole(begin)) for begin, end in pairs))
    width = _whole(buckets.width)
    past = (at - _whole(buckets.offset)) % width
    return at - (past + width) % width  # SQL's remainder of what is before 1970 is negative


def _whole(number: int) -> Column:
    return literal(number, literal_execute=True)


def _wanted(at: Column, asked: MetricsQuery, dimensions: dict[str, Column]) -> list[Column]:
    chosen = [dimensions[name].in_(values) for name, values in asked.filters.items() if values]
    return [at >= asked.start, at < asked.end, *chosen]


def _grouped(query: Select[Any], keys: Sequence[Column], asked: MetricsQuery) -> Select[Any]:
    return query.group_by(*keys).order_by(*keys).limit(asked.limit)


def _split(row: Any, asked: MetricsQuery) -> tuple[int | None, tuple[str, ...]]:
    first = 0 if asked.buckets is None else 1
    return row[0] if first else None, tuple(row[first : first + len(asked.dimensions)])


def _attempt_group(row: Any, asked: MetricsQuery) -> AttemptGroup:
    bucket, dimensions = _split(row, asked)
    count, *parts = row[len(dimensions) + (bucket is not None) :]
    counts, averages = map(int, parts[:4]), (_number(part) for part in parts[4:])
    return AttemptGroup(bucket, dimensions, count, *counts, *averages)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
