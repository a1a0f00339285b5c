"""The log in numbers: the same on every database."""

from itertools import pairwise

import pytest

from event_router.router.store.log_ports import Log
from event_router.router.store.metrics import MONDAY, Buckets, MetricsQuery, months
from tests.contracts.test_log import history, log
from tests.store.history import START, History, write

__all__ = ["history", "log"]

ALL = MetricsQuery(0, 1 << 50)
HOUR = 3_600_000


def asked(**more: object) -> MetricsQuery:
    return MetricsQuery(**{"start": 0, "end": 1 << 50, **more})  # type: ignore[arg-type]  # a test's own


async def test_without_anything_there_is_one_group_of_nothing(log: Log) -> None:
    (events,) = await log.event_metrics(ALL)
    assert (events.bucket, events.dimensions, events.count) == (None, (), 0)
    (attempts,) = await log.attempt_metrics(asked(percentiles=True))
    assert (attempts.count, attempts.successful, attempts.manual) == (0, 0, 0)
    assert (attempts.latency, attempts.p50, attempts.attempt_number) == (None, None, None)
    assert await log.event_metrics(asked(dimensions=("topic",))) == []
    assert await log.attempt_metrics(asked(buckets=Buckets(HOUR))) == []


async def test_events_are_counted_by_bucket_and_dimensions(log: Log, history: History) -> None:
    for n, (topic, tenant) in enumerate((("a", "t1"), ("b", "t1"), ("a", "t2"), ("a", "t1"))):
        history.now = START + n * HOUR // 2
        history.event(f"e{n}", tenant, topic)
    history.routed(history.event("again", "t1", "a"), "duplicate")
    await write(log, history.records)

    async def counted(**more: object) -> list[tuple[int | None, tuple[str, ...], int]]:
        found = await log.event_metrics(asked(**more))
        return [(one.bucket, one.dimensions, one.count) for one in found]

    assert await counted() == [(None, (), 4)]
    assert await counted(buckets=Buckets(HOUR)) == _by_hour(
        [START + n * HOUR // 2 for n in range(4)]
    )
    assert await counted(dimensions=("topic",)) == [(None, ("a",), 3), (None, ("b",), 1)]
    assert await counted(dimensions=("tenant_id", "topic"), limit=2) == [
        (None, ("t1", "a"), 2),
        (None, ("t1", "b"), 1),
    ]
    assert await counted(filters={"topic": ("a",), "tenant_id": ("t1", "t9")}) == [(None, (), 2)]
    assert await counted(start=START, end=START + HOUR) == [(None, (), 2)]


def _by_hour(times: list[int]) -> list[tuple[int, tuple[str, ...], int]]:
    hours = [at - at % HOUR for at in times]
    return [(hour, (), hours.count(hour)) for hour in sorted(set(hours))]


async def test_an_event_counts_for_each_destination(log: Log, history: History) -> None:
    event = history.event("e1")
    history.delivery(event, "d1")
    history.delivery(event, "d1", 1)
    history.delivery(event, "d2")
    history.event("e2")
    await write(log, history.records)
    found = await log.event_metrics(asked(dimensions=("destination_id",)))
    assert [(one.dimensions, one.count) for one in found] == [(("d1",), 1), (("d2",), 1)]
    (chosen,) = await log.event_metrics(asked(filters={"destination_id": ("d1",)}))
    assert chosen.count == 1


async def test_attempts_are_counted_by_what_became_of_them(log: Log, history: History) -> None:
    event = history.event("e1")
    history.attempt(history.delivery(event, "d1"), "failed", latency=10.0)
    history.attempt(history.delivery(event, "d1", attempt=2), "failed", latency=20.0)
    history.attempt(history.delivery(event, "d1", attempt=3), latency=30.0)
    history.attempt(history.delivery(event, "d1", 1, manual=True), latency=40.0)
    history.attempt(history.delivery(event, "d2"), "rejected", code="invalid", latency=1.0)
    await write(log, history.records)

    (all_,) = await log.attempt_metrics(asked())
    assert (all_.count, all_.successful, all_.first, all_.retries, all_.manual) == (5, 2, 2, 2, 1)
    assert (all_.attempt_number, all_.latency, all_.p50) == (1.6, 20.2, None)
    found = await log.attempt_metrics(asked(dimensions=("destination_id", "status")))
    assert [(one.dimensions, one.count) for one in found] == [
        (("d1", "failed"), 2),
        (("d1", "success"), 2),
        (("d2", "failed"), 1),
    ]
    for dimension, values in (
        ("tenant_id", ["acme"]),
        ("destination_type", ["webhook"]),
        ("topic", ["order.created"]),
        ("code", ["200", "500", "invalid"]),
        ("manual", ["false", "true"]),
        ("attempt_number", ["1", "2", "3"]),
    ):
        found = await log.attempt_metrics(asked(dimensions=(dimension,)))
        assert [one.dimensions for one in found] == [(value,) for value in values]
        filters = {dimension: tuple(values[-1:])}
        (chosen,) = await log.attempt_metrics(asked(filters=filters))
        assert chosen.count == found[-1].count


@pytest.mark.parametrize("number", [1, 2, 3, 20, 99, 101])
async def test_percentiles_are_latencies_that_were_seen(
    log: Log, history: History, number: int
) -> None:
    event = history.event("e1")
    for destination in ("d1", "d2"):
        for n in range(number):
            delivery = history.delivery(event, destination)
            latency = float(n * 37 % number + (1000 if destination == "d2" else 0))
            history.attempt(delivery, latency=latency)
    await write(log, history.records)
    found = await log.attempt_metrics(asked(dimensions=("destination_id",), percentiles=True))
    seen = sorted(n * 37 % number for n in range(number))
    ranks = [-(-number * percent // 100) - 1 for percent in (50, 95, 99)]
    assert [one.count for one in found] == [number, number]
    assert [found[0].p50, found[0].p95, found[0].p99] == [seen[rank] for rank in ranks]
    assert [found[1].p50, found[1].p95, found[1].p99] == [seen[rank] + 1000 for rank in ranks]


async def test_weeks_begin_on_monday_and_months_on_the_first(log: Log, history: History) -> None:
    """2026-09-21 was a Monday, START is half a day and more into it."""
    for days in (-60, -1, 0, 6, 7, 40):
        history.now = START + days * 24 * HOUR
        history.event(f"e{days}")
    await write(log, history.records)
    weeks = Buckets(7 * 24 * HOUR, MONDAY)
    found = await log.event_metrics(asked(buckets=weeks))
    assert [one.count for one in found] == [1, 1, 2, 1, 1]
    assert all((one.bucket or 0) % (7 * 24 * HOUR) == MONDAY for one in found)
    start, end = START - 100 * 24 * HOUR, START + 100 * 24 * HOUR
    for number in (1, 2, 12):
        buckets = months(number, start, end)
        found = await log.event_metrics(asked(start=start, end=end, buckets=buckets))
        assert sum(one.count for one in found) == 6
        assert {one.bucket for one in found} <= set(buckets.edges)


async def test_times_before_1970_have_their_bucket_too(log: Log, history: History) -> None:
    history.event("old", time="1969-12-31T23:30:00Z")
    await write(log, history.records)
    (found,) = await log.event_metrics(asked(start=-HOUR * 24, buckets=Buckets(HOUR)))
    assert (found.bucket, found.count) == (-HOUR, 1)


def test_months_have_the_lengths_of_the_calendar() -> None:
    buckets = months(1, 1_767_225_600_000, 1_767_225_600_000 + 59 * 24 * HOUR)
    days = [(end - begin) // (24 * HOUR) for begin, end in pairwise(buckets.edges)]
    assert days == [31, 28]
    assert buckets.seconds(buckets.edges[1]) == 28 * 86_400
    assert Buckets(HOUR).seconds(0) == 3_600
