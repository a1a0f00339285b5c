"""What `log_metrics` counts, counted in memory, for tests."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean
from typing import TypeVar

from event_router.consumers.log_rows import AttemptRow
from event_router.router.store.log_ports import LoggedEvent
from event_router.router.store.metrics import AttemptGroup, EventGroup, MetricsQuery

T = TypeVar("T")
Key = tuple[int | None, tuple[str, ...]]


def count_events(asked: MetricsQuery, events: Iterable[LoggedEvent]) -> list[EventGroup]:
    by_destination = "destination_id" in {*asked.dimensions, *asked.filters}
    rows = [
        ({"tenant_id": one.tenant, "topic": one.topic, "destination_id": destination}, one.at, one)
        for one in events
        for destination in (one.destinations if by_destination else ("",))
    ]
    return [EventGroup(*key, len(members)) for key, members in _grouped(asked, rows)]


def count_attempts(asked: MetricsQuery, attempts: Iterable[AttemptRow]) -> list[AttemptGroup]:
    rows = [(_dimensions(row), row.started, row) for row in attempts]
    return [_group(key, members, asked) for key, members in _grouped(asked, rows)]


def _grouped(
    asked: MetricsQuery, rows: Iterable[tuple[dict[str, str], int, T]]
) -> list[tuple[Key, list[T]]]:
    groups: dict[Key, list[T]] = defaultdict(list)
    if asked.buckets is None and not asked.dimensions:
        groups[None, ()] = []
    for dimensions, at, row in rows:
        fits = all(dimensions[name] in wanted for name, wanted in asked.filters.items() if wanted)
        if fits and asked.start <= at < asked.end:
            bucket = None if asked.buckets is None else asked.buckets.of(at)
            groups[bucket, tuple(dimensions[name] for name in asked.dimensions)].append(row)
    return sorted(groups.items(), key=lambda item: (item[0][0] or 0, item[0][1]))[: asked.limit]


def _dimensions(row: AttemptRow) -> dict[str, str]:
    return {
        "tenant_id": row.tenant,
        "destination_id": row.destination,
        "destination_type": row.destination_type,
        "topic": row.topic,
        "status": "success" if row.outcome == "delivered" else "failed",
        "code": row.code,
        "manual": "true" if row.manual else "false",
        "attempt_number": str(row.attempt),
    }


def _group(key: Key, rows: list[AttemptRow], asked: MetricsQuery) -> AttemptGroup:
    latencies = sorted(row.latency for row in rows)
    percentiles = [_percentile(latencies, p) for p in (50, 95, 99)] if asked.percentiles else ()
    return AttemptGroup(
        *key,
        len(rows),
        sum(row.outcome == "delivered" for row in rows),
        sum(row.attempt == 1 and not row.manual for row in rows),
        sum(row.attempt > 1 and not row.manual for row in rows),
        sum(row.manual for row in rows),
        fmean(row.attempt for row in rows) if rows else None,
        fmean(latencies) if rows else None,
        *percentiles,
    )


def _percentile(latencies: list[float], percent: int) -> float | None:
    enough = (
        latency
        for place, latency in enumerate(latencies, 1)
        if place * 100 >= len(latencies) * percent
    )
    return next(enough, None)
